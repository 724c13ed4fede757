"""Endless shuffled training images in which item t is a pure function of (seed, t).

Nothing is drawn from a generator that moves on, so that any number of workers gives the same
batches and a resumed run continues with the very image it would have seen.
"""

from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any, Protocol, cast

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fsdet.data.dataset import DetectionData
from fsdet.data.labels import label_table
from fsdet.data.loading.transforms import Transform
from fsdet.errors import InputError
from fsdet.types import IGNORE, Target

BATCH = 8  # images that go through the backbone at once


class Source(Protocol):
    """Images with their targets, by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, item: int, /) -> tuple[np.ndarray, Target]: ...


class Relabelled(Dataset):
    """Images of `data` under a task's labels.

    Args:
        data: where the images come from.
        labels: data label -> task label 1..N; boxes of a label that is missing become IGNORE.
        indices: the images; by default those with at least one box of the task.

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
        kinds = target["labels"].numpy()
        kinds = np.where(kinds > 0, self._table[kinds], IGNORE)
        return image, Target(boxes=target["boxes"], labels=torch.from_numpy(kinds))


class Stream(Dataset):
    """Transformed images, every one once an epoch, each epoch in another order.

    Args:
        source: item i is an image, uint8 `[H, W, 3]` RGB, and its target.
        transform: called with a seed derived from (seed, t).
        seed: of order and augmentation.
        length: number of items.
        start: position t of item 0: the images that a resumed run has already seen.
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
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), target

    def index(self, position: int) -> int:
        """The item of the source at position t of the whole stream."""
        epoch, offset = divmod(position, len(self.source))
        if self._order[0] != epoch:
            bits = np.random.PCG64(np.random.SeedSequence((self.seed, 0, epoch)))
            self._order = epoch, np.random.Generator(bits).permutation(len(self.source))
        return int(self._order[1][offset])


class Ordered(Dataset):
    """Images of `data` as they are, in the order of `indices`."""

    def __init__(self, data: DetectionData, indices: Sequence[int] | np.ndarray):
        self.data, self.indices = data, np.asarray(indices, np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> tuple[Tensor, Target]:
        """The image, uint8 `[3, H, W]`, and its boxes under the data set's labels."""
        image, target = self.data[int(self.indices[item])]
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), target


class Share(Dataset):
    """What one of several processes sees of a stream, when each batch is dealt out among them."""

    def __init__(self, whole: Dataset, batch: int, rank: int, processes: int):
        if batch % processes:
            raise InputError(
                f"a batch of {batch} cannot be dealt out evenly to {processes} processes"
            )
        self.whole, self.batch = whole, batch
        self.mine, self.first = batch // processes, rank * (batch // processes)

    def __len__(self) -> int:
        return len(cast(Sized, self.whole)) // self.batch * self.mine

    def __getitem__(self, item: int):
        batch, offset = divmod(item, self.mine)
        return self.whole[batch * self.batch + self.first + offset]


def scaled(image: Tensor) -> Tensor:
    """uint8 -> float32 in 0..1, as the detector wants it."""
    return image.float() / 255


class _Loader(DataLoader):
    """A worker's exception arrives wrapped in its traceback; a user's mistake stays one line."""

    def __iter__(self) -> Any:
        try:
            yield from super().__iter__()
        except InputError as error:
            raise InputError(str(error).rpartition("InputError: ")[2].strip()) from None


def loader(
    stream: Dataset, batch_size: int, workers: int = 0, collate: Callable | None = None
) -> DataLoader:
    """Batches of a stream in its own order, as (list of images, list of targets) or what `collate` makes.

    Bitwise the same for any number of workers. The last batch may be smaller.
    """
    return _Loader(
        stream,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=collate or _lists,
        worker_init_fn=_one_thread,
        persistent_workers=workers > 0,
    )


def _lists(items: list[tuple[Tensor, Target]]) -> tuple[list[Tensor], list[Target]]:
    images, targets = zip(*items, strict=True)
    return list(images), list(targets)


def _one_thread(worker: int) -> None:
    # Workers are the parallelism: pools of threads in each would fight for the same cores.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def in_order(data: DetectionData, images: Sequence[int] | np.ndarray, workers: int) -> DataLoader:
    """Batches of images as they are."""
    return loader(Ordered(data, images), BATCH, workers)
