"""Annotated images: readers, splits, shots, transforms and the streams of training."""

from fsdet.data.faults import Fault
from fsdet.data.images import read_image
from fsdet.data.index import DetectionData
from fsdet.data.open import open_data

__all__ = ["DetectionData", "Fault", "open_data", "read_image"]
