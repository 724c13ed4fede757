"""Heads that compare regions by distances."""
