"""Detect categories in images, videos or a stream; --out receives drawings and detections.json.

A SOURCE is a file, a folder, a quoted pattern ('photos/**/*.jpg') or a list of paths (.txt);
alone, also a stream's address or a webcam's number, until Ctrl-C. detections.json has COCO
results, for videos with frames. Exit status 1 if some files could not be read. --track begins a
track at the threshold and continues it down to half of it; each object is counted once.

example: fsdet detect runs/mine clip.mp4 --out found --track
"""

import json
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from fsdet.cli.program import Parser, add_device, add_run, split_names
from fsdet.errors import InputError, one_line, printable
from fsdet.files import write_whole

if TYPE_CHECKING:
    from fsdet.api.detector import Detector
    from fsdet.apps.detect.stream import Stream

    Source = tuple[Path | Stream, str]  # with its name in all that is written

KINDS = ("coco", "voc", "yolo")
USAGE = "RUN SOURCE [SOURCE ...] --out FOLDER [options]"


def add_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add_run(parser)
    add("source", metavar="SOURCE", nargs="+", help="what to look at")
    add("--out", type=Path, metavar="FOLDER", required=True, help="created if missing")
    add(
        "--threshold",
        type=float,
        metavar="SCORE",
        help="minimum score; default: the detector's, else 0.5",
    )
    add("--names", metavar="A,B", help="categories to show; default: all")
    add("--track", action="store_true", help="follow objects through videos")
    add("--tiles", type=int, metavar="SIDE", help="also look at tiles of so many pixels a side")
    add("--labels", choices=KINDS, metavar="KIND", help="write a data set as coco, voc or yolo")
    add_device(parser)


def run(arguments: Namespace) -> int:
    import fsdet

    detector = fsdet.load(arguments.run, arguments.device)
    names = split_names(arguments.names, []) or None
    # Refuses a mistake before any image.
    detector.predict_many([], arguments.threshold, names, tiles=arguments.tiles)
    if arguments.labels and arguments.track:
        raise InputError("expected --labels or --track, got both: labels are of images")
    sources = sources_of(arguments.source, arguments.out)
    if arguments.labels:
        return label(detector, sources, arguments, names)
    return draw(detector, sources, arguments, names)


def sources_of(words: Sequence[str], out: Path) -> "list[Source]":
    """The files that words name, with their paths below their common folder, or the one stream.

    Raises:
        InputError: a word that names nothing, or `out` is a folder of the files.
    """
    from fsdet.apps.detect.sources import common_folder, files_of, path_below, stream_of
    from fsdet.apps.detect.stream import Stream

    address = stream_of(words)
    if address is not None:
        stream = Stream(address)
        return [(stream, stream.name)]
    files = files_of(words)
    root = common_folder(files)
    if out.resolve() in {folder.resolve() for folder in {root, *(f.parent for f in files)}}:
        raise InputError(f"--out: expected another folder than that of the input, '{out}'")
    return [(file, path_below(root, file)) for file in files]


def draw(
    detector: "Detector",
    sources: "list[Source]",
    arguments: Namespace,
    names: Sequence[str] | None,
) -> int:
    """Write the sources with boxes drawn, and detections.json; the exit status."""
    from fsdet.apps.detect.annotate import annotate, is_video, watch
    from fsdet.apps.detect.video import SUFFIXES
    from fsdet.apps.detect.write_video import WITHOUT_H264, has_h264

    if arguments.track:
        for source, _ in sources:
            if not is_video(source):
                expected = f"a video ({' '.join(SUFFIXES)})"
                raise InputError(f"--track: expected {expected}, got '{source}'")
        from fsdet.tracking import watch  # type: ignore[assignment]  # packages of an extra
    if any(is_video(source) for source, _ in sources) and not has_h264():
        print(WITHOUT_H264, file=sys.stderr)
    rows: list[dict] = []

    def draw_one(source: "Path | Stream", name: str) -> str:
        new_rows, frames = annotate(
            detector,
            source,
            name,
            arguments.out,
            arguments.threshold,
            watch,
            names,
            arguments.tiles,
        )
        rows.extend(new_rows)
        return summary(new_rows) + f" over {frames} frames" * arguments.track

    num_failed = each(sources, draw_one, arguments.source)
    write_results(arguments.out / "detections.json", rows)
    return int(num_failed > 0)


def label(
    detector: "Detector",
    sources: "list[Source]",
    arguments: Namespace,
    names: Sequence[str] | None,
) -> int:
    """Write images and their detections as a data set, and return the exit status."""
    from fsdet.apps.detect.annotate import is_video
    from fsdet.apps.detect.labels import SUBSET, Labelled, as_data
    from fsdet.cli.convert import losses
    from fsdet.data.formats.convert import check_empty, write_folder
    from fsdet.data.images import image_size

    check_empty(arguments.out)
    for source, name in sources:
        if is_video(source):
            raise InputError(
                f"--labels: expected images, got '{name}'; take frames of it first, for instance"
                " ffmpeg -i FILE -vf fps=1 %05d.jpg"
            )
    images: list[Labelled] = []

    def label_one(file: Path, name: str) -> str:
        found = detector.predict(file, arguments.threshold, names, tiles=arguments.tiles)
        images.append(Labelled(file, image_size(file), found))
        return counted(found.names)

    num_failed = each(sources, label_one, arguments.source)  # type: ignore[arg-type]  # no stream
    if images:
        data = as_data(images, [n for n in detector.names if names is None or n in names])
        kind = arguments.labels.upper()
        write_folder({SUBSET: data}, kind, arguments.out)
        numbers = f"{len(data)} images, {len(data.boxes)} boxes{losses(data, kind)}"
        print(f"{arguments.out}: {kind}, subset {SUBSET}: {numbers}")
    return int(num_failed > 0)


def each(
    sources: "list[Source]", work: "Callable[[Path | Stream, str], str]", words: Sequence[str]
) -> int:
    """Call `work` with each source and its name, and print what it returns; the number of those not read.

    Raises:
        InputError: the source that cannot be read is the only one that the words name.
    """
    from fsdet.progress import progress

    num_failed = 0
    bar = progress("detecting") if len(sources) > 1 else lambda loop, total: loop
    for source, name in bar(sources, len(sources)):
        try:
            line = f"{name}: {work(source, name)}"
        except InputError as error:
            if [source] == [Path(word) for word in words] or not isinstance(source, Path):
                raise
            num_failed += 1
            _print(f"error: {printable(one_line(error))}", sys.stderr)
        else:
            _print(line)
    return num_failed


def summary(rows: list[dict]) -> str:
    """The number of objects per category, most frequent first; a tracked object counts once."""
    objects = dict.fromkeys((row["category"], row.get("track_id", n)) for n, row in enumerate(rows))
    return counted(category for category, _ in objects)


def counted(categories: Iterable[str]) -> str:
    """Each category with its number, most frequent first."""
    counts = Counter(categories).most_common()
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
