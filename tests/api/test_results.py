"""Detections as one object, and the arguments that choose which of them are returned."""

import json
from io import BytesIO

import numpy as np
import pandas
import pytest
import torch
from helpers.detectors import INKS, knowing, square
from PIL import Image

import fsdet
from fsdet import InputError
from fsdet.api.detector import BATCH
from fsdet.api.results import Detection, Detections

IMAGE = square("red", 5)[0]
DETECTIONS = Detections(
    [Detection((1.0, 2.0, 30.0, 40.0), "blue", 0.75), Detection((5.0, 6.0, 7.0, 9.0), "red", 0.5)],
    IMAGE,
    tuple(INKS),
)


@pytest.fixture(scope="module")
def detector():
    return knowing("prototype")


def test_a_result_is_a_list_of_tuples_with_arrays(detector):
    found = detector.predict(IMAGE, 0.01)
    assert isinstance(found, list) and len(found) > 3
    assert found == [*found] and all(isinstance(one, Detection) for one in found)
    np.testing.assert_array_equal(found.boxes, np.array([one.box for one in found], np.float32))
    assert found.scores.tolist() == [np.float32(one.score) for one in found]
    assert found.names == [one.name for one in found]
    none = Detections([])
    assert none.boxes.shape == (0, 4) and none.scores.shape == (0,) and none.names == []


def test_conversions_keep_every_number():
    assert json.loads(DETECTIONS.to_json()) == [
        {"box": [1.0, 2.0, 30.0, 40.0], "name": "blue", "score": 0.75},
        {"box": [5.0, 6.0, 7.0, 9.0], "name": "red", "score": 0.5},
    ]
    converted = DETECTIONS.to_supervision()
    np.testing.assert_array_equal(converted.xyxy, DETECTIONS.boxes)
    assert converted.class_id.tolist() == [1, 0]  # index in the detector's names
    assert converted.data["class_name"].tolist() == ["blue", "red"]
    table = DETECTIONS.to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert table.to_dict("list") == {
        "x1": [1.0, 5.0], "y1": [2.0, 6.0], "x2": [30.0, 7.0], "y2": [40.0, 9.0],
        "name": ["blue", "red"], "score": [0.75, 0.5],
    }  # fmt: skip


def test_the_picture_shows_boxes_over_the_image():
    picture = np.asarray(DETECTIONS.plot())
    assert picture.shape == IMAGE.shape and (picture != IMAGE).any()
    assert (picture[60:, 60:] == IMAGE[60:, 60:]).all()  # no box there
    shown = np.asarray(Image.open(BytesIO(DETECTIONS._repr_png_())))
    np.testing.assert_array_equal(shown, picture)
    without = Detections(DETECTIONS)
    assert without._repr_png_() is None
    with pytest.raises(InputError, match="have no image"):
        without.plot()


def test_images_of_a_generator_are_read_in_batches(detector):
    given = []

    def images():
        for n in range(10):
            given.append(n)
            yield square("red", n)[0]

    each = detector.predict_each(images(), 0.1)
    found = [next(each)]
    assert given == list(range(BATCH))
    found += each
    assert given == list(range(10)) and len(found) == 10
    with pytest.raises(InputError, match=r"score in 0\.\.1"):  # before the first image is asked for
        detector.predict_each(images(), 7)
    assert found == detector.predict_many([square("red", n)[0] for n in range(10)], 0.1)


def test_arguments_choose_among_all_detections(detector):
    every = detector.predict(IMAGE, 0.01)
    assert set(every.names) == set(INKS)
    assert detector.predict(IMAGE, 0.01, max_detections=2) == every[:2]
    red = [one for one in every if one.name == "red"]
    assert detector.predict(IMAGE, 0.01, names=["red"]) == red
    limits = {"red": 0.01, "blue": 0.9}
    expected = [one for one in every if one.score >= limits[one.name]]
    assert detector.predict(IMAGE, limits) == expected
    (candidates,) = detector.candidates([IMAGE])
    assert detector.detect(candidates, limits, ["red"], 1) == red[:1]
    # A category without a threshold of its own has 0.5.
    half = [one for one in every if one.score >= (0.01 if one.name == "red" else 0.5)]
    assert detector.predict(IMAGE, {"red": 0.01}) == half


def test_thresholds_are_saved_and_used_by_default(detector, tmp_path):
    copied = detector.copy()
    copied.thresholds = {"red": 0.02, "blue": 1.0}
    loaded = fsdet.load(copied.save(tmp_path))
    assert loaded.thresholds == copied.thresholds and detector.thresholds == {}
    expected = [o for o in copied.predict(IMAGE, 0.01) if o.score >= copied.thresholds[o.name]]
    assert loaded.predict(IMAGE) == expected and expected
    loaded.forget("blue")
    assert loaded.thresholds == {"red": 0.02} and set(loaded.predict(IMAGE).names) == {"red"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": "0.5"}, "score in 0..1, got '0.5'"),
        ({"threshold": {"red": 2}}, "score in 0..1, got 2"),
        ({"threshold": {"rde": 0.2}}, "no category 'rde'; did you mean 'red'"),
        ({"names": ["rde"]}, "no category 'rde'; did you mean 'red'"),
        ({"names": "red"}, "expected a list of categories, got 'red'"),
        ({"names": []}, "expected a list of categories"),
        ({"max_detections": -1}, "whole number from 0 on, got -1"),
        ({"max_detections": 1.5}, "whole number from 0 on, got 1.5"),
    ],
)
def test_wrong_arguments_are_one_line(detector, arguments, message):
    with pytest.raises(InputError, match=message):
        detector.predict(IMAGE, **arguments)


def test_another_device_gets_a_detector_of_its_own(detector):
    moved = detector.to("meta")
    assert moved.device == torch.device("meta") and detector.device == torch.device("cpu")
    assert moved.names == detector.names
    same = detector.to("cpu")
    assert same.model is not detector.model and same.predict(IMAGE, 0.1) == detector.predict(
        IMAGE, 0.1
    )
