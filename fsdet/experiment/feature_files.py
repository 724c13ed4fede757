"""What the image side left, in files of the run folder: made once, read by every head."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from lightning_fabric import Fabric
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fsdet.errors import InputError
from fsdet.evaluation.candidates import CandidateSet
from fsdet.files import write_whole
from fsdet.training.region_bank import RegionBank
from fsdet.types import Features


def keep(fabric: Fabric, path: Path, make: Callable[[], RegionBank | CandidateSet]) -> Path:
    """The file of what `make` returns; the first process makes it if it is not there, the others wait."""
    if fabric.is_global_zero and not path.exists():
        made = make()
        tensors = {"maps": made.features.maps, "means": made.features.means}
        values = {field.name: getattr(made, field.name) for field in fields(made)}
        tensors |= {name: v for name, v in values.items() if isinstance(v, Tensor)}
        write_whole(path, lambda to: save_file(tensors, to))
    fabric.barrier()
    return path


def stored_bank(path: Path, classes: tuple[str, ...], levels: tuple[int, ...]) -> RegionBank:
    """A region bank of a run folder."""
    features, rest = _read(path)
    return RegionBank(features=features, **rest, classes=classes, levels=levels)


@dataclass(frozen=True)
class Shards:
    """Candidates of all test images, run after run, in files that are read as they are come to."""

    files: tuple[Path, ...]
    images: tuple[int, ...]  # in each file

    @property
    def firsts(self) -> tuple[int, ...]:
        """The first image of each file."""
        return tuple(sum(self.images[:i]) for i in range(len(self.images)))

    def __iter__(self) -> Iterator[CandidateSet]:
        return map(self._read, self.files)

    @staticmethod
    def _read(file: Path) -> CandidateSet:
        features, rest = _read(file)
        return CandidateSet(features=features, **rest)


def _read(path: Path) -> tuple[Features, dict[str, Tensor]]:
    with _whole(path):
        tensors = load_file(path)
        return Features(tensors.pop("maps"), tensors.pop("means")), tensors


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """What goes wrong with a file that someone cut or changed, as an InputError."""
    try:
        yield
    except (SafetensorError, OSError, KeyError) as error:
        raise InputError(
            f"'{path}' is not whole: {error}; delete it, and it is made again"
        ) from error
