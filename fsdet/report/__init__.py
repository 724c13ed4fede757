"""The report of a run: tables, figures, overlays and the page that holds them.

Everything is built from the rows of `results.json` and values; nothing here reads a model.
"""

from fsdet.report.compare import differences, summary
from fsdet.report.overlays import beside, draw, palette, trace
from fsdet.report.page import write
from fsdet.report.ranking import ranking
from fsdet.report.table import markdown, text
from fsdet.report.words import headline

__all__ = [
    "beside",
    "differences",
    "draw",
    "headline",
    "markdown",
    "palette",
    "ranking",
    "summary",
    "text",
    "trace",
    "write",
]
