"""The CSV of TensorFlow's tutorials: filename,width,height,class,xmin,ymin,xmax,ymax, a line for each box."""

from pathlib import Path

from fsdet.data.formats.csv_rows import read_rows
from fsdet.data.formats.file_tree import FileTree
from fsdet.data.formats.found import (
    FoundImage,
    FoundObject,
    FoundReader,
    Issues,
    written_size,
)
from fsdet.data.formats.outlines import numbers
from fsdet.data.formats.validation import DataIssue

CORNERS = ("xmin", "ymin", "xmax", "ymax")
COLUMNS = {b"filename", b"class", *(corner.encode() for corner in CORNERS)}


def is_tensorflow_csv(head: bytes) -> bool:
    line = head.splitlines()[0] if head else b""
    return {name.strip() for name in line.split(b",")} >= COLUMNS


def parse_tensorflow_csv(
    root: Path, tree: FileTree, file: str, faults: Issues, warnings: Issues
) -> list[FoundImage]:
    """The images in the order of the file; a line without class and corners is an image without boxes."""
    images: dict[str, FoundImage] = {}
    for line, row in read_rows(root, file):
        where, name = f"{file}, line {line}", row.get("filename", "")
        image = images.setdefault(
            name,
            FoundImage(name, written_size(row.get("height"), row.get("width")), [], True, where),
        )
        values = [row.get(key, "") for key in ("class", *CORNERS)]
        if not any(values):
            continue
        try:
            x1, y1, x2, y2 = numbers(values[1:], f"numbers {', '.join(CORNERS)}")
            if not values[0]:
                raise ValueError("expected a class; got none")
            image.objects.append(FoundObject(values[0], (x1, y1, x2, y2), False, where))
        except ValueError as error:
            faults.append(DataIssue(where, "annotation is incomplete", str(error)))
            images[name] = image._replace(is_complete=False)
    return list(images.values())


TENSORFLOW_CSV = FoundReader(
    name="TensorFlow CSV",
    version=1,
    layout="TensorFlow: a CSV with filename, class, xmin, ymin, xmax, ymax, such as {subset}_labels.csv",
    suffix=".csv",
    recognises=is_tensorflow_csv,
    parse=parse_tensorflow_csv,
    group=FileTree.subsets_by_name,
)
