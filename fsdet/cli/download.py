"""Download a published data set from its hosts, check it, and unpack it into a layout fsdet reads.

DATA is voc (2007 and 2012), coco (2017), coco2014, or lvis (v1, in the folder of coco, for its
images). A stopped download resumes; files that are complete are not downloaded again.

examples:
  fsdet download voc
  fsdet download coco --folder /data/coco --only annotations_trainval2017.zip,val2017.zip
"""

from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fsdet.cli.program import Parser, split_names
from fsdet.errors import InputError, nearest

if TYPE_CHECKING:
    from fsdet.data.download.catalog import Archive, Published

USAGE = "DATA [options]"
INTERRUPTED = "stopped; downloaded parts are kept, the same command resumes"


def add_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add("data", metavar="DATA", help="voc, coco, coco2014 or lvis")
    add("--folder", type=Path, help="default: coco; for voc the current folder")
    add("--only", metavar="A,B", help="archives; default: all of the data set")
    add("--keep", action="store_true", help="keep archives after unpacking")
    add("--mirror", metavar="URL", help="host with the same paths")


def run(arguments: Namespace) -> None:
    from fsdet.data.download import voc0712
    from fsdet.data.download.catalog import PUBLISHED
    from fsdet.data.download.download import download

    if arguments.data not in PUBLISHED:
        raise InputError(f"no data set '{arguments.data}'{nearest(arguments.data, PUBLISHED)}")
    data = PUBLISHED[arguments.data]
    folder = arguments.folder or Path(data.folder)
    archives = choose(data, arguments.only) if arguments.only else data.archives
    download(archives, folder, arguments.mirror, arguments.keep, partial(print, flush=True))
    if all(archive.is_unpacked(folder) for archive in data.archives):
        root = folder / data.root
        if arguments.data == "voc":
            voc0712.join(folder / "VOCdevkit", root)
        note = f" ({data.note})" if data.note else ""
        print(f"data.root={root}: subsets {', '.join(data.subsets)}{note}")


def choose(data: "Published", only: str) -> "list[Archive]":
    """The archives of a data set that `only` names, in the order of the data set."""
    archives = {archive.name: archive for archive in data.archives}
    names = split_names(only, [])
    for name in names:
        if name not in archives:
            raise InputError(f"--only: no file '{name}'{nearest(name, archives)}")
    return [archive for name, archive in archives.items() if name in names]
