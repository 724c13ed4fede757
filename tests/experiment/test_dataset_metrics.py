"""Dataset metrics of LVIS and VOC, from detections to the rows of an experiment."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers import tiny
from helpers.detection_tables import detection_arrays
from helpers.lvis import federated_data

from fsdet.data.shapes.dataset import SHAPES_SPLITS, write_shapes
from fsdet.evaluation.coco import CocoTruth
from fsdet.evaluation.detections import DetectionArrays
from fsdet.evaluation.lvis import lvis_ap
from fsdet.evaluation.voc import printed_ap50
from fsdet.experiment import run
from fsdet.experiment.base_run import prepare
from fsdet.experiment.benchmark.run import write_tables
from fsdet.experiment.dataset_metrics import dataset_metrics
from fsdet.experiment.few_shot_data import novel_shots, open_problem
from fsdet.experiment.scoring import score

NOVEL = SHAPES_SPLITS["shapes1"]


@pytest.fixture(scope="module")
def lvis(tmp_path_factory):
    """Drawn images as LVIS has its own, of which two of the novel categories are the rarest."""
    root = tmp_path_factory.mktemp("data")
    write_shapes(root, train=40, test=8)
    for file in (root / "annotations").glob("*.json"):
        content = json.loads(file.read_text())
        kinds = {category["id"]: category for category in content["categories"]}
        for number, category in enumerate(content["categories"]):
            category["frequency"] = "r" if category["name"] in NOVEL else "cf"[number % 2]
        seen: dict[int, set[int]] = {image["id"]: set() for image in content["images"]}
        rare: list[str] = []
        for row in list(content["annotations"]):
            name = kinds[row["category_id"]]["name"]
            if name in NOVEL[:2] and "train" in file.name and rare.count(name):
                content["annotations"].remove(row)  # one box of each
            rare.append(name)
            seen[row["image_id"]].add(row["category_id"])
        for image in content["images"]:
            image["neg_category_ids"] = [k for k in kinds if k not in seen[image["id"]]][::2]
            image["not_exhaustive_category_ids"] = sorted(seen[image["id"]])[:1]
        file.write_text(json.dumps(content))
    return root


@pytest.fixture(scope="module")
def done(lvis, tmp_path_factory):
    """An experiment on it: its configuration, and the rows that `run` returned."""
    folder = tmp_path_factory.mktemp("run")
    words = [f"data.root={lvis}", f"run={folder}", "data.split=lvis", "train.steps=2"]
    config = tiny.config(*words, "meta.steps=2", "head.name=prototype", "head.args={}")
    return config, run(config)


def test_an_experiment_on_lvis_reports_its_metrics(done, tmp_path):
    config, rows = done
    problem = open_problem(config.data)
    assert set(problem.split.novel) == set(NOVEL)
    drawn = novel_shots(problem, config.data, 2, 0)
    assert {name: len(ids) for name, ids in drawn.items()} == {
        name: 1 if name in NOVEL[:2] else 2 for name in NOVEL
    }
    for row in rows:
        assert {"AP_lvis", "APr", "APc", "APf"} < set(row)
        if row["protocol"] == "novel":
            assert np.isnan([row["APc"], row["APf"]]).all() and row["APr"] == row["AP_lvis"]
        if row["shots"] == 0:
            assert np.isnan(row["APr"]) and row["APc"] >= 0
    write_tables(tmp_path, [{"method": "none"}, *rows])
    head = (tmp_path / "benchmark.csv").read_text().splitlines()[0].split(",")
    assert head[0] == "method" and {"APr", "APc", "APf", "nAP50"} < set(head)


def test_lvis_metrics_by_hand():
    data = federated_data([(0, 1, [0, 0, 50, 50]), (1, 2, [0, 0, 50, 50])], [(1, 1)], [])
    right, wrong = [0.0, 0.0, 50.0, 50.0], [100.0, 100.0, 150.0, 150.0]
    detections = detection_arrays([(1, 1, 0.9, wrong), (0, 1, 0.5, right), (1, 2, 0.5, right)])
    truth = CocoTruth(data, data.classes)
    assert lvis_ap(truth, detections).ap[:2] == pytest.approx([0.5, 1])
    numbers = dataset_metrics(detections, truth, "COCO")(
        ["class1", "class2"], ["class2"], ["class1"]
    )
    assert numbers == pytest.approx(
        {"AP_lvis": 75, "APr": 50, "APc": 100, "APf": np.nan}, nan_ok=True
    )


def test_an_experiment_on_voc_reports_11_point_ap50(done):
    """The same detections, as if the test were VOC's, with every fourth box difficult."""
    base_run = prepare(done[0])
    test = base_run.problem.test
    hard = np.arange(len(test.ids)) % 4 == 0
    test = replace(test, layout="VOC", federated=None, ignore=hard)
    problem, head = (
        replace(base_run.problem, test=test),
        base_run.trained_head(base_run.config.head).cpu(),
    )
    made = score("prototype", head, base_run.features, problem, base_run.config)
    split = problem.split
    truth = CocoTruth(test, split.base + split.novel)
    for k, detections in made.detections.items():
        ap = dict(
            zip(truth.classes, printed_ap50(truth, DetectionArrays.of(detections)), strict=True)
        )
        mine = {row["protocol"]: row for row in made.rows if (row["shots"], row["seed"]) == (k, 0)}
        novel = 100 * np.nanmean([ap[name] for name in split.novel])
        assert mine["all"]["nAP50_voc07"] == mine["novel"]["nAP50_voc07"] == pytest.approx(novel)
        assert mine["novel"]["AP50_voc07"] == pytest.approx(novel)
        base = 100 * np.nanmean([ap[name] for name in split.base])
        assert mine["all"]["bAP50_voc07"] == pytest.approx(base)
        assert np.isnan(mine["novel"]["bAP50_voc07"]) and "APr" not in mine["all"]
    known = made.rows[0]
    assert known["bAP50_voc07"] == known["AP50_voc07"] >= 0 and np.isnan(known["nAP50_voc07"])
    assert any(row["AP50_voc07"] > 0 for row in made.rows)


