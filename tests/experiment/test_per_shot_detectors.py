"""Novel stages and joint training: trained parts, starts, cached rows, invalid stages."""

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
from fsdet.progress import silent as quiet

pytestmark = pytest.mark.slow

NOVEL = set(SHAPES_SPLITS["shapes1"])
QUICK = {"steps": 2, "batch": 2}


@pytest.fixture(scope="module")
def base_run(tmp_path_factory):
    data, run = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("run")
    write_shapes(data, train=40, test=6)
    gradients = "detector.gradients=[0.0,0.75]"
    return prepare(tiny.config(f"data.root={data}", f"run={run}", "train.steps=3", gradients))


def moved(base_run, stage) -> set[str]:
    """Parts of the detector whose parameters a stage changes."""
    before, after = base_run.model.state_dict(), fine_tune(base_run, stage, 1, 0).model.state_dict()
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
def test_a_stage_trains_only_its_parts(base_run, learns, parts):
    stage = cfg.Stage("x", learns=learns, layer_rate=0.01, **QUICK)
    assert moved(base_run, stage) <= parts
    assert not parts or moved(base_run, stage)
    assert changes_image_side(stage) == (learns not in ([], ["layers"]))


def test_the_classifier_is_always_trained_and_the_regressor_on_request(base_run):
    for learns in ([], ["boxes"]):
        first = fine_tune(base_run, cfg.Stage("x", learns=learns, steps=0 + 1, batch=2), 1, 0)
        again = fine_tune(base_run, cfg.Stage("x", learns=learns, **QUICK), 1, 0)
        assert not torch.equal(first.task["rows"], again.task["rows"])
        same = torch.equal(again.task["weight"], base_run.model.head.boxes.regressor.weight)
        assert same == (learns == [])


def test_random_start_keeps_base_rows_and_draws_novel_ones(base_run):
    still = {"learning_rate": 0.0, "learns": [], "steps": 1, "batch": 2}
    task = fine_tune(base_run, cfg.Stage("x", start="random", **still), 1, 0).task
    known = F.normalize(base_run.model.head.rows, dim=-1)
    assert torch.allclose(task["rows"][: len(known)], known, atol=1e-6)
    assert len(task["rows"]) == len(known) + 5
    other = fine_tune(base_run, cfg.Stage("x", start="random", **still), 1, 1).task
    assert not torch.equal(task["rows"][-5:], other["rows"][-5:])


def test_novel_start_appends_novel_rows_to_base_rows(base_run):
    stage = cfg.Stage("x", start="novel", alone=2, learns=[], learning_rate=0.1, **QUICK)
    alone = cfg.Stage(
        "x", start="random", categories="novel", learns=[], learning_rate=0.1, **QUICK
    )
    rows = fine_tune(base_run, alone, 1, 0).task["rows"]
    assert len(rows) == 1 + 5
    still = fine_tune(
        base_run,
        cfg.Stage("x", start="novel", alone=2, learns=[], learning_rate=0.0, **QUICK),
        1,
        0,
    )
    assert len(still.task["rows"]) == 1 + 20
    assert fine_tune(base_run, stage, 1, 0).classes[-5:] == base_run.problem.split.novel


def test_rows_are_cached_and_the_time_is_estimated_after_the_first(base_run, caplog, monkeypatch):
    stage = cfg.Stage(
        "fsce", cfg.Head("fsce", {"length": 8}), ["pyramid", "rpn", "layers"], **QUICK
    )
    caplog.set_level(logging.WARNING, "fsdet")
    rows = stage_rows(base_run, stage, quiet)
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
    assert stage_rows(base_run, stage, quiet) == rows
    assert not caplog.records
    other = cfg.Stage("fsce", stage.head, stage.learns, steps=3, batch=2)
    with pytest.raises(AssertionError, match="trained again"):
        stage_rows(base_run, other, quiet)  # the cached rows are of another number of steps
    monkeypatch.setattr(Fsce, "version", 2, raising=False)
    with pytest.raises(AssertionError, match="trained again"):
        stage_rows(base_run, stage, quiet)  # the head computes something else now


def test_a_stage_of_novel_categories_has_no_rows_of_protocol_all(base_run):
    rows = stage_rows(base_run, cfg.Stage("alone", categories="novel", **QUICK), quiet)
    assert {row["protocol"] for row in rows} == {"novel"}


def test_scores_are_calibrated_after_the_stage(base_run):
    head = cfg.Head("linear", calibration=0.5)
    for categories, count in (("all", 20), ("novel", 5)):
        stage = cfg.Stage("x", head, categories=categories, **QUICK)
        made = fine_tune(base_run, stage, 1, 0)
        assert made.task["calibration"].shape[0] == count == len(made.classes)
        rows = stage_rows(
            base_run, cfg.Stage(f"pcb-{categories}", head, categories=categories, **QUICK), quiet
        )
        assert {row["protocol"] for row in rows} == {"novel"} | ({"all"} if count == 20 else set())


