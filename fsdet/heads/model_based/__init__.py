"""Model-based heads: a network reads the support and returns the task."""
