"""The image side of an experiment: run once, stored, and shared by every head."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from fsdet import config as cfg
from fsdet.data import DetectionData
from fsdet.evaluation.candidates import CandidateSet, embed
from fsdet.experiment.extraction import bank_of, candidates_of
from fsdet.experiment.feature_files import Shards, keep, stored_bank
from fsdet.experiment.few_shot_data import Problem, kept_objects, novel_shots
from fsdet.experiment.run_folder import Clock
from fsdet.heads.base import Head
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.model.rpn import ProposalGenerator
from fsdet.progress import progress
from fsdet.training.region_bank import RegionBank
from fsdet.types import Regions, Support

MEMORY = 3  # regions that are kept of an object
SHARD = 2**31  # bytes of features of test images in a file, about: these are read one at a time


@dataclass(frozen=True)
class CachedFeatures:
    """What tasks are learned from and scored on."""

    novel: RegionBank  # images that shots are in
    test: Shards
    memory: Regions  # what a detector keeps of its base categories, labels 1..base


def shots_of(seen: CachedFeatures, problem: Problem, ids: dict[str, list[int]]) -> Tensor:
    """Rows of `seen.novel` that shots give: regions of the objects, and of background in their images.

    Other objects of a shot's image are ignored: neither objects nor background.
    """
    rows = problem.rows_of(i for listed in ids.values() for i in listed)
    images = torch.from_numpy(np.unique(problem.images_of_rows(rows)))
    return torch.cat([seen.novel.of_objects(rows), seen.novel.background_of(images)])


@dataclass(frozen=True)
class EmbeddedSupport:
    """All that a head can be asked to learn, embedded once: memory of base categories, and shots."""

    memory: Support
    novel: Tensor  # embeddings of the regions of `Seen.novel`
    seen: CachedFeatures

    @staticmethod
    @torch.no_grad()
    def of(head: Head, seen: CachedFeatures) -> "EmbeddedSupport":
        memory, kept = seen.memory, embed(head, seen.memory.features)
        support = Support(kept, memory.labels, memory.deltas, memory.n_way)
        return EmbeddedSupport(support, embed(head, seen.novel.features), seen)

    def with_shots(self, index: Tensor) -> Support:
        """Memory and shots (`shots_of`) in the joint label space: base categories first."""
        memory, bank = self.memory, self.seen.novel
        labels = bank.labels[index]
        labels = torch.where(labels > 0, labels + memory.n_way, 0)
        return Support(
            torch.cat([memory.embeddings, self.novel[index]]),
            torch.cat([memory.labels, labels]),
            torch.cat([memory.deltas, bank.deltas[index]]),
            memory.n_way + len(bank.classes),
        )


def look(
    fabric: Fabric,
    model: FewShotRCNN,
    problem: Problem,
    config: cfg.Config,
    folder: Path,
    clock: Clock,
) -> tuple[RegionBank, CachedFeatures]:
    """Run the image side over base images, shot images and test images, or read what a run before stored.

    Returns:
        The bank of training images of base categories, in which novel objects are ignored, and the rest.
    """
    base = problem.split.base
    kept = kept_objects(problem, config.evaluate.base_shots, config.seed)

    def base_bank() -> RegionBank:
        images = _some(problem.images_with(base), config.meta.images, config.seed)
        images = np.union1d(images, problem.images_of_rows(kept))
        return bank_of(
            fabric, model, problem.train, images, problem.labels(base), base, config.data.workers,
            progress("base images"),
        )  # fmt: skip

    with clock.time("image side: base images"):
        file = keep(fabric, folder / "base.bank.safetensors", base_bank)
        bank = stored_bank(file, base, model.shape.means)
    memory = _memory(bank, kept, config)
    return bank, look_at_task(fabric, model, problem, config, folder, clock, memory)


def look_at_task(
    fabric: Fabric,
    model: FewShotRCNN,
    problem: Problem,
    config: cfg.Config,
    folder: Path,
    clock: Clock,
    memory: Regions,
) -> CachedFeatures:
    """Run the image side over shot images and test images alone, beside what is remembered already."""
    novel, workers, levels = problem.split.novel, config.data.workers, model.shape.means

    def novel_bank() -> RegionBank:
        rows = problem.rows_of(
            i
            for seed in range(config.evaluate.seeds)
            for k in config.evaluate.shots
            for listed in novel_shots(problem, config.data, k, seed).values()
            for i in listed
        )
        images = np.unique(problem.images_of_rows(rows))
        return bank_of(
            fabric, model, _with_all(problem.train, rows), images, problem.labels(novel), novel,
            workers, progress("shot images"),
        )  # fmt: skip

    def test(images: np.ndarray) -> CandidateSet:
        return candidates_of(fabric, model, problem.test, images, workers, progress("test images"))

    with clock.time("image side: shot images"):
        shots = stored_bank(keep(fabric, folder / _novel_file(config), novel_bank), novel, levels)
    with clock.time("image side: test images"):
        runs = test_runs(problem, model)
        files = tuple(
            keep(fabric, folder / f"test-{i}.safetensors", partial(test, run))
            for i, run in enumerate(runs)
        )
    return CachedFeatures(shots, Shards(files, tuple(map(len, runs))), memory)


def test_runs(
    problem: Problem, model: FewShotRCNN, proposing: ProposalGenerator | None = None
) -> list[np.ndarray]:
    """Test images, cut into runs whose features are to be held in memory at once."""
    most = max(SHARD // ((proposing or model.rpn).most * model.shape.bytes), 1)
    return np.split(np.arange(len(problem.test)), range(most, len(problem.test), most))


def _memory(bank: RegionBank, kept: Iterable[int], config: cfg.Config) -> Regions:
    """Regions of the kept objects, and some of the background, evenly spread over the bank."""
    empty = torch.nonzero(bank.labels == 0)[:, 0]
    spread = torch.linspace(0, len(empty) - 1, min(config.evaluate.background, len(empty))).long()
    index = torch.cat([bank.of_objects(kept, MEMORY), empty[spread]])
    return bank.take(index, bank.labels[index], len(bank.classes))


def _with_all(data: DetectionData, shots: list[int]) -> DetectionData:
    """The same, but what is a shot is not ignored: published lists of VOC name difficult objects too."""
    ignore = data.ignore.copy()
    ignore[shots] = False
    return replace(data, ignore=ignore, stored=None) if data.ignore[shots].any() else data


def _some(images: np.ndarray, most: int, seed: int) -> np.ndarray:
    if len(images) <= most:
        return images
    return np.sort(np.random.Generator(np.random.PCG64(seed)).permutation(images)[:most])


def _novel_file(config: cfg.Config) -> str:
    """Which shots are asked for is part of the name: more seeds later are other images."""
    shots = "-".join(map(str, config.evaluate.shots))
    return f"shots-{shots}-seeds-{config.evaluate.seeds}.bank.safetensors"
