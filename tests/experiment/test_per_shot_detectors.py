"""Novel stages and joint training: what moves, what stays, what is written down and what is not done twice."""

import logging
from dataclasses import replace

import pytest
import torch
from helpers import tiny
from torch.nn import functional as F

from fsdet import config as cfg
from fsdet.data.shapes.dataset import SHAPES_SPLITS, write_shapes
from fsdet.data.shots import shot_list
from fsdet.errors import InputError
from fsdet.experiment import preflight, run
from fsdet.experiment.base_run import prepare
from fsdet.experiment.few_shot_data import base_shots
from fsdet.experiment.outputs import write_shots
from fsdet.experiment.stages import per_shot_detectors
from fsdet.experiment.stages.novel_finetuning import changes_image_side, fine_tune
from fsdet.experiment.stages.per_shot_detectors import joint_rows, stage_rows
from fsdet.heads.finetuning.fsce import Fsce
from fsdet.progress import duration
from fsdet.progress import silent as quiet

pytestmark = pytest.mark.slow

NOVEL = set(SHAPES_SPLITS["shapes1"])
QUICK = {"steps": 2, "batch": 2}


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    data, run = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("run")
    write_shapes(data, train=40, test=6)
    gradients = "detector.gradients=[0.0,0.75]"
    return prepare(tiny.config(f"data.root={data}", f"run={run}", "train.steps=3", gradients))


def moved(ready, stage) -> set[str]:
    """Parts of the detector whose parameters a stage changed."""
    before, after = ready.model.state_dict(), fine_tune(ready, stage, 1, 0).model.state_dict()
    there = before.keys() & after.keys() - {"head.rows"}  # these are the task's
    names = [name for name in there if not torch.equal(after[name], before[name])]
    return {".".join(name.split(".")[:2]) for name in names}


@pytest.mark.parametrize(
    ("learns", "parts"),
    [
        ([], set()),
        (["rpn"], {"rpn.head", "to_rpn.weight", "to_rpn.bias", "to_regions.weight", "to_regions.bias"}),
        (["pyramid", "body"], {"backbone.fpn", "backbone.body"}),
        (["layers"], {"head.trunk", "head.boxes"}),
    ],
)  # fmt: skip
def test_what_a_stage_names_moves_and_nothing_else(ready, learns, parts):
    stage = cfg.Stage("x", learns=learns, layer_rate=0.01, **QUICK)
    assert moved(ready, stage) <= parts
    assert not parts or moved(ready, stage)
    assert changes_image_side(stage) == (learns not in ([], ["layers"]))


def test_the_classifier_always_learns_and_the_regressor_if_it_is_named(ready):
    for learns in ([], ["boxes"]):
        first = fine_tune(ready, cfg.Stage("x", learns=learns, steps=0 + 1, batch=2), 1, 0)
        again = fine_tune(ready, cfg.Stage("x", learns=learns, **QUICK), 1, 0)
        assert not torch.equal(first.task["rows"], again.task["rows"])
        same = torch.equal(again.task["weight"], ready.model.head.boxes.regressor.weight)
        assert same == (learns == [])


def test_random_rows_are_those_of_base_training_and_new_ones(ready):
    still = {"learning_rate": 0.0, "learns": [], "steps": 1, "batch": 2}
    task = fine_tune(ready, cfg.Stage("x", start="random", **still), 1, 0).task
    known = F.normalize(ready.model.head.rows, dim=-1)
    assert torch.allclose(task["rows"][: len(known)], known, atol=1e-6)
    assert len(task["rows"]) == len(known) + 5
    other = fine_tune(ready, cfg.Stage("x", start="random", **still), 1, 1).task
    assert not torch.equal(task["rows"][-5:], other["rows"][-5:])


def test_rows_learned_alone_come_beside_those_of_base_training(ready):
    stage = cfg.Stage("x", start="novel", alone=2, learns=[], learning_rate=0.1, **QUICK)
    alone = cfg.Stage(
        "x", start="random", categories="novel", learns=[], learning_rate=0.1, **QUICK
    )
    rows = fine_tune(ready, alone, 1, 0).task["rows"]
    assert len(rows) == 1 + 5
    still = fine_tune(
        ready, cfg.Stage("x", start="novel", alone=2, learns=[], learning_rate=0.0, **QUICK), 1, 0
    )
    assert len(still.task["rows"]) == 1 + 20
    assert fine_tune(ready, stage, 1, 0).classes[-5:] == ready.problem.split.novel


