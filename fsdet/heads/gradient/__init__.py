"""Heads that adapt by gradient steps on the support."""
