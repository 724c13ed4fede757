"""Service around a detector: predictions use a snapshot, learning replaces it."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from fsdet.api import detector_file
from fsdet.api.detector import Detector
from fsdet.api.inputs import as_target, as_tensor
from fsdet.api.memory import memory_of
from fsdet.api.results import Detection
from fsdet.apps.serve import lessons
from fsdet.apps.serve.lessons import Lesson, Snapshot
from fsdet.apps.serve.limits import Limits, Refusal
from fsdet.apps.serve.pool import Pool
from fsdet.data.images import read_image
from fsdet.errors import InputError, nearest
from fsdet.types import Shots


class Service:
    """A base detector and the lessons of its clients.

    `snapshot` is replaced as a whole. Everything that replaces it runs in `learning`, a pool of one thread,
    and so one call after the other; other slow work runs in `predicting`.

    Args:
        detector: its own categories stay.
        limits: of requests.
        save: a file that is written at each change and read at the start.
        threads: for predictions.

    Raises:
        InputError: `save` exists and holds another detector.
    """

    def __init__(
        self,
        detector: Detector,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        save: Path | None = None,
        threads: int = 1,
    ):
        self.base, self.limits, self._save = detector, limits, save
        self.snapshot = Snapshot.of(detector, lessons.restore(save, detector) if save else ())
        self.predicting = Pool(threads, limits.waiting, limits.seconds)
        self.learning = Pool(1, limits.waiting, limits.seconds)

    def read(self, image_file: bytes, size: tuple[int, int] | None = None) -> np.ndarray:
        """Decode an image file to [H, W, 3]; `size` is the (height, width) of its annotations."""
        if not image_file:
            raise Refusal(400, "expected an image file, got 0 bytes")
        return read_image(image_file, size, self.limits.pixels)

    def detect(
        self, image_file: bytes, threshold: float | None
    ) -> tuple[Snapshot, tuple[int, int], list[Detection]]:
        """The snapshot used, (height, width) of the image, and its detections, best first.

        Args:
            threshold: minimum score; None: those of the detector, see `fsdet.Detector.predict`.

        Raises:
            InputError: not an image.
            Refusal: 409, no category yet.
        """
        snapshot, image = self.snapshot, self.read(image_file)
        if not snapshot.detector.names:
            raise Refusal(409, "the detector has no category yet; register one first")
        return snapshot, image.shape[:2], snapshot.detector.predict(image, threshold)

    def register(
        self, name: str, image_files: Sequence[bytes], boxes: Sequence, others: Sequence
    ) -> Snapshot:
        """Add a category, or more shots of an existing one; see `fsdet.Detector.register`.

        One image is decoded at a time, so that memory does not grow with their number.

        Raises:
            InputError: not an image or a wrong box, with the image's number; or a category that the detector
                keeps.
        """
        self.base.check_new(name)

        def shots() -> Iterator[Shots]:
            triples = zip(image_files, boxes, others, strict=True)
            for n, (image_file, own_boxes, other_boxes) in enumerate(triples):
                try:
                    image = as_tensor(self.read(image_file))
                    yield Shots([image], [as_target(own_boxes, other_boxes, image)], (name,))
                except InputError as error:
                    error.args = (f"image {n}: {error}",)
                    raise

        return self.replace_lessons([*self.snapshot.lessons, self.lesson(shots())])

    def lesson(self, batches: Iterable[Shots], source: tuple[int, ...] = ()) -> Lesson:
        """The lesson of annotated images; see `fsdet.Detector.examples`."""
        return Lesson(memory_of(*self.base.examples(batches)), source)

    def forget(self, name: str) -> Snapshot:
        """Delete the registered shots of a category.

        Raises:
            Refusal: 404, no such category; 409, it is the detector's own.
        """
        before = self.snapshot.lessons
        if not any(name in lesson.names for lesson in before):
            if name in self.base.names:
                raise Refusal(409, f"the detector came with '{name[:80]}'; it stays")
            names = self.snapshot.detector.names
            raise Refusal(404, f"no category '{name[:80]}'{nearest(name[:80], names)}")
        return self.replace_lessons(lessons.without(before, name))

    def replace_lessons(self, new: Sequence[Lesson]) -> Snapshot:
        """Write the snapshot with these lessons to `save`, then answer with it from now on.

        Raises:
            Refusal: 409, too many regions; 507, it cannot be written. Nothing has changed then.
        """
        total, before = sum(map(len, new)), sum(map(len, self.snapshot.lessons))
        if total > max(self.limits.regions, before):
            raise Refusal(
                409,
                f"{total} regions to store, expected at most {self.limits.regions};"
                " forget a category first",
            )
        snapshot = Snapshot.of(self.base, new)
        if self._save:
            try:
                lessons.write(self._save, snapshot)
            except InputError as error:
                raise Refusal(507, str(error)) from error
        self.snapshot = snapshot
        return snapshot

    def write(self, path: Path) -> str:
        """Write the current detector; returns its version."""
        snapshot = self.snapshot
        detector_file.write(path, snapshot.detector.parts())
        return snapshot.version
