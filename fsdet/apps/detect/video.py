"""Videos as RGB frames, read one at a time and written as mp4."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

# OpenCV's FFmpeg prints messages about broken files to stderr by default.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
import cv2
import numpy as np

from fsdet.errors import InputError
from fsdet.files import write_whole

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
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate < 1000 else 25.0
        self._count = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        capture.release()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[np.ndarray]:
        """uint8 [H, W, 3] RGB frames."""
        capture, num_frames = self._open(), 0
        try:
            while True:
                is_read, frame = capture.read()
                if not is_read:
                    break
                num_frames += 1
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            capture.release()
        if num_frames < max(0.9 * len(self), 1):  # the number in a header may be an estimate
            raise InputError(f"{self.path}: ends after {num_frames} of {len(self)} frames")

    def _open(self) -> cv2.VideoCapture:
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file")
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise InputError(f"{self.path}: not a video that can be read")
        return capture


def write_video(path: Path, frames: Iterable[np.ndarray], rate: float) -> None:
    """Write uint8 [H, W, 3] RGB frames, all of one size, as mp4: a whole file or none.

    Raises:
        InputError: this OpenCV cannot write mp4.
    """

    def write(to: Path) -> None:
        part = to.with_name(f"{to.name}.mp4")  # the suffix tells OpenCV the format
        writer = None
        try:
            for frame in frames:
                if writer is None:
                    size, code = frame.shape[1::-1], cv2.VideoWriter.fourcc(*"mp4v")
                    writer = cv2.VideoWriter(str(part), code, rate, size)
                    if not writer.isOpened():
                        raise InputError(f"{path}: this OpenCV cannot write mp4")
                writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            if writer is not None:
                writer.release()
                part.replace(to)
        finally:
            part.unlink(missing_ok=True)

    write_whole(path, write)
