"""Metric heads: regions are compared with the support by similarity."""
