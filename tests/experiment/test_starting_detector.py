"""Experiments that start from an imported detector instead of base training."""

import json

import pytest
import torch
from helpers import published, tiny

import fsdet
from fsdet import config as cfg
from fsdet.data.shapes.dataset import SHAPES_SPLITS, write_shapes
from fsdet.data.shots.splits import FewShotSplit
from fsdet.errors import InputError
from fsdet.experiment import run
from fsdet.experiment.benchmark.plan import BaseDetector, Method, Plan
from fsdet.experiment.benchmark.run import benchmark
from fsdet.experiment.starting_detector import starting_detector

NOVEL = SHAPES_SPLITS["shapes1"]
BASE = tiny.problem().split.base


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """An imported detector of the base categories, in another order than theirs, and of one more."""
    model = published.small_detector(17, short=64)
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.bias[0] += 3
    detector = fsdet.import_detector(model, names=[*reversed(BASE), "extra"])
    detector.origin = "somebody's detector"
    return detector.save(tmp_path_factory.mktemp("imported"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_shapes(folder, train=40, test=8)
    return f"data.root={folder}"


@pytest.fixture(scope="module")
def image():
    return next(published.pictures(1))


def as_set(detections, names):
    return sorted(
        (d.name, round(d.score, 4), *(round(x, 1) for x in d.box))
        for d in detections
        if d.name in names
    )


def test_kept_categories_are_put_into_the_order_of_the_split(file, image):
    started = starting_detector(str(file), FewShotSplit("s", BASE, NOVEL))
    assert started.names == BASE
    original = fsdet.load(file)
    assert set(original.names) == {*BASE, "extra"}
    expected = as_set(original.predict(image, 0.1), BASE)
    assert len(expected) > 5 and len({name for name, *_ in expected}) > 2
    assert as_set(started.predict(image, 0.1), BASE) == expected


@pytest.mark.parametrize(
    "base, novel, message",
    [
        (BASE, ("extra", *NOVEL), "trained on extra, which is novel in split 's'"),
        ((*BASE[1:], f"{BASE[0]}s"), NOVEL, f"does not know {BASE[0]}s.*--names.*'{BASE[0]}'"),
    ],
)
def test_a_split_that_does_not_fit_is_refused(file, base, novel, message):
    with pytest.raises(InputError, match=message):
        starting_detector(str(file), FewShotSplit("s", base, novel))


@pytest.mark.parametrize("word", ["joint=true", "stages=[{name: tfa}]"])
def test_what_needs_base_training_is_refused(word):
    with pytest.raises(InputError, match="base: 'some' takes the place of base training"):
        tiny.config("base=some", word)


@pytest.mark.slow
def test_heads_are_compared_on_an_imported_detector(file, data, tmp_path):
    words = [f"base={file}", data, f"run={tmp_path / 'run'}", "meta.steps=2", "train.steps=0"]
    heads = ["head={name: beside, args: {steps: 3}}", "baselines=[{name: cosine},{name: maml}]"]
    settings = tiny.config(*words, *heads, "meta.end_to_end=0")
    rows = run(settings)
    assert {row["method"] for row in rows} == {"beside", "cosine", "maml"}
    assert not (tmp_path / "run" / "base.state").exists()
    assert json.loads((tmp_path / "run" / "results.json").read_text())
    saved = fsdet.load(tmp_path / "run")
    assert saved.kept == BASE and saved.names == BASE and "somebody's" in repr(saved)
    again = run(settings)
    assert [r["AP50"] for r in again if r["shots"]] == [r["AP50"] for r in rows if r["shots"]]
    with pytest.raises(InputError, match="holds a run"):
        run(tiny.config(data, words[2], *heads, "meta.end_to_end=0"))


@pytest.mark.slow
def test_a_head_with_rows_is_saved_and_loaded_though_the_detector_knows_more(file, data, tmp_path):
    words = [f"base={file}", data, f"run={tmp_path / 'run'}", "meta.steps=1"]
    run(tiny.config(*words, "head={name: cosine, args: {steps: 2}}", "baselines=[]"))
    assert fsdet.load(tmp_path / "run").names == BASE


@pytest.mark.slow
def test_beside_needs_a_base_that_holds_its_classifier(data, tmp_path):
    quick = [data, "train.steps=1", "meta.steps=1", "evaluate.seeds=1", "evaluate.shots=[1]"]
    run(tiny.config(*quick, f"run={tmp_path / 'own'}", "head.name=prototype", "head.args={}"))
    words = [f"run={tmp_path / 'run'}", f"base={tmp_path / 'own'}", "head={name: beside}"]
    with pytest.raises(InputError, match="'beside' keeps the classifier of base training, which"):
        run(tiny.config(*quick, *words))


@pytest.mark.slow
def test_a_benchmark_starts_from_an_imported_detector(file, data, tmp_path):
    (tmp_path / "tiny.yaml").write_text(tiny.SETTINGS)
    words = [f"base={file}", data, "meta.steps=2"]
    plan = Plan(
        run=str(tmp_path / "run"),
        detectors=[BaseDetector(str(tmp_path / "tiny.yaml"), words)],
        methods=[Method("beside", {"steps": 3}), Method("ridge")],
        shots=[1],
        seeds=2,
        trials=1,
        processes=1,
    )
    rows = benchmark(plan)
    assert {row["method"] for row in rows} == {"beside", "ridge"}


@pytest.mark.slow
def test_the_other_trainings_run_on_an_imported_detector(file, data, tmp_path):
    words = [f"base={file}", data, f"run={tmp_path / 'run'}", "meta.steps=1", "meta.end_to_end=1"]
    attention = ["proposals.name=attention", "proposals.steps=1", "evaluate.seeds=1"]
    rows = run(tiny.config(*words, *attention, "baselines=[]", "evaluate.shots=[1]"))
    assert {"maml", "maml-e2e", "maml+attention-rpn"} == {row["method"] for row in rows}
    assert isinstance(cfg.load(tmp_path / "run" / "config.yaml"), cfg.Config)
