"""The trainings of an experiment."""
