"""Detector: register categories, detect them in images."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from fsdet import build
from fsdet import config as cfg
from fsdet.api import detector_file
from fsdet.api.inputs import as_shots, as_tensor, check_sides, is_image
from fsdet.api.memory import Memory, memory_of, merged, support_of
from fsdet.api.proposals import Proposer, given_boxes
from fsdet.api.results import Detections, Filter, Threshold, result_filter
from fsdet.api.self_labels import certain_regions, label_kept_objects, only_present
from fsdet.api.tiles import check_tiles, joined, windows
from fsdet.errors import InputError, nearest
from fsdet.heads.base import Head
from fsdet.heads.finetuning.beside import Beside
from fsdet.model.few_shot_rcnn import FewShotRCNN, detect
from fsdet.model.given_boxes import GivenBoxes, with_windows
from fsdet.types import Candidates, Regions, Shots, Target, Task
from fsdet.types import Detections as Found

BATCH = 8  # images per pass of the backbone


class Detector:
    """A few-shot detector: base categories from training, novel ones from a few boxes.

    It stores regions, not images. Registering adds regions; the next prediction adapts the head to all
    stored regions at once, so that earlier categories stay.

    Args:
        model: the trained network; the detector computes on its device.
        settings, head: the configuration of the network and its head, for `save`.
        memory: regions of every category and, under the name "", of background.
        n_base: number of categories that come from base training.
        kept: names of the categories that the head keeps from a trained classifier (`Beside`).
        origin: of an imported detector: file, preset and licence.
        thresholds: minimum scores by category, of `predict` without a threshold; a saved detector keeps them.
        proposals: finds the boxes, where the network has none of its own (`fsdet.from_boxes`).
    """

    def __init__(
        self,
        model: FewShotRCNN,
        settings: cfg.Detector,
        head: cfg.Head,
        memory: dict[str, Memory],
        n_base: int,
        kept: tuple[str, ...] = (),
        origin: str = "",
        thresholds: Mapping[str, float] | None = None,
        proposals: Proposer | None = None,
    ):
        self.model, self.settings, self.head, self.n_base = model.eval(), settings, head, n_base
        self.kept, self.origin, self.thresholds = kept, origin, dict(thresholds or {})
        self.proposals = proposals
        self._memory = {name: regions.to(self.device) for name, regions in memory.items()}
        self._task: Task | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The categories that `predict` detects."""
        return self.kept + tuple(name for name in self._memory if name and name not in self.kept)

    @property
    def device(self) -> torch.device:
        """The device of the network; images may come from any device."""
        return next(self.model.parameters()).device

    def register(
        self, name: str, images: Sequence, boxes: Sequence, others: Sequence | None = None
    ) -> None:
        """Add a category, or more shots of an existing one, from a few annotated images.

        Everything outside the boxes counts as background. Objects of other categories must therefore be
        boxed as well: in `others`.

        Args:
            name: of the category.
            images: paths, RGB arrays [H, W, 3], PIL images, or tensors [3, H, W]; see `fsdet.api.inputs`.
            boxes: for each image the boxes of the category: [G, 4] (x1, y1, x2, y2) in pixels, or one box
                of four numbers.
            others: for each image the boxes of other objects, as `boxes`; None or [] where there are none.

        Raises:
            InputError: no name, no box, a box outside its image, or a different number of images and boxes.
        """
        self.check_new(name)
        shots = as_shots(name, images, boxes, others)
        runs = [slice(i, i + BATCH) for i in range(0, len(shots.images), BATCH)]
        self.remember(Shots(shots.images[run], shots.targets[run], (name,)) for run in runs)

    def reject(self, images: Sequence, boxes: Sequence) -> None:
        """Add hard negatives: boxes, for instance false detections, that count as background from now on.

        Args:
            images, boxes: as in `register`.

        Raises:
            InputError: as `register`.
        """
        shots = as_shots("background", images, boxes)
        for target in shots.targets:
            target["labels"] = torch.zeros_like(target["labels"])
        negatives = Shots(shots.images, shots.targets, ())
        self.learn(*self.examples([negatives], background=0))

    @torch.no_grad()
    def study(self, images: Sequence) -> int:
        """Learn from unlabelled images what the new categories are not.

        Regions that the detector is sure of, of kept categories (probability above 0.7) and of background (above
        0.9), become negatives. The images should look like those that the detector will see.

        Args:
            images: as in `predict_many`.

        Returns:
            The number of regions added.

        Raises:
            InputError: the detector keeps no categories.
        """
        regions, names = self._self_labelled("study", images)
        self.learn(regions, names)
        return len(regions)

    @torch.no_grad()
    def with_head(self, head: str | cfg.Head, images: Sequence) -> "Detector":
        """A detector with another head, whose memory is made from unlabelled images; this one is not changed.

        The regions that `study` would learn from become examples of the kept categories and of background;
        registered categories stay. The new head classifies all of them alike; a kept category that no image
        shows is lost. Class-specific box regressors become one, fitted to what they say.

        Args:
            head: its name, or its configuration. Heads that learn from episodes are used as they start.
            images: as in `predict_many`.

        Raises:
            InputError: the detector keeps no categories, the images show none, or no such head.
        """
        spec = cfg.Head(head) if isinstance(head, str) else head
        regions, names = self._self_labelled("with_head", images)
        if not names:
            raise InputError("with_head: the detector is sure of no object in the images")
        new = build.head(spec, self.model.shape, self.settings.width, len(names)).to(self.device)
        regions = regions.to(self.device)
        cast(Beside, self.model.head).start(new, regions)
        memory = merged([memory_of(regions, names), self._memory])
        model = self.model.with_head(new.eval())
        return Detector(
            model, self.settings, spec, memory, len(names), (), self.origin, self.thresholds,
            self.proposals,
        )  # fmt: skip

    def with_descriptor(self, descriptor: cfg.Descriptor) -> "Detector":
        """An imported detector whose new categories are described by a second, frozen network.

        Its own categories stay as they are; this detector is not changed.

        Args:
            descriptor: the network and its weights, which are read.

        Raises:
            InputError: categories are registered already, the detector's layers were trained on the averages of
                its backbone, or no such network or weights.
        """
        if self.settings.layers == "fsdet":
            raise InputError(
                "descriptor: the detector's layers were trained on other averages; train with"
                " detector.descriptor, or import a detector"
            )
        if self._memory:
            raise InputError(
                "descriptor: the regions in the detector's memory have other averages; expected a"
                " detector without registered categories"
            )
        statistics = (self.model.transform.image_mean, self.model.transform.image_std)
        network = build.descriptor(descriptor, *statistics, pretrained=True)
        model = self.model.with_descriptor(network.to(self.device))
        parts = self.parts()._replace(
            model=model, settings=replace(self.settings, descriptor=descriptor)
        )
        return Detector(*parts)

    def _self_labelled(self, call: str, images: Sequence) -> tuple[Regions, tuple[str, ...]]:
        """Regions that the detector is sure of, on the CPU, and the names of their labels."""
        if not self.kept:
            raise InputError(
                f"{call}: the detector keeps no categories that could label the images"
            )
        if is_image(images):
            raise InputError(f"{call}: expected a list of images, got one")
        head, task = cast(Beside, self.model.head), self.task()
        regions = [
            certain_regions(head, task, candidates).to("cpu")
            for start in range(0, len(images), BATCH)
            for candidates in self.candidates(images[start : start + BATCH])
        ]
        if not regions:
            raise InputError(f"{call}: expected at least one image, got none")
        return only_present(Regions.cat(regions), self.kept)

    def remember(self, batches: Iterable[Shots]) -> None:
        """Add all categories of annotated images at once.

        Args:
            batches: annotated images of the same classes. Boxes labelled IGNORE are neither objects nor
                background; boxes labelled 0 are background.

        Raises:
            InputError: no image, or a category without any usable region.
        """
        self.learn(*self.examples(batches))

    def learn(self, regions: Regions, names: tuple[str, ...]) -> None:
        """Add labelled regions, as `examples` returns them: label n is `names[n - 1]`, 0 is background.

        Raises:
            InputError: a category without any region.
        """
        self._memory = merged([self._memory, memory_of(regions.to(self.device), names)])
        self._task = None

    @torch.no_grad()
    def examples(
        self, batches: Iterable[Shots], background: int = 16
    ) -> tuple[Regions, tuple[str, ...]]:
        """Labelled regions of annotated images, and the names of their labels; deterministic.

        Boxes of kept categories are examples of what the new categories are not: kept rows stay as they are.

        Args:
            batches: annotated images of the same classes.
            background: background regions per image, sampled outside all annotated boxes.

        Returns:
            Regions on the CPU with float16 features; label n means the n-th name.

        Raises:
            InputError: no image.
        """
        generator = torch.Generator().manual_seed(0)
        regions: list[Regions] = []
        names: tuple[str, ...] = ()
        for shots in batches:
            names = shots.classes
            regions += [r.to("cpu") for r in self.regions(shots, generator, background)]
        if not regions:
            raise InputError("expected at least one annotated image, got none")
        joined = Regions.cat(regions)
        if self.kept:
            head = cast(Beside, self.model.head)
            return label_kept_objects(head, joined, names, self.kept)
        return joined, names

    def copy(self) -> "Detector":
        """An independent detector over the same network: changes of either leave the other as it is."""
        return Detector(*self.parts())

    @torch.no_grad()
    def regions(
        self, shots: Shots, generator: torch.Generator, background: int = 16
    ) -> list[Regions]:
        """Labelled regions of each annotated image, with float16 features; see `FewShotRCNN.regions`."""
        device = self.device
        targets = [
            Target(boxes=target["boxes"].to(device), labels=target["labels"].to(device))
            for target in shots.targets
        ]
        on_device = Shots(self._to_device(shots.images), targets, shots.classes)
        given = self._given(on_device.images)
        proposing = given and with_windows(given)
        per_image, _ = self.model.regions(
            on_device, generator, background=background, proposing=proposing
        )
        return [replace(r, features=r.features.to(torch.float16)) for r in per_image]

    def forget(self, name: str) -> None:
        """Remove a category.

        Raises:
            InputError: it is not registered.
        """
        if name not in self.names:
            raise InputError(f"forget: no category '{name}'{nearest(name, self.names)}")
        self._remove([name])

    def drop_kept(self) -> None:
        """Forget all categories that the detector was imported with; their objects are background from now on."""
        self._remove(self.kept)

    def _remove(self, names: Sequence[str]) -> None:
        if kept := [self.kept.index(name) for name in names if name in self.kept]:
            self.use(cast(Beside, self.model.head).without(kept))
            self.kept = tuple(name for name in self.kept if name not in names)
        self._memory = {name: m for name, m in self._memory.items() if name not in names}
        self.thresholds = {n: score for n, score in self.thresholds.items() if n not in names}
        self._task = None

    def support(self) -> Regions:
        """All stored regions; label n means `names[n - 1]`."""
        return support_of(self._memory, self.names, self.model.shape).to(self.device)

    def task(self) -> Task:
        """The head adapted to all stored regions; computed at the first call after a change."""
        if self._task is None:
            with torch.no_grad():
                self._task = self.model.head.adapt(self.support())
        return self._task

    def use(self, head: Head) -> None:
        """Replace the head by another of the same kind, shape and width; copies keep theirs."""
        self.model, self._task = self.model.with_head(head.eval()), None

    def predict(
        self,
        image,
        threshold: Threshold = None,
        names: Sequence[str] | None = None,
        max_detections: int | None = None,
        tiles: int | None = None,
    ) -> Detections:
        """Detect the registered categories in an image, best first.

        Args:
            image: a path, an RGB array [H, W, 3], a PIL image, or a tensor [3, H, W]; see `fsdet.api.inputs`.
            threshold: minimum score in 0..1, of all categories or by name; None: `thresholds`, and 0.5 for
                categories without one.
            names: the categories to return; the others still compete. None: all.
            max_detections: at most so many. None: all.
            tiles: side in pixels of overlapping tiles, in which a larger image is also looked at, for small
                objects. None: as a whole only.

        Raises:
            InputError: not one image, no category registered, or an argument out of range.
        """
        if isinstance(image, list | tuple):
            raise InputError("predict: expected one image, got several; see predict_many")
        return self.predict_many([image], threshold, names, max_detections, tiles)[0]

    def predict_many(
        self,
        images: Iterable,
        threshold: Threshold = None,
        names: Sequence[str] | None = None,
        max_detections: int | None = None,
        tiles: int | None = None,
    ) -> list[Detections]:
        """`predict` for each of several images; the backbone sees them in batches."""
        return list(self.predict_each(images, threshold, names, max_detections, tiles))

    def predict_each(
        self,
        images: Iterable,
        threshold: Threshold = None,
        names: Sequence[str] | None = None,
        max_detections: int | None = None,
        tiles: int | None = None,
    ) -> Iterator[Detections]:
        """`predict_many` one after the other: of a generator, no more than a batch of images is in memory."""
        if is_image(images) or not isinstance(images, Iterable):
            given = "one" if is_image(images) else type(images).__name__
            raise InputError(f"predict_many: expected a list of images, got {given}")
        keep = result_filter(self.names, self.thresholds, threshold, names, max_detections)
        check_tiles(tiles)
        self.task()  # raises before any image is decoded if no category is registered
        return self._predict_each(iter(images), keep, tiles)

    def _predict_each(
        self, images: Iterator, keep: Filter, tiles: int | None
    ) -> Iterator[Detections]:
        while batch := list(islice(images, BATCH)):
            with torch.no_grad():
                if tiles is None:
                    found = self._found(batch, keep)
                else:
                    found = [self._found_in_tiles(image, keep, tiles) for image in batch]
            for image, one in zip(batch, found, strict=True):
                yield keep.select(one, image)

    def _found(self, images: Sequence, keep: Filter) -> list[Found]:
        """All detections of a batch of images above the lowest minimum."""
        averages = self.names != self.kept  # a kept classifier reads no averages
        return [self._detect(one, keep) for one in self._propose(images, averages)]

    def _found_in_tiles(self, image: object, keep: Filter, side: int) -> Found:
        """All detections of an image and its tiles."""
        pixels = as_tensor(image)
        seen = windows(pixels.shape[-2], pixels.shape[-1], side)
        crops = [pixels[:, y1:y2, x1:x2] for x1, y1, x2, y2 in seen]
        batches = (crops[start : start + BATCH] for start in range(0, len(crops), BATCH))
        parts = [part for batch in batches for part in self._found(batch, keep)]
        return joined(parts, seen, self.model.selection.overlap)

    def candidates(self, images: Sequence) -> list[Candidates]:
        """Proposals of images with their features, computed in one batch: the input of `detect`."""
        return self._propose(images, averages=True)

    def _propose(self, images: Sequence, averages: bool) -> list[Candidates]:
        tensors = self._to_device([as_tensor(image) for image in images])
        return self.model.propose(tensors, self._given(tensors), averages)

    def _given(self, images: list[Tensor]) -> GivenBoxes | None:
        """Boxes from outside; None: the network's own."""
        most = self.settings.proposals[1]
        return given_boxes(self.proposals, images, most) if self.proposals else None

    @torch.no_grad()
    def detect(
        self,
        candidates: Candidates,
        threshold: Threshold = None,
        names: Sequence[str] | None = None,
        max_detections: int | None = None,
    ) -> Detections:
        """`predict` from the candidates of an image; they stay valid when categories change."""
        keep = result_filter(self.names, self.thresholds, threshold, names, max_detections)
        return keep.select(self._detect(candidates, keep))

    def _detect(self, candidates: Candidates, keep: Filter) -> Found:
        selection = replace(self.model.selection, score=keep.lowest)
        return detect(self.model.head, candidates, self.task(), selection)

    def to(self, device: str | torch.device) -> "Detector":
        """The same detector on another device; this one stays where it is."""
        parts = self.parts()
        return Detector(*parts._replace(model=copy.deepcopy(self.model).to(device)))

    def save(self, path: str | Path) -> Path:
        """Write the detector with all categories to a file; a folder gets `detector.safetensors`.

        Proposals from outside are not stored: `fsdet.load` asks for them.
        """
        return detector_file.write(path, self.parts())

    def parts(self) -> detector_file.Parts:
        """The arguments of an equal detector over the same network: `Detector(*parts)`."""
        return detector_file.Parts(
            self.model, self.settings, self.head, dict(self._memory), self.n_base, self.kept,
            self.origin, dict(self.thresholds), self.proposals,
        )  # fmt: skip

    def check_new(self, name: object) -> None:
        """Raise an InputError for a category that the detector keeps."""
        if name in self.kept:
            raise InputError(
                f"register: the detector knows a category '{name}' already; give another name, or"
                f" forget('{name}') first"
            )

    def _to_device(self, images: list[Tensor]) -> list[Tensor]:
        for image in images:
            check_sides(image.shape[-2], image.shape[-1], self.settings)
        return [image.to(self.device) for image in images]

    def __repr__(self) -> str:
        shown = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
        origin = f"; from {self.origin}" if self.origin else ""
        return f"Detector({self.head.name}, {len(self.names)} categories: {shown}{origin})"
