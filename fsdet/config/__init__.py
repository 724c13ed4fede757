"""Configuration: its dataclasses (`schema`), their validation, and YAML files and overrides for them."""

from fsdet.config.load import load
from fsdet.config.scaling import scaled, scaled_stage
from fsdet.config.schema import (
    ATTENTION_SUFFIX,
    Backbone,
    Config,
    Data,
    Descriptor,
    Detector,
    Evaluate,
    Head,
    Meta,
    Proposals,
    Rpn,
    Stage,
    Train,
)
from fsdet.config.validation import check

__all__ = [
    "ATTENTION_SUFFIX",
    "Backbone",
    "Config",
    "Data",
    "Descriptor",
    "Detector",
    "Evaluate",
    "Head",
    "Meta",
    "Proposals",
    "Rpn",
    "Stage",
    "Train",
    "check",
    "load",
    "scaled",
    "scaled_stage",
]
