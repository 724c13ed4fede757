"""k shots of each category: which annotations they are, drawn by hash, written down, or published.

A shot is an annotated box, named by its annotation id; what the other objects of its image count
as is the protocol's affair. Boxes that are to be ignored (crowds, VOC's difficult) are never shots.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fsdet.data.dataset import DetectionData
from fsdet.data.shots.published_lists import published
from fsdet.data.shots.sampling import draw, label_of
from fsdet.errors import InputError
from fsdet.files import write_whole

__all__ = ["ShotList", "load", "published", "sample", "save", "up_to"]


@dataclass(frozen=True)
class ShotList:
    """Shots with all that they are a function of: data set, split, k and seed."""

    data: str
    split: str
    k: int
    seed: int
    ids: dict[str, list[int]]  # category -> annotation ids


def sample(data: DetectionData, classes: Sequence[str], k: int, seed: int) -> dict[str, list[int]]:
    """k annotation ids of each category: the same on every machine, and k of them begin k + 1.

    The order is that of SHA-256 of seed, category and image (its path under the data root, then
    the box): no random generator whose stream a version may change. A second box of an image
    comes after the first of every other image, so that k shots are k images where there are as
    many. A category with fewer boxes than k is an `InputError`.
    """
    shots = up_to(data, classes, k, seed)
    for name, ids in shots.items():
        if len(ids) < k:
            raise InputError(
                f"{data.root}: category '{name}' has {len(ids)} boxes to draw from, "
                f"fewer than {k} shots"
            )
    return shots


def up_to(data: DetectionData, classes: Sequence[str], k: int, seed: int) -> dict[str, list[int]]:
    """As `sample`, but all boxes of a category that has fewer than k, as LVIS's rare ones may.

    A category without any is an `InputError`.
    """
    if k < 1:
        raise InputError(f"shots must be at least 1: got {k}")
    shots = {}
    for name in classes:
        shots[name] = draw(data, name, data.images_of(label_of(data, name)), k, seed)
        if not shots[name]:
            raise InputError(
                f"{data.root}: category '{name}' has 0 boxes to draw from, fewer than {k} shots"
            )
    return shots


def save(path: Path | str, shots: ShotList) -> None:
    """Write as JSON with a digest of the content; the file is whole or not there."""
    content = asdict(shots)
    text = json.dumps({**content, "sha256": _digest(content)}, indent=1)

    def write(to: Path) -> None:
        to.write_text(text, encoding="utf-8")

    write_whole(Path(path), write)


def load(path: Path | str, data: DetectionData | None = None) -> ShotList:
    """Read what `save` wrote; a file cut short or edited is an `InputError`.

    With `data`, so is an id that is not an annotation of its category there.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a list of shots ({error})") from None
    keys = set(ShotList.__dataclass_fields__)
    if not isinstance(content, dict) or set(content) != keys | {"sha256"}:
        raise InputError(f"{path}: a list of shots has the keys {', '.join(sorted(keys))}, sha256")
    if content.pop("sha256") != _digest(content):
        raise InputError(f"{path}: the shots are not those that were written (sha256 differs)")
    shots = ShotList(**content)
    if data is not None:
        row_of = {int(annotation): row for row, annotation in enumerate(data.ids)}
        for name, ids in shots.ids.items():
            label = label_of(data, name)
            for annotation in ids:
                row = row_of.get(annotation)
                if row is None or data.labels[row] != label:
                    raise InputError(
                        f"{path}: {data.root} has no annotation {annotation} of '{name}'"
                    )
    return shots


def _digest(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
