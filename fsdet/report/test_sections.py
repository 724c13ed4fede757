"""What one method made of the test images, and the sections of the page that show it.

A section is an iterator of HTML, as in `fsdet.report.sections`. Everything that is not written in
this file is escaped.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np

from fsdet.evaluation.intervals import mean_interval
from fsdet.report import confusion, figures
from fsdet.report.drawing import NOVEL
from fsdet.report.sections import framed_pictures, jpeg, panels
from fsdet.report.sentences import counted
from fsdet.report.statistics import Interval, known_as
from fsdet.report.svg import one_line, svg

Picture = tuple[str, np.ndarray]  # a caption, and uint8 [H, W, 3] RGB


class Find(NamedTuple):
    """A detection, cut out."""

    picture: np.ndarray  # uint8 [S, S, 3] RGB
    score: float
    wrong: str  # what it is instead; "" of a right one


class Gallery(NamedTuple):
    """Of a category: what it was learned from and what was found, all cut out, best first."""

    shots: Sequence[np.ndarray]  # uint8 [S, S, 3] RGB each
    found: Sequence[Find]
    mistakes: Sequence[Find]  # the best wrong ones that are not in `found`


@dataclass(frozen=True, eq=False)
class Tested:
    """A method's detections on the test images at one shot count, base and novel categories together."""

    method: str
    shots: int
    seed: int  # that all but `precision` is of
    threshold: float  # a detection below is none, in `counts`, `best` and `worst`
    names: Sequence[str]  # [N] in the order of labels
    novel: Sequence[str]
    precision: Mapping[str, np.ndarray]  # novel category -> [seeds, 101], see `figures`
    counts: np.ndarray  # [2 + N, 1 + N] int64, see `fsdet.engine.matches.confusion`
    best: Sequence[Picture]  # as `overlays.beside` draws them
    worst: Sequence[Picture]
    galleries: Mapping[str, Gallery]  # of novel categories

    @property
    def about(self) -> str:
        """Whose detections these are."""
        return f"{known_as(self.method)} at {counted(self.shots)}, seed {self.seed}"


def pictured(tested: Tested) -> dict[str, Iterator[str]]:
    """Sections by their titles."""
    return {
        "Precision and recall": precision_recall(tested),
        "What is taken for what": taken_for(tested),
        "Shots and what they found": galleries(tested),
        "Best and worst images": extremes(tested),
    }


def precision_recall(tested: Tested) -> Iterator[str]:
    """A small panel for each novel category."""
    drawn = figures.precision_recall(tested.precision)
    seeds = max((len(lines) for lines in tested.precision.values()), default=0)
    if not drawn:
        return
    over = f"the mean over {seeds} seeds with its 95% interval" if seeds > 1 else "of one seed"
    yield (
        f'<p class="note">{escape(known_as(tested.method))} at {counted(tested.shots)}, IoU 0.5;'
        f" the line is {over}, grey the mean of all novel categories. Read from the left: with a"
        " falling threshold more of the boxes are found (recall), and fewer of the detections are"
        " right (precision). Where a line meets the floor, the rest of the boxes is never found;"
        " the area below it is AP50.</p>"
    )
    made = []
    for number, (name, figure) in enumerate(drawn.items(), 1):
        area = Interval(*mean_interval(100 * tested.precision[name].mean(axis=1)))
        title = f"{NOVEL}{one_line(name, 18)}\nAP50 {area.show()}"
        made.append((svg(figure, f"precision against recall, {number}: {name}"), title))
    yield from panels(made, "small")


def taken_for(tested: Tested) -> Iterator[str]:
    """The confusion matrix."""
    if not tested.counts.any():
        return
    told = (tested.counts, tested.names, tested.novel)
    yield "".join(f"<p>{escape(sentence)}</p>" for sentence in confusion.words(*told))
    yield (
        f'<p class="note">{escape(tested.about)}; detections with a score of {tested.threshold:g} or'
        " more, IoU 0.5. A row is what is there, a column what it was taken for; the number counts"
        " boxes, and the deeper the colour, the larger its share of the row: blue right, orange"
        " wrong. A box of which its own category was said is found, whatever else was said of it."
        " The last two rows count detections: those on boxes that are found or taken already, and"
        " those that meet no box.</p>"
    )
    if len(tested.names) > confusion.MOST:
        yield (
            '<p class="note">Base categories that have least to do with the novel ones are put'
            " together; what they are taken for among each other is blue, too.</p>"
        )
    yield confusion.table(*told)


def galleries(tested: Tested) -> Iterator[str]:
    """Of each novel category its shots, and beside them what they found."""
    if not tested.galleries:
        return
    yield (
        f'<p class="note">{escape(tested.about)}. Left the boxes that a category was learned from,'
        " beside them the detections it was surest of in all test images, with their scores:"
        " ✓ right; ✗ wrong, and what is there instead. Then the surest of the other mistakes.</p>"
    )
    for name, gallery in tested.galleries.items():
        yield f'<h3>{NOVEL}{escape(one_line(name, 40))}</h3><div class="gallery">'
        shots = "".join(
            _crop(picture, f"shot {n} of {name}", "", "shot")
            for n, picture in enumerate(gallery.shots, 1)
        )
        yield f"<div>{_row(counted(len(gallery.shots)), shots)}</div><div>"
        for title, finds in (("surest", gallery.found), ("other mistakes", gallery.mistakes)):
            yield _row(title, "".join(_found(find, name) for find in finds))
        yield "</div></div>"


def extremes(tested: Tested) -> Iterator[str]:
    """The images that went best and worst, the truth beside what was found."""
    if not tested.best and not tested.worst:
        return
    yield (
        f'<p class="note">{escape(tested.about)}; by the F1 score of novel categories in the image'
        f" (score {tested.threshold:g} or more, IoU 0.5): best those without a mistake and with the"
        " most boxes found, worst those where nothing is right and the most is missed or wrong."
        " Left the truth, right what was found; ★ novel categories.</p>"
    )
    for title, pictures in (("Best", tested.best), ("Worst", tested.worst)):
        if pictures:
            yield f"<h3>{title}</h3>{framed_pictures(pictures)}"


def _row(title: str, crops: str) -> str:
    return f'<p class="note">{title}</p><div class="crops">{crops}</div>' if crops else ""


def _found(find: Find, name: str) -> str:
    said = f"✗ {find.score:.2f} {one_line(find.wrong, 18)}" if find.wrong else f"✓ {find.score:.2f}"
    return _crop(find.picture, f"{name}, {said}", said, "wrong" if find.wrong else "right")


def _crop(picture: np.ndarray, alt: str, caption: str, kind: str) -> str:
    return (
        f'<figure class="{kind}"><img alt="{escape(alt, quote=True)}" src="{jpeg(picture)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
