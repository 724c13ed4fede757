"""Photographs as they arrive, also as frames of videos: size limits, safe file names, keys."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2

from fsdet.apps.detect.video import SUFFIXES as VIDEO_SUFFIXES
from fsdet.apps.detect.video import Video
from fsdet.apps.studio.project import Photo
from fsdet.data.images import read_image
from fsdet.errors import InputError

MOST_FRAMES = 40  # taken of a video, evenly spaced
MOST_READ = 20_000  # frames of a video that are decoded to find them


def contents(file: Path, most: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of the photograph in a file, or of frames of a video.

    Of a file of more than `most` bytes, which is refused later, nothing is read.

    Raises:
        InputError: a video that cannot be read.
    """
    if file.suffix.lower() not in VIDEO_SUFFIXES:
        # One byte above the limit is enough to be refused.
        yield file.name, file.read_bytes() if file.stat().st_size <= most else bytes(most + 1)
        return
    try:
        video = Video(file)
        step = max(-(-min(len(video), MOST_READ) // MOST_FRAMES), 1)
        for number, frame in enumerate(islice(video, MOST_READ)):
            if number % step == 0 and number < step * MOST_FRAMES:
                content = cv2.imencode(".jpg", frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
                yield f"{file.stem}-{number:05}.jpg", content.tobytes()
    except InputError as error:  # the user does not know the folder of the upload
        raise InputError(str(error).replace(str(file), f"'{file.name}'")) from error


def digest(content: bytes) -> str:
    """The key of a file: a hash of its content, 32 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()[:32]


def as_photo(name: str, content: bytes, megabytes: int, megapixels: int) -> Photo:
    """The photograph in a file; decodes it.

    Raises:
        InputError: larger than the limits, or not an image.
    """
    if len(content) > megabytes * 10**6:
        raise InputError(
            f"{len(content) / 1e6:.0f} MB; expected a photograph of up to {megabytes} MB"
        )
    height, width = read_image(content, max_pixels=megapixels * 10**6).shape[:2]
    return Photo(digest(content), name, width, height)


def safe_name(name: str) -> str:
    """A file's name without folders and without characters that a file system may refuse."""
    last = re.split(r"[/\\]", str(name))[-1]
    stem, suffix = os.path.splitext(
        "".join(c for c in last if c.isprintable() and c not in '<>:"|?*')
    )
    return (stem.strip(". ")[:80] or "photograph") + suffix[:6].lower()


def with_unique_name(photo: Photo, others: Sequence[Photo]) -> Photo:
    """The photograph, renamed if another has the same name up to the suffix."""
    stem, suffix = os.path.splitext(photo.name)
    if stem in {os.path.splitext(other.name)[0] for other in others}:
        return replace(photo, name=f"{stem}-{photo.key[:8]}{suffix}")
    return photo
