"""Splits and k-shot lists."""
