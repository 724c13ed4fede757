"""Few-shot object detection: a Faster R-CNN that learns categories from a few annotated boxes."""

from importlib import import_module
from typing import TYPE_CHECKING

from fsdet.errors import InputError

if TYPE_CHECKING:
    from fsdet.api.detector import Detector
    from fsdet.api.load import from_boxes, import_detector, load
    from fsdet.api.results import Detection

__version__ = "0.1.0"
__all__ = ["Detection", "Detector", "InputError", "from_boxes", "import_detector", "load"]

_MODULES = {
    "Detection": "results",
    "Detector": "detector",
    "from_boxes": "load",
    "import_detector": "load",
    "load": "load",
}


def __getattr__(name: str) -> object:
    """Import the detector on first use: PyTorch takes seconds, which `fsdet --help` does not need."""
    if name in _MODULES:
        return getattr(import_module(f"fsdet.api.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'fsdet' has no attribute '{name}'")
