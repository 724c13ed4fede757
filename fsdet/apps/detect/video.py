"""Videos as RGB frames, read one at a time."""

import os
from collections.abc import Iterator
from pathlib import Path

# OpenCV's FFmpeg prints messages about broken files to stderr by default.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
import cv2
import numpy as np

from fsdet.errors import InputError

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")


class Video:
    """A video file: `len` is the number of frames in its header, `rate` frames per second.

    Iterating reads it from the start.

    Raises:
        InputError: no such file, or not a video; after the last frame, a file that was cut.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        capture = self._open()
        self.rate = rate_of(capture)
        self._count = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        capture.release()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[np.ndarray]:
        """uint8 [H, W, 3] RGB frames."""
        num_frames = 0
        for frame in frames_of(self._open()):
            num_frames += 1
            yield frame
        if num_frames < max(0.9 * len(self), 1):  # the number in a header may be an estimate
            raise InputError(f"{self.path}: ends after {num_frames} of {len(self)} frames")

    def _open(self) -> cv2.VideoCapture:
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file")
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise InputError(f"{self.path}: not a video that can be read")
        return capture


def frames_of(capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    """All remaining frames, uint8 [H, W, 3] RGB; the capture is released after the last."""
    try:
        while True:
            is_read, frame = capture.read()
            if not is_read:
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def rate_of(capture: cv2.VideoCapture) -> float:
    """Frames per second; 25 where the video says nothing of use."""
    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if 0 < rate < 1000 else 25.0
