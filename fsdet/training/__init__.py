"""Training: loop, checkpoints, objectives, and episodes from a region bank."""
