"""Photographs as they arrive: size limits, safe file names, keys."""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import replace

from fsdet.apps.studio.project import Photo
from fsdet.data.images import read_image
from fsdet.errors import InputError


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
