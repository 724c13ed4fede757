"""Experiments: base training, meta-training, novel categories from a few boxes, scores and a report."""

from fsdet.experiment.run import run
from fsdet.experiment.transfer import transfer

__all__ = ["run", "transfer"]
