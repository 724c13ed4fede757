"""The report of a run: tables, figures, overlays and the page that holds them.

Everything is built from the rows of `results.json` and values; nothing here reads a model.
"""

from fsdet.report.compare import differences, headline_shots, subject, summary
from fsdet.report.crops import crop
from fsdet.report.overlays import beside, draw, palette, trace
from fsdet.report.page import write
from fsdet.report.ranking import ranking
from fsdet.report.table import markdown, text
from fsdet.report.tested import Find, Gallery, Tested
from fsdet.report.words import headline

__all__ = [
    "Find",
    "Gallery",
    "Tested",
    "beside",
    "crop",
    "differences",
    "draw",
    "headline",
    "headline_shots",
    "markdown",
    "palette",
    "ranking",
    "subject",
    "summary",
    "text",
    "trace",
    "write",
]
