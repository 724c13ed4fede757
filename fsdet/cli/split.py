"""Split images off a subset, by image: new lists in the folder's own format.

No image is moved and no file changes. Both new subsets share no image; every category stays
in the larger one where it can.
"""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from fsdet.cli.program import MOST_SEED, Parser, check_range
from fsdet.errors import InputError, join_some

if TYPE_CHECKING:
    from fsdet.data.dataset import DetectionData

USAGE = "ROOT [options]"


def add_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add("root", metavar="ROOT", type=Path, help="folder of a COCO, VOC or YOLO data set")
    add("--subset", default="train", help="the subset to split; default: train")
    add("--share", type=float, default=0.25, help="of its images, split off; default: 0.25")
    add("--seed", type=int, default=0, help="of the draw; default: 0")
    add("--name", default="test", help="of the images that are split off; default: test")


def run(arguments: Namespace) -> None:
    from fsdet.data import open_data
    from fsdet.data.formats.write_subsets import new_subset_files
    from fsdet.data.open import has_subset
    from fsdet.data.split_off import split_off
    from fsdet.files import write_new

    root, subset, name = arguments.root.expanduser(), arguments.subset, arguments.name
    check_range(0.0001, 0.9999, share=arguments.share)
    check_range(0, MOST_SEED, seed=arguments.seed)
    if not name or name != Path(name).name or name.endswith(".json"):
        raise InputError(f"--name: expected a name without folders and ending, got '{name}'")
    data = open_data(root, subset)
    rest = f"{Path(subset).stem.removeprefix('instances_')}-without-{name}"
    for new in (name, rest):
        if has_subset(root, new):
            raise InputError(f"{root}: it has a subset '{new}'; give the new one another --name")
    stays, test = split_off(data, arguments.share, arguments.seed)
    parts = {name: test, rest: stays}
    files = write_new(root, dict(new_subset_files(root, subset, parts)))
    print(f"{root}, '{subset}': {len(data)} images, split with the seed {arguments.seed}")
    for new, part in parts.items():
        print(f"  {new}: {len(part)} images, {len(part.boxes)} boxes{_missing(part)}")
    print(f"written: {join_some(files)}")
    print(f"in a training: data.root={root} data.train={rest} data.test={name}")


def _missing(data: "DetectionData") -> str:
    """The categories without a box, in words."""
    without = [name for n, name in enumerate(data.classes, 1) if not len(data.images_of(n))]
    return f"; no box of {join_some(without)}" if without else ""
