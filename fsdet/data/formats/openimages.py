"""OpenImages: a CSV of boxes as shares of the image's sides, and one of the names of its labels."""

from pathlib import Path

from fsdet.data.formats.coco_ids import flag
from fsdet.data.formats.csv_rows import read_rows
from fsdet.data.formats.file_tree import FileTree
from fsdet.data.formats.found import FoundImage, FoundObject, FoundReader, Issues, read_bounded
from fsdet.data.formats.outlines import numbers
from fsdet.data.formats.validation import DataIssue

CORNERS = ("XMin", "YMin", "XMax", "YMax")
COLUMNS = {b"ImageID", b"LabelName", *(corner.encode() for corner in CORNERS)}
DESCRIPTIONS = "class-descriptions"  # in the name of the CSV of names


def is_openimages(head: bytes) -> bool:
    line = head.splitlines()[0] if head else b""
    return {name.strip() for name in line.split(b",")} >= COLUMNS


def parse_openimages(
    root: Path, tree: FileTree, file: str, faults: Issues, warnings: Issues
) -> list[FoundImage]:
    """The images that are in the folder, as most folders have a part of OpenImages; groups are to be ignored."""
    names = _names(root)
    images: dict[str, FoundImage | None] = {}
    unnamed: dict[str, None] = {}
    for line, row in read_rows(root, file):
        where, key, label = f"{file}, line {line}", row.get("ImageID", ""), row.get("LabelName", "")
        if key not in images:
            here = tree.image_named(key, file) is not None
            images[key] = FoundImage(key, (0, 0), [], True, where, in_shares=True) if here else None
        image = images[key]
        values = [row.get(corner, "") for corner in CORNERS]
        if image is None or not any((label, *values)):
            continue
        if label not in names:
            unnamed[label] = None
        try:
            x1, y1, x2, y2 = numbers(values, f"numbers {', '.join(CORNERS)}")
            group = flag(row.get("IsGroupOf"))
            if not label or group is None:
                raise ValueError(f"expected LabelName, and IsGroupOf 0 or 1; got '{label:.40}'")
            category = names.get(label, label)
            image.objects.append(FoundObject(category, (x1, y1, x2, y2), group, where))
        except ValueError as error:
            faults.append(DataIssue(where, "annotation is incomplete", str(error)))
            images[key] = image._replace(is_complete=False)
    found = [image for image in images.values() if image is not None]
    if missing := len(images) - len(found):
        detail = f"{missing} of {len(images)} images are not in the folder, or not only once"
        warnings.append(DataIssue(file, "images that are not here", detail))
    if unnamed:
        detail = (
            f"expected {DESCRIPTIONS}*.csv with names of labels; '{next(iter(unnamed))}' has none"
        )
        warnings.append(DataIssue(file, "labels without a name", detail))
    return found


def _names(root: Path) -> dict[str, str]:
    """LabelName -> the name to read, from all files of names; the first line may name the columns."""
    names: dict[str, str] = {}
    for file in name_files(root):
        text = read_bounded(root, file).decode("utf-8-sig", "replace")
        for line in text.splitlines():
            label, _, name = line.partition(",")
            names[label.strip()] = name.strip().strip('"') or label
    return names


def name_files(root: Path) -> list[str]:
    """The files of names, relative to the root."""
    files = FileTree.scan(root, ".csv").annotations
    return [file for file in files if DESCRIPTIONS in file.lower()]


OPENIMAGES = FoundReader(
    name="OpenImages",
    version=1,
    layout="OpenImages: a CSV with ImageID, LabelName, XMin, ..., such as {subset}-annotations-bbox.csv",
    suffix=".csv",
    recognises=is_openimages,
    parse=parse_openimages,
    group=FileTree.subsets_by_name,
    companions=name_files,
)
