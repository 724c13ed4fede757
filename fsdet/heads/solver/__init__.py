"""Solver heads: the task is the solution of a convex problem."""
