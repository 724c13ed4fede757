"""The detector that a user imports: load it, register categories, look at images."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from fsdet import config as cfg
from fsdet.api import detector_file
from fsdet.api.inputs import as_shots, as_tensor, check_sides, is_image
from fsdet.api.memory import Memory, learned, merged, support_of
from fsdet.errors import InputError, nearest
from fsdet.heads.base import Head
from fsdet.model.few_shot_rcnn import FewShotRCNN, detect, join
from fsdet.types import Candidates, Regions, Shots, Target, Task

BATCH = 8  # images that go through the backbone at once


class Detection(NamedTuple):
    """One thing found: `box` is (x1, y1, x2, y2) in pixels of the image as it was given."""

    box: tuple[float, float, float, float]
    name: str
    score: float


class Detector:
    """A few-shot detector: base categories from training, new ones from a few boxes.

    It remembers regions, not images. Registering adds regions; the next prediction adapts the head to all
    of them at once, so that categories learned earlier stay.

    Args:
        model: the trained network; the detector is on its device.
        settings, head: what it was built from, for `save`.
        memory: regions of every category and, under "", of background.
        n_base: how many of the categories come from base training.
    """

    def __init__(
        self,
        model: FewShotRCNN,
        settings: cfg.Detector,
        head: cfg.Head,
        memory: dict[str, Memory],
        n_base: int,
    ):
        self.model, self.settings, self.head, self.n_base = model.eval(), settings, head, n_base
        self._memory = {name: kept.to(self.device) for name, kept in memory.items()}
        self._task: Task | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The categories that `predict` can find."""
        return tuple(name for name in self._memory if name)

    @property
    def device(self) -> torch.device:
        """Where it computes; images may be given from anywhere."""
        return next(self.model.parameters()).device

    def register(
        self, name: str, images: Sequence, boxes: Sequence, others: Sequence | None = None
    ) -> None:
        """Add a category, or more shots of one that is there, from a few annotated images.

        What is in none of the boxes is taken for background, so that things of other categories, known or
        to be registered next, are to be boxed too: in `others`.

        Args:
            name: of the category.
            images: paths, RGB arrays [H, W, 3], PIL images, or tensors [3, H, W]; see `fsdet.api.inputs`.
            boxes: for each image the boxes of the category in it: [G, 4] (x1, y1, x2, y2) pixels, or one
                box of four numbers.
            others: for each image the boxes of other things in it, as `boxes`; None or [] where there are none.

        Raises:
            InputError: no name, no box, a box outside its image, as many boxes as images not given.
        """
        shots = as_shots(name, images, boxes, others)
        runs = [slice(i, i + BATCH) for i in range(0, len(shots.images), BATCH)]
        self.remember(Shots(shots.images[run], shots.targets[run], (name,)) for run in runs)

    def reject(self, images: Sequence, boxes: Sequence) -> None:
        """Boxes that hold none of the categories, such as false detections: background from here on.

        Args:
            images, boxes: as `register`'s.

        Raises:
            InputError: as `register`.
        """
        shots = as_shots("background", images, boxes)
        for target in shots.targets:
            target["labels"] = torch.zeros_like(target["labels"])
        generator = torch.Generator().manual_seed(0)
        here = Shots(shots.images, shots.targets, ())
        self.learn(join(self.regions(here, generator, background=0)), ())

    @torch.no_grad()
    def remember(self, batches: Iterable[Shots]) -> None:
        """Add all categories of annotated images at once; the batches are of the same classes.

        Boxes labelled IGNORE are neither objects nor background; boxes labelled 0 are background.

        Raises:
            InputError: a category of which there is no region.
        """
        generator = torch.Generator().manual_seed(0)
        found: list[Regions] = []
        names: tuple[str, ...] = ()
        for shots in batches:
            names = shots.classes
            found += [r.to("cpu") for r in self.regions(shots, generator)]
        if not found:
            raise InputError("expected at least one annotated image, got none")
        self.learn(join(found), names)

    def learn(self, regions: Regions, names: tuple[str, ...]) -> None:
        """Add what `regions` gave: label n is `names[n - 1]`, 0 is background.

        Raises:
            InputError: a category of which there is no region.
        """
        self._memory = merged([self._memory, learned(regions.to(self.device), names)])
        self._task = None

    def copy(self) -> "Detector":
        """A detector that shares the network, not what it learns from here on."""
        return Detector(*self.parts())

    @torch.no_grad()
    def regions(
        self, shots: Shots, generator: torch.Generator, background: int = 16
    ) -> list[Regions]:
        """What is remembered of annotated images: regions of each, their features float16.

        `background` of an image's are where nothing is annotated; see `FewShotRCNN.regions`.
        """
        device = self.device
        targets = [
            Target(boxes=target["boxes"].to(device), labels=target["labels"].to(device))
            for target in shots.targets
        ]
        here = Shots(self._here(shots.images), targets, shots.classes)
        found = self.model.regions(here, generator, background=background)
        return [replace(one, features=one.features.to(torch.float16)) for one in found]

    def forget(self, name: str) -> None:
        """Remove a category.

        Raises:
            InputError: it is not registered.
        """
        if name not in self.names:
            raise InputError(f"forget: no category '{name}'{nearest(name, self.names)}")
        del self._memory[name]
        self._task = None

    def support(self) -> Regions:
        """Everything remembered, label n meaning `names[n - 1]`."""
        return support_of(self._memory)

    def task(self) -> Task:
        """The head adapted to everything remembered; computed when it is first asked for."""
        if self._task is None:
            with torch.no_grad():
                self._task = self.model.head.adapt(self.support())
        return self._task

    def use(self, head: Head) -> None:
        """Exchange the head for one of the same kind, shape and width."""
        self.model.head, self._task = head.eval(), None

    def predict(self, image, threshold: float = 0.5) -> list[Detection]:
        """Find the registered categories in an image, best first.

        Args:
            image: a path, an RGB array [H, W, 3], a PIL image, or a tensor [3, H, W]; see `fsdet.api.inputs`.
            threshold: scores below are left out, 0..1.

        Raises:
            InputError: no image, several of them, or no category registered.
        """
        if isinstance(image, list | tuple):
            raise InputError("predict: expected one image, got several; see predict_many")
        return self.predict_many([image], threshold)[0]

    @torch.no_grad()
    def predict_many(self, images: Sequence, threshold: float = 0.5) -> list[list[Detection]]:
        """`predict` for each of some images, which go through the backbone together."""
        if is_image(images):
            raise InputError("predict_many: expected a list of images, got one")
        _check_threshold(threshold)
        self.task()  # that there is none is said before any image is looked at
        found = []
        for start in range(0, len(images), BATCH):
            for candidates in self.look(images[start : start + BATCH]):
                found.append(self.find(candidates, threshold))
        return found

    def look(self, images: Sequence) -> list[Candidates]:
        """Where something may be in images, which go through the backbone together: see `find`."""
        return self.model.propose(self._here([as_tensor(image) for image in images]))

    @torch.no_grad()
    def find(self, candidates: Candidates, threshold: float = 0.5) -> list[Detection]:
        """`predict` in an image that has been looked at, as often as categories change."""
        _check_threshold(threshold)
        selection, names = replace(self.model.selection, score=threshold), self.names
        found = detect(self.model.head, candidates, self.task(), selection)
        columns = (found["boxes"], found["labels"], found["scores"])
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [Detection(tuple(box), names[n - 1], score) for box, n, score in rows]

    def save(self, path: str | Path) -> Path:
        """Write the detector with everything it remembers; a folder gets `detector.safetensors`."""
        return detector_file.write(path, self.parts())

    def parts(self) -> detector_file.Parts:
        """What it is made of: `Detector(*parts)` is the same again, over the same network."""
        return detector_file.Parts(
            self.model, self.settings, self.head, dict(self._memory), self.n_base
        )

    def _here(self, images: list[Tensor]) -> list[Tensor]:
        for image in images:
            check_sides(*image.shape[-2:], self.settings.min_size, self.settings.max_size)
        return [image.to(self.device) for image in images]

    def __repr__(self) -> str:
        return f"Detector({self.head.name}, {len(self.names)} categories: {', '.join(self.names)})"


def _check_threshold(threshold: float) -> None:
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold: expected a score in 0..1, got {threshold}")


def load(path: str | Path, device: str = "cpu") -> Detector:
    """A saved detector, from its file or from the run folder that holds it.

    Args:
        device: "cpu", "cuda", "cuda:1", or "auto": a GPU if there is one.

    Raises:
        InputError: there is none, it is cut, it is not a detector, or there is no such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    parts = detector_file.read(path)
    try:
        return Detector(*parts._replace(model=parts.model.to(device)))
    except (RuntimeError, AssertionError) as error:  # without CUDA torch asserts
        raise InputError(f"device '{device}': {str(error).splitlines()[0]}") from error
