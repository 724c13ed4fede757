"""ONNX graph of detection in one image, traced by PyTorch's TorchScript exporter."""

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.onnx import register_custom_op_symbolic
from torch.onnx.operators import shape_as_tensor
from torch.onnx.symbolic_helper import parse_args
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign, batched_nms

from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.model.pooling import POOLED
from fsdet.model.postprocess import refined, vote
from fsdet.types import Task

OPSET = 17
OUTPUTS = ("boxes", "scores", "labels")


def traced(model: FewShotRCNN, task: Task, more: Task, threshold: float) -> bytes:
    """The serialised graph, with the inputs and outputs of `fsdet.export.export`, without defaults.

    Args:
        task: task to trace with.
        more: a task with another number of categories; axes whose sizes differ from `task` are dynamic.
        threshold: threshold to trace with.

    Raises:
        RuntimeError, TypeError, ValueError: an operation cannot be traced.
    """
    sizes = {
        f"task.{name}": {
            axis: f"{name}_{axis}"
            for axis, (size, size_with_more) in enumerate(
                zip(value.shape, more[name].shape, strict=True)
            )
            if size != size_with_more
        }
        for name, value in task.items()
    }
    side = model.transform.min_size[-1]
    image = torch.zeros((side, side, 3), dtype=torch.uint8)
    register_custom_op_symbolic("aten::unsafe_chunk", _split, OPSET)
    with TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings():
        path = Path(folder) / "graph.onnx"
        warnings.simplefilter(
            "ignore"
        )  # the tracer warns of constants, which are equal for all images
        torch.onnx.export(
            _Graph(model, tuple(task)).eval(),
            (image, torch.tensor(threshold), *task.values()),
            path,
            input_names=["image", "threshold", *sizes],
            output_names=list(OUTPUTS),
            opset_version=OPSET,
            dynamo=False,  # the newer exporter cannot export the selection of regions yet
            dynamic_axes={"image": {0: "height", 1: "width"}}
            | {name: {0: "found"} for name in OUTPUTS}
            | sizes,
        )
        return path.read_bytes()


class _Graph(nn.Module):
    """Detection by operations of ONNX, without constants that depend on the image or the task."""

    def __init__(self, model: FewShotRCNN, names: Sequence[str]):
        super().__init__()
        self.model, self.names = copy.deepcopy(model), tuple(names)
        self.model.transform.__class__ = _Resized
        self.model.pool = MultiScaleRoIAlign(list(POOLED), self.model.pool.side, 2)

    def forward(self, image: Tensor, threshold: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Image uint8 [H, W, 3], threshold [], tensors of the task -> boxes [R, 4], scores [R], labels [R]."""
        model, task = self.model, dict(zip(self.names, tensors, strict=True))
        features, _ = model.extract([image.permute(2, 0, 1)])
        proposals, _ = model.rpn(features.batch, features.proposing)
        prediction = model.head(model.pool_regions(features, proposals), task)
        original = shape_as_tensor(image)[:2].double()
        resized = torch.stack(features.batch.image_sizes[0]).double()
        boxes = proposals[0] * (original / resized).flip(0).repeat(2).float()
        deltas, probabilities = prediction.deltas, prediction.probabilities()
        if deltas.ndim == 2:  # one box for all categories
            deltas = deltas[:, None]
        shape = deltas.shape
        boxes, whole = refined(
            deltas.flatten(0, 1),
            (boxes[:, None] + torch.zeros_like(deltas)).flatten(0, 1),
            original[None],
        )
        boxes, whole = boxes.reshape(shape).transpose(0, 1), whole.reshape(shape[:2])
        scores = torch.where(whole, probabilities, -1.0)
        # Boxes of a category are an image of their own for ONNX.
        by_category = scores.T[None] if prediction.deltas.ndim == 2 else scores.T[:, None]
        overlap, most = model.selection.overlap, model.selection.per_image
        survivors = _Suppression.apply(boxes, by_category, threshold, overlap)
        group, label, region = survivors.unbind(1)
        label = label + group
        # Equal scores are ordered by region, then by label, as in `Selection`.
        order = torch.argsort(region * scores.shape[1] + label)
        group, label, region = group[order], label[order], region[order]
        best = scores[region, label]
        order = torch.argsort(best, descending=True)[:most]
        group, label, region = group[order], label[order], region[order]
        found, voting = boxes[group, region], model.selection.voting
        if voting < 1:
            found = vote(found, boxes[group], scores.T[label].clamp(min=0), voting)
        return found, best[order], label + 1


class _Resized(GeneralizedRCNNTransform):
    """torchvision's transform, with sizes computed in doubles as outside of tracing.

    When traced, torchvision computes sizes in floats, and some images get a pixel smaller.
    """

    def resize(self, image: Tensor, target: None = None) -> tuple[Tensor, None]:
        original = shape_as_tensor(image)[-2:].double()
        # Both are tensors: PyTorch divides a number by a tensor via the reciprocal, which rounds twice.
        wanted = torch.tensor([self.min_size[-1], self.max_size]).double()
        scale = (wanted / torch.stack([original.min(), original.max()])).min()
        height, width = (original * scale).long()
        return F.interpolate(image[None], (height, width), mode="bilinear")[0], None


class _Suppression(torch.autograd.Function):
    """Non-maximum suppression within each category, exported as one ONNX operation."""

    @staticmethod
    def forward(
        ctx: Any, boxes: Tensor, scores: Tensor, threshold: Tensor, overlap: float
    ) -> Tensor:
        """Boxes [G, R, 4], scores [G, C, R], threshold [] -> [F, 3]: group, category of the group, region."""
        group, label, region = torch.nonzero(scores > threshold, as_tuple=True)
        apart = group * scores.shape[1] + label
        keep = batched_nms(boxes[group, region], scores[group, label, region], apart, overlap)
        return torch.stack([group[keep], label[keep], region[keep]], 1)

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, threshold: Any, overlap: float) -> Any:
        every = g.op("Constant", value_t=torch.tensor([torch.iinfo(torch.int64).max]))
        most = g.op("Constant", value_t=torch.tensor([overlap]))
        least = g.op("Reshape", threshold, g.op("Constant", value_t=torch.tensor([1])))
        return g.op("NonMaxSuppression", boxes, scores, every, most, least)


@parse_args("v", "i", "i", "i")
def _split(g: Any, x: Any, chunks: int, dim: int, _outputs: int) -> Any:
    """Split of a recurrent cell's gates; PyTorch's own symbolic needs a static size, which tracing has lost."""
    return g.op("Split", x, axis_i=dim, outputs=chunks)
