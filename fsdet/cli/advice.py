"""Advice to a user whose detector was made for something else."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsdet.api.detector import Detector

PHOTOGRAPHS = "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn"


def advised(detector: "Detector", device: str) -> "Detector":
    """The detector, or the one that a user at a terminal takes instead; elsewhere, the advice is printed only.

    Args:
        device: as of `fsdet.load`.

    Raises:
        InputError: the other detector was asked for, and cannot be fetched.
    """
    import fsdet

    advice = of_drawings(detector)
    if not advice:
        return detector
    print(advice, file=sys.stderr)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return detector
    print("Use it now? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        return detector
    return fsdet.load(PHOTOGRAPHS, device)


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
