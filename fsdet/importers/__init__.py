"""Detectors of other projects as a `FewShotRCNN`: torchvision, detectron2, TFA, mmdetection, mmfewshot."""

from fsdet.importers.importer import (
    Imported,
    from_state,
    read_detector,
    read_model,
    read_torchvision,
)
from fsdet.importers.presets import PRESETS, Preset
from fsdet.importers.state import read_state
from fsdet.importers.torchvision_weights import PREFIX, weights_file

__all__ = [
    "PREFIX",
    "PRESETS",
    "Imported",
    "Preset",
    "from_state",
    "read_detector",
    "read_model",
    "read_state",
    "read_torchvision",
    "weights_file",
]
