"""Saved detectors: a file written by an earlier version loads and predicts as it did then."""

import numpy as np
import pytest
from helpers.detectors import square
from helpers.paths import ROOT

import fsdet

FILE = ROOT / "tests" / "fixtures" / "detector-0.1.safetensors"


@pytest.fixture
def detector():
    return fsdet.load(FILE)


def test_a_detector_saved_by_an_earlier_version_predicts_as_before(detector):
    assert detector.names == ("red",)
    image, _ = square("red", 99)
    (detection,) = detector.predict(image, 0.3)
    assert detection.name == "red"
    expected = (60.320663, 39.077465, 90.157181, 68.941147)
    np.testing.assert_allclose(detection.box, expected, atol=1e-3)
    assert detection.score == pytest.approx(0.99999988, abs=1e-5)


def test_a_detector_saved_by_an_earlier_version_learns_and_is_saved_again(detector, tmp_path):
    image, box = square("blue", 5)
    detector.register("blue", [image], [box])
    again = fsdet.load(detector.save(tmp_path))
    assert again.names == ("red", "blue")
    assert again.predict(image, 0.1) == detector.predict(image, 0.1)
