"""The report of a run: tables, figures, overlays and the page that holds them.

Everything is built from the rows of `results.json` and values; nothing here reads a model.
"""

from fsdet.report.drawing import beside, crop, draw, palette, trace
from fsdet.report.page import write
from fsdet.report.sentences import headline, ranking
from fsdet.report.statistics import differences, headline_shots, subject, summary
from fsdet.report.tables import markdown, text
from fsdet.report.test_sections import Find, Gallery, Tested

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
