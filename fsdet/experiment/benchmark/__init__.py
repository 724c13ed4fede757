"""Many heads on the same base detectors."""
