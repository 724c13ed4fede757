"""Follows what is found from frame to frame of a video: ByteTrack, a tracker for each category."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import tee
from typing import NamedTuple

import numpy as np

from fsdet.api.detector import Detection, Detector
from fsdet.errors import InputError

try:
    from trackers import ByteTrackTracker

    from fsdet.interop import from_supervision, to_supervision
except (ImportError, InputError) as error:
    # Without its dependencies: they include opencv-python, whose cv2 overwrites the headless one.
    raise InputError(
        "tracking needs the packages supervision and trackers:"
        ' pip install -e ".[track]" && pip install --no-deps trackers'
    ) from error

FAINT = 0.5  # scores from this share of the threshold on continue a track
OVERLAP = 0.5  # boxes of different categories that overlap more (IoU) are one object
FRAMES = 3  # in a row, of which the first is above the threshold, begin a track


class Tracked(NamedTuple):
    """A detection of an object that is followed.

    `track` is its number in all frames, from 1; `trail` the middles of its boxes during the last second,
    this one's last.
    """

    box: tuple[float, float, float, float]
    name: str
    score: float
    track: int
    trail: tuple[tuple[float, float], ...]


def watch(
    detector: Detector, frames: Iterable[np.ndarray], rate: float, threshold: float = 0.5
) -> Iterator[tuple[np.ndarray, list[Tracked]]]:
    """Each frame of a video with the objects in it; see `follow`.

    Args:
        frames: uint8 [H, W, 3] RGB.
    """
    shown, frames_to_detect = tee(frames)
    detections = (detector.predict(frame, FAINT * threshold) for frame in frames_to_detect)
    yield from zip(shown, follow(detections, rate, threshold), strict=True)


def follow(
    frames: Iterable[Sequence[Detection]], rate: float, threshold: float = 0.5
) -> Iterator[list[Tracked]]:
    """The tracked objects of each frame, best first; a frame is asked for when its objects are.

    Objects of different categories are never one, and of detections on one spot the surest counts: faint
    rivals on it would be tracks of their own. An object is tracked from its third frame in a row, so that
    a flicker is none; it keeps its number when it is gone for up to a second.

    Args:
        frames: the detections of each with scores from `FAINT * threshold` on: the faint ones are of
            objects that are blurred or half hidden.
        rate: frames a second.
        threshold: the least score that begins a track.
    """
    trackers: dict[str, ByteTrackTracker] = {}
    numbers: dict[tuple[str, int], int] = {}
    past: deque[dict[int, tuple[float, float]]] = deque(maxlen=max(1, round(rate)))
    for detections in frames:
        names = list(dict.fromkeys(detection.name for detection in detections))
        for name in names:
            if name not in trackers:
                trackers[name] = ByteTrackTracker(
                    lost_track_buffer=30,  # thirtieths of a second
                    frame_rate=rate,
                    track_activation_threshold=threshold,
                    minimum_consecutive_frames=FRAMES,
                    high_conf_det_threshold=threshold,
                )
        suppressed = to_supervision(detections, names).with_nms(OVERLAP, class_agnostic=True)
        surest = from_supervision(suppressed)
        tracked: list[Tracked] = []
        middles: dict[int, tuple[float, float]] = {}
        past.append(middles)
        for name, tracker in trackers.items():  # each sees each frame, so that its time goes on
            own = [detection for detection in surest if detection.name == name]
            updated = tracker.update(to_supervision(own, names))
            assert updated.tracker_id is not None
            track_ids = updated.tracker_id.tolist()
            for detection, track_id in zip(from_supervision(updated), track_ids, strict=True):
                if track_id >= 0:
                    number = numbers.setdefault((name, track_id), len(numbers) + 1)
                    x1, y1, x2, y2 = detection.box
                    middles[number] = ((x1 + x2) / 2, (y1 + y2) / 2)
                    trail = tuple(frame[number] for frame in past if number in frame)
                    tracked.append(Tracked(*detection, number, trail))
        yield sorted(tracked, key=lambda detection: -detection.score)
