"""Detections drawn on images and videos, and the same detections as rows of COCO results."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np

from fsdet import report
from fsdet.api.detector import Detector
from fsdet.api.results import Detection
from fsdet.apps.detect.stream import Stream
from fsdet.apps.detect.video import SUFFIXES as VIDEOS
from fsdet.apps.detect.video import Video
from fsdet.apps.detect.write_video import write_video
from fsdet.data.images import read_image
from fsdet.files import write_whole
from fsdet.progress import progress

if TYPE_CHECKING:
    from fsdet.tracking import Tracked  # needs packages of an extra

WRITABLE = (".jpg", ".jpeg", ".png", ".bmp", ".webp")  # images of other formats become PNG

Watch: TypeAlias = (
    "Callable[[Detector, Iterable[np.ndarray], float, float | None, int | None],"
    " Iterator[tuple[np.ndarray, Sequence[Detection | Tracked]]]]"
)
"""Detector, frames, frames per second, threshold, side of tiles -> each frame with its detections."""


def watch(
    detector: Detector,
    frames: Iterable[np.ndarray],
    rate: float,
    threshold: float | None,
    tiles: int | None,
) -> Iterator[tuple[np.ndarray, list[Detection]]]:
    """Each frame of a video with its own detections; `fsdet.tracking.watch` follows objects."""
    return ((frame, detector.predict(frame, threshold, tiles=tiles)) for frame in frames)


def annotate(
    detector: Detector,
    source: Path | Stream,
    name: str,
    out: Path,
    threshold: float | None,
    watch: Watch = watch,
    names: Sequence[str] | None = None,
    tiles: int | None = None,
) -> tuple[list[dict[str, Any]], int]:
    """Detect in an image, a video or a stream, and write it with boxes drawn to the folder `out`.

    Args:
        name: path in `out`, and file_name of the rows.
        threshold: minimum score; None: those of the detector.
        names: categories to draw and return; None: all.
        tiles: see `Detector.predict`.

    Returns:
        Rows: for each detection file_name, category_id, category, bbox and score; in a video also the
            frame, counted from 0, and for a tracked object its track_id.
        Number of frames; 1 for an image.

    Raises:
        InputError: a source that cannot be read, or a detector without categories.
    """
    rows: list[dict[str, Any]] = []
    num_frames, palette = 0, report.palette(detector.names)

    def drawn(
        image: np.ndarray, detections: "Sequence[Detection | Tracked]", **frame: int
    ) -> np.ndarray:
        nonlocal num_frames
        num_frames += 1
        detections = [d for d in detections if names is None or d.name in names]
        new_rows = [
            {"file_name": name, **frame} | coco_row(detection, detector.names)
            for detection in detections
        ]
        rows.extend(new_rows)
        colours = [palette[detection.name] for detection in detections]
        trails = [getattr(detection, "trail", ()) for detection in detections]
        boxes = [detection.box for detection in detections]
        image = report.trace(image, trails, colours)
        return report.draw(image, boxes, list(map(box_text, new_rows)), colours)

    if isinstance(source, Path) and not is_video(source):
        target = out / (name if source.suffix.lower() in WRITABLE else f"{name}.png")
        image = read_image(source)
        picture = drawn(image, detector.predict(image, threshold, tiles=tiles))
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        encoded = cv2.imencode(target.suffix, picture)[1].tobytes()
        write_whole(target, lambda temporary: temporary.write_bytes(encoded))
    else:
        video = Video(source) if isinstance(source, Path) else source
        frames = progress(name)(video, len(video))
        watched = enumerate(watch(detector, frames, video.rate, threshold, tiles))
        target = out / (name if name.endswith(".mp4") else f"{name}.mp4")
        shown = (drawn(image, detections, frame=n) for n, (image, detections) in watched)
        write_video(target, shown, video.rate)
    return rows, num_frames


def is_video(source: Path | Stream) -> bool:
    """Whether a source has frames."""
    return isinstance(source, Stream) or source.suffix.lower() in VIDEOS


def coco_row(detection: "Detection | Tracked", names: Sequence[str]) -> dict[str, Any]:
    """A detection as a row of COCO results; the category id counts `names` from 1."""
    x1, y1, x2, y2 = detection.box
    return {
        "category_id": names.index(detection.name) + 1,
        "category": detection.name,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "score": detection.score,
        **({} if isinstance(detection, Detection) else {"track_id": detection.track}),
    }


def box_text(row: dict[str, Any]) -> str:
    """The text at a box: category, track and score."""
    track = f" #{row['track_id']}" if "track_id" in row else ""
    return f"{row['category']}{track} {row['score']:.2f}"
