"""Find the categories that a detector knows in an image, in all pictures of a folder, or in a video.

Into --out go the pictures with boxes drawn and detections.json: COCO results with file names and,
of videos, frames. Exit status 1 if a file of a folder could not be read; each is named.

examples:
  python tools/detect.py runs/mine street.jpg --out found
  python tools/detect.py runs/mine holiday/ --out found --threshold 0.7
"""

import json
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

import fsdet
from fsdet import cli, report
from fsdet.data.images import read_image
from fsdet.data.video import SUFFIXES as VIDEOS
from fsdet.data.video import Video, write_video
from fsdet.errors import InputError
from fsdet.files import write_whole

WRITTEN = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".mp4")  # other files get another ending
PICTURES = (*WRITTEN[:-1], ".tif", ".tiff", ".gif", ".ppm", ".pgm")


def main() -> int:
    parser = cli.Parser(__doc__, "tools/detect.py RUN SOURCE --out FOLDER [options]")
    parser.add_argument("run", metavar="RUN", help="a run folder or a detector.safetensors")
    parser.add_argument("source", metavar="SOURCE", type=Path, help="image, folder or video")
    parser.add_argument("--out", type=Path, metavar="FOLDER", required=True, help="is made")
    parser.add_argument("--threshold", type=float, default=0.5, help="least score; default: 0.5")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    words = parser.parse_args()
    detector = fsdet.load(words.run, words.device)
    files = files_of(words.source)
    if words.out.resolve() == files[0].parent.resolve():
        raise InputError(f"--out: expected another folder than that of the input, '{words.out}'")
    detector.predict_many([], words.threshold)  # a wrong threshold is no picture's fault
    rows: list[dict] = []
    broken = 0
    for file in (bar := tqdm(files, disable=len(files) == 1 or None, leave=False)):
        try:
            found = look(detector, file, words.out, words.threshold)
        except InputError as error:
            if file == words.source:
                raise
            broken += 1
            bar.write(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            continue
        counts = Counter(row["category"] for row in found).most_common()
        bar.write(f"{file.name}: {', '.join(f'{n} {name}' for name, n in counts) or 'nothing'}")
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


def look(detector: fsdet.Detector, file: Path, out: Path, threshold: float) -> list[dict]:
    """Detections in a picture or a video, which goes to `out` with boxes drawn."""
    rows, colours = [], report.palette(detector.names)

    def drawn(image: np.ndarray, **at: int) -> np.ndarray:
        found = detector.predict(image, threshold)
        for (x1, y1, x2, y2), name, score in found:
            row = {"file_name": file.name, **at, "category_id": detector.names.index(name) + 1}
            rows.append(
                row | {"category": name, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
            )
        texts = [f"{one.name} {one.score:.2f}" for one in found]
        boxes, inks = [one.box for one in found], [colours[one.name] for one in found]
        return report.draw(image, boxes, texts, inks)

    if file.suffix.lower() in VIDEOS:
        video = Video(file)
        frames = tqdm(video, file.name, len(video), disable=None, leave=False)
        target = out / (file.name if file.suffix == ".mp4" else f"{file.name}.mp4")
        write_video(target, (drawn(frame, frame=n) for n, frame in enumerate(frames)), video.rate)
    else:
        target = out / (file.name if file.suffix.lower() in WRITTEN else f"{file.name}.png")
        picture = cv2.cvtColor(drawn(read_image(file)), cv2.COLOR_RGB2BGR)
        encoded = cv2.imencode(target.suffix, picture)[1].tobytes()
        write_whole(target, lambda to: to.write_bytes(encoded))
    return rows


def place(row: dict) -> tuple[str, int]:
    """The image of a detection: its file and, in a video, its frame, counted from 0."""
    return row["file_name"], row.get("frame", 0)


if __name__ == "__main__":
    cli.main(main)
