"""Images of shots, from which a detector learns novel categories."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from fsdet.data.dataset import DetectionData
from fsdet.data.loading.stream import shots_of
from fsdet.data.loading.transforms import Transform
from fsdet.data.shots.sampling import label_of
from fsdet.data.shots.shot_list import sample
from fsdet.errors import InputError
from fsdet.types import IGNORE, Shots, Target


class ShotImages:
    """Images with some annotated boxes as shots: label n means `classes[n - 1]`.

    All other boxes of these images are IGNORE: neither objects nor background.

    Args:
        ids: category -> annotation ids of its shots.
    """

    def __init__(self, data: DetectionData, ids: Mapping[str, Sequence[int]]):
        self.data, self.ids, self.classes = data, dict(ids), tuple(ids)
        self._labels = np.full(len(data.ids), IGNORE, np.int64)  # [A]
        for label, listed in enumerate(ids.values(), 1):
            self._labels[np.isin(data.ids, list(listed))] = label
        self.images = np.unique(data.image_of(np.flatnonzero(self._labels > 0)))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[np.ndarray, Target]:
        """uint8 `[H, W, 3]` RGB and all boxes of the image, the shots first."""
        image = int(self.images[i])
        pixels, target = self.data[image]
        labels = torch.from_numpy(self._labels[self.data.rows(image)])
        order = torch.argsort(labels == IGNORE, stable=True)
        return pixels, Target(boxes=target["boxes"][order], labels=labels[order])

    def truth(self) -> DetectionData:
        """The images with the shots as ground truth; all other boxes are to be ignored, as COCO's crowds."""
        ignore = self.data.ignore | ~(self._labels > 0)
        return replace(self.data, ignore=ignore, cache_folder=None).subset(self.images)

    def only(self, indices: np.ndarray | Sequence[int]) -> "ShotImages":
        """The shots of some of the images, by position; a category that these do not show is left out."""
        images = self.images[np.asarray(indices, np.int64)]
        shown = np.isin(self.data.image_of(np.arange(len(self.data.ids))), images)
        kept = set(self.data.ids[shown].tolist())
        ids = {name: [i for i in listed if i in kept] for name, listed in self.ids.items()}
        return ShotImages(self.data, {name: listed for name, listed in ids.items() if listed})

    def batches(
        self, size: int, transform: Transform | None = None, seed: int = 0
    ) -> Iterator[Shots]:
        """All images in order, `size` at a time, transformed with seeds drawn from `seed`."""
        seeds = np.random.Generator(np.random.PCG64(seed)).integers(1 << 62, size=len(self))
        for start in range(0, len(self), size):
            items = [self[i] for i in range(start, min(start + size, len(self)))]
            if transform is not None:
                batch_seeds = seeds[start : start + size].tolist()
                items = [
                    transform(*item, draw) for item, draw in zip(items, batch_seeds, strict=True)
                ]
            yield shots_of(items, self.classes)


def choose(data: DetectionData, names: Sequence[str], k: int | None, seed: int) -> ShotImages:
    """k boxes of each category as shots, in the order of `sample`; all boxes if k is None.

    Raises:
        InputError: no name, an unknown or repeated one, or a category with fewer boxes than k.
    """
    if not names or len(set(names)) < len(names):
        raise InputError(f"expected categories, each once, got {', '.join(names) or 'none'}")
    if k is not None:
        return ShotImages(data, sample(data, names, k, seed))
    ids = {}
    for name in names:
        ids[name] = data.ids[(data.labels == label_of(data, name)) & ~data.ignore].tolist()
        if not ids[name]:
            raise InputError(f"{data.root}: category '{name}' has no box")
    return ShotImages(data, ids)
