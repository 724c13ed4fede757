"""An imported detector compared with the original, in pictures."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torchvision
from torch import Tensor

from fsdet.importers.importer import Imported
from fsdet.importers.layouts import renamed
from fsdet.importers.reference import reference_detections
from fsdet.importers.torchvision_weights import PREFIX
from fsdet.types import Detections

BOX, SCORE = 1.0, 1e-2  # pixels and score up to which two detections are the same


class Comparison(NamedTuple):
    """Detections of two detectors in an image."""

    total: int  # of the original
    same: int  # with the same label, and nearly the same box and score
    box: float  # largest distance of a side, of those
    score: float  # largest difference, of those


def original_of(
    tensors: Mapping[str, Tensor], imported: Imported
) -> Callable[[np.ndarray], Detections]:
    """The original of an imported detector: uint8 [H, W, 3] RGB -> detections, labels by row.

    For torchvision's files it is torchvision's own class, for others `reference_detections`.

    Args:
        tensors: of the file, under its names.
    """
    preset = imported.preset
    if preset.project != "torchvision":
        ours = renamed(tensors, preset.project)
        return lambda pixels: reference_detections(ours, preset, pixels)
    make = torchvision.models.get_model_builder(imported.word.removeprefix(PREFIX))
    model = make(weights=None, weights_backbone=None, num_classes=1 + len(imported.rows)).eval()
    model.load_state_dict(tensors)
    norms = (torch.nn.BatchNorm2d, torchvision.ops.FrozenBatchNorm2d)  # frozen only with weights
    for module in model.backbone.body.modules():
        if isinstance(module, norms):
            module.eps = preset.eps

    @torch.no_grad()
    def detect(pixels: np.ndarray) -> Detections:
        image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 255
        return model([image])[0]

    return detect


def compare(original: Detections, detections: Sequence, rows: Sequence[str | None]) -> Comparison:
    """Match detections with those of the original: same name, nearest box.

    Args:
        original: label n is row n of the classifier.
        detections: (box, name, score) of the imported detector.
        rows: names of the rows; detections of rows without a name are left out.
    """
    labels = original["labels"].tolist()
    named = torch.tensor([rows[n - 1] is not None for n in labels], dtype=torch.bool)
    label_of = {name: n for n, name in enumerate(rows, 1)}
    ours = torch.tensor([label_of[d.name] for d in detections])
    expected = original["labels"].cpu()[named]
    boxes = torch.tensor([d.box for d in detections]).reshape(-1, 4)
    scores = torch.tensor([d.score for d in detections])
    distance = (original["boxes"].cpu()[named][:, None] - boxes).abs().amax(2)
    apart = (original["scores"].cpu()[named][:, None] - scores).abs()
    alike = (distance <= BOX) & (apart <= SCORE) & (expected[:, None] == ours)
    same = alike.any(1)
    nearest = torch.where(alike, distance + apart, torch.inf).argmin(1) if len(boxes) else None
    if nearest is None or not same.any():
        return Comparison(len(same), 0, 0.0, 0.0)
    matched = torch.nonzero(same)[:, 0]
    columns = nearest[matched]
    return Comparison(
        len(same),
        len(matched),
        float(distance[matched, columns].max()),
        float(apart[matched, columns].max()),
    )
