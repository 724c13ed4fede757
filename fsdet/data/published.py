"""The shots that the field has used since 2019, from the lists as they were published."""

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from fsdet.data.index import DetectionData
from fsdet.data.shot_order import draw, label_of
from fsdet.errors import InputError, nearest

logger = logging.getLogger("fsdet")

# The lists of 2019 write COCO's categories as VOC does; those published later as COCO does.
VOC_SPELLING = {
    "airplane": "aeroplane",
    "couch": "sofa",
    "dining table": "diningtable",
    "motorcycle": "motorbike",
    "potted plant": "pottedplant",
    "tv": "tvmonitor",
}


def published(
    folder: Path | str,
    data: DetectionData,
    classes: Sequence[str],
    k: int,
    seed: int = 0,
) -> dict[str, list[int]]:
    """The annotations that the field's published lists name, category by category.

    `folder` holds `box_{k}shot_{category}_train.txt` (VOC) or
    `full_box_{k}shot_{category}_trainval.txt` or `.json` (COCO) for seed 0, and `seed{n}/` the
    same for the others. A list of images means the boxes of that category in them; where they are
    more than k, k are taken once, in `sample`'s order. Images that `data` lacks are passed over
    and logged, so that a category may have fewer than k; one left with none is an `InputError`.
    """
    place = Path(folder) / f"seed{seed}" if seed else Path(folder)
    stems: dict[str, list[int]] = {}
    for index in range(len(data)):
        stems.setdefault(_stem(data.paths[index]), []).append(index)
    shots = {}
    for name in classes:
        label_of(data, name)  # an unknown category is a better complaint than a missing list
        file = _list_file(place, name, k)
        if file.suffix == ".json":
            listed, named = _annotations_listed(file)
        else:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            listed, named = [line.strip() for line in lines if line.strip()], None
        wanted = dict.fromkeys(map(_stem, listed))  # some lists name an image twice
        for stem in wanted:
            if len(stems.get(stem, ())) > 1:
                raise InputError(f"{file}: {data.root} has several images called '{stem}'")
        images = [stems[stem][0] for stem in wanted if stem in stems]
        shots[name] = draw(data, name, images, k, seed, named)
        absent = len(wanted) - len(images)
        if absent:
            logger.warning(
                "%s: %d of %d images are not in %s", file, absent, len(wanted), data.root
            )
        if not shots[name]:
            raise InputError(
                f"{file}: {data.root} has none of the {k} boxes of '{name}' "
                f"({absent} of {len(wanted)} images are not in it)"
            )
    return shots


def _stem(path: str) -> str:
    # COCO's images of 2014 were renamed in 2017: COCO_train2014_000000200155 is 000000200155.
    return re.sub(r"^COCO_(train|val)2014_", "", re.split(r"[/\\]", path)[-1].rpartition(".")[0])


def _list_file(place: Path, name: str, k: int) -> Path:
    for spelling in (name, VOC_SPELLING.get(name, name)):
        for pattern in (
            f"box_{k}shot_{spelling}_train.txt",
            f"full_box_{k}shot_{spelling}_trainval.json",
            f"full_box_{k}shot_{spelling}_trainval.txt",
        ):
            if (place / pattern).is_file():
                return place / pattern
    there = {file.name for file in place.glob("*box_*shot_*")} if place.is_dir() else ()
    hint = nearest(f"box_{k}shot_{name}_train.txt", there) or "; the folder has no such lists"
    raise InputError(f"{place}: no published {k}-shot list of '{name}'{hint}")


def _annotations_listed(file: Path) -> tuple[list[str], set[int]]:
    """Image files and annotation ids of a COCO JSON of shots."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        names = {image["id"]: image["file_name"] for image in content["images"]}
        annotations = content["annotations"]
        images = [names[annotation["image_id"]] for annotation in annotations]
        return images, {annotation["id"] for annotation in annotations}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: not a COCO list of shots ({error!r})") from None
