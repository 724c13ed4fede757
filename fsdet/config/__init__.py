"""The configuration: a tree of dataclasses (`tree`), what types cannot say of it (`rules`), how it is read."""

from fsdet.config.read import load
from fsdet.config.rules import check, check_head
from fsdet.config.tree import (
    ASKED,
    PARTS,
    Backbone,
    Config,
    Data,
    Detector,
    Evaluate,
    Head,
    Meta,
    Proposals,
    Stage,
    Train,
    scaled,
    scaled_stage,
)

__all__ = [
    "ASKED",
    "PARTS",
    "Backbone",
    "Config",
    "Data",
    "Detector",
    "Evaluate",
    "Head",
    "Meta",
    "Proposals",
    "Stage",
    "Train",
    "check",
    "check_head",
    "load",
    "scaled",
    "scaled_stage",
]
