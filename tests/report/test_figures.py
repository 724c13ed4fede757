"""Figures of a report and their SVG."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from helpers.report_values import NOVEL_NAMES, records_of_training, row, rows_of_a_run

from fsdet.report import figures
from fsdet.report.statistics import summary
from fsdet.report.svg import svg


@pytest.fixture(scope="module")
def rows():
    return rows_of_a_run()


def test_svg_is_small_and_deterministic_and_matplotlib_settings_stay(rows):
    import matplotlib

    settings_before = dict(matplotlib.rcParams)
    by_name = figures.shot_curves(rows) | figures.loss_curves(records_of_training())
    by_name["bars"] = figures.category_bars(rows, "maml", 5, NOVEL_NAMES)
    assert set(by_name) == {"novel", "all", "base", "meta", "bars"}
    for name, figure in by_name.items():
        source = svg(figure, name)
        ET.fromstring(source.replace("xlink:", ""))
        assert len(source) < 100_000
        assert source == svg(figure, name)
    assert dict(matplotlib.rcParams) == settings_before


def test_shot_curve_goes_through_the_means(rows):
    axes = figures.shot_curves(rows)["novel"].axes[0]
    means = [group.metrics["nAP50"].mean for group in summary(rows)[:4]]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), means)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "3", "5", "10"]
    names = [text.get_text() for text in axes.texts]
    assert names == ["MAML", "TFA (cosine)", "prototype"]


def test_names_at_line_ends_do_not_overlap():
    rows = [row(f"method {n}", shots, 0, 80.0) for n in range(6) for shots in (1, 5)]
    heights = sorted(
        text.get_position()[1] for text in figures.shot_curves(rows)["novel"].axes[0].texts
    )
    assert min(np.diff(heights)) > 0.07 and heights[0] >= 0 and heights[-1] <= 1


def test_bars_have_novel_categories_first_even_among_hundreds():
    scores = {f"base {n}": float(n % 90) for n in range(200)} | {"gear": 50.0, "tee": 60.0}
    rows = [row("maml", 5, 0, 1.0, per_class=scores)]
    axes = figures.category_bars(rows, "maml", 5, NOVEL_NAMES, "novel").axes
    labels = [label.get_text() for label in axes[0].get_yticklabels()]
    assert labels[:2] == ["★ tee", "★ gear"] and len(labels) == 60 and "base 0" in labels
    assert figures.category_bars([row("maml", 5, 0, 1.0)], "maml", 5, NOVEL_NAMES) is None


def test_moving_average_keeps_constants_and_length():
    np.testing.assert_allclose(figures.smoothed(np.full(7, 3.0), 2), 3.0)
    np.testing.assert_allclose(figures.smoothed(np.array([0.0, 3.0, 6.0]), 1), [1.5, 3.0, 4.5])


def test_precision_recall_has_mean_and_interval_over_seeds_and_best_category_first():
    precision = {"gear": np.array([np.full(101, 0.4), np.full(101, 0.8)]),
             "tee": np.full((2, 101), 0.9), "heart": np.full((2, 101), np.nan)}  # fmt: skip
    by_category = figures.precision_recall(precision)
    assert list(by_category) == ["tee", "gear"]
    overall, curve = by_category["gear"].axes[0].lines
    np.testing.assert_allclose(curve.get_ydata(), 60)
    np.testing.assert_allclose(overall.get_ydata(), 75)
    np.testing.assert_allclose(curve.get_xdata(), np.arange(101), atol=1e-9)
    band = by_category["gear"].axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (0, 100)  # 60 ± 254, cut
    assert figures.precision_recall({}) == {}
