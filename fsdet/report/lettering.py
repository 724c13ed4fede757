"""Letters as pixels, the same on every machine and more of them than OpenCV has."""

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fsdet.report.svg import one_line


@lru_cache(maxsize=512)
def letters_of(text: str, size: int, width: int, height: int) -> np.ndarray:
    """How much of each pixel a text covers: uint8 [h, w], h <= height and w <= width.

    Args:
        size: of the letters in pixels; smaller, and then cut with "…", if the text is too wide.
    """
    text = one_line(text, 200)
    font = _font(size)
    while size > 7 and font.getlength(text) > 0.9 * width:
        size -= 1
        font = _font(size)
    while len(text) > 1 and font.getlength(text) > 0.9 * width:
        text = text.removesuffix("…")[:-1] + "…"
    margin = max(1, size // 6)
    ascent, descent = font.getmetrics()
    wide = int(np.ceil(font.getlength(text))) + 2 * margin
    mask = Image.new("L", (wide, ascent + descent))
    ImageDraw.Draw(mask).text((margin, 0), text, fill=255, font=font)
    return np.asarray(mask)[:height, :width]


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # matplotlib brings this font along.
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)
