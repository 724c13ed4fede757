"""Few-shot object detection: a Faster R-CNN that learns categories from a few annotated boxes."""

from typing import TYPE_CHECKING

from fsdet.errors import InputError

if TYPE_CHECKING:
    from fsdet.api.detector import Detection, Detector, import_detector, load

__version__ = "0.1.0"
__all__ = ["Detection", "Detector", "InputError", "import_detector", "load"]


def __getattr__(name: str) -> object:
    """Import the detector on first use: PyTorch takes seconds, which `fsdet --help` does not need."""
    if name in ("Detection", "Detector", "import_detector", "load"):
        from fsdet.api import detector

        return getattr(detector, name)
    raise AttributeError(f"module 'fsdet' has no attribute '{name}'")
