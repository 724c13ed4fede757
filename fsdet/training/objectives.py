"""Objectives: modules whose `forward` returns the named losses of a batch, as scalars.

A distributed wrapper sees `forward` alone: gradients of an inner loop stay in the process, and gradients of the
outer loss are averaged over processes once.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fsdet.heads.base import Head
from fsdet.heads.finetuning.cosine import Cosine
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.types import Episode, Regions, Shots, Target


class Supervised(nn.Module):
    """Faster R-CNN's four losses on the base categories, under `base_task()` of a cosine head."""

    def __init__(self, model: FewShotRCNN, classes: tuple[str, ...]):
        super().__init__()
        self.model, self.classes = model, classes

    def forward(self, batch: tuple[list[Tensor], list[Target]]) -> dict[str, Tensor]:
        images, targets = batch
        head = self.model.head
        assert isinstance(head, Cosine)
        return self.model.loss(Shots(images, targets, self.classes), head.base_task())


class FromBank(nn.Module):
    """Episodes of cached regions: the head adapts to the support, and its losses are those of the query."""

    def __init__(self, head: Head):
        super().__init__()
        self.head = head

    def forward(self, episodes: Sequence[tuple[Regions, Regions]]) -> dict[str, Tensor]:
        return _mean([self.head.episode(support, query) for support, query in episodes])


class FromImages(nn.Module):
    """Episodes of images: backbone and RPN learn with the head."""

    def __init__(self, model: FewShotRCNN):
        super().__init__()
        self.model = model

    def forward(self, episodes: Sequence[Episode]) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(int(torch.randint(1 << 62, ())))
        return _mean([self.model(episode, generator) for episode in episodes])


def _mean(losses: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([loss[name] for loss in losses]).mean() for name in losses[0]}
