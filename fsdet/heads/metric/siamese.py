"""Siamese network: a metric learned from pairs of regions."""

import torch
from pydantic import PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from fsdet.heads.base import region_losses
from fsdet.heads.metric.base import NearestRegionsHead
from fsdet.types import Regions, Task


class Siamese(NearestRegionsHead):
    """Koch et al. 2015, "Siamese Neural Networks for One-shot Image Recognition", over regions, with the loss
    of Hadsell et al. 2006, "Dimensionality Reduction by Learning an Invariant Mapping".

    logit_c = -scale * d_c^2, with d_c the distance to the nearest support region of category c, background
    included. Meta-training minimises d^2 over pairs of one category and max(0, margin - d)^2 over pairs of
    two; both kinds have weight one half.

    Differs from the papers: they draw pairs at random. Nearly all random pairs are soon far apart and teach
    nothing, while detection depends on hard ones, such as an object and a cropped part of it. So every query
    region is in the two pairs that decide its label: with the nearest support region of its own category, and
    with the nearest of any other. This suits background, which is varied: a background region need be near
    one support region, not near all.

    Distances rank, but detection scores must be probabilities: cross-entropy on the query trains the scale,
    and nothing else.
    """

    class Options(NearestRegionsHead.Options):
        scale: PositiveFloat = 10.0  # initial scale of the squared distance
        margin: PositiveFloat = 1.0  # least distance of two categories; distances are 0 to 2

    options: Options

    def logits(self, embeddings: Tensor, task: Task) -> Tensor:
        return -self.log_scale.exp() * self.squared_distances(embeddings, task)

    def squared_distances(self, embeddings: Tensor, task: Task) -> Tensor:
        """Squared distances to the nearest support region of every category: [R, D] -> [R, 1 + N]."""
        nearest = self.reduce_cosines(embeddings, task, lambda cosines: cosines.amax(-2))
        return (2 - 2 * nearest).clamp(min=0)  # of unit vectors

    def loss(self, query: Regions, task: Task) -> dict[str, Tensor]:
        """The contrastive loss of pairs, the cross-entropy that trains the scale, and the box loss."""
        embeddings = self.embed(query.features)
        class_half, box_half = self.class_embeddings(embeddings), embeddings[:, self.length :]
        constant_task = {name: value.detach() for name, value in task.items()}
        prediction = self.predict(torch.cat([class_half.detach(), box_half], 1), constant_task)
        losses = region_losses(prediction, query.labels, query.deltas)
        squares = self.squared_distances(class_half, task)
        return {"loss_pairs": self.pair_loss(squares, query.labels)} | losses

    def pair_loss(self, squares: Tensor, labels: Tensor) -> Tensor:
        """The contrastive loss of squared distances [R, 1 + N] of regions with labels [R]."""
        column = labels[:, None]
        own, other = squares.gather(1, column), squares.scatter(1, column, torch.inf).amin(1)
        distance = (other + 1e-12).sqrt()  # smooth at 0
        return (own.mean() + F.relu(self.options.margin - distance).square().mean()) / 2
