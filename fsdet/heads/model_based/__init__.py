"""Heads whose network reads the support."""