def test_voc_metrics_by_hand():
    """By hand: a right one behind a wrong one that is printed alike."""
    data = federated_data([(0, 1, [0, 0, 50, 50]), (1, 2, [0, 0, 50, 50])], [], [])
    right, wrong = [0.0, 0.0, 50.0, 50.0], [100.0, 100.0, 150.0, 150.0]
    rows = [(1, 1, 0.50001, wrong), (0, 1, 0.50002, right), (1, 2, 0.5, right)]
    truth = CocoTruth(replace(data, federated=None), data.classes)
    names = ["class1", "class2"], ["class2"], ["class1"]
    numbers = dataset_metrics(detection_arrays(rows), truth, "VOC")(*names)
    by_hand = {"AP50": 75, "bAP50": 100, "nAP50": 50}
    years = ("07", "10")  # of one right and one wrong both say half
    assert numbers == pytest.approx({f"{n}_voc{y}": v for n, v in by_hand.items() for y in years})
    both = [(0, 1, 0.9, right), (1, 1, 0.8, wrong), (0, 1, 0.7, [60.0, 0.0, 90.0, 50.0])]
    two = federated_data([(0, 1, [0, 0, 50, 50]), (0, 1, [60, 0, 90, 50])], [], [])
    truth = CocoTruth(replace(two, federated=None), two.classes)
    numbers = dataset_metrics(detection_arrays(both), truth, "VOC")(["class1"], [], ["class1"])
    # Recall 1/2 at precision 1, recall 1 at 2/3: eleven points are six of one and five of the other.
    assert numbers["nAP50_voc07"] == pytest.approx(100 * (6 + 5 * 2 / 3) / 11)
    assert numbers["nAP50_voc10"] == pytest.approx(100 * (1 / 2 + 1 / 2 * 2 / 3))
    truth = CocoTruth(replace(data, federated=None), data.classes)
    for layout in ("COCO", "YOLO", ""):
        assert dataset_metrics(detection_arrays(rows), truth, layout)(*names) == {}
