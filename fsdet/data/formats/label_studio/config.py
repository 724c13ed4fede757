"""Labelling configuration of a Label Studio project: the rectangle labels and the image they belong to."""

from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element
from xml.parsers import expat

from fsdet.data.formats.label_studio.rectangle import Box
from fsdet.data.formats.safe_xml import parse_xml
from fsdet.errors import InputError


@dataclass(frozen=True)
class LabelConfig:
    """The `RectangleLabels` control of a labelling configuration."""

    from_name: str  # name of the control
    to_name: str  # name of the image
    image_key: str  # key of the image in a task's data
    labels: dict[str, str]  # category -> label
    threshold: float | None  # `model_score_threshold` of the control, 0 to 1

    @staticmethod
    def parse(text: str) -> "LabelConfig":
        """Read a project's XML: the first `RectangleLabels` and its image.

        The categories of a label are its own name and the names in its `predicted_values`.

        Raises:
            InputError: not XML, XML with a document type, or no rectangle labels for an image.
        """
        try:
            root = parse_xml(text.encode("utf-8", "replace"))
        except expat.ExpatError as error:
            raise InputError(f"label_config: expected XML, got: {error}") from None
        control = next(root.iter("RectangleLabels"), None)
        if control is None:
            raise InputError("label_config: expected <RectangleLabels>, found none")
        from_name, to_name = control.get("name"), control.get("toName")
        images = {node.get("name"): node for node in root.iter("Image")}
        image = images.get(to_name)
        image_key = "" if image is None else (image.get("value") or "").removeprefix("$")
        if not (from_name and to_name and image_key):
            raise InputError(
                "label_config: expected <RectangleLabels name= toName=> of an <Image name= value=>"
            )
        labels: dict[str, str] = {}
        for node in control.iter("Label"):
            label = node.get("alias") or node.get("value") or ""
            for category in (label, *(node.get("predicted_values") or "").split(",")):
                if category.strip():
                    labels.setdefault(category.strip(), label)
        return LabelConfig(from_name, to_name, image_key, labels, _threshold(control))

    def region(
        self, box: Box, category: str, score: float, size: tuple[int, int]
    ) -> dict[str, Any]:
        """Convert a detection to a region of a Label Studio prediction.

        Args:
            box: xyxy pixels.
            size: (height, width) of the image.
        """
        (x1, y1, x2, y2), (height, width) = box, size
        value = {
            "x": 100 * x1 / width,
            "y": 100 * y1 / height,
            "width": 100 * (x2 - x1) / width,
            "height": 100 * (y2 - y1) / height,
            "rotation": 0,
            "rectanglelabels": [self.labels[category]],
        }
        return {
            "from_name": self.from_name,
            "to_name": self.to_name,
            "type": "rectanglelabels",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": value,
            "score": score,
        }


def _threshold(control: Element) -> float | None:
    try:
        threshold = float(control.get("model_score_threshold") or "nan")
    except ValueError:
        return None
    return threshold if 0 <= threshold <= 1 else None
