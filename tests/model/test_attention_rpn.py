"""The attention RPN in an experiment: trained beside a frozen image side, resumable, rows made once."""

import json
import logging
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from helpers import tiny

from fsdet.data.loading.stream import scaled
from fsdet.data.shapes.dataset import SHAPES_SPLITS, write_shapes
from fsdet.errors import InputError
from fsdet.experiment import run
from fsdet.experiment.base_run import prepare
from fsdet.experiment.extraction import image_shards
from fsdet.experiment.run_log import LossLog
from fsdet.experiment.stages import attention_rpn as stage
from fsdet.experiment.stages import per_shot_detectors
from fsdet.experiment.stages.attention_rpn import attention_rows, attention_training
from fsdet.experiment.stages.novel_finetuning import FineTunedDetector
from fsdet.model.attention_rpn import AttentionRPN
from fsdet.model.few_shot_rcnn import detect
from fsdet.model.postprocess import Selection

pytestmark = pytest.mark.slow

NOVEL = set(SHAPES_SPLITS["shapes1"])
ATTENTION = "proposals={name: attention, steps: 6, batch: 2, regions: 5}"


def quiet(loop, total):
    return loop


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_shapes(folder, train=40, test=6)
    return folder


@pytest.fixture(scope="module")
def ready(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    words = [
        f"data.root={data}",
        f"run={folder}",
        "train.steps=3",
        "meta.steps=2",
        ATTENTION,
    ]
    ready = prepare(tiny.config(*words))
    ready.model.head = ready.trained_head(ready.config.head).cpu()
    return ready


@pytest.fixture(scope="module")
def attention(ready):
    return attention_training(ready)


class Interrupted(LossLog):
    """Ctrl-C after a step."""

    @contextmanager
    def record(self, stage, steps):
        with super().record(stage, steps) as log:

            def then(step, values):
                log(step, values)
                if step == 3:
                    raise KeyboardInterrupt

            yield then


def settings(ready, run, **proposals):
    """The same detector, in another folder or with other proposals."""
    config = ready.config
    config = replace(config, run=str(run), proposals=replace(config.proposals, **proposals))
    return replace(ready, config=config, losses=LossLog(run))


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_training_changes_only_the_attention_rpn(ready, attention, tmp_path):
    before = {name: value.clone() for name, value in ready.model.state_dict().items()}
    trained = attention_training(settings(ready, tmp_path))
    assert all(torch.equal(value, before[name]) for name, value in ready.model.state_dict().items())
    assert not trained.training and not ready.model.training
    fresh = AttentionRPN(ready.model.rpn, 5).state_dict()
    kept = [name for name, value in trained.state_dict().items() if torch.equal(value, fresh[name])]
    assert not kept
    assert same(trained, attention)  # a pure function of what is asked for


def test_a_resumed_run_is_bit_identical_to_an_uninterrupted_run(ready, attention, tmp_path):
    other = settings(ready, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        attention_training(replace(other, losses=Interrupted(tmp_path)))
    (state,) = tmp_path.glob("attention-rpn*.state")
    assert torch.load(state, weights_only=True)["step"] == 2  # every second is saved
    assert same(attention_training(settings(ready, tmp_path)), attention)
    more = attention_training(settings(ready, tmp_path, steps=8))
    assert not same(more, attention) and len(list(tmp_path.glob("*.state"))) == 2


def test_rows_are_cached_and_the_time_is_estimated_after_the_first(
    ready, attention, caplog, monkeypatch
):
    caplog.set_level(logging.WARNING, "fsdet")
    rows = attention_rows(ready, ready.model, attention, quiet)
    assert "maml+attention-rpn: the first of 4 detectors took " in caplog.text
    measured = [(row["method"], row["shots"], row["seed"], row["protocol"]) for row in rows]
    assert measured == [
        ("maml+attention-rpn", k, seed, p)
        for k in (1, 2)
        for seed in (0, 1)
        for p in ("all", "novel")
    ]
    assert set(rows[0]["per_class"]) > NOVEL and set(rows[1]["per_class"]) == NOVEL

    def never(*_, **__):
        raise AssertionError("looked at again")

    monkeypatch.setattr(per_shot_detectors, "extract_candidates", never)
    assert attention_rows(ready, ready.model, attention, quiet) == rows
    with pytest.raises(AssertionError, match="looked at again"):
        attention_rows(settings(ready, ready.folder, regions=6), ready.model, attention, quiet)


def test_an_image_is_paired_with_categories_that_it_shows(ready, monkeypatch, tmp_path):
    calls, draw = [], stage.Pairs.__call__

    def spy(pairs, t, image, shown):
        calls.append((t, image, shown))
        return draw(pairs, t, image, shown)

    monkeypatch.setattr(stage.Pairs, "__call__", spy)
    attention_training(settings(ready, tmp_path))
    assert [t for t, _, _ in calls] == list(range(6 * 2))
    data, base = ready.problem.train, ready.problem.split.base
    for _, image, shown in calls:
        names = {data.classes[label - 1] for label in data.labels[data.rows(image)]}
        assert {base[label - 1] for label in shown if label > 0} == names & set(base)


def test_scored_detections_are_those_of_the_detector(ready, attention, monkeypatch, tmp_path):
    made, scored, evaluate = [], [], per_shot_detectors.evaluate_detections

    def remember(*parts):
        made.append(FineTunedDetector(*parts))
        return made[-1]

    def score(found, truth, layout):
        scored.append(found)
        return evaluate(found, truth, layout)

    monkeypatch.setattr(stage, "FineTunedDetector", remember)
    monkeypatch.setattr(per_shot_detectors, "evaluate_detections", score)
    two_images = 2 * (12 + 5 * 5) * ready.model.shape.bytes
    monkeypatch.setattr("fsdet.experiment.extraction.SHARD_BYTES", two_images)
    attention_rows(settings(ready, tmp_path), ready.model, attention, quiet)
    data, model = ready.problem.test, ready.model
    cases = made
    runs = image_shards(len(ready.problem.test), model, cases[0].proposing)
    assert [run.tolist() for run in runs] == [[0, 1], [2, 3], [4, 5]]
    selection = Selection(ready.config.evaluate.score)
    for case, found in zip(cases, scored, strict=True):
        for image in range(len(data)):
            pixels = scaled(torch.from_numpy(data.image(image).transpose(2, 0, 1).copy()))
            (candidates,) = model.propose([pixels], case.proposing)
            alone = detect(model.head, candidates, case.task, selection)
            mine = found.of_image(image)
            for kind in (True, False):
                one, other = (f["scores"][(f["labels"] > 15) == kind][:5] for f in (mine, alone))
                assert len(one) == len(other) > 0
                torch.testing.assert_close(one, other, atol=1e-3, rtol=0)
    # The shots ask: those of two seeds do not ask for the same.
    assert not torch.equal(cases[0].proposing.kernels, cases[1].proposing.kernels)


def test_an_experiment_adds_rows_of_the_attention_rpn(data, tmp_path):
    words = [f"data.root={data}", f"run={tmp_path}", "train.steps=2", "meta.steps=2"]
    words += ["evaluate.shots=[1]", "evaluate.seeds=2", "baselines=[]"]
    plain = run(tiny.config(*words))
    rows = run(tiny.config(*words, ATTENTION))  # the same folder: base training stands

    def timeless(some):
        return json.dumps([{**row, "adapt_seconds": 0} for row in some])

    assert timeless(rows[: len(plain)]) == timeless(plain)
    assert [row["method"] for row in rows[len(plain) :]] == ["maml+attention-rpn"] * 4
    stored = json.loads((tmp_path / "results.json").read_text())
    assert [row["method"] for row in stored] == [row["method"] for row in rows]
    assert "maml+attention-rpn" in (tmp_path / "report.html").read_text()
    assert "attention-rpn" in {
        json.loads(line)["stage"] for line in (tmp_path / "losses.jsonl").read_text().splitlines()
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["proposals.name=atention"], r"proposals\.name: expected one of rpn, attention"),
        (["proposals.steps=0"], r"proposals\.steps: expected at least 1"),
        (["proposals.regions=0"], r"proposals\.regions: expected at least 1"),
        (["proposals.layer_rate=-1"], r"proposals\.layer_rate: expected at least 0"),
        (
            [ATTENTION, "stages=[{name: maml+attention-rpn}]"],
            "another method's rows are called 'maml.attention-rpn'",
        ),
    ],
)
def test_invalid_settings_are_input_errors(words, message):
    with pytest.raises(InputError, match=message):
        tiny.config(*words)


def test_fewer_than_two_categories_are_an_error(ready, tmp_path):
    bank = ready.bank
    few = replace(bank, labels=(bank.labels > 0).long())
    with pytest.raises(InputError, match="an attention RPN needs two base categories"):
        stage.attention_training(replace(settings(ready, tmp_path), bank=few))
