"""The rows of a trained detector that stay as they are: classifier and box regressor."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-5  # detectron2's cosine layers add it to both lengths


class KeptRows(nn.Module):
    """Classifier and box regressor of a trained detector, fixed.

    Args:
        n: number of categories B; row 0 of the classifier is background.
        width: D of the classifier's and the regressor's input.
        cosine: scale of rows compared as cosines; 0: linear rows with biases.
        class_boxes: whether every category has a regressor of its own.
    """

    weight: Tensor
    bias: Tensor
    box_weight: Tensor
    box_bias: Tensor
    folded: Tensor

    def __init__(self, n: int, width: int, cosine: float, class_boxes: bool):
        super().__init__()
        self.cosine, self.class_boxes = cosine, class_boxes
        regressors = n if class_boxes else 1
        self.register_buffer("weight", torch.zeros(1 + n, width))
        self.register_buffer("bias", torch.zeros(1 + n))
        self.register_buffer("box_weight", torch.zeros(4 * regressors, width))
        self.register_buffer("box_bias", torch.zeros(4 * regressors))
        # Their probability is background's: rows that mean no category (before a classifier has been copied,
        # or without a name) and forgotten ones.
        self.register_buffer("folded", torch.ones(n, dtype=torch.bool))

    def logits(self, fc7: Tensor) -> Tensor:
        """[R, D] -> [R, 1 + B] of the classifier as it was trained."""
        if not self.cosine:
            return F.linear(fc7, self.weight, self.bias)
        rows = self.cosine * self.weight / (self.weight.norm(dim=1, keepdim=True) + EPS)
        return F.linear(fc7 / (fc7.norm(dim=1, keepdim=True) + EPS), rows)

    def log_probabilities(self, fc7: Tensor) -> Tensor:
        """[R, D] -> [R, 1 + K]: log-softmax over background and the K categories that are not folded."""
        logits = self.logits(fc7)
        if self.folded.any():
            hidden = F.pad(self.folded, (1, 0), value=True)
            background = logits[:, hidden].logsumexp(1, keepdim=True)
            logits = torch.cat([background, logits[:, ~hidden]], 1)
        return logits.log_softmax(1)

    def deltas(self, box_input: Tensor) -> Tensor:
        """[R, D] -> [R, B, 4], or [R, 1, 4] of a class-agnostic regressor."""
        return F.linear(box_input, self.box_weight, self.box_bias).unflatten(1, (-1, 4))

    def without(self, kept: Sequence[int]) -> "KeptRows":
        """A copy with more categories folded; `kept` has their indices among the K that are not."""
        folded = self.folded.clone()
        folded[torch.nonzero(~folded)[list(kept), 0]] = True
        return self._with(folded=folded)

    def only(self, kept: Sequence[int]) -> "KeptRows":
        """The same rows with these of the K categories first, in this order, and all others folded."""
        rows = torch.nonzero(~self.folded)[list(kept), 0]
        folded = torch.ones_like(self.folded)
        folded[rows] = False
        order = torch.cat([rows, torch.nonzero(folded)[:, 0]])
        with_background = F.pad(order + 1, (1, 0))
        changed = {
            "weight": self.weight[with_background],
            "bias": self.bias[with_background],
            "folded": folded[order],
        }
        if self.class_boxes:
            for name in ("box_weight", "box_bias"):
                regressors = getattr(self, name).unflatten(0, (-1, 4))
                changed[name] = regressors[order].flatten(0, 1)
        return self._with(**changed)

    def _with(self, **buffers: Tensor) -> "KeptRows":
        other = copy.copy(self)
        other._buffers = {**self._buffers, **buffers}
        return other
