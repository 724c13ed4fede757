"""The configuration: a tree of dataclasses (`tree`), what types cannot say of it (`rules`), how it is read."""

from fsdet.config.load import load
from fsdet.config.schema import (
    ATTENTION_SUFFIX,
    PARTS,
    Backbone,
    Config,
    Data,
    Detector,
    Evaluate,
    Head,
    Meta,
    Proposals,
    Rpn,
    Stage,
    Train,
    scaled,
    scaled_stage,
)
from fsdet.config.validation import check, check_head

__all__ = [
    "ATTENTION_SUFFIX",
    "PARTS",
    "Backbone",
    "Config",
    "Data",
    "Detector",
    "Evaluate",
    "Head",
    "Meta",
    "Proposals",
    "Rpn",
    "Stage",
    "Train",
    "check",
    "check_head",
    "load",
    "scaled",
    "scaled_stage",
]
