"""Find the categories that a detector knows in an image, in all pictures of a folder, or in a video.

Into --out go the pictures with boxes drawn and detections.json: COCO results with file names and,
of videos, frames. Exit status 1 if a file of a folder could not be read; each is named.
--track follows objects through videos: numbers, trails and track_id; each is counted once. One
begins at the threshold and is kept down to half of it.

examples:
  python tools/detect.py runs/mine street.jpg --out found --threshold 0.7
  python tools/detect.py runs/mine clip.mp4 --out found --track
"""

import json
import sys
from collections import Counter
from pathlib import Path

from tqdm import tqdm

import fsdet
from fsdet.apps.detect.annotate import look, watch
from fsdet.apps.detect.video import SUFFIXES as VIDEOS
from fsdet.cli import program
from fsdet.data.images import SUFFIXES as PICTURES
from fsdet.errors import InputError, one_line
from fsdet.files import write_whole


def main() -> int:
    parser = program.Parser(__doc__, "tools/detect.py RUN SOURCE --out FOLDER [options]")
    parser.add_argument("run", metavar="RUN", help="a run folder or a detector.safetensors")
    parser.add_argument("source", metavar="SOURCE", type=Path, help="image, folder or video")
    parser.add_argument("--out", type=Path, metavar="FOLDER", required=True, help="is made")
    parser.add_argument("--threshold", type=float, default=0.5, help="least score; default: 0.5")
    parser.add_argument("--track", action="store_true", help="follow objects through videos")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    words = parser.parse_args()
    detector = fsdet.load(words.run, words.device)
    files = files_of(words.source)
    if words.out.resolve() == files[0].parent.resolve():
        raise InputError(f"--out: expected another folder than that of the input, '{words.out}'")
    watching = watch
    if words.track:
        for other in (file for file in files if file.suffix.lower() not in VIDEOS):
            raise InputError(f"--track: expected a video ({' '.join(VIDEOS)}), got '{other}'")
        from fsdet.tracking import watch as watching  # needs packages that detecting does not
    detector.predict_many([], words.threshold)  # a wrong threshold is no picture's fault
    rows: list[dict] = []
    broken = 0
    for file in (bar := tqdm(files, disable=len(files) == 1 or None, leave=False)):
        try:
            found, frames = look(detector, file, words.out, words.threshold, watching)
        except InputError as error:
            if file == words.source:
                raise
            broken += 1
            bar.write(f"error: {one_line(error)}", file=sys.stderr)
            continue
        objects = {(row["category"], row.get("track_id", n)): None for n, row in enumerate(found)}
        counts = Counter(name for name, _ in objects).most_common()
        said = ", ".join(f"{n} {name}" for name, n in counts) or "nothing"
        bar.write(f"{file.name}: {said}" + f" over {frames} frames" * words.track)
        rows += found
    ids = {at: n for n, at in enumerate(dict.fromkeys(map(place, rows)), 1)}
    lines = ",\n".join(json.dumps({"image_id": ids[place(row)]} | row) for row in rows)
    write_whole(words.out / "detections.json", lambda to: to.write_text(f"[\n{lines}\n]\n"))
    return int(broken > 0)


def files_of(source: Path) -> list[Path]:
    """The pictures and videos of a folder, or the one file; what else is there is named."""
    if not source.is_dir():
        return [source]
    inside = sorted(source.iterdir())
    files = [f for f in inside if f.is_file() and f.suffix.lower() in PICTURES + VIDEOS]
    if not files:
        raise InputError(f"{source}: no picture and no video in this folder")
    for other in sorted(set(inside) - set(files)):
        print(f"left out, neither picture nor video: {other}", file=sys.stderr)
    return files


def place(row: dict) -> tuple[str, int]:
    """The image of a detection: its file and, in a video, its frame, counted from 0."""
    return row["file_name"], row.get("frame", 0)


if __name__ == "__main__":
    program.main(main)
