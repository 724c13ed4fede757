"""Heads whose task is the solution of a convex problem."""
