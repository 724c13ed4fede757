"""Stages of an experiment: trainings, novel fine-tuning, attention RPN."""
