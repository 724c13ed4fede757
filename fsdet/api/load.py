"""Load a detector: from its file, by name, or from a file of another project."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torchvision.models.detection import FasterRCNN

from fsdet import importers
from fsdet.api import detector_file
from fsdet.api.detector import Detector
from fsdet.errors import InputError


def load(path: str | Path, device: str = "cpu") -> Detector:
    """A saved detector, from its file or from the run folder that holds it, or a published one by name.

    Args:
        path: also `torchvision/NAME`: that detector with torchvision's COCO weights, which are downloaded
            if torch has not got them yet.
        device: "cpu", "cuda", "cuda:1", or "auto": a GPU if there is one.

    Raises:
        InputError: there is none, it is cut, it is not a detector, or there is no such device.
    """
    if str(path).startswith(importers.PREFIX) and not os.path.exists(path):
        parts = parts_of(importers.read_torchvision(str(path)))
    else:
        parts = detector_file.read(path)
    return on_device(parts, device)


def import_detector(
    source: str | Path | FasterRCNN,
    preset: str | None = None,
    names: str | Sequence[str] | None = None,
    eps: float | None = None,
    device: str = "cpu",
) -> Detector:
    """A detector from a file of torchvision, detectron2, TFA, FSCE, mmdetection or mmfewshot.

    Its categories stay as they are; `register` adds new ones beside them. Nothing in the file is run.

    Args:
        source: a .pth, .pkl or .safetensors file of a Faster R-CNN on a feature pyramid; or a Faster R-CNN
            object of torchvision, which needs no preset.
        preset: a word of `fsdet.importers.PRESETS`; None: the only one that fits.
        names: of the categories, in the order of the classifier's rows without background; or coco, coco-base,
            voc, voc1, voc1-base and so on. None: the file's own, or COCO's if their number fits.
        eps: of the frozen batch normalisation, where it is not the preset's.
        device: as of `load`.

    Raises:
        InputError: cut, foreign, of another kind of detector; a preset or names that do not fit.
    """
    if isinstance(source, FasterRCNN):
        imported = importers.read_model(source, names)
    else:
        imported = importers.read_detector(source, preset, names, eps)
    return on_device(parts_of(imported), device)


def parts_of(imported: importers.Imported) -> detector_file.Parts:
    """The parts of an imported detector."""
    return detector_file.Parts(
        imported.model,
        imported.settings,
        imported.head,
        {},
        len(imported.rows),
        imported.names,
        imported.origin,
    )


def on_device(parts: detector_file.Parts, device: str) -> Detector:
    """A detector from its parts, on a device as of `load`.

    Raises:
        InputError: no such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return Detector(*parts._replace(model=parts.model.to(device)))
    except (RuntimeError, AssertionError) as error:  # without CUDA torch asserts
        raise InputError(f"device '{device}': {str(error).splitlines()[0]}") from error
