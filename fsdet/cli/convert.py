"""Write subsets of a data set in another format, with their images, as a new folder.

Outlines and key points are not taken along, boxes are. What the format cannot hold is named.
"""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from fsdet.cli.program import Parser
from fsdet.errors import InputError, join_some

if TYPE_CHECKING:
    from fsdet.data.dataset import DetectionData

USAGE = "ROOT SUBSET [SUBSET ...] --to coco|voc|yolo --out FOLDER [--link]"


def add_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add("root", metavar="ROOT", help="folder of a data set in any format that is read, or shapes")
    add("subset", metavar="SUBSET", nargs="+", help="such as train")
    add("--to", choices=("coco", "voc", "yolo"), required=True, help="the format")
    add("--out", metavar="FOLDER", type=Path, required=True, help="a new or empty folder")
    add("--link", action="store_true", help="hard links to the images, no copies")


def run(arguments: Namespace) -> None:
    from fsdet.data import open_data
    from fsdet.data.formats.convert import write_folder

    kind, out = arguments.to.upper(), arguments.out
    parts = {}
    for subset in arguments.subset:
        name = Path(subset).name.removesuffix(".json").removeprefix("instances_")
        if name in parts:
            raise InputError(f"expected different subsets, got '{name}' twice")
        parts[name] = open_data(arguments.root, subset)
    write_folder(parts, kind, out, arguments.link)
    print(f"{out}: {kind}")
    for name, data in parts.items():
        print(f"  {name}: {len(data)} images, {len(data.boxes)} boxes{losses(data, kind)}")


def losses(data: "DetectionData", kind: str) -> str:
    """What a format does not hold of a subset, in words; "" for nothing."""
    without = [name for n, name in enumerate(data.classes, 1) if not (data.labels == n).any()]
    found = []
    if kind == "YOLO" and data.ignore.any():
        found.append(
            f"{data.ignore.sum()} boxes to be ignored are ordinary ones, as YOLO has no mark"
        )
    if kind == "VOC" and (abs(data.boxes - data.boxes.round()) > 0.01).any():
        found.append("corners are rounded to whole pixels")
    if kind == "VOC" and without:
        found.append(f"categories without a box are not in it: {join_some(without)}")
    return "".join(f"; {text}" for text in found)
