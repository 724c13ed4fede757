"""Image files of the usual formats as RGB arrays."""

import errno
import io
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from PIL import Image, ImageFile

from fsdet.errors import InputError
from fsdet.files import is_file, read_regular

MAX_PIXELS = 100_000_000
# Only raster formats whose decoders run no program (PIL would hand PostScript to an interpreter).
PIL_FORMATS = ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM"]
SUFFIXES: tuple[str, ...] = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"),
    *(".jfif", ".jpe", ".mpo"),  # JPEG too
)
PHONE_SUFFIXES = (".heic", ".heif", ".avif")
# HEIC and AVIF have large decoders, which only the extra opens to files of others.
if find_spec("pillow_heif"):
    import pillow_heif

    pillow_heif.register_heif_opener()
    PIL_FORMATS += ["HEIF", "AVIF"]
    SUFFIXES += PHONE_SUFFIXES
UNREAD_SUFFIXES = tuple(
    ending
    for ending in (
        *PHONE_SUFFIXES,
        ".jp2",
        ".j2k",
        ".jxl",
        ".tga",
        ".ico",
        ".psd",
        ".exr",
        ".svg",
        ".dng",
        ".cr2",
        ".nef",
    )
    if ending not in SUFFIXES
)
"""Endings of images of other kinds, to name them where they lie among those that are read."""
EXIF_ORIENTATION = 0x0112
JPEG_END = b"\xff\xd9"
MOST_MISSING = 0.1  # of a JPEG that is cut short, as a share of its blocks
# EXIF orientation -> the transpose that turns the stored pixels upright; 1 is upright.
TURN_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: image.transpose(1, 0, 2)[:, ::-1],
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: image.transpose(1, 0, 2)[::-1],
}


class NotAnImage(InputError):
    """A file of another format, or with a broken header."""


class TooManyPixels(InputError):
    """An image with more pixels than allowed."""


