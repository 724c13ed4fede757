"""Advice to users whose detector knows drawings only."""

import pytest
from helpers.detectors import empty, square, trained

from fsdet.cli.advice import PHOTOGRAPHS, of_drawings


def registered(*names):
    detector = trained("prototype")
    for n, name in enumerate(names):
        image, box = square("red", n)
        detector.register(name, [image], [box])
    return detector


@pytest.mark.parametrize(
    ("names", "n_base", "told"),
    [
        (("gear", "blob", "kangaroo"), 2, True),
        (("gear", "kangaroo"), 2, False),
        (("gear",), 0, False),
    ],
)
def test_base_categories_decide(names, n_base, told):
    detector = registered(*names)
    detector.n_base = n_base
    assert (PHOTOGRAPHS in of_drawings(detector)) == told


def test_a_detector_without_categories_needs_no_advice():
    assert of_drawings(empty("prototype")) == ""
