"""What a command tells a user whose detector was made for something else."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsdet.api.detector import Detector

PHOTOGRAPHS = "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn"


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
