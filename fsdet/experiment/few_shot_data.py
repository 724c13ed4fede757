"""What an experiment is about: images, categories, and which boxes are shots."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fsdet import config as cfg
from fsdet.data import DetectionData, open_data
from fsdet.data.shots.published_lists import published, published_of_each
from fsdet.data.shots.sampling import draw
from fsdet.data.shots.shot_list import sample, up_to
from fsdet.data.shots.splits import LEFT_OUT, FewShotSplit, find
from fsdet.data.shots.tfa import tfa
from fsdet.errors import InputError

EVERY = "every category"  # the name of the split that has no base categories


@dataclass(frozen=True)
class Problem:
    """Training and test images under a few-shot split; the label space is base, then novel."""

    train: DetectionData
    test: DetectionData
    split: FewShotSplit

    def labels(self, names: Iterable[str]) -> dict[int, int]:
        """Label of the data -> 1..N, in the order of `names`."""
        place = {name: n for n, name in enumerate(self.train.classes, 1)}
        return {place[name]: n for n, name in enumerate(names, 1)}

    def images_with(self, names: Iterable[str]) -> np.ndarray:
        """Training images with a box of one of the categories, ascending."""
        images = [self.train.images_of(label) for label in self.labels(names)]
        return np.unique(np.concatenate(images))

    def rows_of(self, ids: Iterable[int]) -> list[int]:
        """Rows of annotations of the training data by id."""
        order = np.argsort(self.train.ids, kind="stable")
        found = np.searchsorted(self.train.ids, list(ids), sorter=order)
        return order[found].tolist()

    def images_of_rows(self, rows: Iterable[int]) -> np.ndarray:
        """The training image of each annotation."""
        return self.train.image_of(list(rows))


def open_problem(config: cfg.Data) -> Problem:
    """Read data and split.

    Raises:
        InputError: what `open_data` and `find` refuse, or images that are in training and test.
    """
    train, test = _open(config)
    split = find(config.split, train.classes, config.root, config.allow_missing, train.federated)
    absent = [name for name in split.base + split.novel if name not in test.classes]
    if absent and not config.allow_missing:
        raise InputError(
            f"{config.root}, '{config.test}': has no category '{absent[0]}', which split"
            f" '{split.name}' names{LEFT_OUT}"
        )
    if absent:
        split = FewShotSplit(
            split.name,
            tuple(name for name in split.base if name not in absent),
            tuple(name for name in split.novel if name not in absent),
        )
    return Problem(train, test, split)


def open_target(config: cfg.Data) -> Problem:
    """Read data all of whose categories are novel: what a detector of other categories is adapted to.

    Raises:
        InputError: what `open_data` refuses, images that are in training and test, or no category in both.
    """
    train, test = _open(config)
    shared = tuple(name for name in train.classes if name in test.classes)
    if not shared:
        raise InputError(f"{config.root}: '{config.train}' and '{config.test}' share no category")
    return Problem(train, test, FewShotSplit(EVERY, (), shared))


def _open(config: cfg.Data) -> tuple[DetectionData, DetectionData]:
    train = open_data(config.root, config.train, config.skip_bad)
    test = open_data(config.root, config.test, config.skip_bad)
    paths = {test.paths[i] for i in range(len(test))}
    shared = [p for p in (train.paths[i] for i in range(len(train))) if p in paths]
    if shared:
        raise InputError(
            f"{config.root}: {len(shared)} images are in '{config.train}' and in '{config.test}', the"
            f" first '{shared[0]}'; a detector must not be scored on images that it learned from"
        )
    return train, test


def novel_shots(problem: Problem, config: cfg.Data, k: int, seed: int) -> dict[str, list[int]]:
    """Annotation ids of the k shots of every novel category: sampled, drawn as TFA does, or published.

    LVIS's rare categories may have fewer boxes; then all of them are shots.
    """
    if not config.shots:
        chosen = up_to if problem.train.federated else sample
        return chosen(problem.train, problem.split.novel, k, seed)
    if config.shots == "tfa":
        return tfa(problem.train, problem.split.novel, k, seed)
    return published(config.shots, problem.train, problem.split.novel, k, seed)


class BaseShots(NamedTuple):
    """k objects of every base category, for fine-tuning on both kinds."""

    ids: dict[str, list[int]]
    sampled: dict[str, str]  # categories that no list gives, and why


def base_shots(problem: Problem, config: cfg.Data, k: int, seed: int) -> BaseShots:
    """From where novel shots are; a category of which there is no list, or one of other images, is sampled."""
    train, base = problem.train, problem.split.base
    ids, refused = _of_each(train, config.shots, base, k, seed)
    for name, label in zip(base, problem.labels(base), strict=True):
        if name not in ids:
            ids[name] = draw(train, name, train.images_of(label), k, seed)
    return BaseShots(ids, {name: str(error) for name, error in refused.items()})


def _of_each(
    train: DetectionData, shots: str | None, classes: Sequence[str], k: int, seed: int
) -> tuple[dict[str, list[int]], dict[str, InputError]]:
    """Shots of the categories that are listed, and why those of others are not; of no lists neither."""
    if not shots:
        return {}, {}
    if shots != "tfa":
        return published_of_each(shots, train, classes, k, seed)
    try:
        return tfa(train, classes, k, seed), {}
    except InputError as error:  # its rule draws one category after the other
        return {}, dict.fromkeys(classes, error)


def base_objects(problem: Problem) -> dict[str, list[int]]:
    """Annotation ids of all objects of every base category."""
    train, base = problem.train, problem.split.base
    return {
        name: train.ids[(train.labels == label) & ~train.ignore].tolist()
        for name, label in zip(base, problem.labels(base), strict=True)
    }


def kept_objects(problem: Problem, most: int, seed: int) -> list[int]:
    """Rows of up to `most` objects of each base category: what a detector keeps of its base training."""
    train, found = problem.train, []
    for name, label in zip(problem.split.base, problem.labels(problem.split.base), strict=True):
        found += draw(train, name, train.images_of(label), most, seed)
    return problem.rows_of(found)
