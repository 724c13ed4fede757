"""Label Studio: exports, labelling configurations and the images of its tasks."""

from fsdet.data.formats.label_studio.config import LabelConfig
from fsdet.data.formats.label_studio.export import (
    Annotation,
    Registration,
    parse_annotation,
    parse_export,
    read_export,
    registrations,
)
from fsdet.data.formats.label_studio.images import LOCAL_FILES, find_image, task_image

__all__ = [
    "LOCAL_FILES",
    "Annotation",
    "LabelConfig",
    "Registration",
    "find_image",
    "parse_annotation",
    "parse_export",
    "read_export",
    "registrations",
    "task_image",
]
