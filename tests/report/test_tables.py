"""Tables and sentences of a report."""

import pytest
from helpers.report_values import row, rows_of_a_run

from fsdet.report import figures
from fsdet.report.rows import DATASET_METRICS
from fsdet.report.run_page import write
from fsdet.report.sentences import headline
from fsdet.report.tables import markdown, text


@pytest.fixture(scope="module")
def rows():
    return rows_of_a_run()


@pytest.mark.parametrize(
    ("numbers", "titles"),
    [
        ({}, []),
        ({"nAP50_voc07": 61.4}, ["nAP50 by the VOC 2007 protocol (11-point interpolation)"]),
        ({"APr": 61.4, "APf": None}, ["AP of rare categories (LVIS)"]),
    ],
)
def test_metrics_of_the_data_sets_own_evaluation_have_tables(numbers, titles, tmp_path):
    rows = [row("maml", 1, seed, 50.0, "all", nAP=30.0, **numbers) for seed in range(3)]
    tables = text(rows)
    assert max(map(len, tables.splitlines())) <= 100
    for title in DATASET_METRICS.values():
        assert (title in tables) == (title in titles)
    assert ("61.4 ± 0.0" in tables) == bool(titles)
    assert "nAP, base and novel" in tables and "30.0 ± 0.0" in tables
    page = write(tmp_path, rows, [], [], "", {}).read_text()
    assert [name for name in DATASET_METRICS if f">{name}<" in page] == [
        name for name, value in numbers.items() if value
    ]


@pytest.mark.parametrize("counts", [(1, 3, 5, 10), (1, 2, 3, 5, 10), (1, 2, 3, 4, 5, 10, 20, 30)])
def test_text_fits_a_terminal_and_has_every_number(counts):
    name = "a method with a name that is much too long"
    rows = [
        row(method, shots, seed, 70 + shots + seed + 10 * (method == name), bAP50=80.0)
        for method in (name, "cosine")
        for shots in counts
        for seed in (0, 1)
    ]
    tables = text(rows)
    assert max(map(len, tables.splitlines())) <= 100
    for shots in counts:
        assert f"{80.5 + shots:.1f} ± 6.4" in tables and f" {shots} shot" in tables
    assert "+10.0 ± 0.0" in tables and "better" in tables and "2 seeds" in tables


def test_protocols_with_equal_numbers_are_shown_once(rows):
    novel_only = [row for row in rows if row["protocol"] == "novel"]
    same = [row | {"protocol": p} for row in novel_only for p in ("novel", "all")]
    once, twice = text(same), text(rows)
    assert once.count("nAP50, ") == 1 and twice.count("nAP50, ") == 2
    assert "base and novel categories together (the same with novel categories only)" in once
    assert len([s for s in headline(same) if "nAP50" in s]) == 1
    assert list(figures.shot_curves(same)) == ["all"]
    assert list(figures.shot_curves(rows)) == ["novel", "all"]


def test_tables_and_headline_of_a_run(rows):
    tables = text(rows)
    assert (
        "novel categories only" in tables
        and "(before: 86.4, MAML)" in tables
        and "TFA (cosine)" in tables
    )
    novel, generalised, base = headline(rows)
    assert "MAML reaches an nAP50 of" in novel and "at 5 shots" in novel and "above TFA" in novel
    assert "base and novel categories together" in generalised
    assert base.startswith("Base categories have a bAP50 of 86.4 before")
    for table in markdown(rows).split("\n\n")[1:-1:2]:
        assert len({line.count("|") for line in table.splitlines()}) == 1
