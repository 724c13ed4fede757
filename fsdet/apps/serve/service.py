"""A detector that many ask at once: whoever predicts has a snapshot, whoever teaches makes the next one."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from fsdet.api import detector_file
from fsdet.api.detector import Detection, Detector
from fsdet.api.inputs import as_target, as_tensor
from fsdet.api.memory import memory_of
from fsdet.apps.serve import lessons
from fsdet.apps.serve.lessons import Lesson, Snapshot
from fsdet.apps.serve.limits import Limits, Refusal
from fsdet.apps.serve.pool import Pool
from fsdet.data.images import read_image
from fsdet.errors import InputError, nearest
from fsdet.types import Shots, Target


class Service:
    """The detector that it was given, and what it has been taught since.

    `snapshot` is exchanged whole. Everything that changes it runs in `learning`, a pool of one thread, and
    so one after the other; `looking` is for everything else that takes time.

    Args:
        detector: categories that it knows stay.
        limits: of requests.
        save: where everything goes at each change, and is read from at the start.
        threads: that predict.

    Raises:
        InputError: `save` is there and is not of this detector.
    """

    def __init__(
        self,
        detector: Detector,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        save: Path | None = None,
        threads: int = 1,
    ):
        self.given, self.limits, self._save = detector, limits, save
        self.snapshot = Snapshot.of(detector, lessons.restore(save, detector) if save else ())
        self.looking = Pool(threads, limits.waiting, limits.seconds)
        self.learning = Pool(1, limits.waiting, limits.seconds)

    def read(self, encoded: bytes, size: tuple[int, int] | None = None) -> np.ndarray:
        """An image file as [H, W, 3]; `size` is that which its boxes are for."""
        if not encoded:
            raise Refusal(400, "expected an image file, got 0 bytes")
        return read_image(encoded, size, self.limits.pixels)

    def detect(
        self, encoded: bytes, threshold: float
    ) -> tuple[Snapshot, tuple[int, int], list[Detection]]:
        """Who looked, (height, width) of the image, and what is in it, best first.

        Raises:
            InputError: no image, or no category yet.
        """
        now, image = self.snapshot, self.read(encoded)
        if not now.detector.names:
            raise Refusal(409, "the detector has no category yet; register one first")
        return now, image.shape[:2], now.detector.predict(image, threshold)

    def register(
        self, name: str, files: Sequence[bytes], boxes: Sequence, others: Sequence
    ) -> Snapshot:
        """Add a category, or shots of one that is there; see `fsdet.Detector.register`.

        One image is decoded at a time, so that memory does not grow with their number.

        Raises:
            InputError: an image or a box that is none; its number is said.
        """

        def shots() -> Iterator[Shots]:
            for n, (encoded, own, rest) in enumerate(zip(files, boxes, others, strict=True)):
                try:
                    image = as_tensor(self.read(encoded))
                    yield Shots([image], [as_target(own, rest, image)], (name,))
                except InputError as error:
                    error.args = (f"image {n}: {error}",)
                    raise

        lesson = Lesson(memory_of(*self.given.examples(shots())))
        return self.become([*self.snapshot.lessons, lesson])

    def study(
        self, image: Tensor, target: Target, names: tuple[str, ...], source: tuple[int, ...]
    ) -> Lesson:
        """The lesson of an annotated image: label n is `names[n - 1]`."""
        return Lesson(memory_of(*self.given.examples([Shots([image], [target], names)])), source)

    def forget(self, name: str) -> Snapshot:
        """Drop everything that was registered of a category.

        Raises:
            Refusal: 404, there is no such category; 409, the detector came with it.
        """
        taught = self.snapshot.lessons
        if not any(name in one.names for one in taught):
            if name in self.given.names:
                raise Refusal(409, f"the detector came with '{name[:80]}'; it stays")
            known = self.snapshot.detector.names
            raise Refusal(404, f"no category '{name[:80]}'{nearest(name[:80], known)}")
        return self.become(lessons.without(taught, name))

    def become(self, taught: Sequence[Lesson]) -> Snapshot:
        """The next snapshot: written, then everybody's.

        Raises:
            Refusal: 409, too much to remember; 507, it cannot be written. Then nothing has changed.
        """
        total, before = sum(map(len, taught)), sum(map(len, self.snapshot.lessons))
        if total > max(self.limits.regions, before):
            raise Refusal(
                409,
                f"{total} regions to remember, expected at most {self.limits.regions};"
                " forget a category first",
            )
        after = Snapshot.of(self.given, taught)
        if self._save:
            try:
                lessons.write(self._save, after)
            except InputError as error:
                raise Refusal(507, str(error)) from error
        self.snapshot = after
        return after

    def write(self, path: Path) -> str:
        """Write the detector as it is now; the version of what was written."""
        now = self.snapshot
        detector_file.write(path, now.detector.parts())
        return now.version
