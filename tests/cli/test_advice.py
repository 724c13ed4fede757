"""Advice to users whose detector knows drawings only."""

import io
import sys

import pytest
from helpers.detectors import empty, square, trained

import fsdet
from fsdet.cli.advice import PHOTOGRAPHS, advised, of_drawings


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


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("typed", "fetched"), [("y\n", True), ("\n", False), ("", False)])
def test_a_user_at_a_terminal_takes_the_other_detector_by_a_key(
    typed, fetched, monkeypatch, capsys
):
    detector, other = registered("gear"), empty("prototype")
    detector.n_base = 1
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(
        fsdet, "load", lambda name, device: {(PHOTOGRAPHS, "cpu"): other}[name, device]
    )
    assert advised(detector, "cpu") is (other if fetched else detector)
    assert "Use it now? [y/N]" in capsys.readouterr().err


def test_a_script_is_not_asked(capsys):
    detector = registered("gear")
    detector.n_base = 1
    assert advised(detector, "cpu") is detector
    assert PHOTOGRAPHS in capsys.readouterr().err
