"""Beside: new categories scored relative to the rows of a trained classifier, which stay as they are."""

import copy
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from fsdet.heads.base import Head
from fsdet.heads.finetuning.cosine import Cosine
from fsdet.heads.finetuning.kept_rows import KeptRows
from fsdet.heads.layers import BoxBranch, RegionShape, Trunk, mean_features, unit
from fsdet.heads.published_layers import PublishedBoxBranch, published_trunk, trunk_and_boxes
from fsdet.heads.support import category_weights, class_means
from fsdet.types import Features, Prediction, Regions, Support, Task


class Beside(Head):
    """Adds categories to a trained detector, whose own classifier stays as it is.

    Let L be the log-probabilities of the kept classifier. A new category n has the logit

        l_n = scale * (cos(z, w_n) - t_n),    z = fc7 beside mean-pooled features,

    and P = sum_n exp(l_n) / (1 + sum_n exp(l_n)) is the probability that a region is of any new category. The
    score of a kept category is exp(L) min(1, (1 - P) / (1 - sure)): the trained one where P is at most `sure`, and
    less only where a region is almost certainly new. Their order within a region never changes. Without new
    categories, the detector is the trained one.

    w_n starts at the mean of the category's regions, t_n between the cosines of its regions and of all others. Adam
    fine-tunes both on a cross-entropy in which everything kept, background included, is one class of logit 0.

    The box of a new category is refined by a fixed mixture of the kept regressors, solved by ridge regression
    on the support's regions, towards the mixture that the kept probabilities of these regions suggest.

    Args:
        n_base: B, the number of kept rows.

    Source: this project. Related: iMTFA (Ganea et al. 2021) puts class means beside kept rows at one scale, and
    loses the kept categories; ONCE (Perez-Rua et al. 2020) scores categories independently.
    """

    class Options(Head.Options):
        cosine: NonNegativeFloat = 20.0  # scale of kept rows as cosines; 0: linear with biases
        class_boxes: bool = False  # a box regressor for every kept category
        share: NonNegativeFloat = 1.2  # weight of fc7 relative to the mean-pooled features
        scale: PositiveFloat = 20.0  # of a new category's cosine
        steps: NonNegativeInt = 100  # Adam, full batch, cosine decay
        learning_rate: PositiveFloat = 0.02
        # probability of a new category from which kept categories lose score in a region
        sure: Annotated[float, Field(ge=0, lt=1)] = 0.9
        background: NonNegativeFloat = 4.0  # number of categories that all others together count as
        box_decay: PositiveFloat = 1.0  # ridge of the box mixture

    options: Options
    learns_from_episodes = False
    version = 2

    def __init__(self, shape: RegionShape, width: int, n_base: int, options: Options):
        nn.Module.__init__(self)  # a published trunk has no box layers beside it
        self.options, self.width = options, width
        self.kept = KeptRows(n_base, width, options.cosine, options.class_boxes)
        self.trunk: Trunk
        self.own_boxes: BoxBranch | None
        if shape.layers in ("fsdet", "averages"):
            self.trunk, self.own_boxes = trunk_and_boxes(shape, width)
        else:
            self.trunk, self.own_boxes = published_trunk(shape, width), None

    @property
    def boxes(self) -> BoxBranch:  # type: ignore[override]
        """Class-agnostic box branch, for heads that start from this one: the mean of the kept regressors."""
        if self.own_boxes is not None:
            return self.own_boxes
        branch = PublishedBoxBranch(self.trunk, self.width)
        with torch.no_grad():
            for name in ("weight", "bias"):
                rows = getattr(self.kept, f"box_{name}").unflatten(0, (-1, 4))
                getattr(branch.regressor, name).copy_(rows.mean(0))
        return branch

    @classmethod
    def create(cls, shape: RegionShape, width: int, n_base: int, options: Any) -> "Beside":
        return cls(shape, width, n_base, options)

    @property
    def n_rows(self) -> int:
        """B, the number of kept rows, folded ones included."""
        return len(self.kept.folded)

    @property
    def n_kept(self) -> int:
        """K, the kept categories that are not folded into background."""
        return int((~self.kept.folded).sum())

    def inherit(self, base: Head) -> None:
        """Copy trunk, box branch and kept rows of another head; the rows of a cosine head are kept."""
        self.trunk.load_state_dict(base.trunk.state_dict())
        if self.own_boxes is not None:
            self.own_boxes.load_state_dict(base.boxes.state_dict())
        if isinstance(base, Beside):
            self.kept.load_state_dict(base.kept.state_dict())
        elif isinstance(base, Cosine) and base.rows.shape == self.kept.weight.shape:
            regressor = base.boxes.regressor
            self.kept.weight.copy_(base.rows.detach())
            self.kept.box_weight.copy_(regressor.weight.detach())
            self.kept.box_bias.copy_(regressor.bias.detach())
            self.kept.folded.fill_(False)

    def start(self, head: Head, regions: Regions) -> None:
        """Start another head from these layers.

        Class-specific regressors become a class-agnostic one, fitted to regions of objects: their mean refines no
        box of a new category.
        """
        head.inherit(self)
        if self.options.class_boxes:
            objects = regions.labels > 0
            features = regions.features[objects].to(torch.float32)
            head.boxes.fit(features, regions.deltas[objects])

    def without(self, kept: Sequence[int]) -> "Beside":
        """A head whose kept categories of these indices count as background; this one is not changed."""
        return self._with(self.kept.without(kept))

    def only(self, kept: Sequence[int]) -> "Beside":
        """A head that keeps these categories, in this order; all others count as background."""
        return self._with(self.kept.only(kept))

    def _with(self, kept: KeptRows) -> "Beside":
        other = copy.copy(self)
        other._modules = {**self._modules, "kept": kept}
        return other

    def embed(self, features: Features) -> Tensor:
        """[R, D + D + C + E]: fc7, the regressor's input where it is another, mean-pooled features."""
        fc7 = self.trunk(features)
        inputs = [fc7] if self.own_boxes is None else [fc7, self.own_boxes(features)]
        return torch.cat([*inputs, mean_features(features)], 1)

    def _split(self, embeddings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """fc7, the input of the box regressor, mean-pooled features."""
        fc7, rest = embeddings[:, : self.width], embeddings[:, self.width :]
        if self.own_boxes is None:
            return fc7, fc7, rest
        return fc7, rest[:, : self.width], rest[:, self.width :]

    def kept_probabilities(self, embeddings: Tensor) -> Tensor:
        """[R, 1 + K] of background and the kept categories, as if there were no new ones."""
        return self.kept.log_probabilities(embeddings[:, : self.width]).exp()

    def kept_deltas(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """[R, 4] of the regressor of each region's kept category, labels 1..K; 0 for label 0."""
        deltas = self.kept.deltas(self._split(embeddings)[1])
        if self.options.class_boxes:
            visible = deltas[:, ~self.kept.folded]
            deltas = torch.cat([visible.new_zeros(len(visible), 1, 4), visible], 1)
            return deltas[torch.arange(len(deltas), device=deltas.device), labels]
        return deltas[:, 0] * (labels > 0)[:, None]

    def _direction(self, fc7: Tensor, means: Tensor) -> Tensor:
        """z: [R, C + E + D] of unit length."""
        share = self.options.share
        return torch.cat([means, share * unit(fc7)], 1) / (1 + share**2) ** 0.5

    def learn(self, support: Support) -> Task:
        """Learn the categories after the K kept ones: labels K + 1 .. N of the support.

        Labels 1..K are regions of kept categories: like background, they are not the new ones.
        """
        with torch.autocast(support.labels.device.type, enabled=False):
            fc7, box_input, means = self._split(support.embeddings.detach().float())
            labels = (support.labels - self.n_kept).clamp(min=0)
            n = support.n_way - self.n_kept
            z = self._direction(fc7, means)
            weight, offset = self._fit(z, labels, n)
            return {
                "weight": weight,
                "offset": offset,
                "mixture": self._mixtures(fc7, box_input, labels, support.deltas.to(fc7), n),
            }

    def _fit(self, z: Tensor, labels: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """w [N, E] of unit length and t [N] of the new categories, from [S, E] and labels 0..N."""
        options = self.options
        weight = F.normalize(class_means(z, labels, n)[1:], dim=1)
        if n == 0:
            return weight, z.new_zeros(0)
        cosines = z @ weight.T
        offset = torch.stack([_threshold(cosines[:, i], labels == i + 1) for i in range(n)])
        with torch.enable_grad():
            weight.requires_grad_(), offset.requires_grad_()
            weights = category_weights(labels, n, options.background).to(z)
            optimizer = torch.optim.Adam([weight, offset], options.learning_rate)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(options.steps, 1))
            for _ in range(options.steps):
                logits = self._new_logits(z, weight, offset)
                losses = F.cross_entropy(F.pad(logits, (1, 0)), labels, reduction="none")
                optimizer.zero_grad()
                (weights @ losses).backward()
                optimizer.step()
                schedule.step()
        return F.normalize(weight.detach(), dim=1), offset.detach()

    def _new_logits(self, z: Tensor, weight: Tensor, offset: Tensor) -> Tensor:
        """[R, N] relative to everything kept."""
        return self.options.scale * (z @ F.normalize(weight, dim=1).T - offset)

    def _mixtures(
        self, fc7: Tensor, box_input: Tensor, labels: Tensor, targets: Tensor, n: int
    ) -> Tensor:
        """[N, B]: the weights of the kept regressors for each new category; [N, 1] of a class-agnostic one."""
        if not self.options.class_boxes:
            return fc7.new_ones(n, 1)
        deltas = self.kept.deltas(box_input)  # [S, B, 4]
        probabilities = self.kept.logits(fc7)[:, 1:].softmax(1)
        prior = class_means(probabilities, labels, n)[1:]
        mixtures = []
        for i in range(n):
            rows = (labels == i + 1) & (targets != 0).any(1)
            moves = deltas[rows].transpose(1, 2).flatten(0, 1).double()  # [4 S_n, B]
            left = targets[rows].flatten().double() - moves @ prior[i].double()
            gram = moves @ moves.T
            gram.diagonal().add_(self.options.box_decay)
            mixtures.append(prior[i] + (moves.T @ torch.linalg.solve(gram, left)).to(prior))
        return torch.stack(mixtures) if mixtures else prior

    def predict(self, embeddings: Tensor, task: Task) -> Prediction:
        """Logits [R, 1 + K + N]: kept log-probabilities, then new categories; deltas [R, K + N, 4] or [R, 4]."""
        fc7, box_input, means = self._split(embeddings)
        logits, scores = self.kept.log_probabilities(fc7), None
        deltas = self.kept.deltas(box_input)
        n = len(task["weight"])
        if n:
            new = self._new_logits(self._direction(fc7, means), task["weight"], task["offset"])
            scores = _scores(logits, new, self.options.sure)
            logits = torch.cat([logits, new.to(logits)], 1)
        if not self.options.class_boxes:
            return Prediction(logits, deltas[:, 0], scores)
        kept = deltas[:, ~self.kept.folded]
        if n:
            mixed = torch.einsum("rbd,nb->rnd", deltas, task["mixture"].to(deltas))
            kept = torch.cat([kept, mixed], 1)
        return Prediction(logits, kept, scores)


def _scores(kept: Tensor, new: Tensor, sure: float) -> Tensor:
    """[R, 1 + K] log-probabilities, [R, N] logits relative to all of them -> scores [R, K + N] in 0..1."""
    shares = F.pad(new.float(), (1, 0)).softmax(1)
    trained, factor = kept[:, 1:].float().exp(), (shares[:, :1] / (1 - sure)).clamp(max=1)
    return torch.cat([trained * factor, shares[:, 1:]], 1)


def _threshold(cosines: Tensor, own: Tensor) -> Tensor:
    """Half-way between the median of a category's cosines and the 98th percentile of all others'."""
    if not own.any():
        return cosines.new_tensor(1.0)
    if own.all():
        return cosines.median() - 0.2
    return (cosines[own].median() + cosines[~own].quantile(0.98)) / 2
