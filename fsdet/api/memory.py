"""What a detector keeps of categories: regions, by name, background under the name ""."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fsdet.errors import InputError
from fsdet.heads.layers import RegionShape
from fsdet.types import Features, Regions


@dataclass(frozen=True)
class Memory:
    """Regions that a detector keeps of a category, or, under the name "", of background."""

    features: Features  # of S regions, float16
    deltas: Tensor  # [S, 4]

    def __len__(self) -> int:
        return len(self.deltas)

    def to(self, device: torch.device) -> "Memory":
        return Memory(self.features.to(device), self.deltas.to(device))

    @staticmethod
    def blank(regions: int, shape: RegionShape, device: str = "meta") -> "Memory":
        """Of so many regions and no content."""
        maps = torch.empty(regions, shape.channels, shape.side, shape.side, device=device)
        means = torch.empty(regions, sum(shape.means), device=device)
        return Memory(Features(maps, means), torch.empty(regions, 4, device=device))


def learned(regions: Regions, names: tuple[str, ...]) -> dict[str, Memory]:
    """A memory of regions alone: label n is `names[n - 1]`, 0 is background.

    Raises:
        InputError: a category of which there is no region.
    """
    result = {}
    for label, name in enumerate(("", *names)):
        of = regions.labels == label
        if name and not of.any():
            raise InputError(f"no region is left of '{name}': other boxes lie on its own")
        result[name] = Memory(regions.features[of].to(torch.float16), regions.deltas[of])
    return result


def merged(memories: Iterable[Mapping[str, Memory]]) -> dict[str, Memory]:
    """All memories in one: regions of a name that is in several follow each other in their order.

    What is in one alone is taken as it is, not copied: the base categories' are large.
    """
    parts: dict[str, list[Memory]] = {}
    for memory in memories:
        for name, kept in memory.items():
            parts.setdefault(name, []).append(kept)
    return {name: _joined(found) for name, found in parts.items()}


def _joined(parts: Sequence[Memory]) -> Memory:
    if len(parts) == 1:
        return parts[0]
    features = Features.cat(one.features for one in parts)
    return Memory(features, torch.cat([one.deltas for one in parts]))


def support_of(memory: Mapping[str, Memory]) -> Regions:
    """Everything remembered as a support set: label n is the n-th name that is not "".

    Raises:
        InputError: no category.
    """
    names = [name for name in memory if name]
    if not names:
        raise InputError("the detector has no category yet; register one first")
    labels = {name: label for label, name in enumerate(names, 1)}
    parts = sorted((labels.get(name, 0), name) for name in memory)
    counts = torch.tensor([len(memory[name]) for _, name in parts])
    deltas = torch.cat([memory[name].deltas for _, name in parts])
    return Regions(
        Features.cat(memory[name].features.to(torch.float32) for _, name in parts),
        torch.tensor([label for label, _ in parts]).repeat_interleave(counts).to(deltas.device),
        deltas,
        len(names),
    )
