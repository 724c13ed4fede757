"""Confusion matrix of a report."""

import numpy as np

from fsdet.report import confusion


def test_groups_keep_novel_categories_and_base_ones_confused_with_them():
    names = [f"base{n}" for n in range(40)] + ["new1", "new2"]
    counts = np.zeros((44, 43), int)
    counts[np.arange(1, 43), np.arange(1, 43)] = 5
    counts[1 + 7, 1 + 41] = 1  # base7 detected as new2
    counts[1 + 40, 1 + 30] = 2  # new1 detected as base30
    counts[1 + 3, 1 + 4] = 9  # among base categories: does not count
    titles, group = confusion.category_groups(counts, names, {"new1", "new2"}, most=4)
    assert titles == ["★ new1", "★ new2", "base7", "base30", "38 other base"]
    assert (
        group[[40, 41, 7, 30]].tolist() == [1, 2, 3, 4]
        and (np.delete(group, [40, 41, 7, 30]) == 5).all()
    )
    titles, group = confusion.category_groups(counts, names, {*names[:3], "new1"}, most=2)
    assert titles == ["★ base0", "★ new1", "2 other novel", "38 other base"]
    titles, group = confusion.category_groups(counts, names, {"new1", "new2"}, most=42)
    assert titles == ["★ new1", "★ new2", *names[:40]] and sorted(group) == list(range(1, 43))


def test_matrix_has_every_count_and_share():
    counts = np.array([[0, 3, 0], [1, 6, 3], [20_000, 0, 5], [0, 0, 2]])
    names = ("gear", "a <b>")
    columns, rows = confusion.matrix(counts, names, {"gear"})
    assert columns == ["★ gear", "a <b>", "missed"]
    shown = [[row.title, *(cell and cell.text for cell in row.cells), row.total] for row in rows]
    assert shown == [
        ["★ gear", "6", "3", "1", "10"],
        ["a <b>", None, "5", "20k", "20k"],
        ["already matched", None, "2", None, "2"],
        ["background", "3", None, None, "3"],
    ]
    assert rows[0].cells[1].hint == "★ gear → a <b>: 3 of 10, 30%"
    kinds = [cell.kind for row in rows for cell in row.cells if cell]
    assert kinds == ["right", "mistake", "mistake", "right", "mistake", "mistake", "mistake"]
    shares, most = confusion.sentences(counts, names, {"gear"})
    assert shares.startswith("Of 10 boxes of novel categories 60% were found, 30% confused with")
    assert most == "Most frequent confusions: gear as a <b> (3)."
    assert list(confusion.sentences(counts, names, ())) == []
