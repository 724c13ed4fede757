"""Benchmark: many heads on the same base detectors."""
