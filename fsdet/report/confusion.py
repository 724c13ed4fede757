"""Confusion matrix of a report: categories grouped to some thirty lines, cells for the page, sentences."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fsdet.evaluation.matching import merged
from fsdet.report.drawing import NOVEL
from fsdet.report.svg import shorten

MOST = 32  # categories that have a line of their own
_FULL_COLOUR = 60  # percent of colour of a cell that has its whole row: text stays readable
_MOST_PAIRS = 3  # pairs of categories in the sentences


class CategoryGroups(NamedTuple):
    """Lines of the matrix: some categories, and the others merged."""

    titles: list[str]  # [M]
    group: np.ndarray  # [N] 1..M: the line of each label


class Cell(NamedTuple):
    """A cell of the matrix."""

    text: str  # the count of boxes
    kind: str  # CSS class: "right" or "mistake"
    depth: int  # percent of colour
    hint: str  # shown on hovering


class ConfusionRow(NamedTuple):
    """A row of the matrix: predictions for the boxes of a category."""

    title: str
    cells: list[Cell | None]  # None: no box
    total: str


class ConfusionMatrix(NamedTuple):
    """Rows: ground truth; columns: predicted categories, then "missed"."""

    columns: list[str]
    rows: list[ConfusionRow]


def category_groups(
    counts: np.ndarray, names: Sequence[str], novel: Collection[str], most: int = MOST
) -> CategoryGroups:
    """Novel categories first, then the base categories most confused with them; the others merged.

    Args:
        counts: [2 + N, 1 + N], see `fsdet.evaluation.matching.confusion`.
        names: [N].
        novel: the novel ones among `names`.
        most: number of categories with a line of their own.
    """
    is_novel = np.array([name in novel for name in names], bool)
    among = counts[1:-1, 1:]
    boxes = counts[1:-1].sum(axis=1)
    confused = among[:, is_novel].sum(axis=1) + among[is_novel].sum(axis=0)
    # Novel categories by their boxes, then base categories by their confusions with novel ones.
    rank = np.lexsort((-np.where(is_novel, boxes, confused), ~is_novel))
    single = np.sort(rank[:most])
    single = np.concatenate([single[is_novel[single]], single[~is_novel[single]]])
    group = np.zeros(len(names), np.int64)
    group[single] = np.arange(1, len(single) + 1)
    titles = [NOVEL * bool(is_novel[n]) + shorten(names[n], 18) for n in single]
    for others, kind in ((is_novel & (group == 0), "novel"), (~is_novel & (group == 0), "base")):
        if others.any():
            titles.append(f"{others.sum()} other {kind}")
            group[others] = len(titles)
    return CategoryGroups(titles, group)


def matrix(counts: np.ndarray, names: Sequence[str], novel: Collection[str]) -> ConfusionMatrix:
    """The confusion matrix of grouped categories; the last two rows count unmatched detections."""
    titles, group = category_groups(counts, names, novel)
    grouped, size = merged(counts, group), len(titles)
    columns, order = [*titles, "missed"], [*range(1, size + 1), 0]
    rows = [
        _row(title, columns, grouped[row, order].tolist(), row - 1)
        for row, title in enumerate(titles, 1)
    ]
    for title, row in (("already matched", size + 1), ("background", 0)):
        rows.append(_row(title, columns, grouped[row, order].tolist(), None))
    return ConfusionMatrix(columns, rows)


def sentences(counts: np.ndarray, names: Sequence[str], novel: Collection[str]) -> Iterator[str]:
    """The shares of novel boxes found, confused and missed, and the most frequent confusions."""
    is_novel = np.array([name in novel for name in names], bool)
    among = counts[1:-1, 1:]
    boxes, missed = int(counts[1:-1][is_novel].sum()), int(counts[1:-1, 0][is_novel].sum())
    right = int(np.diag(among)[is_novel].sum())
    if not boxes:
        return
    share = [f"{100 * part / boxes:.0f}%" for part in (right, boxes - right - missed, missed)]
    yield (
        f"Of {boxes} boxes of novel categories {share[0]} were found, {share[1]} confused with another"
        f" category and {share[2]} missed."
    )
    is_other = ~np.eye(len(names), dtype=bool)
    wrong = np.where(is_novel[:, None] | is_novel, among, 0) * is_other
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
    pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
    confusions = [f"{names[t]} as {names[p]} ({wrong[t, p]})" for t, p in pairs if wrong[t, p]]
    if confusions:
        yield f"Most frequent confusions: {', '.join(confusions)}."


def _row(
    title: str, columns: Sequence[str], counts: Sequence[int], diagonal: int | None
) -> ConfusionRow:
    """A row; `diagonal` is the index of its own category, if it has one."""
    total = sum(counts)
    cells: list[Cell | None] = []
    for index, (column, count) in enumerate(zip(columns, counts, strict=True)):
        if not count:
            cells.append(None)
            continue
        share = count / total
        kind = "right" if index == diagonal else "mistake"
        hint = f"{title} → {column}: {count} of {total}, {100 * share:.0f}%"
        depth = round(_FULL_COLOUR * share**0.5)  # the root keeps small shares visible
        cells.append(Cell(_short(count), kind, depth, hint))
    return ConfusionRow(title, cells, _short(total))


def _short(count: int) -> str:
    """A count in at most four characters."""
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"
