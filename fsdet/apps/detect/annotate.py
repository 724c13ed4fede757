"""Pictures and videos with what a detector finds drawn on them, and the same as rows of COCO results."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from fsdet import report
from fsdet.api.detector import Detection, Detector
from fsdet.apps.detect.video import SUFFIXES as VIDEOS
from fsdet.apps.detect.video import Video, write_video
from fsdet.data.images import read_image
from fsdet.files import write_whole
from fsdet.progress import progress

WRITTEN = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".mp4")  # other files get another ending

Watch = Callable[
    [Detector, Iterable[np.ndarray], float, float], Iterator[tuple[np.ndarray, Sequence]]
]
"""A detector, frames, how many a second, and a threshold -> each frame with what is in it."""


def watch(
    detector: Detector, frames: Iterable[np.ndarray], rate: float, threshold: float
) -> Iterator[tuple[np.ndarray, list[Detection]]]:
    """Each frame of a video with its detections, by itself; `fsdet.tracking.watch` follows objects."""
    return ((frame, detector.predict(frame, threshold)) for frame in frames)


def look(
    detector: Detector, file: Path, out: Path, threshold: float, watch: Watch = watch
) -> tuple[list[dict], int]:
    """Find what is in a picture or a video, which goes to the folder `out` with boxes drawn.

    Returns:
        A row for each detection: file_name, category_id, category, bbox, score; of a video also its frame,
        counted from 0, and of a tracked object its track_id. And how many frames there were.

    Raises:
        InputError: a file that cannot be read, or no category to look for.
    """
    rows, seen, colours = [], 0, report.palette(detector.names)

    def drawn(image: np.ndarray, found: Sequence, **at: int) -> np.ndarray:
        nonlocal seen
        seen += 1
        mine = [{"file_name": file.name, **at} | row(one, detector.names) for one in found]
        rows.extend(mine)
        inks = [colours[one.name] for one in found]
        image = report.trace(image, [getattr(one, "trail", ()) for one in found], inks)
        return report.draw(image, [one.box for one in found], list(map(text, mine)), inks)

    if file.suffix.lower() in VIDEOS:
        video = Video(file)
        frames = progress(file.name)(video, len(video))
        watched = enumerate(watch(detector, frames, video.rate, threshold))
        target = out / (file.name if file.suffix == ".mp4" else f"{file.name}.mp4")
        shown = (drawn(frame, found, frame=n) for n, (frame, found) in watched)
        write_video(target, shown, video.rate)
    else:
        target = out / (file.name if file.suffix.lower() in WRITTEN else f"{file.name}.png")
        image = read_image(file)
        picture = cv2.cvtColor(drawn(image, detector.predict(image, threshold)), cv2.COLOR_RGB2BGR)
        encoded = cv2.imencode(target.suffix, picture)[1].tobytes()
        write_whole(target, lambda to: to.write_bytes(encoded))
    return rows, seen


def row(one: Detection, names: Sequence[str]) -> dict:
    """A detection, or an object that is tracked, as COCO has it; a category's id is its place from 1."""
    x1, y1, x2, y2 = one.box
    columns = {"category_id": names.index(one.name) + 1, "category": one.name}
    columns |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "score": one.score}
    return columns | ({"track_id": one.track} if hasattr(one, "track") else {})


def text(row: dict) -> str:
    """What stands at a box."""
    number = f" #{row['track_id']}" if "track_id" in row else ""
    return f"{row['category']}{number} {row['score']:.2f}"
