"""Two regions are of one category or of two: a metric learned from pairs."""

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.base import region_losses
from fsdet.heads.layers import RegionShape
from fsdet.heads.metric.base import NearestRegionsHead, NearestRegionsOptions
from fsdet.heads.options import (
    STRICT,
    Positive,
)
from fsdet.types import Regions, Task


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SiameseOptions(NearestRegionsOptions):
    """Options of Siamese networks."""

    margin: Positive = 1.0  # distance between categories, 0 to 2: embeddings have unit length
    scale: Positive = 10.0  # of the squared distance; learned from this start


class Siamese(NearestRegionsHead):
    """Koch et al. 2015, "Siamese Neural Networks for One-shot Image Recognition", over regions, with the loss
    of Hadsell et al. 2006, "Dimensionality Reduction by Learning an Invariant Mapping".

    logit_c = -scale * d_c^2, with d_c the distance to the nearest support region of category c, background
    included. Meta-training minimises d^2 over pairs of one category and max(0, margin - d)^2 over pairs of
    two, both kinds counting one half. The papers draw pairs at random; nearly all of those are far apart soon
    and teach nothing, while a detector lives by the hard ones, an object and its own cut-off part. So
    every query region is in two pairs, those that decide its label: with the nearest support region of its
    own category, and with the nearest of any other. This suits background too, which is many things: a region
    of it need be near one of the support's, not near all of them.

    Distances rank, but a detector's scores must say how likely an object is: cross-entropy on the query
    finds the scale for that, and moves nothing else.
    """

    Options = SiameseOptions

    def __init__(self, shape: RegionShape, width: int, options: SiameseOptions):
        super().__init__(shape, width, options)
        self.margin = options.margin
        self.log_scale = nn.Parameter(torch.tensor(options.scale).log())

    def logits(self, what: Tensor, task: Task) -> Tensor:
        return -self.log_scale.exp() * self.squares(what, task)

    def squares(self, what: Tensor, task: Task) -> Tensor:
        """[R, D] -> [R, 1 + N]: squared distances to the nearest support region of every category."""
        nearest = self.reduced(what, task, lambda part: part.amax(-2))
        return (2 - 2 * nearest).clamp(min=0)  # of unit vectors

    def loss(self, query: Regions, task: Task) -> dict[str, Tensor]:
        """The contrastive loss of pairs, the cross-entropy that the scale learns from, and the box loss."""
        embeddings = self.embed(query.features)
        what, where = self.describe(embeddings), embeddings[:, self.length :]
        still = {name: value.detach() for name, value in task.items()}
        said = self.predict(torch.cat([what.detach(), where], 1), still)
        losses = region_losses(said, query.labels, query.deltas)
        return {"loss_pairs": self.contrast(self.squares(what, task), query.labels)} | losses

    def contrast(self, squares: Tensor, labels: Tensor) -> Tensor:
        """The contrastive loss of squared distances [R, 1 + N] of regions with labels [R]."""
        mine = labels[:, None]
        own, other = squares.gather(1, mine), squares.scatter(1, mine, torch.inf).amin(1)
        too_near = F.relu(self.margin - (other + 1e-12).sqrt()).square()  # smooth where d is 0
        return (own.mean() + too_near.mean()) / 2
