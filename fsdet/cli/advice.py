"""Advice to a user whose detector was made for something else."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsdet.api.detector import Detector

PHOTOGRAPHS = "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn"


def advise(detector: "Detector") -> None:
    """Print the advice that a detector calls for, if any."""
    if advice := of_drawings(detector):
        print(advice, file=sys.stderr)


def of_drawings(detector: "Detector") -> str:
    """Advice for a detector whose base categories are those of generated images; else nothing."""
    from fsdet.data.scenes.layout import SHAPES

    base = detector.names[: detector.n_base]
    if not base or not set(base) <= set(SHAPES):
        return ""
    return (
        "note: this detector was trained on drawings. For photographs, one that was trained on them is"
        f" better; in the place of its name, give {PHOTOGRAPHS} (COCO; downloaded once, 75 MB)"
    )
