"""Detect in any number of pictures, on all cores of this machine or on a Ray cluster.

SOURCE is a folder, with the folders in it, a list.txt with an address a line, or an address that
fsspec reads, such as s3://bucket/photos. --out receives Parquet files: a row a picture with its
categories, scores and boxes, or its error. The same command after a stop leaves out what is done.
Exit status 1 if a picture could not be read.

example: fsdet bulk runs/mine s3://bucket/photos --out found --cluster 10.0.0.5:6379
"""

from argparse import Namespace
from pathlib import Path

from fsdet.cli.program import Parser, add_run, check_range, split_names
from fsdet.errors import needs

USAGE = "RUN SOURCE --out FOLDER [options]"
INTERRUPTED = "stopped; the same command goes on after the last written file"


def add_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add_run(parser)
    add("source", metavar="SOURCE", help="folder, list.txt or address")
    add("--out", type=Path, metavar="FOLDER", required=True, help="created if missing")
    add("--cluster", metavar="ADDRESS", default="local", help="of a running Ray; default: local")
    add("--workers", type=int, metavar="N", help="detectors at a time; default: a GPU or core each")
    add("--threshold", type=float, help="minimum score; default: the detector's, else 0.5")
    add("--names", metavar="A,B", help="categories to write; default: all")


def run(arguments: Namespace) -> int:
    needs("fsdet bulk", ["ray", "pyarrow"], "cluster")
    if arguments.workers is not None:
        check_range(1, 10_000, workers=arguments.workers)
    import fsdet
    from fsdet.apps.detect.bulk import detect_all
    from fsdet.apps.detect.remote import addresses_of
    from fsdet.progress import progress

    detector = fsdet.load(arguments.run, "cpu")
    names = split_names(arguments.names, list(detector.names)) if arguments.names else None
    detector.predict_many([], arguments.threshold, names)  # refuses a mistake before any picture
    total, failed = detect_all(
        detector,
        addresses_of(arguments.source),
        arguments.out,
        arguments.cluster,
        arguments.workers,
        arguments.threshold,
        names,
        progress("detecting"),
    )
    print(f"{arguments.out}: {total} pictures, {failed} of them could not be read")
    return int(failed > 0)