def test_joint_training_covers_every_category_and_is_cached(base_run, monkeypatch):
    rows = joint_rows(base_run, quiet)
    assert [row["method"] for row in rows] == ["joint"] * 8
    assert set(rows[0]["per_class"]) == {*base_run.problem.split.base, *NOVEL}

    def never(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(per_shot_detectors, "supervised", never)
    assert joint_rows(base_run, quiet) == rows


def test_an_impossible_stage_is_refused_before_base_training(base_run, tmp_path):
    config = replace(base_run.config, run=str(tmp_path / "run"))
    config.stages = [cfg.Stage("x", cfg.Head("maml"), **QUICK)]
    with pytest.raises(InputError, match="'maml' has no second stage"):
        run(config)
    assert not (tmp_path / "run").exists()


def test_an_averages_head_cannot_start_from_the_base_classifier(base_run, tmp_path):
    stage = cfg.Stage("x", cfg.Head("cosine-averages"), start="random", **QUICK)
    config = replace(base_run.config, run=str(tmp_path / "run"), stages=[stage])
    with pytest.raises(
        InputError, match="which an averages head does not use; expected start: means"
    ):
        run(config)
    assert not (tmp_path / "run").exists()


def test_base_shots_come_from_published_lists_where_possible(base_run, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "fsdet")
    problem, (first, second, *_) = base_run.problem, base_run.problem.split.base
    train = problem.train
    of = {name: train.images_of(label).tolist() for label, name in enumerate(train.classes, 1)}
    for name in (first, *problem.split.novel):
        stems = [train.paths[image].rsplit("/", 1)[-1] for image in of[name][-2:]]
        for k in (1, 2):
            (tmp_path / f"full_box_{k}shot_{name}_trainval.txt").write_text("\n".join(stems))
    data = replace(base_run.config.data, shots=str(tmp_path))
    drawn, sampled = base_shots(problem, data, 2, 0)
    rows = problem.rows_of(drawn[first])
    assert set(problem.images_of_rows(rows)) <= set(of[first][-2:])
    assert drawn[second] == base_shots(problem, base_run.config.data, 2, 0).ids[second]
    assert set(sampled) == set(problem.split.base) - {first}
    evaluate = replace(base_run.config.evaluate, seeds=1)
    config = replace(
        base_run.config, data=data, evaluate=evaluate, stages=[cfg.Stage("x", **QUICK)]
    )
    preflight.check(problem, config, [])
    assert (
        "2 shots, seed 0: base shots of" in caplog.text
        and "are sampled, not from a list: " in caplog.text
    )
    write_shots(tmp_path / "shots", problem, config)
    assert shot_list.load(tmp_path / "shots" / "2shot-seed0-base.json", train).ids == drawn


@pytest.mark.parametrize("name", ["maml", "prototype"])
def test_a_head_that_cannot_be_fine_tuned_is_refused(base_run, name):
    with pytest.raises(InputError, match=f"'{name}' has no second stage; expected cosine"):
        fine_tune(base_run, cfg.Stage("x", cfg.Head(name), **QUICK), 1, 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "{name: a, learns: [bodies]}",
            r"stages.0.learns.0: expected one of body.*got 'bodies'.*did you mean 'boxes'",
        ),
        ("{name: a, start: zero}", "start: expected one of means, random, novel; got 'zero'"),
        ("{name: a, categories: base}", "categories: expected one of all, novel; got 'base'"),
        (
            "{name: a, start: novel, categories: novel}",
            "stages.0.categories: start=novel is for a stage of all",
        ),
        ("{name: a, gradients: [0, 0.1]}", "needs detector.gradients in base training"),
        ("{name: a, steps: 0}", "steps_a_shot: expected at least 1 where steps is 0"),
        ("{name: a, learning_rate: -1}", "learning_rate: expected at least 0, got -1"),
        ("{name: a}, {name: a}", "stages.1.name: another method's rows are called 'a'"),
        ("{name: cosine}", "another method's rows are called 'cosine'"),
        ("{learns: []}", "missing: stages.0.name; give"),
        ("{name: ..}", "stages.0.name: expected a name without '/' and other than '..', got '..'"),
        ("{name: ../a}", "stages.0.name: expected a name without '/'"),
    ],
)
def test_invalid_stages_are_refused(words, message):
    with pytest.raises(InputError, match=message):
        tiny.config(f"stages=[{words}]")


@pytest.mark.parametrize("batch", [2, 8, 16])
def test_rescaled_stages_use_the_same_number_of_images(batch):
    given = cfg.Stage("x", steps=96, steps_a_shot=40, alone=8, batch=batch, reference=8)
    stage = cfg.scaled_stage(given)
    seen = [stage.steps * batch, stage.steps_a_shot * batch, stage.alone * batch]
    assert seen == [8 * 96, 8 * 40, 8 * 8]
    few = cfg.scaled_stage(cfg.Stage("x", steps=3, batch=64, reference=8))
    assert (few.steps, few.steps_a_shot) == (1, 0)  # no stage becomes one of no step
    assert stage.learning_rate / given.learning_rate == pytest.approx((batch / 8) ** 0.5)
    assert stage.layer_rate / given.layer_rate == pytest.approx((batch / 8) ** 0.5)
    assert cfg.scaled_stage(stage) == stage


def test_gradient_shares_must_be_in_range():
    for value, said in (
        ("[0.5]", ": expected two numbers, or none"),
        ("[0.0,1.5]", ".1: expected at most 1"),
    ):
        with pytest.raises(InputError, match=f"detector.gradients{said}"):
            tiny.config(f"detector.gradients={value}")
    with pytest.raises(InputError, match=r"stages\.0\.gradients\.1: expected at most 1, got 2"):
        tiny.config("detector.gradients=[0,1]", "stages=[{name: a, gradients: [0, 2]}]")
