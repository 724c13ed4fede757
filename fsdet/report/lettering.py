"""Text rendered to pixels with a bundled font: the same on every machine, beyond OpenCV's ASCII."""

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fsdet.report.svg import shorten


@lru_cache(maxsize=512)
def text_mask(text: str, size: int, width: int, height: int) -> np.ndarray:
    """Coverage of each pixel by a text, 0..255: uint8 [h, w], h <= height and w <= width.

    Args:
        size: font size in pixels; a text that is too wide gets a smaller font, then is cut with "…".
    """
    text = shorten(text, 200)
    font = _font(size)
    while size > 7 and font.getlength(text) > 0.9 * width:
        size -= 1
        font = _font(size)
    while len(text) > 1 and font.getlength(text) > 0.9 * width:
        text = text.removesuffix("…")[:-1] + "…"
    margin = max(1, size // 6)
    ascent, descent = font.getmetrics()
    text_width = int(np.ceil(font.getlength(text))) + 2 * margin
    mask = Image.new("L", (text_width, ascent + descent))
    ImageDraw.Draw(mask).text((margin, 0), text, fill=255, font=font)
    return np.asarray(mask)[:height, :width]


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Comes with matplotlib.
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)