def test_rows_are_cached_and_the_time_is_estimated_after_the_first(ready, caplog, monkeypatch):
    stage = cfg.Stage(
        "fsce", cfg.Head("fsce", {"length": 8}), ["pyramid", "rpn", "layers"], **QUICK
    )
    caplog.set_level(logging.WARNING, "fsdet")
    rows = stage_rows(ready, stage, quiet)
    (record,) = caplog.records
    assert record.getMessage().startswith("fsce: the first of 4 detectors took ")
    cells = [(row["method"], row["shots"], row["seed"], row["protocol"]) for row in rows]
    assert cells == [
        ("fsce", k, seed, p) for k in (1, 2) for seed in (0, 1) for p in ("all", "novel")
    ]
    assert set(rows[0]["per_class"]) > NOVEL and set(rows[1]["per_class"]) == NOVEL

    def never(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(per_shot_detectors, "fine_tune", never)
    caplog.clear()
    assert stage_rows(ready, stage, quiet) == rows
    assert not caplog.records
    other = cfg.Stage("fsce", stage.head, stage.learns, steps=3, batch=2)
    with pytest.raises(AssertionError, match="trained again"):
        stage_rows(ready, other, quiet)  # the cached rows are of another number of steps
    monkeypatch.setattr(Fsce, "version", 2, raising=False)
    with pytest.raises(AssertionError, match="trained again"):
        stage_rows(ready, stage, quiet)  # the head computes something else now


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (59 * 60, "59 min"), (61 * 60, "1 h 1 min")],
)
def test_duration_as_text(seconds, text):
    assert duration(seconds) == text


def test_a_stage_of_novel_categories_alone_says_nothing_of_base_ones(ready):
    rows = stage_rows(ready, cfg.Stage("alone", categories="novel", **QUICK), quiet)
    assert {row["protocol"] for row in rows} == {"novel"}


def test_scores_are_calibrated_after_the_stage(ready):
    head = cfg.Head("linear", calibration=0.5)
    for categories, count in (("all", 20), ("novel", 5)):
        stage = cfg.Stage("x", head, categories=categories, **QUICK)
        made = fine_tune(ready, stage, 1, 0)
        assert made.task["calibration"].shape[0] == count == len(made.classes)
        rows = stage_rows(
            ready, cfg.Stage(f"pcb-{categories}", head, categories=categories, **QUICK), quiet
        )
        assert {row["protocol"] for row in rows} == {"novel"} | ({"all"} if count == 20 else set())


