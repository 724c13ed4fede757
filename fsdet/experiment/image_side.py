"""The image side of an experiment: run once, stored, and shared by every head."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file, save_file

from fsdet import config as cfg
from fsdet.detector import FewShotRCNN, join
from fsdet.engine.bank import Bank
from fsdet.engine.checkpoint import write_whole
from fsdet.engine.evaluate import CandidateSet
from fsdet.engine.image_side import bank_of, candidates_of
from fsdet.experiment.problem import Problem, kept_objects, novel_shots
from fsdet.experiment.record import Clock, progress
from fsdet.types import Features, Regions


MEMORY = 3  # regions that are kept of an object


@dataclass(frozen=True)
class Seen:
    """All that heads need of the images of a problem."""

    base: Bank  # training images of base categories; novel objects in them are ignored
    novel: Bank  # images that shots are in
    test: CandidateSet
    memory: Regions  # what a detector keeps of its base categories, labels 1..base


def support_of(seen: Seen, problem: Problem, ids: dict[str, list[int]]) -> Regions:
    """The support of shots in the joint label space: memory of the base categories, and the shots.

    Other objects of a shot's image are ignored: neither objects nor background.
    """
    rows = problem.rows_of(i for listed in ids.values() for i in listed)
    images = torch.from_numpy(np.unique(problem.images_of_rows(rows)))
    index = torch.cat([seen.novel.of_objects(rows), seen.novel.background_of(images)])
    n_base, n_novel = len(problem.split.base), len(problem.split.novel)
    relabel = torch.arange(1 + n_novel)
    relabel[1:] += n_base
    shots = seen.novel.take(index, relabel, n_base + n_novel)
    return replace(join([seen.memory, shots]), n_way=n_base + n_novel)


def look(
    fabric: Fabric,
    model: FewShotRCNN,
    problem: Problem,
    config: cfg.Config,
    folder: Path,
    clock: Clock,
) -> Seen:
    """Run the image side over base images, shot images and test images, or read what a run before stored."""
    base, novel = problem.split.base, problem.split.novel
    kept = kept_objects(problem, config.evaluate.base_shots, config.seed)
    workers = config.data.workers

    def base_bank() -> Bank:
        images = _some(problem.images_with(base), config.meta.images, config.seed)
        images = np.union1d(images, problem.images_of_rows(kept))
        return bank_of(
            fabric, model, problem.train, images, problem.labels(base), base, workers,
            progress("base images"),
        )  # fmt: skip

    def novel_bank() -> Bank:
        rows = problem.rows_of(
            i
            for seed in range(config.evaluate.seeds)
            for k in config.evaluate.shots
            for listed in novel_shots(problem, config.data, k, seed).values()
            for i in listed
        )
        images = np.unique(problem.images_of_rows(rows))
        return bank_of(
            fabric, model, problem.train, images, problem.labels(novel), novel, workers,
            progress("shot images"),
        )  # fmt: skip

    def test() -> CandidateSet:
        return candidates_of(fabric, model, problem.test, workers, progress("test images"))

    with clock.time("image side: base images"):
        bank = _kept(fabric, folder / "base.bank.safetensors", base_bank, Bank, base)
    with clock.time("image side: shot images"):
        shots = _kept(fabric, folder / _novel_file(config), novel_bank, Bank, novel)
    with clock.time("image side: test images"):
        candidates = _kept(fabric, folder / "test.safetensors", test, CandidateSet)
    return Seen(bank, shots, candidates, _memory(bank, kept, config))


def _memory(bank: Bank, kept: Iterable[int], config: cfg.Config) -> Regions:
    """Regions of the kept objects, and some of the background, evenly spread over the bank."""
    empty = torch.nonzero(bank.labels == 0)[:, 0]
    spread = torch.linspace(0, len(empty) - 1, min(config.evaluate.background, len(empty))).long()
    index = torch.cat([bank.of_objects(kept, MEMORY), empty[spread]])
    return bank.take(index, torch.arange(1 + len(bank.classes)), len(bank.classes))


def _some(images: np.ndarray, most: int, seed: int) -> np.ndarray:
    if len(images) <= most:
        return images
    return np.sort(np.random.Generator(np.random.PCG64(seed)).permutation(images)[:most])


def _novel_file(config: cfg.Config) -> str:
    """Which shots are asked for is part of the name: more seeds later are other images."""
    shots = "-".join(map(str, config.evaluate.shots))
    return f"shots-{shots}-seeds-{config.evaluate.seeds}.bank.safetensors"


def _kept(fabric: Fabric, path: Path, make: Callable, kind: type, classes: tuple[str, ...] = ()):
    """What `make` returns, made by the first process if the file is not there, and read by the others."""
    if fabric.is_global_zero and not path.exists():
        made = make()
        tensors = {"maps": made.features.maps, "means": made.features.means}
        tensors |= {
            f.name: getattr(made, f.name)
            for f in fields(made)
            if isinstance(getattr(made, f.name), torch.Tensor)
        }
        write_whole(path, lambda to: save_file(tensors, to))
    fabric.barrier()
    tensors = load_file(path)
    features = Features(tensors.pop("maps"), tensors.pop("means"))
    named = {"classes": classes} if kind is Bank else {}
    return kind(features=features, **tensors, **named)
