"""Reader: the interface of a data set format."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from fsdet.data.dataset import DetectionData
from fsdet.data.formats.validation import DataIssue


class ReadResult(NamedTuple):
    """The valid annotations of a subset, and everything that is wrong or odd with the others."""

    data: DetectionData | None  # None where the annotation file itself cannot be used
    faults: Sequence[DataIssue]  # each is left out of `data`
    warnings: Sequence[DataIssue] = ()


class Reader(Protocol):
    """Reader of one data set format.

    A new format is a class with these members and its line in `fsdet.data.open.READERS`; its row
    in tests/helpers/folders.py runs the tests that all formats share. `RawAnnotations.from_images`
    and `validate` check boxes and build the `DetectionData`.
    """

    @property
    def name(self) -> str:
        """`DetectionData.layout`, such as "COCO"."""

    @property
    def version(self) -> int:
        """Raise it when the result of `read` changes: cached indexes are then read anew."""

    @property
    def layout(self) -> str:
        """The files that make a subset, for error messages; "{subset}" is replaced."""

    def subsets(self, root: Path) -> list[str]:
        """Names of the subsets in a folder; none where the folder has another format."""

    def has(self, root: Path, subset: str) -> bool:
        """True if this reader should read the subset, be it only to report what is broken."""

    def sources(self, root: Path, subset: str) -> Iterable[os.PathLike[str]]:
        """Every file, and every folder whose listing matters, that the result of `read` depends on."""

    def read(self, root: Path, subset: str) -> ReadResult:
        """Read a subset for which `has` is true. Faults are returned, not raised."""
