"""Memory of a detector: regions per category, background under the name ""."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fsdet.errors import InputError
from fsdet.heads.layers import RegionShape
from fsdet.types import Features, Regions


@dataclass(frozen=True)
class Memory:
    """Stored regions of a category, or, under the name "", of background."""

    features: Features  # of S regions, float16
    deltas: Tensor  # [S, 4]

    def __len__(self) -> int:
        return len(self.deltas)

    def to(self, device: torch.device) -> "Memory":
        return Memory(self.features.to(device), self.deltas.to(device))

    @staticmethod
    def blank(regions: int, shape: RegionShape, device: str = "meta") -> "Memory":
        """Uninitialised memory of so many regions, for its shapes."""
        maps = torch.empty(regions, shape.channels, shape.side, shape.side, device=device)
        means = torch.empty(regions, sum(shape.means), device=device)
        return Memory(Features(maps, means), torch.empty(regions, 4, device=device))


def memory_of(regions: Regions, names: tuple[str, ...]) -> dict[str, Memory]:
    """The memory of labelled regions: label n is `names[n - 1]`, 0 is background.

    Raises:
        InputError: a category without any region.
    """
    result = {}
    for label, name in enumerate(("", *names)):
        rows = regions.labels == label
        if name and not rows.any():
            raise InputError(
                f"category '{name}' has no usable region: its boxes are covered by other boxes"
            )
        result[name] = Memory(regions.features[rows].to(torch.float16), regions.deltas[rows])
    return result


def merged(memories: Iterable[Mapping[str, Memory]]) -> dict[str, Memory]:
    """All memories in one; regions of the same name follow each other in the order of the memories.

    A name in one memory only is not copied: base categories have many regions.
    """
    parts: dict[str, list[Memory]] = {}
    for memory in memories:
        for name, regions in memory.items():
            parts.setdefault(name, []).append(regions)
    return {name: _concatenated(part) for name, part in parts.items()}


def _concatenated(parts: Sequence[Memory]) -> Memory:
    if len(parts) == 1:
        return parts[0]
    features = Features.cat(part.features for part in parts)
    return Memory(features, torch.cat([part.deltas for part in parts]))


def support_of(memory: Mapping[str, Memory], names: Sequence[str], shape: RegionShape) -> Regions:
    """All stored regions as a support set: label n is `names[n - 1]`, 0 is background (the name "").

    Args:
        names: at least those of the memory.
        shape: of the regions.

    Raises:
        InputError: no category.
    """
    if not names:
        raise InputError("the detector has no category yet; register one first")
    labels = {name: label for label, name in enumerate(names, 1)}
    parts = sorted((labels.get(name, 0), name) for name in memory)
    if not parts:
        return Regions(*_no_regions(shape), len(names))
    counts = torch.tensor([len(memory[name]) for _, name in parts])
    deltas = torch.cat([memory[name].deltas for _, name in parts])
    return Regions(
        Features.cat(memory[name].features.to(torch.float32) for _, name in parts),
        torch.tensor([label for label, _ in parts]).repeat_interleave(counts).to(deltas.device),
        deltas,
        len(names),
    )


def _no_regions(shape: RegionShape) -> tuple[Features, Tensor, Tensor]:
    empty = Memory.blank(0, shape, "cpu")
    return empty.features, torch.zeros(0, dtype=torch.int64), empty.deltas
