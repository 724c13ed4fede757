"""Detect the categories of a detector in an image, in all images of a folder, or in a video.

--out receives the images with boxes drawn and detections.json: COCO results with file names and,
for videos, frames. Exit status 1 if a file of a folder could not be read; each is named.
--track follows objects through videos: numbers, trails, track_id. A track begins at the threshold
and continues down to half of it; each object is counted once.

example: fsdet detect runs/mine clip.mp4 --out found --track
"""

import json
import sys
from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import TextIO

from fsdet.cli.program import Parser, add_device, add_run, split_names
from fsdet.errors import InputError, one_line, printable
from fsdet.files import write_whole

USAGE = "RUN SOURCE --out FOLDER [options]"


def add_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add_run(parser)
    add("source", metavar="SOURCE", type=Path, help="image, folder or video")
    add("--out", type=Path, metavar="FOLDER", required=True, help="created if missing")
    add("--threshold", type=float, help="minimum score; default: the detector's, else 0.5")
    add("--names", metavar="A,B", help="categories to show; default: all")
    add("--track", action="store_true", help="follow objects through videos")
    add_device(parser)


def run(arguments: Namespace) -> int:
    import fsdet
    from fsdet.apps.detect.annotate import annotate, watch
    from fsdet.progress import progress

    detector = fsdet.load(arguments.run, arguments.device)
    files = files_of(arguments.source)
    if arguments.out.resolve() == files[0].parent.resolve():
        raise InputError(
            f"--out: expected another folder than that of the input, '{arguments.out}'"
        )
    if arguments.track:
        check_videos(files)
        from fsdet.tracking import watch  # type: ignore[assignment]  # packages of an extra
    names = split_names(arguments.names, []) or None
    detector.predict_many([], arguments.threshold, names)  # refuses a mistake before any image
    rows: list[dict] = []
    num_failed = 0
    bar = progress("detecting") if len(files) > 1 else lambda loop, total: loop
    for file in bar(files, len(files)):
        try:
            new_rows, frames = annotate(
                detector, file, arguments.out, arguments.threshold, watch, names
            )
        except InputError as error:
            if file == arguments.source:
                raise
            num_failed += 1
            _print(f"error: {printable(one_line(error))}", sys.stderr)
            continue
        _print(f"{file.name}: {summary(new_rows)}" + f" over {frames} frames" * arguments.track)
        rows += new_rows
    write_results(arguments.out / "detections.json", rows)
    return int(num_failed > 0)


def files_of(source: Path) -> list[Path]:
    """The images and videos of a folder, or the one file; other files of the folder are named.

    Raises:
        InputError: the folder has no image and no video.
    """
    from fsdet.apps.detect.video import SUFFIXES as VIDEOS
    from fsdet.data.images import SUFFIXES as IMAGES

    if not source.is_dir():
        return [source]
    entries = sorted(source.iterdir())
    files = [f for f in entries if f.is_file() and f.suffix.lower() in IMAGES + VIDEOS]
    if not files:
        raise InputError(f"{source}: no image and no video in this folder")
    for other in sorted(set(entries) - set(files)):
        print(printable(f"left out, neither image nor video: {other}"), file=sys.stderr)
    return files


def check_videos(files: list[Path]) -> None:
    """Raise an InputError for the first file that is no video."""
    from fsdet.apps.detect.video import SUFFIXES

    for file in files:
        if file.suffix.lower() not in SUFFIXES:
            raise InputError(f"--track: expected a video ({' '.join(SUFFIXES)}), got '{file}'")


def summary(rows: list[dict]) -> str:
    """The number of objects per category, most frequent first; a tracked object counts once."""
    objects = dict.fromkeys((row["category"], row.get("track_id", n)) for n, row in enumerate(rows))
    counts = Counter(category for category, _ in objects).most_common()
    return ", ".join(f"{count} {category}" for category, count in counts) or "nothing"


def write_results(path: Path, rows: list[dict]) -> None:
    """Write COCO results, one a line; every image, or frame of a video, has an `image_id` from 1 on."""
    keys = [(row["file_name"], row.get("frame", 0)) for row in rows]
    ids = {key: n for n, key in enumerate(dict.fromkeys(keys), 1)}
    lines = [json.dumps({"image_id": ids[key]} | row) for key, row in zip(keys, rows, strict=True)]
    text = "[\n" + ",\n".join(lines) + "\n]\n"
    write_whole(path, lambda file: file.write_text(text))


def _print(line: str, stream: TextIO | None = None) -> None:
    """Print a line above the progress bar; without a stream, on the standard output."""
    from tqdm import tqdm

    tqdm.write(line, file=stream)
