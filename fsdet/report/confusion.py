"""What was taken for what, as a table of the page that can be read with some thirty categories."""

from collections.abc import Collection, Iterator, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from fsdet.evaluation.matching import merged
from fsdet.report.drawing import NOVEL
from fsdet.report.svg import one_line

MOST = 32  # categories that have a line of their own
_DEEPEST = 60  # percent of colour where all of a row is in one cell: ink is still read on it
_SAID = 3  # pairs that are told in words


class Lines(NamedTuple):
    """The lines of the table: some categories, and the rest of them together."""

    titles: list[str]  # [M]
    of: np.ndarray  # [N] 1..M: the line of each label


def lines(
    counts: np.ndarray, names: Sequence[str], novel: Collection[str], most: int = MOST
) -> Lines:
    """Novel categories first; of many the base ones that have to do with novel ones, others together.

    Args:
        counts: [2 + N, 1 + N], as `fsdet.engine.matches.confusion` makes it.
        names: [N].
        novel: those of them that are novel.
        most: how many have a line of their own.
    """
    is_novel = np.array([name in novel for name in names], bool)
    among = counts[1:-1, 1:]
    boxes = counts[1:-1].sum(axis=1)
    confused = among[:, is_novel].sum(axis=1) + among[is_novel].sum(axis=0)
    # Novel ones by their boxes, then base ones by their confusions with novel ones.
    rank = np.lexsort((-np.where(is_novel, boxes, confused), ~is_novel))
    own = np.sort(rank[:most])
    own = np.concatenate([own[is_novel[own]], own[~is_novel[own]]])
    of = np.zeros(len(names), np.int64)
    of[own] = np.arange(1, len(own) + 1)
    titles = [NOVEL * bool(is_novel[n]) + one_line(names[n], 18) for n in own]
    for rest, kind in ((is_novel & (of == 0), "novel"), (~is_novel & (of == 0), "base")):
        if rest.any():
            titles.append(f"{rest.sum()} other {kind}")
            of[rest] = len(titles)
    return Lines(titles, of)


def table(counts: np.ndarray, names: Sequence[str], novel: Collection[str]) -> str:
    """The table: a row for what is there, a column for what it was taken for."""
    titles, of = lines(counts, names, novel)
    shown = merged(counts, of)
    own = range(1, len(titles) + 1)
    rows, columns = [*own, len(titles) + 1, 0], [*own, 0]
    across, down = [*titles, "missed"], [*titles, "found already", "background"]
    head = "".join(f"<th scope=col><span>{escape(title)}</span></th>" for title in [*across, "all"])
    body = "".join(
        _line(title, across, shown[row, columns].tolist(), row - 1 if row in own else None)
        for title, row in zip(down, rows, strict=True)
    )
    return (
        f'<div class="wide"><table class="confusion"><thead><tr><th>is ↓ &nbsp;taken for →</th>{head}'
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def words(counts: np.ndarray, names: Sequence[str], novel: Collection[str]) -> Iterator[str]:
    """What became of the novel boxes, and which categories are mistaken most, in sentences."""
    mine = np.array([name in novel for name in names], bool)
    among = counts[1:-1, 1:]
    boxes, missed = int(counts[1:-1][mine].sum()), int(counts[1:-1, 0][mine].sum())
    right = int(np.diag(among)[mine].sum())
    if not boxes:
        return
    share = [f"{100 * part / boxes:.0f}%" for part in (right, boxes - right - missed, missed)]
    yield (
        f"Of {boxes} boxes of novel categories {share[0]} were found, {share[1]} taken for another"
        f" category and {share[2]} missed."
    )
    wrong = np.where(mine[:, None] | mine, among, 0) * ~np.eye(len(names), dtype=bool)
    first = np.argsort(-wrong, axis=None, kind="stable")[:_SAID]
    pairs = list(zip(*np.unravel_index(first, wrong.shape), strict=True))
    told = [f"{names[t]} for {names[p]} ({wrong[t, p]})" for t, p in pairs if wrong[t, p]]
    if told:
        yield f"Most often taken for another: {', '.join(told)}."


def _line(title: str, across: Sequence[str], counts: Sequence[int], right: int | None) -> str:
    """A row; `right` is the place on the diagonal, if the row has one."""
    total, cells = sum(counts), []
    for place, (said, count) in enumerate(zip(across, counts, strict=True)):
        if not count:
            cells.append("<td></td>")
            continue
        share = count / total
        kind = "right" if place == right else "mistake"
        hint = escape(f"{title} → {said}: {count} of {total}, {100 * share:.0f}%", quote=True)
        depth = f"--share:{_DEEPEST * share**0.5:.0f}%"  # something is seen of few, too
        cells.append(f'<td class={kind} style="{depth}" title="{hint}">{_short(count)}</td>')
    head = f"<th scope=row>{escape(title)}</th>"
    return f"<tr>{head}{''.join(cells)}<td class=all>{_short(total)}</td></tr>"


def _short(count: int) -> str:
    """At most four letters."""
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"
