"""VOC 2007 and 2012 joined to one data set: training on both years, testing on 2007."""

import os
import shutil
from functools import partial
from pathlib import Path

from fsdet.files import write_whole

YEARS = ("VOC2007", "VOC2012")
LISTS = {
    "trainval": YEARS,
    "test": YEARS[:1],
}  # written last: a folder with these lists is complete


def join(devkit: Path, to: Path) -> None:
    """Create a VOC folder with `trainval` of both years and `test` of 2007, unless it is complete already.

    Images and annotations are hard links, which take no space, or copies if the file system has no hard links.
    File names of the two years differ.

    Args:
        devkit: the folder `VOCdevkit` with `VOC2007` and `VOC2012`.
        to: the folder to create, preferably on the same disk.
    """
    if all(_list(to, name).exists() for name in LISTS):
        return
    for kind in ("Annotations", "JPEGImages"):
        (to / kind).mkdir(parents=True, exist_ok=True)
        for year in YEARS:
            for file in (devkit / year / kind).iterdir():
                _link(file, to / kind / file.name)
    for name, years in LISTS.items():
        stems = [
            line for year in years for line in _list(devkit / year, name).read_text().splitlines()
        ]
        write_whole(_list(to, name), partial(Path.write_text, data="\n".join([*stems, ""])))


def _list(folder: Path, name: str) -> Path:
    return folder / "ImageSets" / "Main" / f"{name}.txt"


def _link(source: Path, to: Path) -> None:
    if to.exists():  # of an interrupted call
        return
    try:
        os.link(source, to)
    except OSError:  # a file system without hard links
        write_whole(to, lambda part: shutil.copyfile(source, part))
