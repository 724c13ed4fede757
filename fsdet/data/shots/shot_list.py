"""Lists of shots: k boxes of each category, sampled by hash, and their JSON file.

A shot is an annotated box, named by its annotation id. Boxes to ignore (crowds, VOC's difficult ones) are
never sampled. Other objects in the images of the shots are handled by `ShotImages`.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from fsdet.data.dataset import DetectionData
from fsdet.data.shots.sampling import draw, label_of
from fsdet.errors import InputError
from fsdet.files import write_whole


@dataclass(frozen=True)
class ShotList:
    """Shots with everything that they depend on: data set, split, k and seed."""

    data: str
    split: str
    k: int
    seed: int
    ids: dict[str, list[int]]  # category -> annotation ids


def sample(data: DetectionData, classes: Sequence[str], k: int, seed: int) -> dict[str, list[int]]:
    """Sample k boxes of each category: the same on every machine, and the first k of k + 1 shots.

    Images are sorted by SHA-256 of seed, category and path under the data root, boxes of an image by SHA-256
    of these and the corners; unlike the stream of a random generator, this order cannot change with a
    version. A second box of an image comes after the first box of every other image, so k shots lie in k
    images if the category is in as many.

    Returns:
        Category -> annotation ids.

    Raises:
        InputError: k below 1, an unknown category, or one with fewer boxes than k.
    """
    shots = up_to(data, classes, k, seed)
    for name, ids in shots.items():
        if len(ids) < k:
            raise _too_few(data, name, len(ids), k)
    return shots


def up_to(data: DetectionData, classes: Sequence[str], k: int, seed: int) -> dict[str, list[int]]:
    """As `sample`, but all boxes of a category with fewer than k, such as LVIS's rare ones.

    Raises:
        InputError: k below 1, an unknown category, or one without boxes.
    """
    if k < 1:
        raise InputError(f"shots must be at least 1: got {k}")
    shots = {}
    for name in classes:
        shots[name] = draw(data, name, data.images_of(label_of(data, name)), k, seed)
        if not shots[name]:
            raise _too_few(data, name, 0, k)
    return shots


def save(path: Path | str, shots: ShotList) -> None:
    """Write as JSON with a digest of the content; the file is complete or absent."""
    content = asdict(shots)
    text = json.dumps({**content, "sha256": _digest(content)}, indent=1)
    write_whole(Path(path), partial(Path.write_text, data=text, encoding="utf-8"))


def load(path: Path | str, data: DetectionData | None = None) -> ShotList:
    """Read a list that `save` wrote.

    Raises:
        InputError: a file that is cut short or edited, or an id that is no annotation of its category in
            `data` (if given).
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
        for name, ids in shots.ids.items():
            known = set(data.ids[data.labels == label_of(data, name)].tolist())
            for annotation in ids:
                if annotation not in known:
                    raise InputError(
                        f"{path}: {data.root} has no annotation {annotation} of '{name}'"
                    )
    return shots


def _too_few(data: DetectionData, name: str, count: int, k: int) -> InputError:
    return InputError(
        f"{data.root}: category '{name}' has {count} boxes to draw from, fewer than {k} shots"
    )


def _digest(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
