"""Feature store: region features in files of the run folder, extracted once and read by every head."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from lightning_fabric import Fabric
from torch import Tensor

from fsdet import tensor_file
from fsdet.errors import InputError, one_line
from fsdet.evaluation.candidates import CandidateSet
from fsdet.training.region_bank import RegionBank
from fsdet.types import Features


def store(fabric: Fabric, path: Path, extract: Callable[[], RegionBank | CandidateSet]) -> Path:
    """Write the result of `extract` to a file unless it exists; the first process does, the others wait.

    Returns:
        The path.
    """
    if fabric.is_global_zero and not path.exists():
        extracted = extract()
        tensors = {"maps": extracted.features.maps, "means": extracted.features.means}
        values = {field.name: getattr(extracted, field.name) for field in fields(extracted)}
        tensors |= {name: value for name, value in values.items() if isinstance(value, Tensor)}
        tensor_file.save(path, tensors, {})
    fabric.barrier()
    return path


def load_bank(path: Path, classes: tuple[str, ...], levels: tuple[int, ...]) -> RegionBank:
    """Read a region bank.

    Args:
        classes: the bank's categories.
        levels: channels of each level in the means.

    Raises:
        InputError: the file is damaged.
    """
    features, columns = _load(path)
    return RegionBank(features=features, **columns, classes=classes, levels=levels)


@dataclass(frozen=True)
class CandidateShards:
    """Candidates of all test images in consecutive files; iteration reads one file at a time."""

    files: tuple[Path, ...]
    num_images: tuple[int, ...]  # in each file

    @property
    def offsets(self) -> tuple[int, ...]:
        """Index of the first image of each file."""
        return tuple(sum(self.num_images[:i]) for i in range(len(self.num_images)))

    def __iter__(self) -> Iterator[CandidateSet]:
        for file in self.files:
            features, columns = _load(file)
            yield CandidateSet(features=features, **columns)


def _load(path: Path) -> tuple[Features, dict[str, Tensor]]:
    try:
        columns, about = tensor_file.load(path)
        if about is None:
            raise ValueError("it has no checksum, as files of earlier versions")
        return Features(columns.pop("maps"), columns.pop("means")), columns
    except (ValueError, OSError, KeyError) as error:
        raise InputError(
            f"'{path}' is damaged: {one_line(error, 200)}; delete it, and the same command extracts it again"
        ) from error
