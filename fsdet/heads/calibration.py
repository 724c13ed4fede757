"""Prototypical calibration: the scores of any head mixed with cosines of mean-pooled features."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from fsdet.heads.base import Head
from fsdet.heads.layers import BoxBranch, RegionShape, Trunk, mean_features
from fsdet.heads.support import class_means
from fsdet.types import Features, Prediction, Regions, Support, Task


class CalibratedHead(Head):
    """Qiao et al. 2021, "DeFRCN: Decoupled Faster R-CNN", its prototypical calibration block.

    s'_c = (1 - share) * s_c + share * max(cos(z, p_c), 0) where the head's score s_c is above `lowest`, and
    s_c elsewhere; z are the mean-pooled features of a region, p_c their mean over the support regions of c.
    Nothing is trained for it.

    Differs from the paper: the paper calibrates detections of novel categories after suppression, with
    features of a separate network on image crops. Here all categories of a task are calibrated before
    suppression, with features of the detector's own backbone.

    Args:
        inner: the head whose scores are calibrated.
        shape: of the region features.
        share: weight of the cosine, 0 to 1; 0.5 in the paper.
        lowest: scores up to this value are not changed.
    """

    def __init__(self, inner: Head, shape: RegionShape, share: float, lowest: float = 0.05):
        nn.Module.__init__(self)  # trunk and box branch are those of `inner`
        self.inner, self.share, self.lowest = inner, share, lowest
        self.learns_from_episodes = inner.learns_from_episodes
        self._length = shape.mean_length

    @property
    def trunk(self) -> Trunk:  # type: ignore[override]
        return self.inner.trunk

    @property
    def boxes(self) -> BoxBranch:  # type: ignore[override]
        return self.inner.boxes

    def embed(self, features: Features) -> Tensor:
        return torch.cat([mean_features(features), self.inner.embed(features)], 1)

    def learn(self, support: Support) -> Task:
        embeddings = self._split(support.embeddings)[1]
        task = self.inner.learn(Support(embeddings, support.labels, support.deltas, support.n_way))
        return task | self.prototypes(support)

    def prototypes(self, support: Support) -> Task:
        """p_c of every category: the part that calibration adds to the task of `inner`."""
        means = self._split(support.embeddings)[0]
        prototypes = class_means(means, support.labels, support.n_way)[1:]
        return {"calibration": F.normalize(prototypes, dim=-1)}

    def predict(self, embeddings: Tensor, task: Task) -> Prediction:
        means, inner_embeddings = self._split(embeddings)
        prediction = self.inner.predict(inner_embeddings, task)
        scores = prediction.probabilities()
        cosine = (means @ task["calibration"].T).clamp(min=0).to(scores)
        mixed = torch.where(scores > self.lowest, torch.lerp(scores, cosine, self.share), scores)
        return Prediction(prediction.logits, prediction.deltas, mixed)

    def _split(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Mean-pooled features, and the embeddings of `inner`."""
        return embeddings[:, : self._length], embeddings[:, self._length :]

    def loss(self, query: Regions, task: Task) -> dict[str, Tensor]:
        return self.inner.loss(query, task)

    def episode(self, support: Regions, query: Regions) -> dict[str, Tensor]:
        return self.inner.episode(support, query)

    def optimizer(
        self, rate: float, own_rate: float, scalar_rate: float, decay: float
    ) -> Optimizer:
        return self.inner.optimizer(rate, own_rate, scalar_rate, decay)
