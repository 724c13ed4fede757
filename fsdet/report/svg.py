"""What the figures are drawn on: one look, as SVG that follows the page's colours.

Nothing here touches pyplot's global state. Series differ by colour (near Okabe and Ito's, for every
kind of sight), by marker or dash, and by a name at the line's end.
"""

import html
import io
import re
import warnings
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, FAINT, RULE = "#22242a", "#6a6e78", "#d9dbe1"
SERIES = ("#0072b2", "#d55e00", "#00875f", "#a8479a", "#8a6d00", "#4b5bd1", "#b3304c")
MARKERS = "osD^vPX"
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.5, 1.5)))
# What the page calls them: an SVG in the page takes its colours, elsewhere these.
_VARIABLES = {INK: "ink", FAINT: "faint", RULE: "rule"} | {
    colour: f"series-{number}" for number, colour in enumerate(SERIES, 1)
}
_STYLE = {
    "font.size": 10,
    "font.sans-serif": ["DejaVu Sans"],
    "text.parse_math": False,  # a category may be called "$5"
    "svg.fonttype": "none",  # words stay words: small, searchable, in the page's own face
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


class End(NamedTuple):
    """Where a line ends, its name and its colour."""

    y: float
    name: str
    colour: str


def style(**more: Any) -> AbstractContextManager:
    """The look, while figures are made."""
    return rc_context(_STYLE | more)


def panel(right: float) -> tuple[Figure, Axes]:
    """A figure of one panel; the names of its lines go to the right of the share `right`."""
    figure = Figure(figsize=(4.6, 3.0))
    return figure, figure.add_axes((0.1, 0.17, right - 0.1, 0.73))


def name_ends(axes: Axes, ends: list[End]) -> None:
    """Write names beside the ends of lines, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    apart = 0.075  # of the axes' height: a line of text
    places = [(end.y - low) / (high - low) for end in ends]
    order = sorted(range(len(ends)), key=lambda n: places[n])
    for _ in range(100):
        for below, above in pairwise(order):
            missing = apart - (places[above] - places[below])
            if missing > 1e-4:
                places[above] += missing / 2
                places[below] -= missing / 2
        places = [min(max(place, 0.0), 1.0) for place in places]
    for place, end in zip(places, ends, strict=True):
        words = one_line(end.name, 18)
        where = {"transform": axes.transAxes, "va": "center", "fontsize": 9.5}
        axes.text(1.03, place, words, color=end.colour, **where)


def one_line(words: str, most: int) -> str:
    """Words that fit a picture: no control characters, no more than `most` letters."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def svg(figure: Figure, name: str) -> str:
    """A figure as an `<svg>` element to put into a page.

    Args:
        name: what it shows, for those who hear the page; keeps its ids apart from other figures'.
    """
    buffer = io.StringIO()
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has it
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r' xmlns(:xlink)?="[^"]*"', "", drawn)  # HTML knows
    for colour, variable in _VARIABLES.items():
        drawn = drawn.replace(colour, f"var(--{variable}, {colour})")
    prefix = re.sub(r"[^a-zA-Z0-9]+", "-", name) + "-"
    for before in (' id="', "url(#", 'href="#'):
        drawn = drawn.replace(before, before + prefix)
    return drawn.replace("<svg", f'<svg role="img" aria-label="{html.escape(name)}"', 1)