def test_joint_training_knows_every_category_and_is_not_done_twice(ready, monkeypatch):
    rows = joint_rows(ready, quiet)
    assert [row["method"] for row in rows] == ["joint"] * 8
    assert set(rows[0]["per_class"]) == {*ready.problem.split.base, *NOVEL}

    def never(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(per_shot_detectors, "supervised", never)
    assert joint_rows(ready, quiet) == rows


def test_a_stage_that_cannot_be_is_refused_before_base_training(ready, tmp_path):
    config = replace(ready.config, run=str(tmp_path / "run"))
    config.stages = [cfg.Stage("x", cfg.Head("maml"), **QUICK)]
    with pytest.raises(InputError, match="'maml' has no second stage"):
        run(config)
    assert not (tmp_path / "run").exists()


def test_rows_of_averages_have_no_classifier_to_start_from(ready, tmp_path):
    stage = cfg.Stage("x", cfg.Head("cosine-averages"), start="random", **QUICK)
    config = replace(ready.config, run=str(tmp_path / "run"), stages=[stage])
    with pytest.raises(
        InputError, match="which an averages head does not use; expected start: means"
    ):
        run(config)
    assert not (tmp_path / "run").exists()


def test_base_shots_come_from_the_lists_that_novel_ones_come_from(ready, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "fsdet")
    problem, (first, second, *_) = ready.problem, ready.problem.split.base
    train = problem.train
    of = {name: train.images_of(label).tolist() for label, name in enumerate(train.classes, 1)}
    for name in (first, *problem.split.novel):
        stems = [train.paths[image].rsplit("/", 1)[-1] for image in of[name][-2:]]
        for k in (1, 2):
            (tmp_path / f"full_box_{k}shot_{name}_trainval.txt").write_text("\n".join(stems))
    data = replace(ready.config.data, shots=str(tmp_path))
    drawn, sampled = base_shots(problem, data, 2, 0)
    rows = problem.rows_of(drawn[first])
    assert set(problem.images_of_rows(rows)) <= set(of[first][-2:])
    assert drawn[second] == base_shots(problem, ready.config.data, 2, 0).ids[second]
    assert set(sampled) == set(problem.split.base) - {first}
    evaluate = replace(ready.config.evaluate, seeds=1)
    config = replace(ready.config, data=data, evaluate=evaluate, stages=[cfg.Stage("x", **QUICK)])
    preflight.check(problem, config, [])
    assert (
        "2 shots, seed 0: base shots of" in caplog.text
        and "are sampled, not from a list: " in caplog.text
    )
    write_shots(tmp_path / "shots", problem, config)
    assert shot_list.load(tmp_path / "shots" / "2shot-seed0-base.json", train).ids == drawn


@pytest.mark.parametrize("name", ["maml", "prototype"])
def test_a_head_without_a_second_stage_is_refused(ready, name):
    with pytest.raises(InputError, match=f"'{name}' has no second stage; expected cosine"):
        fine_tune(ready, cfg.Stage("x", cfg.Head(name), **QUICK), 1, 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "{name: a, learns: [bodies]}",
            r"expected some of body.*got 'bodies'.*did you mean 'boxes'",
        ),
        ("{name: a, start: zero}", "start: expected one of means, random, novel; got 'zero'"),
        ("{name: a, categories: base}", "categories: expected one of all, novel; got 'base'"),
        ("{name: a, start: novel, categories: novel}", "is for a stage of all categories"),
        ("{name: a, gradients: [0, 0.1]}", "needs detector.gradients in base training"),
        ("{name: a, steps: 0}", "steps: expected at least 1, got 0"),
        ("{name: a, learning_rate: -1}", "learning_rate: expected at least 0, got -1"),
        ("{name: a}, {name: a}", "another method's rows are called 'a'"),
        ("{name: cosine}", "another method's rows are called 'cosine'"),
        ("{learns: []}", "name"),
    ],
)
def test_mistakes_in_stages_are_named(words, message):
    with pytest.raises(InputError, match=message):
        tiny.config(f"stages=[{words}]")


@pytest.mark.parametrize("batch", [2, 8, 16])
def test_a_stage_of_another_batch_sees_as_many_images(batch):
    given = cfg.Stage("x", steps=96, steps_a_shot=40, alone=8, batch=batch, reference=8)
    stage = cfg.scaled_stage(given)
    seen = [stage.steps * batch, stage.steps_a_shot * batch, stage.alone * batch]
    assert seen == [8 * 96, 8 * 40, 8 * 8]
    few = cfg.scaled_stage(cfg.Stage("x", steps=3, batch=64, reference=8))
    assert (few.steps, few.steps_a_shot) == (1, 0)  # no stage becomes one of no step
    assert stage.learning_rate / given.learning_rate == pytest.approx((batch / 8) ** 0.5)
    assert stage.layer_rate / given.layer_rate == pytest.approx((batch / 8) ** 0.5)
    assert cfg.scaled_stage(stage) == stage


def test_gradients_must_be_shares():
    for value in ("[0.5]", "[0.0,1.5]"):
        with pytest.raises(
            InputError, match=r"detector\.gradients: expected two numbers from 0 to 1"
        ):
            tiny.config(f"detector.gradients={value}")
    with pytest.raises(InputError, match="stages, 'a': gradients: expected two numbers"):
        tiny.config("detector.gradients=[0,1]", "stages=[{name: a, gradients: [0, 2]}]")
