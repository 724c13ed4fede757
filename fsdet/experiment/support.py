"""Support: regions of base categories and of shots, selected from cached features and embedded by a head."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fsdet.evaluation.candidates import embed
from fsdet.experiment.features import CachedFeatures
from fsdet.experiment.few_shot_data import Problem
from fsdet.heads.base import Head
from fsdet.types import Support


def select_shots(features: CachedFeatures, problem: Problem, ids: dict[str, list[int]]) -> Tensor:
    """Select the regions of shots, and of background in their images.

    Other objects in the image of a shot are ignored: they are neither objects nor background.

    Args:
        ids: category -> annotation ids of its shots.

    Returns:
        Indices of regions in `features.novel`.
    """
    rows = problem.rows_of(i for ids_of_category in ids.values() for i in ids_of_category)
    images = torch.from_numpy(np.unique(problem.images_of_rows(rows)))
    return torch.cat([features.novel.of_objects(rows), features.novel.background_of(images)])


@dataclass(frozen=True)
class EmbeddedSupport:
    """Embeddings of all regions that tasks are drawn from: memory of base categories, and shots."""

    memory: Support
    novel: Tensor  # [M, D] embeddings of the regions of `features.novel`
    features: CachedFeatures

    @staticmethod
    @torch.no_grad()
    def embed(head: Head, features: CachedFeatures) -> "EmbeddedSupport":
        """Embed cached features with a head."""
        memory = features.memory
        embeddings = embed(head, memory.features)
        support = Support(embeddings, memory.labels, memory.deltas, memory.n_way)
        return EmbeddedSupport(support, embed(head, features.novel.features), features)

    def with_shots(self, index: Tensor) -> Support:
        """The support of a task: memory, and the shots that `select_shots` selected.

        Labels are those of the joint label space: base categories first.
        """
        memory, bank = self.memory, self.features.novel
        labels = bank.labels[index]
        labels = torch.where(labels > 0, labels + memory.n_way, 0)
        return Support(
            torch.cat([memory.embeddings, self.novel[index]]),
            torch.cat([memory.labels, labels]),
            torch.cat([memory.deltas, bank.deltas[index]]),
            memory.n_way + len(bank.classes),
        )
