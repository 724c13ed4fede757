"""SVG charts: one matplotlib style for all figures, and SVG elements in the colours of the page.

pyplot and its global state are not used. Series differ by colour (near Okabe and Ito's, which are
safe for colour-blind readers), by marker or dash, and by a name at the line's end.
"""

import html
import io
import re
import warnings
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any, NamedTuple

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, FAINT, RULE = "#22242a", "#6a6e78", "#d9dbe1"
SERIES = ("#0072b2", "#d55e00", "#00875f", "#a8479a", "#8a6d00", "#4b5bd1", "#b3304c")
MARKERS = "osD^vPX"
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.5, 1.5)))
# CSS variables of the page: an SVG in the page follows them; elsewhere these colours are used.
_VARIABLES = {INK: "ink", FAINT: "faint", RULE: "rule"} | {
    colour: f"series-{number}" for number, colour in enumerate(SERIES, 1)
}
_STYLE: dict[str, Any] = {
    "font.size": 10,
    "font.sans-serif": ["DejaVu Sans"],
    "text.parse_math": False,  # a category may be called "$5"
    "svg.fonttype": "none",  # text stays text: small, searchable, in the page's font
    "svg.hashsalt": "fsdet",
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": FAINT,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
}


class LineEnd(NamedTuple):
    """The end of a line in a chart: its height, name and colour."""

    y: float
    name: str
    colour: str


class Chart(NamedTuple):
    """A chart of the page with its title."""

    title: str
    svg: Markup


def style(**parameters: Any) -> AbstractContextManager[None]:
    """Context in which figures are made in the common style; `parameters` override it."""
    settings: Any = _STYLE | parameters  # matplotlib types the keys as literals
    return rc_context(settings)


def panel(right: float) -> tuple[Figure, Axes]:
    """A figure with one axes, which ends at the fraction `right` to leave room for names of lines."""
    figure = Figure(figsize=(4.6, 3.0))
    return figure, figure.add_axes((0.1, 0.17, right - 0.1, 0.73))


def name_line_ends(axes: Axes, ends: list[LineEnd]) -> None:
    """Write names beside the ends of lines, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    spacing = 0.075  # of the axes' height: a line of text
    heights = [(end.y - low) / (high - low) for end in ends]
    order = sorted(range(len(ends)), key=lambda n: heights[n])
    for _ in range(100):
        for below, above in pairwise(order):
            missing = spacing - (heights[above] - heights[below])
            if missing > 1e-4:
                heights[above] += missing / 2
                heights[below] -= missing / 2
        heights = [min(max(height, 0.0), 1.0) for height in heights]
    for height, end in zip(heights, ends, strict=True):
        settings: dict[str, Any] = {"transform": axes.transAxes, "va": "center", "fontsize": 9.5}
        axes.text(1.03, height, shorten(end.name, 18), color=end.colour, **settings)


def shorten(text: str, length: int) -> str:
    """Text on one line without control characters, cut with "…" to at most `length` characters."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"


def svg(figure: Figure, description: str) -> Markup:
    """A figure as an `<svg>` element for the page.

    Args:
        description: read aloud by screen readers; also the prefix of the element's ids, so it must
            differ from those of the page's other figures.
    """
    buffer = io.StringIO()
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has it
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    source = buffer.getvalue()
    source = source[source.index("<svg") :]
    source = re.sub(r"<metadata>.*?</metadata>", "", source, flags=re.DOTALL)
    source = re.sub(r' xmlns(:xlink)?="[^"]*"', "", source)  # not needed within HTML
    for colour, variable in _VARIABLES.items():
        source = source.replace(colour, f"var(--{variable}, {colour})")
    prefix = re.sub(r"[^a-zA-Z0-9]+", "-", description) + "-"
    for reference in (' id="', "url(#", 'href="#'):
        source = source.replace(reference, reference + prefix)
    label = html.escape(description)
    return Markup(source.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))
