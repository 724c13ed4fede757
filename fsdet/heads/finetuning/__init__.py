"""Heads that are fine-tuned on the support, as the field publishes them."""
