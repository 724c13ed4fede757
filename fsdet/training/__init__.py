"""Training loop, checkpoints and the region bank."""
