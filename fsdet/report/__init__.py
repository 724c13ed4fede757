"""Report of a run: tables, figures, drawn detections, and the HTML page with all of them.

Everything is built from the rows of `results.json` and plain values; nothing here reads a model.
"""

from fsdet.report.comparison import side_by_side
from fsdet.report.detections import CategoryGallery, DetectionCrop, DetectionResults
from fsdet.report.drawing import crop, draw, palette, trace
from fsdet.report.rows import main_method
from fsdet.report.run_page import write
from fsdet.report.sentences import headline, ranking
from fsdet.report.statistics import headline_shots, paired_differences, summary
from fsdet.report.tables import markdown, text

__all__ = [
    "CategoryGallery",
    "DetectionCrop",
    "DetectionResults",
    "crop",
    "draw",
    "headline",
    "headline_shots",
    "main_method",
    "markdown",
    "paired_differences",
    "palette",
    "ranking",
    "side_by_side",
    "summary",
    "text",
    "trace",
    "write",
]
