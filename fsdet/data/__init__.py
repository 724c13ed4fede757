"""Annotated images: formats, splits, shots, transforms and training streams."""

from fsdet.data.dataset import DetectionData
from fsdet.data.formats.validation import DataIssue
from fsdet.data.images import read_image
from fsdet.data.open import open_data

__all__ = ["DetectionData", "DataIssue", "open_data", "read_image"]
