"""Pages of a report: jinja2 templates rendered to HTML files without scripts or outside addresses."""

import base64
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fsdet.files import write_whole
from fsdet.report.drawing import NOVEL
from fsdet.report.rows import METRICS, display_name
from fsdet.report.sentences import shots_label
from fsdet.report.svg import shorten
from fsdet.report.tables import MARKS, escape

_HERE = Path(__file__).parent
_WIDEST = 1000  # pixels of an image in the page


def render(template: str, **values: object) -> str:
    """The HTML of a template; all values but `Markup` are escaped."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "display_name": display_name,
        "jpeg": jpeg,
        "shorten": shorten,
        "shots": shots_label,
    }
    style = Markup((_HERE / "style.css").read_text(encoding="utf-8"))
    environment.globals |= {"style": style, "MARKS": MARKS, "METRICS": METRICS, "NOVEL": NOVEL}
    return environment


def jpeg(image: np.ndarray) -> str:
    """An image, uint8 [H, W, 3] RGB, as a data URL."""
    height, width = image.shape[:2]
    if width > _WIDEST:
        size = (_WIDEST, max(1, round(height * _WIDEST / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 85]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def save(run: Path, page: str, markdown: str) -> Path:
    """Write `report.html` and `report.md`, each whole or not at all; the path of the page."""
    for name, text in {"report.md": markdown, "report.html": page}.items():
        content = text.encode(errors="replace")
        write_whole(run / name, partial(Path.write_bytes, data=content))
    return run / "report.html"


def reproduction_markdown(command: str, facts: Mapping[str, str]) -> str:
    """The command and the environment to reproduce the numbers, in Markdown."""
    fence = "`" * (3 + command.count("`"))
    lines = [f"- {escape(key)}: {escape(value)}" for key, value in facts.items()]
    return "\n".join([f"{fence}sh", command, fence, "", *lines])
