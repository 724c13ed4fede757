"""Annotation files and images anywhere below a root: which image each file belongs to, and its subset."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fsdet.data.images import SUFFIXES
from fsdet.data.names import forward, name_key, stem

MOST_LEVELS = 5
MOST_FILES = 1_000_000
SUBSET_NAMES = {
    *("train", "training", "trainval", "val", "valid", "validation", "dev", "test", "testing"),
}
DEFAULT = "train"  # the subset of a folder without subsets


@dataclass(frozen=True)
class FileTree:
    """The images and the annotation files below a root."""

    annotations: list[str]  # relative to the root, sorted
    images: list[str]

    @classmethod
    def scan(cls, root: Path, suffix: str) -> "FileTree":
        """Look through up to five levels of folders, without hidden ones and links to folders.

        Args:
            suffix: ending of the annotation files, such as ".xml".
        """
        annotations, images = [], []
        for parent, folders, files in os.walk(root):
            relative = os.path.relpath(parent, root)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if relative.count(os.sep) >= MOST_LEVELS - 1:
                folders.clear()
            for name in files:
                path = name if relative == "." else f"{relative}/{name}"
                if name.lower().endswith(suffix):
                    annotations.append(path)
                elif name.lower().endswith(SUFFIXES):
                    images.append(path)
            if len(annotations) + len(images) > MOST_FILES:
                break
        return cls(sorted(annotations), sorted(images))

    def subsets(self) -> dict[str, list[str]]:
        """Subset -> its annotation files.

        Folders that are called train, valid, test or the like make subsets; then any other folder beside them
        is one too. Without such a folder all files are the subset "train".
        """
        folders = {file: file.split("/")[:-1] for file in self.annotations}
        named = any(name.lower() in SUBSET_NAMES for names in folders.values() for name in names)
        subsets: dict[str, list[str]] = {}
        for file, names in folders.items():
            own = next((name for name in names if name.lower() in SUBSET_NAMES), None)
            subset = own or (names[0] if named and names else DEFAULT)
            subsets.setdefault(subset, []).append(file)
        return subsets

    def subsets_by_name(self) -> dict[str, list[str]]:
        """Subset -> its files: the word train, test or the like in the name of a file, else of a folder of it."""
        subsets: dict[str, list[str]] = {}
        for file in self.annotations:
            parts = reversed(stem(file).lower().split("/"))
            words = (word for part in parts for word in re.split(r"[^a-z]+", part))
            subset = next((word for word in words if word in SUBSET_NAMES), DEFAULT)
            subsets.setdefault(subset, []).append(file)
        return subsets

    def image_of(self, annotation: str) -> str | None:
        """The image that has the name of an annotation file: beside it, else in the most similar folder.

        None if there is none, or if several are equally near.
        """
        return nearest_path(annotation, self._by_stem.get(_stem_key(annotation), []))

    def image_named(self, name: str, annotation: str) -> str | None:
        """The image that a file name or a path of another machine means, the nearest to an annotation file.

        Folders of the name count if they are here; endings may differ if there is no other image of the name.
        None if there is none, or if several are equally near.
        """
        parts = [part for part in forward(name).split("/") if part not in ("", ".", "..")]
        if not parts:
            return None
        similar = self._by_stem.get(_stem_key(parts[-1]), [])
        base, whole = name_key(parts[-1]), "/" + name_key("/".join(parts))
        exact = [image for image in similar if name_key(os.path.basename(image)) == base]
        full = [image for image in exact if f"/{name_key(image)}".endswith(whole)]
        return nearest_path(annotation, full or exact or similar)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        by_stem: dict[str, list[str]] = {}
        for image in self.images:
            by_stem.setdefault(_stem_key(image), []).append(image)
        return by_stem


def nearest_path(path: str, candidates: Iterable[str]) -> str | None:
    """The candidate in the same folder, else the one with most folders of the path; None if several have.

    Of candidates in one folder, which differ in their ending, the first in `SUFFIXES` counts.
    """
    parent, folders = os.path.dirname(path), set(path.split("/")[:-1])
    scores: dict[str, tuple[bool, int, int]] = {}
    for candidate in candidates:
        other = candidate.split("/")[:-1]
        same = os.path.dirname(candidate) == parent
        scores[candidate] = (same, len(folders.intersection(other)), -len(set(other) - folders))
    best = [candidate for candidate, score in scores.items() if score == max(scores.values())]
    if len({os.path.dirname(candidate) for candidate in best}) != 1:
        return None
    return min(best, key=lambda image: (_rank(image), image))


def _rank(image: str) -> int:
    ending = os.path.splitext(image)[1].lower()
    return SUFFIXES.index(ending) if ending in SUFFIXES else len(SUFFIXES)


def _stem_key(path: str) -> str:
    return name_key(stem(os.path.basename(path)))
