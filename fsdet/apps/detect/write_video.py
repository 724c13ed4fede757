"""Videos written as mp4: H.264, which browsers play, or what OpenCV can write without PyAV."""

from collections.abc import Iterable
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from fsdet.errors import InputError
from fsdet.files import write_whole

WITHOUT_H264 = (
    "videos are written as MPEG-4 Part 2, which browsers do not play; for H.264:"
    " pip install 'fsdet[video]'"
)


def has_h264() -> bool:
    """Whether H.264 can be written: PyAV is installed, with an encoder."""
    if find_spec("av") is None:
        return False
    import av

    return "libx264" in av.codecs_available


def write_video(path: Path, frames: Iterable[np.ndarray], rate: float) -> None:
    """Write uint8 [H, W, 3] RGB frames, all of one size, as mp4: a whole file or none.

    H.264 has even sides: an odd one is repeated at its end.

    Raises:
        InputError: neither PyAV nor this OpenCV can write mp4.
    """
    write = _write_h264 if has_h264() else _write_by_opencv
    write_whole(path, lambda to: write(to, frames, rate))


def _write_h264(to: Path, frames: Iterable[np.ndarray], rate: float) -> None:
    import av

    start = {"movflags": "faststart"}  # the index comes first, so that playing begins at once
    stream = None
    with av.open(str(to), "w", format="mp4", options=start) as file:
        for frame in frames:
            height, width = frame.shape[:2]
            even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            if stream is None:
                stream = file.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
                stream.height, stream.width = even.shape[:2]
                stream.pix_fmt = "yuv420p"  # the only one that all browsers play
                stream.options = {"preset": "veryfast"}
            file.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        if stream is not None:
            file.mux(stream.encode())


def _write_by_opencv(to: Path, frames: Iterable[np.ndarray], rate: float) -> None:
    part = to.with_name(f"{to.name}.mp4")  # the suffix tells OpenCV the format
    writer = None
    try:
        for frame in frames:
            if writer is None:
                size, code = frame.shape[1::-1], cv2.VideoWriter.fourcc(*"mp4v")
                writer = cv2.VideoWriter(str(part), code, rate, size)
                if not writer.isOpened():
                    raise InputError("this OpenCV cannot write mp4: pip install 'fsdet[video]'")
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        if writer is not None:
            writer.release()
            part.replace(to)
    finally:
        part.unlink(missing_ok=True)
