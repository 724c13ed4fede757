"""Few-shot object detection: a Faster R-CNN that learns categories from a few annotated boxes."""

from fsdet.api.detector import Detection, Detector, load
from fsdet.errors import InputError

__version__ = "0.1.0"
__all__ = ["Detection", "Detector", "InputError", "load"]
