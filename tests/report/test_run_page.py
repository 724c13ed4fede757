"""Page of a run: self-contained, escaped and complete."""

import re
from html import escape

import numpy as np
import pytest
from helpers.report_values import Page, detection_results, records_of_training, row, rows_of_a_run

from fsdet.report.run_page import write
from fsdet.report.sentences import headline
from fsdet.report.tables import text

DETECTION_SECTIONS = (
    "Precision and recall",
    "Confusion matrix",
    "Shots and detections",
    "Best and worst images",
)


@pytest.fixture(scope="module")
def rows():
    return rows_of_a_run()


@pytest.mark.parametrize(
    "rows", [[], [row("maml", 0, 0, None)], [row("maml", 5, 0, None, adapt_seconds=None)]]
)
def test_report_of_a_run_without_scores(rows, tmp_path):
    assert "nothing was scored" in text(rows)
    assert write(tmp_path, rows, [], [], "", {}).is_file()


def test_report_of_one_seed_of_one_method_has_no_nan(tmp_path):
    rows = [row("prototype", 1, 0, 70.0)]
    assert "70.0" in text(rows) and "nan" not in text(rows)
    page = write(tmp_path, rows, [], [], "", {}).read_text()
    assert "70.0" in page and "nan" not in page.lower()


@pytest.mark.filterwarnings("error")
def test_page_is_self_contained_and_escapes_names_of_users(rows, tmp_path):
    hostile = '<script>alert("x")</script>$\\frac$&\x00|猫'
    named = [
        dict(r, method=hostile, data=hostile) if r["method"] == "prototype" else r for r in rows
    ]
    named = [
        r | {"per_class": {hostile: 50.0, **r["per_class"]}} if "per_class" in r else r
        for r in named
    ]
    losses = [{"step": n, "stage": hostile, hostile: 1.0 + n} for n in range(5)]
    image = np.zeros((40, 1500, 3), np.uint8)
    run = tmp_path / "my run <b>"
    path = write(
        run, named, losses, [(hostile, image)], hostile, {hostile: hostile, "command": hostile}
    )
    page = Page()
    html = path.read_text(encoding="utf-8")
    page.feed(html)
    assert "script" not in page.tags and page.tags.count("img") == 1 and page.tags.count("svg") == 5
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert not re.search(r"https?:|@import|url\((?!#)", html)
    assert "".join(page.text).count('<script>alert("x")') >= 5
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids)) and set(re.findall(r"url\(#([^)]*)\)", html)) <= set(ids)
    assert "<script" not in (run / "report.md").read_text(encoding="utf-8").split("```")[0]


def test_page_has_facts_configuration_and_headline(rows, tmp_path):
    facts = {"torch": "2.14.1", "hardware": "2 CPU cores", "base training": "131 s"}
    config = "run: runs/x\nseed: 0\n"
    path = write(tmp_path / "x", rows, records_of_training(), [], config, facts)
    page = path.read_text(encoding="utf-8")
    for shown in (*facts.values(), config, "x/config.yaml", *headline(rows), "86.4 before"):
        assert escape(shown) in page
    assert "x/config.yaml" in (path.parent / "report.md").read_text(encoding="utf-8")
    assert page.count("<svg") == 6 and len(page) < 500_000


def test_failed_write_leaves_the_old_report(rows, tmp_path, monkeypatch):
    path = write(tmp_path, rows, [], [], "first", {})
    before = path.read_text()

    def power_cut(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", power_cut)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, rows, [], [], "second", {})
    assert path.read_text() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.md"]


@pytest.mark.filterwarnings("error")
def test_page_shows_detections_and_escapes_category_names(rows, tmp_path):
    hostile = '<script>alert("x")</script>$\\frac$&\x00|猫'
    detections = detection_results(("arrow", hostile, "猫", "狗"), (hostile, "猫", "狗"))
    path = write(tmp_path, rows, [], [], "", {}, detections=detections)
    page, html = Page(), path.read_text(encoding="utf-8")
    page.feed(html)
    assert "script" not in page.tags and page.tags.count("img") == 2 + 3 * 4
    for title in DETECTION_SECTIONS:
        assert f"<h2>{title}</h2>" in html
    text = " ".join(page.text)
    assert "MAML at 5 shots, seed 0" in text and "64.4 ± 0.0" in text
    assert "✓ 0.91" in text and "✗ 0.90 arrow" in text and "best.jpg" in text
    assert "Of 30 boxes of novel categories 80% were found, 0% confused with another" in text
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))


def test_sections_without_content_are_left_out(rows, tmp_path):
    detections = detection_results(
        precision={}, counts=np.zeros((9, 8), int), best=[], worst=[], galleries={}
    )
    page = write(tmp_path, rows, [], [], "", {}, detections=detections).read_text()
    assert not [title for title in DETECTION_SECTIONS if f"<h2>{title}" in page]
