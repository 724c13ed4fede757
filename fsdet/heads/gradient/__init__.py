"""Gradient-based heads: a few meta-learned gradient steps on the support."""
