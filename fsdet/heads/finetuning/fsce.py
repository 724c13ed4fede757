"""Fine-tuning that draws regions of a category together."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.boxes import BOX_CODER
from fsdet.heads.base import above_zero
from fsdet.heads.finetuning.finetune import FineTune
from fsdet.heads.layers import RegionShape, scaled_cosine, unit
from fsdet.heads.support import class_means
from fsdet.types import Support, Task


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

    Args:
        shape, width: as of every head.
        scale: of the cosine.
        steps, learning_rate, weight_decay, background, tune_boxes, layer_rate: as of `FineTune`.
        weight, temperature: of the contrastive loss.
        overlap: IoU that a region must have with its box to be drawn to others.
        length: of an encoded region.
        batch: how many regions a step contrasts at most.
    """

    def __init__(
        self,
        shape: RegionShape,
        width: int,
        scale: float = 20.0,
        steps: int = 100,
        learning_rate: float = 0.02,
        weight_decay: float = 0.0,
        background: float = 4.0,
        tune_boxes: bool = False,
        layer_rate: float = 0.002,
        weight: float = 0.5,
        temperature: float = 0.2,
        overlap: float = 0.7,
        length: int = 128,
        batch: int = 512,
    ):
        super().__init__(
            shape,
            width,
            scale,
            steps,
            learning_rate,
            weight_decay,
            background,
            tune_boxes,
            layer_rate,
        )
        above_zero(temperature=temperature, length=length, batch=batch)
        self.weight, self.temperature, self.overlap = weight, temperature, overlap
        self.batch = batch
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, length, bias=False)

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
