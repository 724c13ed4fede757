"""Few-shot data: images under a split, and the boxes that are shots."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fsdet import config as cfg
from fsdet.data import DetectionData, open_data
from fsdet.data.open import has_subset
from fsdet.data.shots.published_lists import Stems, image_stems, published, published_of_each
from fsdet.data.shots.sampling import draw
from fsdet.data.shots.shot_list import sample, up_to
from fsdet.data.shots.splits import LEFT_OUT, FewShotSplit, find
from fsdet.data.shots.tfa import tfa
from fsdet.data.split_off import split_off
from fsdet.errors import InputError, join_some

logger = logging.getLogger("fsdet")
ALL_CATEGORIES = "every category"  # name of the split without base categories


@dataclass(frozen=True)
class Problem:
    """Training and test images under a few-shot split; the label space is base, then novel."""

    train: DetectionData
    test: DetectionData
    split: FewShotSplit
    is_split_off: bool = False  # the test images are a share of the training subset

    def labels(self, names: Iterable[str]) -> dict[int, int]:
        """Label of the data -> 1..N, in the order of `names`."""
        labels = {name: label for label, name in enumerate(self.train.classes, 1)}
        return {labels[name]: n for n, name in enumerate(names, 1)}

    def images_with(self, names: Iterable[str]) -> np.ndarray:
        """Training images with a box of one of the categories, ascending."""
        images = [self.train.images_of(label) for label in self.labels(names)]
        return np.unique(np.concatenate(images))

    def rows_of(self, ids: Iterable[int]) -> list[int]:
        """Rows of the training annotations with these ids."""
        order = np.argsort(self.train.ids, kind="stable")
        return order[np.searchsorted(self.train.ids, list(ids), sorter=order)].tolist()

    @cached_property
    def train_stems(self) -> Stems:
        """Training images by name, to look up the images of published lists."""
        return image_stems(self.train)

    def images_of_rows(self, rows: Iterable[int]) -> np.ndarray:
        """Index of the training image of each annotation, by its row."""
        return self.train.image_of(list(rows))


def open_problem(config: cfg.Data) -> Problem:
    """Read the data and the split.

    Raises:
        InputError: wrong data or split (`open_data`, `find`), or images in both training and test.
    """
    train, test, is_split_off = _open(config)
    split = find(config.split, train.classes, config.root, config.allow_missing, train.federated)
    missing = [name for name in split.base + split.novel if name not in test.classes]
    if missing and not config.allow_missing:
        raise InputError(
            f"{config.root}, '{config.test}': has no category '{missing[0]}' of split"
            f" '{split.name}'{LEFT_OUT}"
        )
    if missing:
        split = FewShotSplit(
            split.name,
            tuple(name for name in split.base if name not in missing),
            tuple(name for name in split.novel if name not in missing),
        )
    return Problem(train, test, split, is_split_off)


def open_target(config: cfg.Data, shots: int) -> Problem:
    """Read data with novel categories only, for the transfer of a detector.

    Categories with too few boxes for the shots, or with none in the test images, are left out and named in the
    log: leftovers of labelling are usual. Published shots and LVIS name their categories themselves.

    Args:
        shots: the largest number of boxes that a category is learned from.

    Raises:
        InputError: wrong data (`open_data`), images in both training and test, or no category in both.
    """
    train, test, is_split_off = _open(config)
    shared = tuple(name for name in train.classes if name in test.classes)
    if not shared:
        raise InputError(f"{config.root}: '{config.train}' and '{config.test}' share no category")
    if not config.shots and train.federated is None:
        shared = _with_enough_boxes(config, train, test, shared, shots)
    split = FewShotSplit(ALL_CATEGORIES, (), shared)
    return Problem(train, test, split, is_split_off)


def _with_enough_boxes(
    config: cfg.Data,
    train: DetectionData,
    test: DetectionData,
    names: tuple[str, ...],
    shots: int,
) -> tuple[str, ...]:
    trained, tested = train.box_counts(), test.box_counts()
    few = [name for name in names if trained[name] < shots]
    untested = [name for name in names if name not in few and not tested[name]]
    if few:
        logger.warning("fewer than %d boxes, left out: %s", shots, join_some(few))
    if untested:
        logger.warning("no box in the test images, left out: %s", join_some(untested))
    left = tuple(name for name in names if name not in few and name not in untested)
    if not left:
        raise InputError(
            f"{config.root}: expected a category with {shots} boxes in '{config.train}' and one in"
            f" '{config.test}', found none; fewer shots: evaluate.shots=[1,2]"
        )
    return left


def _open(config: cfg.Data) -> tuple[DetectionData, DetectionData, bool]:
    """Training and test images, and whether the test images were split off."""
    train = open_data(config.root, config.train, config.skip_bad)
    is_split_off = config.split_off > 0 and not has_subset(config.root, config.test)
    if is_split_off:
        train, test = split_off(train, config.split_off, config.split_seed)
    else:
        test = open_data(config.root, config.test, config.skip_bad)
    test_paths = {test.paths[i] for i in range(len(test))}
    shared = [p for p in (train.paths[i] for i in range(len(train))) if p in test_paths]
    if shared:
        raise InputError(
            f"{config.root}: {len(shared)} images are in '{config.train}' and in '{config.test}', the"
            f" first '{shared[0]}'; a detector must not be scored on its training images"
        )
    if config.proposals:
        train = train.with_proposals(config.proposals)
        test = test.with_proposals(config.proposals)
    return train, test, is_split_off


def novel_shots(problem: Problem, config: cfg.Data, k: int, seed: int) -> dict[str, list[int]]:
    """Annotation ids of the k shots of every novel category: sampled by hash, drawn as in TFA, or published.

    Rare categories of LVIS may have fewer than k boxes; then all of them are shots.
    """
    if not config.shots:
        choose = up_to if problem.train.federated else sample
        return choose(problem.train, problem.split.novel, k, seed)
    if config.shots == "tfa":
        return tfa(problem.train, problem.split.novel, k, seed)
    stems = problem.train_stems
    return published(config.shots, problem.train, problem.split.novel, k, seed, stems)


class BaseShots(NamedTuple):
    """Shots of base categories, for novel stages of all categories."""

    ids: dict[str, list[int]]  # category -> annotation ids
    sampled: dict[str, str]  # sampled category -> why no list gives its shots


def base_shots(problem: Problem, config: cfg.Data, k: int, seed: int) -> BaseShots:
    """Shots of every base category, from the same source as novel ones; sampled where no list gives them."""
    train, base = problem.train, problem.split.base
    ids, errors = _listed_shots(problem, config.shots, k, seed)
    for name, label in zip(base, problem.labels(base), strict=True):
        if name not in ids:
            ids[name] = draw(train, name, train.images_of(label), k, seed)
    return BaseShots(ids, {name: str(error) for name, error in errors.items()})


def _listed_shots(
    problem: Problem, shots: str | None, k: int, seed: int
) -> tuple[dict[str, list[int]], dict[str, InputError]]:
    """Shots of listed base categories, and the errors of the others; both empty without lists."""
    train, base = problem.train, problem.split.base
    if not shots:
        return {}, {}
    if shots != "tfa":
        return published_of_each(shots, train, base, k, seed, problem.train_stems)
    try:
        return tfa(train, base, k, seed), {}
    except InputError as error:  # TFA draws all categories from one stream
        return {}, dict.fromkeys(base, error)


def all_base_objects(problem: Problem) -> dict[str, list[int]]:
    """Annotation ids of all objects of every base category."""
    train, base = problem.train, problem.split.base
    return {
        name: train.ids[(train.labels == label) & ~train.ignore].tolist()
        for name, label in zip(base, problem.labels(base), strict=True)
    }


def memory_objects(problem: Problem, most: int, seed: int) -> list[int]:
    """Rows of up to `most` annotations of each base category: the objects in a detector's memory."""
    train, base = problem.train, problem.split.base
    ids: list[int] = []
    for name, label in zip(base, problem.labels(base), strict=True):
        ids += draw(train, name, train.images_of(label), most, seed)
    return problem.rows_of(ids)
