"""Download a published data set from its hosts, check it, and unpack it into the layout that is read.

DATA is voc (2007 and 2012), coco (2017), coco2014, or lvis (v1, in the folder of coco, for its
images). What was stopped goes on where it was; what is there is not downloaded again.

examples:
  python tools/download.py voc
  python tools/download.py coco --folder /data/coco --only annotations_trainval2017.zip,val2017.zip
"""

from functools import partial
from pathlib import Path

from fsdet.cli import program
from fsdet.data.download import voc0712
from fsdet.data.download.catalog import PUBLISHED, Archive, Published
from fsdet.data.download.download import download
from fsdet.data.download.fetch import RESUME_HINT
from fsdet.errors import InputError, nearest


def main() -> None:
    parser = program.Parser(__doc__, "tools/download.py DATA [options]")
    parser.add_argument("data", metavar="DATA", help=", ".join(PUBLISHED))
    parser.add_argument("--folder", type=Path, help="default: coco; of voc: this one")
    parser.add_argument("--only", metavar="A,B", help="files; default: all of the data set")
    parser.add_argument("--keep", action="store_true", help="the files, beside what they give")
    parser.add_argument("--mirror", metavar="URL", help="has the same paths as the hosts")
    words = parser.parse_args()
    if words.data not in PUBLISHED:
        raise InputError(f"no data set '{words.data}'{nearest(words.data, PUBLISHED)}")
    data = PUBLISHED[words.data]
    folder = words.folder or Path(data.folder)
    asked = chosen(data, words.only) if words.only else data.archives
    download(asked, folder, words.mirror, words.keep, partial(print, flush=True))
    if all(archive.is_there(folder) for archive in data.archives):
        root = folder / data.root
        if words.data == "voc":
            voc0712.join(folder / "VOCdevkit", root)
        note = f" ({data.note})" if data.note else ""
        print(f"data.root={root}: subsets {', '.join(data.subsets)}{note}")


def chosen(data: Published, only: str) -> list[Archive]:
    """The files of a data set with these names, in its order."""
    known = {archive.name: archive for archive in data.archives}
    names = [name.strip() for name in only.split(",")]
    for name in names:
        if name not in known:
            raise InputError(f"--only: no file '{name}'{nearest(name, known)}")
    return [archive for name, archive in known.items() if name in names]


if __name__ == "__main__":
    program.main(main, f"stopped; {RESUME_HINT}")
