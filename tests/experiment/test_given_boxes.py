"""Experiments on boxes of another detector: no base training, boxes as they are given."""

import json

import numpy as np
import pytest
from helpers import tiny

import fsdet
from fsdet import config as cfg
from fsdet.api.load import on_device, read
from fsdet.data.open import open_data
from fsdet.data.shapes.dataset import write_shapes
from fsdet.errors import InputError
from fsdet.experiment import run, transfer
from fsdet.experiment.base_run import prepare
from fsdet.experiment.few_shot_data import open_problem

DESCRIPTOR = "detector.descriptor={name: timm/tf_efficientnet_lite0, weights: pip, levels: [1]}"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_shapes(folder, train=40, test=8)
    return folder


@pytest.fixture(scope="module")
def boxes(data):
    """The annotated boxes of all images, as another detector might find them."""
    results = []
    for subset in ("train", "test"):
        images = open_data(data, subset)
        for i in range(len(images)):
            for x1, y1, x2, y2 in images.boxes[images.rows(i)].tolist():
                box = [x1, y1, x2 - x1, y2 - y1]
                results.append({"file_name": images.paths[i], "bbox": box, "score": 0.5})
    file = data / "boxes.json"
    file.write_text(json.dumps(results))
    return file


def settings(data, boxes, folder, *words):
    return tiny.config(
        f"data.root={data}", f"data.proposals={boxes}", f"run={folder}", DESCRIPTOR,
        "detector.boxes=given", "detector.width=48", "head.name=prototype", "head.args={}",
        "baselines=[]", "evaluate.shots=[2]", "evaluate.seeds=1", *words,
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(data, boxes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, run(settings(data, boxes, folder))


def test_boxes_stay_as_they_are_given(finished):
    folder, rows = finished
    row = next(row for row in rows if row["protocol"] == "novel" and row["shots"] == 2)
    assert row["nAP50"] == pytest.approx(row["nAP75"]) and row["nAP50"] > 0.2
    assert not (folder / "base.state").exists()
    with pytest.raises(InputError, match="recognises boxes of another detector"):
        fsdet.load(folder)
    detector = fsdet.load(folder, proposals=lambda image: [[3, 4, 30, 40]])
    assert len(detector.names) == 15
    assert all(
        d.box == pytest.approx((3, 4, 30, 40))
        for d in detector.predict(open_data("shapes", "test").image(0), 0)
    )


def test_a_folder_is_bound_to_the_boxes(finished, data, boxes):
    folder, rows = finished
    again = run(settings(data, boxes, folder))
    assert [row["AP50"] for row in again] == [row["AP50"] for row in rows]
    other = data / "other.json"
    results = json.loads(boxes.read_text())
    results[0]["bbox"][2] += 1
    other.write_text(json.dumps(results))
    with pytest.raises(InputError, match=r"images or boxes of 'train' have changed"):
        run(settings(data, other, folder))


def test_a_trained_detector_takes_given_boxes_in_the_place_of_its_own(data, boxes, tmp_path):
    words = f"data.root={data}", f"data.proposals={boxes}", f"run={tmp_path}"
    config = tiny.config(
        *words, "train.steps=1", "head.name=prototype", "head.args={}", "baselines=[]"
    )
    problem = open_problem(config.data)
    base = prepare(config, problem)
    (candidates,) = base.features.test
    found, given = (sorted(boxes.tolist()) for boxes in (candidates.boxes, problem.test.boxes))
    np.testing.assert_allclose(found, given, atol=1e-3)


def test_a_detector_of_given_boxes_is_transferred(data, boxes, tmp_path):
    detector = fsdet.from_boxes(
        lambda image: [], "timm/tf_efficientnet_lite0", levels=[1], size=(64, 64), head="ridge"
    )
    file = detector.save(tmp_path / "detector")
    config = tiny.config(
        f"data.root={data}", f"data.proposals={boxes}", f"run={tmp_path / 'run'}", "baselines=[]",
        "evaluate.shots=[2]", "evaluate.seeds=1",
    )  # fmt: skip
    rows = transfer(on_device(read(file), "cpu"), config)
    assert rows[0]["nAP50"] == pytest.approx(rows[0]["nAP75"]) and rows[0]["nAP50"] > 0.1


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("joint=true", "no RPN and no layers to train"),
        ("meta.end_to_end=5", "expected stages: .*meta.end_to_end: 0"),
        ("proposals.name=attention", "proposals.name: rpn"),
        ("data.proposals=null", "given boxes need data.proposals=FILE"),
    ],
)
def test_what_would_train_is_refused(data, boxes, tmp_path, word, said):
    with pytest.raises(InputError, match=said):
        settings(data, boxes, tmp_path, word)


def test_beside_has_no_classifier_to_keep(data, boxes, tmp_path):
    base = prepare(settings(data, boxes, tmp_path))
    with pytest.raises(InputError, match=r"'detector.boxes=given' does not hold"):
        base.new_head(cfg.Head("beside"))
