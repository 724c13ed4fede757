"""Detection in one image as an ONNX graph, by the older of PyTorch's exporters: it traces."""

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
from torchvision.ops import batched_nms

from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.model.postprocess import refined
from fsdet.types import Task

OPSET = 17
OUTPUTS = ("boxes", "scores", "labels")


def traced(model: FewShotRCNN, task: Task, more: Task, threshold: float) -> bytes:
    """The graph, as `fsdet.export` describes it, whose inputs have no defaults yet.

    Args:
        task: to trace with.
        more: of another number of categories: what it has other sizes in, is of any size.
        threshold: to trace with.

    Raises:
        RuntimeError, TypeError, ValueError: something cannot be traced.
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
        warnings.simplefilter("ignore")  # of numbers that are the same for all images
        torch.onnx.export(
            _Graph(model, tuple(task)).eval(),
            (image, torch.tensor(threshold), *task.values()),
            path,
            input_names=["image", "threshold", *sizes],
            output_names=list(OUTPUTS),
            opset_version=OPSET,
            dynamo=False,  # that one cannot export a choice of regions yet
            dynamic_axes={"image": {0: "height", 1: "width"}}
            | {name: {0: "found"} for name in OUTPUTS}
            | sizes,
        )
        return path.read_bytes()


class _Graph(nn.Module):
    """Detection of operations that ONNX has, with no number in it that an image or a task decides."""

    def __init__(self, model: FewShotRCNN, names: Sequence[str]):
        super().__init__()
        self.model, self.names = copy.deepcopy(model), tuple(names)
        self.model.transform.__class__ = _Resized

    def forward(self, image: Tensor, threshold: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """uint8 [H, W, 3], [], the task -> boxes [R, 4], scores [R], labels [R]."""
        model, task = self.model, dict(zip(self.names, tensors, strict=True))
        features, _ = model.extract([image.permute(2, 0, 1)])
        proposals, _ = model.rpn(features.batch, features.proposing)
        prediction = model.head(model.pool_regions(features, proposals), task)
        original = shape_as_tensor(image)[:2].double()
        resized = torch.stack(features.batch.image_sizes[0]).double()
        boxes = proposals[0] * (original / resized).flip(0).repeat(2).float()
        boxes, whole = refined(prediction.deltas, boxes, original[None])
        scores = torch.where(whole[:, None], prediction.probabilities(), -1.0)
        overlap, most = model.selection.overlap, model.selection.per_image
        kept = _Suppression.apply(boxes[None], scores.T[None], threshold, overlap)
        label, region = kept[:, 1], kept[:, 2]
        # As in `Selection`, of equal scores the earlier region comes first, then the earlier label.
        order = torch.argsort(region * scores.shape[1] + label)
        label, region = label[order], region[order]
        best = scores[region, label]
        order = torch.argsort(best, descending=True)[:most]
        return boxes[region[order]], best[order], label[order] + 1


class _Resized(GeneralizedRCNNTransform):
    """torchvision's transform, for which the size of a resized image is computed as it is outside of a graph.

    Its own is computed from floats when traced, and is a pixel smaller for some images.
    """

    def resize(self, image: Tensor, target: None = None) -> tuple[Tensor, None]:
        original = shape_as_tensor(image)[-2:].double()
        # Tensor by tensor: a number by a tensor is its reciprocal times the number, which rounds twice.
        wanted = torch.tensor([self.min_size[-1], self.max_size]).double()
        scale = (wanted / torch.stack([original.min(), original.max()])).min()
        height, width = (original * scale).long()
        return F.interpolate(image[None], (height, width), mode="bilinear")[0], None


class _Suppression(torch.autograd.Function):
    """Non-maximum suppression within each category, which ONNX has as one operation."""

    @staticmethod
    def forward(
        ctx: Any, boxes: Tensor, scores: Tensor, threshold: Tensor, overlap: float
    ) -> Tensor:
        """[1, R, 4], [1, N, R], [] -> [F, 3]: image, label from 0 on, region."""
        label, region = torch.nonzero(scores[0] > threshold, as_tuple=True)
        keep = batched_nms(boxes[0][region], scores[0][label, region], label, overlap)
        return torch.stack([torch.zeros_like(keep), label[keep], region[keep]], 1)

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, threshold: Any, overlap: float) -> Any:
        every = g.op("Constant", value_t=torch.tensor([torch.iinfo(torch.int64).max]))
        most = g.op("Constant", value_t=torch.tensor([overlap]))
        least = g.op("Reshape", threshold, g.op("Constant", value_t=torch.tensor([1])))
        return g.op("NonMaxSuppression", boxes, scores, every, most, least)


@parse_args("v", "i", "i", "i")
def _split(g: Any, x: Any, chunks: int, dim: int, _outputs: int) -> Any:
    """The gates of a recurrent cell; PyTorch's own asks how many numbers they are, and has forgotten it by here."""
    return g.op("Split", x, axis_i=dim, outputs=chunks)
