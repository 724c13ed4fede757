"""FSCE: fine-tuning with a contrastive loss over regions."""

import math

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.boxes import BOX_CODER, areas, intersections
from fsdet.heads.finetuning.finetune import Finetune
from fsdet.heads.layers import RegionShape, scaled_cosine, unit
from fsdet.heads.support import class_means
from fsdet.types import Support, Task


class Fsce(Finetune):
    """Sun et al. 2021, "FSCE: Few-Shot Object Detection via Contrastive Proposal Encoding".

    logit_c = scale * cos(fc7(h), w_c) where h = fc6. The second stage trains fc7 like `Finetune`, and w from its
    class's mean direction, and minimises L_class + `weight` L_con, where

    L_con = mean over i with u_i >= `overlap` of -1/(n_i - 1) sum_{j != i, y_j = y_i} log p_ij,
    p_ij = exp(c_i c_j / `temperature`) / sum_{k != i} exp(c_i c_k / `temperature`);

    c_i is region i's fc7 through two layers, of unit length, y_i its category, n_i the number of regions of the
    category and u_i its IoU with its box. Background is in the denominator alone.

    Differs from the paper: pyramid and RPN are trained there too, and the loss is left out at one and two
    shots, where a category has hardly any pair of objects. Here it is used at all shot counts, because an
    object has several regions.

    Like the paper, a step contrasts a batch: every m-th region, with the least m that keeps at most `batch`, and
    others in the next step. All regions in each step, a square of thousands, take three to four times as long.
    """

    class Options(Finetune.Options):
        weight: NonNegativeFloat = 0.5  # of the contrastive loss
        temperature: PositiveFloat = 0.2  # of the contrastive loss
        overlap: NonNegativeFloat = 0.7  # least IoU of an anchor with its box
        length: PositiveInt = 128  # of an encoded region
        batch: PositiveInt = 512  # most regions that a step contrasts

    options: Options

    def __init__(self, shape: RegionShape, width: int, options: Options):
        super().__init__(shape, width, options)
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, options.length, bias=False)

    def initial_task(self, embeddings: Tensor, support: Support) -> Task:
        encoder = {
            "encoder_inner": self.inner.weight,
            "encoder_bias": self.inner.bias,
            "encoder_outer": self.outer.weight,
        }
        fc7 = self.fc7_weights()
        means = class_means(self.adapted(embeddings, fc7), support.labels, support.n_way)
        return {**fc7, "rows": F.normalize(means, dim=-1), **encoder}

    def logits(self, adapted: Tensor, task: Task) -> Tensor:
        return scaled_cosine(adapted, task["rows"], self.options.scale)

    def extra_losses(
        self, adapted: Tensor, support: Support, task: Task, step: int
    ) -> dict[str, Tensor]:
        options = self.options
        num_batches = max(math.ceil(len(adapted) / options.batch), 1)
        # Regions are ordered by category: every m-th is a share of each.
        batch = slice(step % num_batches, None, num_batches)
        inner = F.linear(adapted[batch], task["encoder_inner"], task["encoder_bias"])
        encoded = unit(F.linear(F.relu(inner), task["encoder_outer"]))
        labels = support.labels[batch]
        anchors = (labels > 0) & (target_ious(support.deltas[batch]) >= options.overlap)
        loss = contrastive_loss(encoded, labels, anchors, options.temperature)
        return {"loss_contrast": options.weight * loss}


def contrastive_loss(
    encoded: Tensor, labels: Tensor, anchors: Tensor, temperature: float
) -> Tensor:
    """L_con of [S, D] of unit length with labels [S]; `anchors` [S] bool are the i. 0 without a pair."""
    counts = torch.bincount(labels, minlength=1)
    index = torch.nonzero(anchors & (counts[labels] > 1))[:, 0]
    anchor, category = encoded[index], labels[index]
    # The sum over pairs is a product with the category's sum; only denominators need the large matrix.
    sums = encoded.new_zeros(len(counts), encoded.shape[1]).index_add(0, labels, encoded)
    positives = (anchor * sums[category]).sum(1) - anchor.square().sum(1)
    similarity = (anchor / temperature) @ encoded.T
    similarity[torch.arange(len(index), device=index.device), index] = -torch.inf
    losses = similarity.logsumexp(1) - positives / temperature / (counts[category] - 1)
    return losses.sum() / anchors.sum().clamp(min=1)


def target_ious(deltas: Tensor) -> Tensor:
    """[S, 4] box-coder targets -> [S] IoU of each region with the box that its target encodes."""
    region = torch.tensor([[-0.5, -0.5, 0.5, 0.5]], device=deltas.device).expand(len(deltas), 4)
    box = BOX_CODER.decode_single(deltas.float(), region)
    shared = intersections(box, region)
    return shared / (1 + areas(box) - shared)
