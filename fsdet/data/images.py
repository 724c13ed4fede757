"""Image files of any usual kind as RGB arrays; what cannot be read is named in one line."""

import io
import os
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from PIL import Image, ImageFile

from fsdet.errors import InputError

MAX_PIXELS = 100_000_000
# Only raster formats whose decoders run no program (PIL would hand PostScript to an interpreter).
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")
ORIENTATION = 0x0112
# What PIL does for each orientation of the EXIF standard.
UPRIGHT = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: image.transpose(1, 0, 2)[:, ::-1],
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: image.transpose(1, 0, 2)[::-1],
}


class NotAnImage(InputError):
    """A file of another kind, or one whose header says nothing."""


class TooManyPixels(InputError):
    """An image above the limit of pixels."""


def read_image(
    source: Path | str | bytes,
    expected_size: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Decode an image file, or the bytes of one.

    Grey, palette, CMYK, 16-bit (scaled to 8) and animated (first frame) files all become RGB;
    alpha is dropped. The image is turned upright as its EXIF orientation says, unless
    `expected_size` is the size of the stored pixels only: then the boxes were drawn on those.

    Args:
        source: path, or encoded bytes.
        expected_size: (height, width) that the annotations are for.
        max_pixels: width times height, at most; up to 100 million.

    Returns:
        uint8 `[H, W, 3]` RGB, contiguous.

    Raises:
        NotAnImage: what it is not.
        TooManyPixels: above `max_pixels`, seen from its header, before decoding.
        InputError: no such file, cut short, or of another size than `expected_size`.
    """
    name = "image bytes" if isinstance(source, bytes) else os.fspath(source)
    encoded = source if isinstance(source, bytes) else _bytes(Path(source))
    header = _header(io.BytesIO(encoded), name, max_pixels)
    stored, upright, orientation = _sizes(header)
    if expected_size is not None:
        height, width = expected_size
        if (height, width) not in (stored, upright):
            raise InputError(
                f"{name}: the annotations are for {_words((height, width))} pixels, "
                f"the image has {_words(upright)}"
            )
        if (height, width) != upright:
            orientation = 1
    image = _decode(header, encoded, name)
    if orientation in UPRIGHT:
        image = UPRIGHT[orientation](image)
    return np.ascontiguousarray(image)


def image_size(path: Path | str) -> tuple[int, int]:
    """(height, width) of an image file when upright, from its header; errors as `read_image`."""
    try:
        with open(path, "rb") as file:
            return _sizes(_header(file, os.fspath(path)))[1]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _header(file: IO[bytes], name: str, max_pixels: int = MAX_PIXELS) -> ImageFile.ImageFile:
    most = f"{max_pixels / 10**6:g} million pixels"
    try:
        header = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError:
        raise TooManyPixels(f"{name}: above {most}") from None
    except Exception as error:  # PIL's plugins raise whatever a broken header leads them to
        raise NotAnImage(
            f"{name}: not an image that can be read ({_reason(error)}); expected one of {', '.join(FORMATS)}"
        ) from None
    if header.width * header.height > max_pixels:
        raise TooManyPixels(f"{name}: {_words((header.height, header.width))} is above {most}")
    return header


def _sizes(header: ImageFile.ImageFile) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Size as stored, size when upright, and the EXIF orientation (1 where none is said)."""
    stored = (header.height, header.width)
    if header.format == "TIFF":  # PIL turns these itself
        return stored, stored, 1
    try:
        orientation = header.getexif().get(ORIENTATION, 1)
    except Exception:  # broken EXIF says nothing; the pixels may be well
        orientation = 1
    return stored, stored[::-1] if orientation in (5, 6, 7, 8) else stored, orientation


def _decode(header: ImageFile.ImageFile, encoded: bytes, name: str) -> np.ndarray:
    # OpenCV before version 5 fills the missing part of a file that was cut with grey and says
    # nothing, so what lacks its end goes to PIL, which knows.
    tail = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}.get(header.format or "")
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
        raise InputError(f"{name}: does not decode ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return "unknown format" if "cannot identify" in str(error) else lines[0] if lines else "broken"


def _words(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"
