"""Endless shuffled training images: item t is a pure function of (seed, t).

No generator has a state, so any number of workers gives the same batches, and a resumed run continues with the
next image of the interrupted one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fsdet.data.dataset import DetectionData
from fsdet.data.labels import label_table
from fsdet.data.loading.transforms import Transform
from fsdet.data.loading.workers import Loader, prepare_worker
from fsdet.errors import InputError
from fsdet.types import IGNORE, Shots, Target

BATCH = 8  # images in one call of the backbone


class Source(Protocol):
    """A sequence of images with targets."""

    def __len__(self) -> int: ...

    def __getitem__(self, item: int, /) -> tuple[np.ndarray, Target]: ...


class Relabelled(Dataset):
    """Images of `data` under a task's labels.

    Args:
        labels: data label -> task label 1..N; boxes of other labels become IGNORE.
        indices: images of `data`; by default those with at least one box of the task.

    Raises:
        InputError: no image.
    """

    def __init__(
        self, data: DetectionData, labels: Mapping[int, int], indices: np.ndarray | None = None
    ):
        self.data = data
        self._table = label_table(labels, len(data.classes), missing=IGNORE)
        if indices is None:
            rows = np.flatnonzero((self._table[data.labels] > 0) & ~data.ignore)
            indices = np.unique(data.image_of(rows))
        if len(indices) == 0:
            names = [data.classes[label - 1] for label in labels]
            raise InputError(
                f"{data.root}: no image has a box of {', '.join(names) or 'any label'}"
            )
        self.indices = np.asarray(indices, np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> tuple[np.ndarray, Target]:
        """uint8 `[H, W, 3]` RGB and its boxes under the task's labels."""
        image, target = self.data[int(self.indices[item])]
        labels = target["labels"].numpy()
        labels = np.where(labels > 0, self._table[labels], IGNORE)
        return image, Target(boxes=target["boxes"], labels=torch.from_numpy(labels))


class Stream(Dataset):
    """Transformed images: all of them once per epoch, each epoch in another order.

    Args:
        source: its items are an image, uint8 `[H, W, 3]` RGB, and a target.
        transform: called with a seed derived from (seed, t).
        seed: of order and augmentation.
        length: number of items.
        start: position t of item 0: the number of images before a run was resumed.
    """

    def __init__(
        self, source: Source, transform: Transform, seed: int, length: int, start: int = 0
    ):
        self.source, self.transform, self.seed = source, transform, seed
        self.length, self.start = length, start
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, item: int) -> tuple[Tensor, Target]:
        """The image, uint8 `[3, H, W]`, and its boxes under the source's labels."""
        if not 0 <= item < self.length:
            raise IndexError(item)
        position = self.start + item
        image, target = self.source[self.index(position)]
        draw = np.random.SeedSequence((self.seed, 1, position)).generate_state(1, np.uint64)
        image, target = self.transform(image, target, int(draw[0]))
        return to_tensor(image), target

    def index(self, position: int) -> int:
        """Index in the source of position t of the stream."""
        epoch, offset = divmod(position, len(self.source))
        if self._order[0] != epoch:
            bits = np.random.PCG64(np.random.SeedSequence((self.seed, 0, epoch)))
            self._order = epoch, np.random.Generator(bits).permutation(len(self.source))
        return int(self._order[1][offset])


class Ordered(Dataset):
    """Untransformed images of `data`, in the order of `indices`."""

    def __init__(self, data: DetectionData, indices: Sequence[int] | np.ndarray):
        self.data, self.indices = data, np.asarray(indices, np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> tuple[Tensor, Target]:
        """The image, uint8 `[3, H, W]`, and its boxes under the data set's labels."""
        image, target = self.data[int(self.indices[item])]
        return to_tensor(image), target


class Share(Dataset):
    """The part of one of several processes in a stream whose batches are divided among them."""

    def __init__(self, whole: Dataset, batch: int, rank: int, processes: int):
        if batch % processes:
            raise InputError(
                f"a batch of {batch} cannot be divided evenly among {processes} processes"
            )
        self.whole, self.batch = whole, batch
        self.share = batch // processes
        self.first = rank * self.share

    def __len__(self) -> int:
        return len(cast(Sized, self.whole)) // self.batch * self.share

    def __getitem__(self, item: int):
        batch, offset = divmod(item, self.share)
        return self.whole[batch * self.batch + self.first + offset]


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 `[H, W, 3]` -> `[3, H, W]`."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def scaled(image: Tensor) -> Tensor:
    """uint8 -> float32 in 0..1, the input of a detector."""
    return image.float() / 255


def shots_of(items: Iterable[tuple[np.ndarray, Target]], classes: tuple[str, ...]) -> Shots:
    """Images, uint8 `[H, W, 3]`, and their targets as `Shots`."""
    images, targets = zip(*items, strict=True)
    return Shots([scaled(to_tensor(image)) for image in images], list(targets), classes)


def loader(
    stream: Dataset,
    batch_size: int,
    workers: int = 0,
    collate: Callable | None = None,
    pinned: bool = False,
) -> DataLoader:
    """Batches of a stream in its own order: a list of images and a list of targets, or the result of `collate`.

    Bitwise equal for any number of workers. The last batch may be smaller.

    Args:
        pinned: in page-locked memory, from which a GPU copies while it computes; needs one.
    """
    return Loader(
        stream,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=collate or _lists,
        worker_init_fn=prepare_worker,
        persistent_workers=workers > 0,
        pin_memory=pinned,
    )


def _lists(items: list[tuple[Tensor, Target]]) -> tuple[list[Tensor], list[Target]]:
    images, targets = zip(*items, strict=True)
    return list(images), list(targets)


def in_order(
    data: DetectionData, images: Sequence[int] | np.ndarray, workers: int, pinned: bool = False
) -> DataLoader:
    """Batches of untransformed images."""
    return loader(Ordered(data, images), BATCH, workers, pinned=pinned)
