"""Region bank: cached features of labelled regions, so that heads learn without images."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fsdet.heads.support import index_in_group
from fsdet.types import Features, Regions


@dataclass(frozen=True)
class RegionBank:
    """Labelled regions of many images.

    `objects` is the annotated object of each region: shots are drawn as objects, not as regions.
    """

    features: Features  # of M regions, float16
    labels: Tensor  # [M] int64; 0: background, n: `classes[n - 1]`
    deltas: Tensor  # [M, 4]
    images: Tensor  # [M] int64, index of the image in its data set
    objects: Tensor  # [M] int64, row of the annotation in its data set; -1: background
    classes: tuple[str, ...]
    levels: tuple[int, ...]  # channels of each level in the means

    def __len__(self) -> int:
        return len(self.labels)

    def of_objects(self, rows: Iterable[int], most: int | None = None) -> Tensor:
        """Indices of the regions of annotated objects, the first `most` of each object."""
        index = torch.nonzero(torch.isin(self.objects, torch.as_tensor(list(rows))))[:, 0]
        return index if most is None else index[index_in_group(self.objects[index]) < most]

    def background_of(self, images: Tensor) -> Tensor:
        """Indices of the background regions of images."""
        return torch.nonzero((self.labels == 0) & torch.isin(self.images, images))[:, 0]

    def take(self, index: Tensor, labels: Tensor, n_way: int) -> Regions:
        """Regions by index, in fp32 and with labels of a task of `n_way` categories, as input of a head.

        They are on the device of the features.
        """
        index, labels = index.to(self.deltas.device), labels.to(self.deltas.device)
        return Regions(self.features[index].to(torch.float32), labels, self.deltas[index], n_way)

    def gathered_on(self, device: torch.device) -> "RegionBank":
        """The same bank with its features on a GPU if they take less than half of the memory that is free there.

        An episode of a few hundred regions then costs no copy. What is drawn from, the labels, images and
        objects, stays on the CPU.
        """
        size = sum(t.nbytes for t in (self.features.maps, self.features.means, self.deltas))
        if device.type != "cuda" or 2 * size > torch.cuda.mem_get_info(device)[0]:
            return self
        return replace(self, features=self.features.to(device), deltas=self.deltas.to(device))
