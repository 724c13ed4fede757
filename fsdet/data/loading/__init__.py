"""Augmentation, shuffled training streams and episodes of images."""
