"""Writing of shots in the formats of published lists, for TFA and programs based on it.

The lists of seed 0 are in the folder itself, those of seed n in `seed{n}/`, a file for each category and number of
shots. `published` reads the same boxes back, unless the images of a list have further boxes of its category.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from fsdet.data.dataset import DetectionData
from fsdet.data.formats.write import Files, coco_dict
from fsdet.data.shots.sampling import label_of
from fsdet.errors import InputError, nearest
from fsdet.files import write_whole

Ids = Mapping[str, Sequence[int]]  # category -> annotation ids


def voc(data: DetectionData, ids: Ids, k: int) -> Files:
    """`box_{k}shot_{category}_train.txt`: paths of the images of the shots under the data root, one per line.

    A list does not tell which boxes of an image are shots: see `boxes_listed`. TFA looks up `a/b/x.jpg` as
    `datasets/VOC2007/JPEGImages/x.jpg`, or in VOC2012 if the name has an underscore.

    Raises:
        InputError: as `coco`, or a path with white space or #.
    """
    for name, rows in _rows(data, ids):
        paths = [data.paths[image] for image in np.unique(data.image_of(rows)).tolist()]
        for path in paths:
            if re.search(r"[\s#]", path):
                raise InputError(f"{data.root}: a list of lines cannot hold the image '{path}'")
        yield f"box_{k}shot_{name}_train.txt", "".join(f"{path}\n" for path in paths)


def coco(data: DetectionData, ids: Ids, k: int) -> Files:
    """`full_box_{k}shot_{category}_trainval.json`: COCO's JSON of the shots and their images.

    Raises:
        InputError: an unknown category, a name that cannot be a file name, or an id that is no box of its
            category.
    """
    for name, rows in _rows(data, ids):
        content = coco_dict(data.subset(np.unique(data.image_of(rows))))
        listed = set(ids[name])
        content["annotations"] = [box for box in content["annotations"] if box["id"] in listed]
        yield f"full_box_{k}shot_{name}_trainval.json", json.dumps(content)


FORMATS = {"voc": voc, "coco": coco}


def write_published(
    folder: Path | str, data: DetectionData, ids: Ids, k: int, seed: int, kind: str
) -> None:
    """Write k shots of each category as published lists; each file is complete or absent.

    Args:
        folder: of all seeds; created if missing.
        ids: as `sample` returns them.
        kind: "voc" or "coco".

    Raises:
        InputError: another kind, or an error of `voc` or `coco`.
    """
    if kind not in FORMATS:
        raise InputError(f"no lists of the kind '{kind}'{nearest(kind, FORMATS)}")
    target = Path(folder) / f"seed{seed}" if seed else Path(folder)
    for file, text in FORMATS[kind](data, ids, k):
        write_whole(target / file, partial(Path.write_text, data=text, encoding="utf-8"))


def boxes_listed(data: DetectionData, ids: Ids) -> dict[str, int]:
    """Count the boxes of each category in the images of its shots, VOC's difficult ones included.

    These are the boxes that TFA reads from a list of images; of more than k it takes k at random.
    """
    return {
        name: sum(
            int((data.labels[data.rows(image)] == label_of(data, name)).sum())
            for image in np.unique(data.image_of(rows)).tolist()
        )
        for name, rows in _rows(data, ids)
    }


def _rows(data: DetectionData, ids: Ids) -> Iterator[tuple[str, np.ndarray]]:
    """Each category and the rows of its shots."""
    for name, listed in ids.items():
        rows = np.flatnonzero(np.isin(data.ids, listed) & (data.labels == label_of(data, name)))
        if len(rows) != len(listed):
            raise InputError(
                f"{data.root}: {len(listed) - len(rows)} of {len(listed)} shots are not boxes of '{name}'"
            )
        if re.search(r"[/\\\0]", name):
            raise InputError(f"{data.root}: category '{name}' cannot be part of a file name")
        yield name, rows
