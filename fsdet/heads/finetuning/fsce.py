"""Fine-tuning that draws regions of a category together."""

import math

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.boxes import BOX_CODER
from fsdet.heads.finetuning.finetune import FineTune, FineTuneOptions
from fsdet.heads.layers import RegionShape, scaled_cosine, unit
from fsdet.heads.options import (
    STRICT,
    Count,
    NonNegative,
    Positive,
)
from fsdet.heads.support import class_means
from fsdet.types import Support, Task


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FsceOptions(FineTuneOptions):
    """Options of contrastive fine-tuning."""

    weight: NonNegative = 0.5  # of the contrastive loss
    temperature: Positive = 0.2  # of the contrastive loss
    overlap: NonNegative = 0.7  # minimum IoU of an anchor region with its box
    length: Count = 128  # of an encoded region
    batch: Count = 512  # regions contrasted in a step, at most


class Fsce(FineTune):
    """Sun et al. 2021, "FSCE: Few-Shot Object Detection via Contrastive Proposal Encoding".

    logit_c = scale * cos(fc7(h), w_c) where h = fc6. The second stage moves fc7 as that of `FineTune` does, and w
    from its class's mean direction, and minimises L_class + `weight` L_con, where

    L_con = mean over i with u_i >= `overlap` of -1/(n_i - 1) sum_{j != i, y_j = y_i} log p_ij,
    p_ij = exp(c_i c_j / `temperature`) / sum_{k != i} exp(c_i c_k / `temperature`);

    c_i is region i's fc7 through two layers, of unit length, y_i its category, n_i how many regions have it and
    u_i its IoU with its box. Background is in the denominator alone. In the paper pyramid and RPN move too, and
    the term is left out at one and two shots, where a category has hardly any pair of objects; here it is in at
    all, since an object has several regions.

    A step contrasts a batch, as in the paper: with more regions than `batch` every m-th of them, m the least that
    will do, others in the next step. All of them in each step, a square of thousands, take three to four times
    as long.
    """

    Options = FsceOptions

    def __init__(self, shape: RegionShape, width: int, options: FsceOptions):
        super().__init__(shape, width, options)
        self.weight, self.temperature = options.weight, options.temperature
        self.overlap, self.batch = options.overlap, options.batch
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, options.length, bias=False)

    def start(self, what: Tensor, support: Support) -> Task:
        encoder = {
            "encoder_inner": self.inner.weight,
            "encoder_bias": self.inner.bias,
            "encoder_outer": self.outer.weight,
        }
        fc7 = self.fc7()
        means = class_means(self.described(what, fc7), support.labels, support.n_way)
        return {**fc7, "rows": F.normalize(means, dim=-1), **encoder}

    def logits(self, described: Tensor, task: Task) -> Tensor:
        return scaled_cosine(described, task["rows"], self.scale)

    def more_losses(
        self, described: Tensor, support: Support, task: Task, step: int
    ) -> dict[str, Tensor]:
        batches = max(math.ceil(len(described) / self.batch), 1)
        # A support set has its regions by category, so that every m-th is a share of each.
        now = slice(step % batches, None, batches)
        inner = F.linear(described[now], task["encoder_inner"], task["encoder_bias"])
        encoded = unit(F.linear(F.relu(inner), task["encoder_outer"]))
        labels = support.labels[now]
        anchors = (labels > 0) & (overlaps_of(support.deltas[now]) >= self.overlap)
        loss = contrast(encoded, labels, anchors, self.temperature)
        return {"loss_contrast": self.weight * loss}


def contrast(encoded: Tensor, labels: Tensor, anchors: Tensor, temperature: float) -> Tensor:
    """L_con of [S, D] of unit length with labels [S]; `anchors` [S] bool are the i. 0 without a pair."""
    counts = torch.bincount(labels, minlength=1)
    place = torch.nonzero(anchors & (counts[labels] > 1))[:, 0]
    mine, own = encoded[place], labels[place]
    # A sum over pairs is a product with the category's sum; the large matrix serves the denominators alone.
    together = encoded.new_zeros(len(counts), encoded.shape[1]).index_add(0, labels, encoded)
    drawn = (mine * together[own]).sum(1) - mine.square().sum(1)
    similar = (mine / temperature) @ encoded.T
    similar[torch.arange(len(place), device=place.device), place] = -torch.inf
    each = similar.logsumexp(1) - drawn / temperature / (counts[own] - 1)
    return each.sum() / anchors.sum().clamp(min=1)


def overlaps_of(deltas: Tensor) -> Tensor:
    """[S, 4] box-coder targets -> [S] IoU of each region with the box that its target leads to."""
    side = torch.tensor([[-0.5, -0.5, 0.5, 0.5]], device=deltas.device).expand(len(deltas), 4)
    box = BOX_CODER.decode_single(deltas.float(), side)
    far, near = torch.minimum(box, side)[:, 2:], torch.maximum(box, side)[:, :2]
    both = (far - near).clamp(min=0).prod(1)
    return both / (1 + (box[:, 2:] - box[:, :2]).prod(1) - both)
