"""Streams and webcams as RGB frames, until they end or Ctrl-C ends them."""

import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import cv2
import numpy as np
from cv2.utils import logging

from fsdet.apps.detect.video import frames_of, rate_of
from fsdet.errors import InputError

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "rtp", "srt")
SECONDS = 15  # to open a stream


class Stream:
    """A stream or a webcam: `name` for files, without a password; `rate` frames per second.

    `len` is 0: nobody knows how many frames come. It is opened once, and iterated once.

    Args:
        source: address, or number of a webcam.

    Raises:
        InputError: it cannot be opened; when iterated, no frame came.
    """

    def __init__(self, source: str | int):
        # OpenCV prints what it tried before `isOpened` says that it failed.
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
        if isinstance(source, int):
            self.name = f"webcam-{source}"
            self._capture = cv2.VideoCapture(source)
        else:
            self.name = _name(source)
            limit = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 1000 * SECONDS]
            self._capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limit)
        if not self._capture.isOpened():
            raise InputError(f"{self.name}: cannot be opened; expected a stream that is on the air")
        self.rate = rate_of(self._capture)

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[np.ndarray]:
        """uint8 [H, W, 3] RGB frames; Ctrl-C ends them after the frame that is looked at."""
        num_frames = 0
        with _first_interrupt() as is_stopped:
            for frame in frames_of(self._capture):
                num_frames += 1
                yield frame
                if is_stopped():
                    return
        if num_frames == 0:
            raise InputError(f"{self.name}: no frame came")


def _name(address: str) -> str:
    """Host and path of an address, as a name of a file."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        parts, host = None, None
    if parts is None or parts.scheme.lower() not in SCHEMES or not host:
        raise InputError(
            f"'{address:.80}': expected an address such as rtsp://HOST/PATH ({', '.join(SCHEMES)})"
        )
    return re.sub(r"[^\w.-]+", "-", f"{host}{parts.path}").strip("-.")[:100]


@contextmanager
def _first_interrupt() -> Iterator[Callable[[], bool]]:
    """Note Ctrl-C in the place of an exception; a second one raises as ever.

    Python handles signals in the main thread only; in another one, nothing is noted.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped.is_set
        return
    previous = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: object) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, previous)
        print("stopping after this frame; what was found is kept", file=sys.stderr)

    signal.signal(signal.SIGINT, note)
    try:
        yield stopped.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
