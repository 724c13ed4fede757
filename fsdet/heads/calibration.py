"""Scores corrected by what a backbone knew before any detector was trained; over any head."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from fsdet.heads.base import Head
from fsdet.heads.layers import BoxBranch, RegionShape, Trunk, averages
from fsdet.heads.support import class_means
from fsdet.types import Features, Prediction, Regions, Support, Task


class CalibratedHead(Head):
    """Qiao et al. 2021, "DeFRCN: Decoupled Faster R-CNN", its prototypical calibration block.

    s'_c = (1 - share) * s_c + share * max(cos(z, p_c), 0) where s_c is the head's score and above `lowest`, and
    s_c elsewhere; z are the plain averages of a region, p_c the mean over the support regions of category c.
    Nothing is trained for it. There the corrected are detections that have passed the suppression, of novel
    categories, in an embedding of whole images cut out; here all categories of a task are, before it, in
    what the detector's own backbone has seen.

    Args:
        inner: the head whose scores are corrected; this one takes it over.
        shape: of the features.
        share: of the calibration in the score, 0 to 1; 0.5 in the paper.
        lowest: scores up to here stay as they are.
    """

    def __init__(self, inner: Head, shape: RegionShape, share: float, lowest: float = 0.05):
        nn.Module.__init__(self)  # its layers are those of the head inside
        self.inner, self.share, self.lowest = inner, share, lowest
        self.learns_from_episodes = inner.learns_from_episodes
        self._length = shape.averages

    @property
    def trunk(self) -> Trunk:  # type: ignore[override]
        return self.inner.trunk

    @property
    def boxes(self) -> BoxBranch:  # type: ignore[override]
        return self.inner.boxes

    def embed(self, features: Features) -> Tensor:
        return torch.cat([averages(features), self.inner.embed(features)], 1)

    def learn(self, support: Support) -> Task:
        rest = self._split(support.embeddings)[1]
        task = self.inner.learn(Support(rest, support.labels, support.deltas, support.n_way))
        return task | self.prototypes(support)

    def prototypes(self, support: Support) -> Task:
        """p_c of every category: what is added to the task of the head inside."""
        plain = self._split(support.embeddings)[0]
        means = class_means(plain, support.labels, support.n_way)[1:]
        return {"calibration": F.normalize(means, dim=-1)}

    def predict(self, embeddings: Tensor, task: Task) -> Prediction:
        plain, rest = self._split(embeddings)
        said = self.inner.predict(rest, task)
        scores = said.probabilities()
        cosine = (plain @ task["calibration"].T).clamp(min=0).to(scores)
        mixed = torch.where(scores > self.lowest, torch.lerp(scores, cosine, self.share), scores)
        return Prediction(said.logits, said.deltas, mixed)

    def _split(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        return embeddings[:, : self._length], embeddings[:, self._length :]

    def loss(self, query: Regions, task: Task) -> dict[str, Tensor]:
        return self.inner.loss(query, task)

    def episode(self, support: Regions, query: Regions) -> dict[str, Tensor]:
        return self.inner.episode(support, query)

    def optimizer(
        self, rate: float, own_rate: float, scalar_rate: float, decay: float
    ) -> Optimizer:
        return self.inner.optimizer(rate, own_rate, scalar_rate, decay)
