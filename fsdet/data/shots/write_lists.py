"""Shots as the lists that the field has used since 2019, for the programs that read these: TFA and its kin.

Seed 0 lies in the folder itself, seed n in `seed{n}/`, with a file for each category and number of shots.
`fsdet.data.shots.published` reads them back to the same boxes, if a list of images has no more than these.
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
    """`box_{k}shot_{category}_train.txt`: the images of the shots, one a line, relative to the data root.

    They do not say which of an image's boxes are meant: see `boxes_listed`. TFA finds `a/b/x.jpg` as
    `datasets/VOC2007/JPEGImages/x.jpg`, or VOC2012's if the name has an underscore.

    Raises:
        InputError: as of `coco`; a path that such a list cannot hold.
    """
    for name, rows in _rows(data, ids):
        paths = [data.paths[image] for image in np.unique(data.image_of(rows)).tolist()]
        for path in paths:
            if re.search(r"[\s#]", path):
                raise InputError(f"{data.root}: a list of lines cannot hold the image '{path}'")
        yield f"box_{k}shot_{name}_train.txt", "".join(f"{path}\n" for path in paths)


def coco(data: DetectionData, ids: Ids, k: int) -> Files:
    """`full_box_{k}shot_{category}_trainval.json`: the shots alone with their images, as COCO's JSON.

    Raises:
        InputError: an unknown category, one whose name is no name of a file, or an id that is not of a box of it.
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
    """Write k shots of each category as published lists; each file is whole or not there.

    Args:
        folder: of all seeds; it is made if it is not there.
        data: where the boxes are.
        ids: as of `fsdet.data.shots.sample`.
        kind: "voc" or "coco".

    Raises:
        InputError: another kind, or what `voc` and `coco` refuse.
    """
    if kind not in FORMATS:
        raise InputError(f"no lists of the kind '{kind}'{nearest(kind, FORMATS)}")
    target = Path(folder) / f"seed{seed}" if seed else Path(folder)
    for file, text in FORMATS[kind](data, ids, k):
        write_whole(target / file, partial(Path.write_text, data=text, encoding="utf-8"))


def boxes_listed(data: DetectionData, ids: Ids) -> dict[str, int]:
    """How many boxes of each category are in the images of its shots, VOC's difficult ones included.

    It is what TFA finds by a list of images; where it is more than k, TFA takes k of them at random.
    """
    return {
        name: sum(
            int((data.labels[data.rows(image)] == label_of(data, name)).sum())
            for image in np.unique(data.image_of(rows)).tolist()
        )
        for name, rows in _rows(data, ids)
    }


def _rows(data: DetectionData, ids: Ids) -> Iterator[tuple[str, np.ndarray]]:
    """Every category with the rows of its shots."""
    for name, listed in ids.items():
        rows = np.flatnonzero(np.isin(data.ids, listed) & (data.labels == label_of(data, name)))
        if len(rows) != len(listed):
            raise InputError(
                f"{data.root}: {len(listed) - len(rows)} of {len(listed)} shots are no boxes of '{name}'"
            )
        if re.search(r"[/\\\0]", name):
            raise InputError(f"{data.root}: no file can be named after the category '{name}'")
        yield name, rows
