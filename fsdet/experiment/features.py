"""Cached region features: extracted once per run folder, shared by every head."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from fsdet import config as cfg
from fsdet.data import DetectionData
from fsdet.evaluation.candidates import CandidateSet
from fsdet.experiment.context import Context
from fsdet.experiment.extraction import extract_bank, extract_candidates, image_shards
from fsdet.experiment.feature_store import CandidateShards, load_bank, store
from fsdet.experiment.few_shot_data import Problem, memory_objects, novel_shots
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.progress import progress
from fsdet.training.region_bank import RegionBank
from fsdet.types import Regions

REGIONS_PER_OBJECT = 3  # in the memory


@dataclass(frozen=True)
class CachedFeatures:
    """Region features that tasks are learned from and scored on."""

    novel: RegionBank  # images with shots
    test: CandidateShards
    memory: Regions  # of base categories, labels 1..base, and background: kept by the detector


def extract_features(
    context: Context, model: FewShotRCNN, folder: Path
) -> tuple[RegionBank, CachedFeatures]:
    """Extract the features of base images, shot images and test images, or read those in the folder.

    Args:
        folder: of the files of features.

    Returns:
        The bank of training images of base categories, in which novel objects are ignored; and the
        features of tasks.
    """
    config, problem, fabric = context.config, context.problem, context.fabric
    base = problem.split.base
    objects = memory_objects(problem, config.evaluate.base_shots, config.seed)

    def base_bank() -> RegionBank:
        images = _sample_images(problem.images_with(base), config.meta.images, config.seed)
        images = np.union1d(images, problem.images_of_rows(objects))
        return extract_bank(
            fabric, model, problem.train, images, problem.labels(base), base, config.data.workers,
            progress("base images"),
        )  # fmt: skip

    with context.clock.time("image side: base images"):
        file = store(fabric, folder / "base.bank.safetensors", base_bank)
        bank = load_bank(file, base, model.shape.means)
    memory = _memory(bank, objects, config.evaluate.background)
    return bank, extract_task_features(context, model, folder, memory)


def extract_task_features(
    context: Context, model: FewShotRCNN, folder: Path, memory: Regions
) -> CachedFeatures:
    """Extract the features of shot images and of test images, or read those in the folder.

    Args:
        folder: of the files of features.
        memory: regions of base categories and of background.
    """
    config, problem, fabric = context.config, context.problem, context.fabric
    novel, workers = problem.split.novel, config.data.workers

    def novel_bank() -> RegionBank:
        rows = _rows_of_all_shots(problem, config)
        images = np.unique(problem.images_of_rows(rows))
        return extract_bank(
            fabric, model, _with_difficult(problem.train, rows), images, problem.labels(novel), novel,
            workers, progress("shot images"),
        )  # fmt: skip

    def candidates(images: np.ndarray) -> CandidateSet:
        bar = progress("test images")
        return extract_candidates(fabric, model, problem.test, images, workers, bar)

    with context.clock.time("image side: shot images"):
        file = store(fabric, folder / _novel_file(config), novel_bank)
        bank = load_bank(file, novel, model.shape.means)
    with context.clock.time("image side: test images"):
        shards = image_shards(len(problem.test), model)
        files = tuple(
            store(fabric, folder / f"test-{i}.safetensors", partial(candidates, images))
            for i, images in enumerate(shards)
        )
    return CachedFeatures(bank, CandidateShards(files, tuple(map(len, shards))), memory)


def _rows_of_all_shots(problem: Problem, config: cfg.Config) -> list[int]:
    """Rows of the annotations that are shots at any shot count and seed."""
    return problem.rows_of(
        i
        for seed in range(config.evaluate.seeds)
        for k in config.evaluate.shots
        for ids in novel_shots(problem, config.data, k, seed).values()
        for i in ids
    )


def _memory(bank: RegionBank, objects: list[int], num_background: int) -> Regions:
    """Regions of some objects, and of background, evenly spread over the bank."""
    background = torch.nonzero(bank.labels == 0)[:, 0]
    count = min(num_background, len(background))
    spread = torch.linspace(0, len(background) - 1, count).long()
    index = torch.cat([bank.of_objects(objects, REGIONS_PER_OBJECT), background[spread]])
    return bank.take(index, bank.labels[index], len(bank.classes))


def _with_difficult(data: DetectionData, shots: list[int]) -> DetectionData:
    """The data with no shot ignored: published lists of VOC contain difficult objects too."""
    ignore = data.ignore.copy()
    ignore[shots] = False
    return replace(data, ignore=ignore, cache_folder=None) if data.ignore[shots].any() else data


def _sample_images(images: np.ndarray, most: int, seed: int) -> np.ndarray:
    if len(images) <= most:
        return images
    return np.sort(np.random.Generator(np.random.PCG64(seed)).permutation(images)[:most])


def _novel_file(config: cfg.Config) -> str:
    """The name of the bank of shot images; other shot counts or seeds are other images."""
    shots = "-".join(map(str, config.evaluate.shots))
    return f"shots-{shots}-seeds-{config.evaluate.seeds}.bank.safetensors"
