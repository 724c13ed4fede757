"""Detectors of other projects as a `FewShotRCNN`: torchvision, detectron2, TFA, mmdetection, mmfewshot."""

from fsdet.importers.importer import Imported, read_detector, read_model, read_torchvision
from fsdet.importers.presets import PRESETS, Preset
from fsdet.importers.torchvision_weights import PREFIX, weights_file

__all__ = [
    "PREFIX",
    "PRESETS",
    "Imported",
    "Preset",
    "read_detector",
    "read_model",
    "read_torchvision",
    "weights_file",
]
