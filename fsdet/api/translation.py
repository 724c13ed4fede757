"""Translation of stored region features after the layers that computed them have moved."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.types import Features


@dataclass(frozen=True)
class Translation:
    """A linear map of the channels of stored features, fitted to pairs of old and new features of the same boxes.

    Stored regions come from images that need not be there any more. With X and Y the old and new features of some
    boxes, D = argmin |X + X D - Y|^2 + lambda |D|^2, so that without evidence features stay as they are.
    """

    maps: Tensor  # [C, C] I + D, for every position of the pooled maps
    means: Tensor  # [E, E]

    @staticmethod
    def fit(old: Features, new: Features, decay: float = 0.01) -> "Translation":
        """Fit the map to features of the same R boxes.

        Args:
            decay: lambda relative to the mean square of a channel, times the number of rows.
        """
        maps = [f.maps.movedim(1, -1).flatten(0, -2) for f in (old, new)]
        return Translation(_map(maps[0], maps[1], decay), _map(old.means, new.means, decay))

    def __call__(self, features: Features) -> Features:
        """Features of R regions as the moved layers would have computed them; the type stays."""
        maps = (features.maps.float().movedim(1, -1) @ self.maps).movedim(-1, 1).contiguous()
        means = features.means.float() @ self.means
        return Features(maps.to(features.maps), means.to(features.means))


def _map(x: Tensor, y: Tensor, decay: float) -> Tensor:
    """[R, C], [R, C] -> [C, C]."""
    x, y = x.double(), y.double()
    gram = x.T @ x
    identity = torch.eye(len(gram), dtype=x.dtype, device=x.device)
    regularized = gram + (decay * gram.diagonal().mean() + 1e-9) * identity
    return (identity + torch.linalg.solve(regularized, x.T @ (y - x))).float()


@torch.no_grad()
def paired_features(
    old: FewShotRCNN, new: FewShotRCNN, images: list[Tensor]
) -> tuple[Features, Features]:
    """Features of the old model's proposals in some images, by both models."""
    old_side, _ = old.extract(images)
    new_side, _ = new.extract(images)
    proposals = old.rpn.propose(old_side.batch, old_side.proposing)
    boxes = [proposal.boxes for proposal in proposals]
    return old.pool_regions(old_side, boxes), new.pool_regions(new_side, boxes)
