"""New subsets of a folder as lists in its own format: images stay where they are, no file changes."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import yaml

from fsdet.data.dataset import DetectionData
from fsdet.data.formats.coco_entries import read_images
from fsdet.data.formats.coco_ids import id_key
from fsdet.data.formats.coco_layout import PREFIX, find_json
from fsdet.data.formats.voc_layout import voc_layout
from fsdet.data.formats.write import Files
from fsdet.data.formats.yolo_layout import DataYaml, load_data_yaml
from fsdet.errors import InputError

Parts = Mapping[str, DetectionData]  # name of a new subset -> some images of the old one


def new_subset_files(root: Path, subset: str, parts: Parts) -> Files:
    """The files that make parts of a subset subsets of their own.

    Args:
        subset: of a folder without faults.
        parts: the images that are split off, then those that stay, by names that the folder does not have.

    Raises:
        InputError: a format without lists, in which one subset is all images of a folder.
    """
    layout = next(iter(parts.values())).layout
    if layout not in WRITERS:
        raise InputError(
            f"{root}: {layout} has no lists of subsets; split in a training by data.split_off, or convert"
            f" first: fsdet convert {root} {subset} --to coco --out FOLDER"
        )
    return WRITERS[layout](root, subset, parts)


def _coco(root: Path, subset: str, parts: Parts) -> Files:
    """JSONs beside the old one with all that it says; file names become paths from the root."""
    file = find_json(root, subset)
    assert file is not None, "it was read"
    content = json.loads(file.read_bytes())
    images = read_images(root, file, content["images"], [], [])
    beside = file.parent in (root, root / "annotations")
    folder = file.parent.relative_to(root) if beside else Path("annotations")
    prefix = PREFIX if not beside or file.name.startswith(PREFIX) else ""
    for name, data in parts.items():
        own = _paths(data)
        path_of = {key: images.paths[index] for key, index in images.index_of.items()}
        path_of = {key: path for key, path in path_of.items() if path in own}
        entries = [(id_key(entry["id"]), entry) for entry in content["images"]]
        part = {
            "images": [e | {"file_name": path_of[key]} for key, e in entries if key in path_of],
            "annotations": [
                row for row in content["annotations"] if id_key(row["image_id"]) in path_of
            ],
        }
        yield str(folder / f"{prefix}{name}.json"), json.dumps(content | part)


def _voc(root: Path, subset: str, parts: Parts) -> Files:
    """Lists of names beside the old ones; without lists, paths of XML files, and lists of the old subsets too."""
    layout = voc_layout(root)
    if layout.lists:
        folder = layout.lists[0].parent.relative_to(root).as_posix()
    else:
        folder = "ImageSets/Main"
        for name, listed in layout.subsets.items():
            yield f"{folder}/{name}.txt", _lines(files.name for files in listed)
    for name, data in parts.items():
        own = _paths(data)
        names = (files.name for files in layout.subsets[subset] if files.image in own)
        yield os.path.normpath(f"{folder}/{name}.txt"), _lines(names)


def _yolo(root: Path, subset: str, parts: Parts) -> Files:
    """Lists of image files in the root, and a data.yaml that names them, for other programs."""
    data_yaml = load_data_yaml(root)
    assert isinstance(data_yaml, DataYaml), "it was read"
    for name, data in parts.items():
        yield f"{name}.txt", _lines(f"./{data.paths[i]}" for i in range(len(data)))
    first, last = parts
    # Ultralytics needs train and val.
    content: dict[str, object] = {"train": f"{last}.txt", "val": f"{first}.txt"}
    content |= {first: f"{first}.txt", "names": data_yaml.class_names()}
    if shape := data_yaml.content.get("kpt_shape"):
        content["kpt_shape"] = [int(number) for number in shape]
    yield f"data-{first}.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _paths(data: DetectionData) -> set[str]:
    return {data.paths[i] for i in range(len(data))}


def _lines(names: Iterable[str]) -> str:
    return "".join(f"{name}\n" for name in names)


WRITERS: Mapping[str, Callable[[Path, str, Parts], Files]] = {
    "COCO": _coco,
    "VOC": _voc,
    "YOLO": _yolo,
}