def read_image(
    source: Path | str | bytes,
    expected_size: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Decode an image file, or the bytes of one.

    Grey, palette, CMYK, 16-bit (scaled to 8) and animated (first frame) files all become RGB;
    alpha is dropped. The image is turned upright by its EXIF orientation, unless only the stored
    pixels have the `expected_size`: then the boxes were drawn on those.

    Args:
        source: path, or encoded bytes.
        expected_size: (height, width) in the annotations.
        max_pixels: limit of width times height, up to 100 million.

    Returns:
        uint8 `[H, W, 3]` RGB, contiguous.

    Raises:
        NotAnImage: another format, or a broken header.
        TooManyPixels: above `max_pixels`; found in the header, before decoding.
        InputError: no such file, cut short (a JPEG may lack a tenth), or neither size is `expected_size`.
    """
    name = "image bytes" if isinstance(source, bytes) else os.fspath(source)
    if isinstance(source, str) and "://" in source:
        raise InputError(
            f"{name}: addresses are not fetched: download it, and give the file or its bytes"
        )
    encoded = source if isinstance(source, bytes) else _bytes(Path(source))
    header = _header(io.BytesIO(encoded), name, max_pixels)
    stored, upright, orientation = _sizes(header)
    if expected_size is not None:
        height, width = expected_size
        if (height, width) not in (stored, upright):
            raise InputError(
                f"{name}: the annotations are for {_size_text((height, width))} pixels, "
                f"the image has {_size_text(upright)}"
            )
        if (height, width) != upright:
            orientation = 1
    image = _decode(header, encoded, name)
    if orientation in TURN_UPRIGHT:
        image = TURN_UPRIGHT[orientation](image)
    return np.ascontiguousarray(image)


def image_size(path: Path | str) -> tuple[int, int]:
    """(height, width) of an image file turned upright, from its header; errors as `read_image`."""
    try:
        if not is_file(Path(path)):  # a pipe would be waited for
            os.stat(path)
            raise OSError(errno.EINVAL, "expected a file")
        with open(path, "rb") as file:
            return _sizes(_header(file, os.fspath(path)))[1]
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({_reason_of_system(error)})") from None


def is_stored_turned(path: Path | str, size: tuple[int, int]) -> bool:
    """True if only the stored pixels of a file have the size (height, width): EXIF says that it is turned."""
    try:
        with open(path, "rb") as file:
            stored, upright, _ = _sizes(_header(file, os.fspath(path)))
    except (OSError, InputError):
        return False
    return size == stored != upright


def is_cut_short(path: Path | str) -> bool:
    """True for a JPEG whose end is missing."""
    encoded = _bytes(Path(path))
    return encoded[:2] == b"\xff\xd8" and JPEG_END not in encoded[-1024:]


def _bytes(path: Path) -> bytes:
    try:
        return read_regular(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({_reason_of_system(error)})") from None


def _reason_of_system(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _header(file: IO[bytes], name: str, max_pixels: int = MAX_PIXELS) -> ImageFile.ImageFile:
    limit = f"{max_pixels / 10**6:g} million pixels"
    try:
        header = Image.open(file, formats=PIL_FORMATS)
    except Image.DecompressionBombError:
        raise TooManyPixels(f"{name}: above {limit}") from None
    except Exception as error:  # PIL's plugins raise all kinds of errors for broken headers
        raise NotAnImage(
            f"{name}: not an image ({_reason(error)}); expected one of {', '.join(PIL_FORMATS)}"
        ) from None
    if header.width * header.height > max_pixels:
        raise TooManyPixels(f"{name}: {_size_text((header.height, header.width))} is above {limit}")
    return header


def _sizes(header: ImageFile.ImageFile) -> tuple[tuple[int, int], tuple[int, int], int]:
    """(height, width) as stored, the same turned upright, and the EXIF orientation (1 by default)."""
    stored = (header.height, header.width)
    if header.format == "TIFF":  # PIL turns TIFF upright itself
        return stored, stored, 1
    try:
        orientation = header.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # the pixels may be readable despite broken EXIF
        orientation = 1
    return stored, stored[::-1] if orientation in (5, 6, 7, 8) else stored, orientation


def _decode(header: ImageFile.ImageFile, encoded: bytes, name: str) -> np.ndarray:
    # OpenCV before version 5 fills the missing part of a cut file with grey, without an error, so
    # files without their end marker go to PIL, which raises.
    tail = {"JPEG": JPEG_END, "MPO": JPEG_END, "PNG": b"IEND"}.get(header.format or "")
    if tail and tail in encoded[-1024:] and header.mode != "CMYK":
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
        if image is not None and image.shape[:2] == (header.height, header.width):
            return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    try:
        if header.mode.startswith("I;16"):
            grey = np.asarray(header).astype(np.float32) / 257
            return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)
        if header.mode in ("I", "F"):
            raise ValueError(f"expected 8 or 16 bits a channel, it has 32 (mode {header.mode})")
        return np.array(header.convert("RGB"))
    except Exception as error:  # as above
        if header.format == "JPEG" and (image := _most_of_jpeg(encoded)) is not None:
            return image
        raise InputError(f"{name}: cannot be decoded ({_reason(error)})") from None


def _most_of_jpeg(encoded: bytes) -> np.ndarray | None:
    """A JPEG that lacks a little of its end, as viewers show it; None if much of it is missing.

    The decoder repeats the last colour in the blocks that are missing.
    """
    # With an end marker the decoder takes the missing blocks for flat ones, and no switch of PIL is needed.
    image = cv2.imdecode(
        np.frombuffer(encoded + JPEG_END, np.uint8),
        cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION,
    )
    if image is None or min(image.shape[:2]) < 16:
        return None
    rows, columns = image.shape[0] // 16, image.shape[1] // 16
    blocks = image[: rows * 16, : columns * 16].reshape(rows, 16, columns, 16, 3)
    inner = blocks[:, 2:14, :, 2:14]  # colours of neighbours reach into the edges
    flat = (np.ptp(inner, axis=(1, 3)) <= 2).all(-1).ravel()
    missing = len(flat) if flat.all() else int(np.argmin(flat[::-1]))
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if missing <= MOST_MISSING * len(flat) else None


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return "unknown format" if "cannot identify" in str(error) else lines[0] if lines else "broken"


def _size_text(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"
