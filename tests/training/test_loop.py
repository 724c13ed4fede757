"""Training loop: schedule, clipping, averages, checkpoints; an interrupted run resumes to the same bits."""

import hashlib
import json
import math
import multiprocessing
import os
import pickle
import signal
import zipfile
from contextlib import contextmanager

import pytest
import torch
from helpers import tiny
from torch import nn

from fsdet import build
from fsdet import config as cfg
from fsdet.errors import InputError
from fsdet.experiment.run_log import LossLog
from fsdet.experiment.stages import training
from fsdet.heads.layers import RegionShape
from fsdet.training import checkpoint
from fsdet.training.episodes import EpisodeSampler
from fsdet.training.loop import Loop, Schedule, train

EMA = ["train.ema=0.9", "data.workers=1"]
STAGES = ("base", "base-ema", "maml", "prototype", "end-to-end")


class Interrupted(LossLog):
    """Calls `end` after a step."""

    def __init__(self, folder, at=None, end=None):
        super().__init__(folder)
        self.at, self.end = at, end

    @contextmanager
    def record(self, stage, steps):
        with super().record(stage, steps) as log:

            def then(step, values):
                log(step, values)
                if step == self.at:
                    self.end()

            yield then


def trained(stage, folder, at=None, end=None):
    """The model of a stage of six steps, with a checkpoint at every second step."""
    settings = tiny.config("meta.end_to_end=6", *EMA * (stage == "base-ema"))
    context = tiny.context(settings, folder, losses=Interrupted(folder, at, end))
    if stage.startswith("base"):
        return training.base_training(context)
    if stage == "end-to-end":
        return training.end_to_end(context, stage, tiny.model(settings))
    torch.manual_seed(0)
    spec = settings.head if stage == "maml" else cfg.Head(stage)
    head = build.head(spec, RegionShape(4, 2, (2, 3)), 8, 6)
    sampler = EpisodeSampler(tiny.bank(), (2, 3), (1, 2), known=1, chimeras=0.5)
    return training.meta_training(context, spec, head, sampler)


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def in_a_process(function, *arguments):
    """Exit status of a function in a process; negative: the signal that killed it."""
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def die():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    models = {}

    def of(stage):
        if stage not in models:
            models[stage] = trained(stage, tmp_path_factory.mktemp(stage))
        return models[stage]

    return of


def recorded(folder):
    return [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("stage", STAGES)
def test_killed_run_resumes_to_the_same_bits(stage, tmp_path, uninterrupted):
    assert in_a_process(trained, stage, tmp_path, 4, die) == -signal.SIGKILL
    (state,) = tmp_path.glob("*.state")
    assert torch.load(state, weights_only=True)["step"] == 4  # steps 0 to 3; the kill came in 4
    assert [record["step"] for record in recorded(tmp_path)] == [0]
    assert same(trained(stage, tmp_path), uninterrupted(stage))
    assert [record["step"] for record in recorded(tmp_path)] == [0, 5]
    assert same(trained(stage, tmp_path), uninterrupted(stage))  # nothing is left to do


@pytest.mark.parametrize("stage", STAGES)
def test_interrupted_run_resumes_to_the_same_bits(stage, tmp_path, uninterrupted):
    def end():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(stage, tmp_path, 2, end)
    assert same(trained(stage, tmp_path), uninterrupted(stage))


def test_averaged_weights_differ_from_the_last_ones(uninterrupted):
    assert not same(uninterrupted("base"), uninterrupted("base-ema"))


def killed_while_saving(folder):
    save, calls = torch.save, []

    def half(state, path):
        calls.append(path)
        save(state, path)
        if len(calls) == 2:
            with open(path, "r+b") as file:
                file.truncate(path.stat().st_size // 2)
            die()

    checkpoint.torch.save = half
    trained("base", folder)


def test_kill_during_a_checkpoint_leaves_the_previous_one(tmp_path, uninterrupted):
    assert in_a_process(killed_while_saving, tmp_path) == -signal.SIGKILL
    assert torch.load(tmp_path / "base.state", weights_only=True)["step"] == 2
    assert same(trained("base", tmp_path), uninterrupted("base"))


def test_error_during_a_write_leaves_the_previous_file_alone(tmp_path):
    path = tmp_path / "file"
    checkpoint.write_whole(path, lambda to: to.write_text("old"))

    def full(to):
        to.write_text("n")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        checkpoint.write_whole(path, full)
    assert [file.name for file in tmp_path.iterdir()] == ["file"] and path.read_text() == "old"


def test_loss_records_survive_a_kill_without_duplicates(tmp_path):
    losses = LossLog(tmp_path)
    with pytest.raises(KeyboardInterrupt), losses.record("base", 40) as log:
        for step in range(23):
            log(step, {"loss": float(step)})
        raise KeyboardInterrupt
    assert [record["step"] for record in recorded(tmp_path)] == [0, 5, 10, 15, 20]
    with (tmp_path / "losses.jsonl").open("a") as file:
        file.write('{"step": 25, "stage": "ba')
    losses = LossLog(tmp_path)
    assert losses.records[-1] == {"step": 20, "stage": "base", "loss": 20.0}
    with losses.record("base", 40) as log:
        for step in range(12, 40):
            log(step, {"loss": -float(step)})
    with losses.record("meta", 2) as log:
        log(0, {"loss": 1.0})
    steps = [0, 5, 10, 15, 20, 25, 30, 35, 39]
    assert recorded(tmp_path) == losses.records == LossLog(tmp_path).records
    assert [record["step"] for record in losses.records] == [*steps, 0]
    assert [record["loss"] < 0 for record in losses.records] == [False] * 3 + [True] * 6 + [False]
    with LossLog(tmp_path / "none", writes=False).record("base", 3) as log:
        log(0, {"loss": 1.0})
    assert not (tmp_path / "none").exists()


def test_learning_rate_warms_up_and_follows_a_cosine():
    schedule = Schedule(8, warmup=3)
    by_hand = [
        min(1, (t + 1) / 4) * (0.01 + 0.99 * (1 + math.cos(math.pi * t / 8)) / 2) for t in range(9)
    ]
    assert [schedule(t) for t in range(9)] == pytest.approx(by_hand)
    assert schedule(0) == pytest.approx(0.25)
    assert schedule(4) == pytest.approx(0.505)
    assert schedule(8) == schedule(100) == pytest.approx(0.01)
    assert Schedule(0)(0) == 1


def test_learning_rate_drops_ten_fold_at_the_given_steps():
    schedule = Schedule(10, warmup=1, drops=(4, 7))
    expected = [0.5, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01]
    assert [schedule(t) for t in range(10)] == pytest.approx(expected)


class Slope(nn.Module):
    """A loss whose gradient is `batch`, one entry per weight."""

    def __init__(self, weights=4):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(weights))

    def forward(self, batch):
        return {"loss_slope": (self.weight * batch).sum(), "loss_none": torch.zeros(())}


def slide(gradients, path=None, weights=4, rate=1.0, kind=torch.optim.SGD, **loop):
    """The weights after one step per gradient, and the logged (step, loss)."""
    model, logged = Slope(weights), []
    train(
        tiny.fabric(),
        model,
        lambda first: [torch.full((weights,), value) for value in gradients[first:]],
        kind(model.parameters(), rate),
        Loop(Schedule(len(gradients), drops=(10**6,)), **loop),
        path,
        lambda step, values: logged.append((step, values["loss"])),
    )
    return model.weight.detach(), logged


def test_steps_follow_the_gradient_at_the_scheduled_rate():
    weight, logged = slide([1.0, 2.0], clip=0.0, rate=0.5)
    assert weight.tolist() == [-1.5] * 4
    assert logged == [(0, 0.0), (1, -4.0)]


@pytest.mark.parametrize(("clip", "length"), [(0.0, 2000.0), (10.0, 10.0), (5000.0, 2000.0)])
def test_gradient_norm_is_clipped(clip, length):
    weight, _ = slide([1000.0], clip=clip)
    assert weight.norm().item() == pytest.approx(length, rel=1e-5)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_divergence_names_the_learning_rate(value, tmp_path):
    rate_key = "meta.learning_rate"
    message = r"diverged at step 2: loss_slope (nan|-inf).*lower meta\.learning_rate than 0\.25"
    with pytest.raises(InputError, match=message):
        slide([1.0, 1.0, value, 1.0], tmp_path / "x", rate=0.25, save_every=1, rate_key=rate_key)
    assert torch.load(tmp_path / "x", weights_only=True)["step"] == 2


@pytest.mark.parametrize("rate", ["1e3", "1e6"])
def test_divergence_of_a_detector_is_reported(rate, tmp_path):
    settings = tiny.config(f"train.learning_rate={rate}", "train.steps=20", "train.warmup=0")
    with pytest.raises(InputError, match=r"a lower train\.learning_rate than 1e\+|than 1000"):
        training.base_training(tiny.context(settings, tmp_path))


def test_averaged_weights_by_hand():
    weight, _ = slide([1.0, 1.0, 1.0], clip=0.0, ema=0.5)
    # The weights are -1, -2, -3; the average starts at the first.
    assert weight.tolist() == pytest.approx([0.5 * (0.5 * -1 + 0.5 * -2) + 0.5 * -3] * 4)


def test_checkpoint_of_another_model_is_refused(tmp_path):
    path = tmp_path / "x.state"
    slide([1.0], path)
    with pytest.raises(InputError, match=r"x\.state' is of another model or configuration"):
        slide([1.0, 1.0], path, weights=5)
    with pytest.raises(InputError, match="is of another model or configuration"):
        slide([1.0, 1.0], path, ema=0.5)
    for other in (torch.zeros(3), [1], {}, {"model": {}}, None):
        torch.save(other, path)
        with pytest.raises(InputError, match="is of another model or configuration"):
            slide([1.0], path)


@pytest.mark.parametrize("share", [0, 0.3, 0.7, 0.99])
def test_cut_checkpoint_is_refused(share, tmp_path):
    path = tmp_path / "x.state"
    slide([1.0], path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"x\.state' is damaged: .+; delete it, and the same"):
        slide([1.0, 1.0], path)


class Harmful:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (self.place,)


@pytest.mark.parametrize(
    "write", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state, 2))]
)
def test_checkpoint_with_code_is_refused_and_not_run(write, tmp_path):
    path, place = tmp_path / "x.state", tmp_path / "made"
    write({"step": 0, "model": Harmful(str(place))}, path)
    with pytest.raises(InputError, match=r"holds more than tensors|not a zip file"):
        slide([1.0], path)
    assert not place.exists()
    pickle.loads(pickle.dumps(Harmful(str(place))))
    assert place.is_dir()  # it would have been


def test_every_flipped_bit_is_named(tmp_path):
    path = tmp_path / "x.state"
    slide([1.0], path)
    whole = path.read_bytes()
    for place in range(0, len(whole), max(len(whole) // 150, 1)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"x\.state' is damaged.*; delete it, and the same"):
            slide([1.0], path)
    path.write_bytes(whole + b"x")
    with pytest.raises(InputError, match="is damaged"):
        slide([1.0], path)


def test_checkpoint_of_an_earlier_version_is_compared_with_the_checksums_of_its_zip(tmp_path):
    path, values = tmp_path / "x.state", {"step": 1, "numbers": torch.arange(1000.0)}
    torch.save(values, path)
    assert checkpoint._read(path)["numbers"].equal(values["numbers"])
    whole = bytearray(path.read_bytes())
    whole[whole.index(values["numbers"].numpy().tobytes()) + 100] ^= 16
    path.write_bytes(whole)
    with pytest.raises(InputError, match="differs from its checksum"):
        checkpoint._read(path)


def test_a_checkpoint_is_a_zip_whose_comment_is_its_checksum(tmp_path):
    path = tmp_path / "x.state"
    slide([1.0], path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        kind, _, digits = archive.comment.decode().partition(":")
    content = path.read_bytes()
    assert kind == "sha256" and content.endswith(digits.encode())
    assert hashlib.sha256(content[:-64] + b"0" * 64).hexdigest() == digits


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 1)]
)
def test_a_signal_saves_the_step_that_runs_and_then_stops(number, status, tmp_path):
    def stop():
        os.kill(os.getpid(), number)

    def in_child():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        trained("maml", tmp_path / "stopped", 2, stop)

    (tmp_path / "stopped").mkdir()
    (tmp_path / "whole").mkdir()
    # Step 2 is none of those after which a checkpoint is due.
    assert in_a_process(in_child) == status
    (state,) = (tmp_path / "stopped").glob("*.state")
    assert torch.load(state, weights_only=True)["step"] == 3
    assert same(trained("maml", tmp_path / "stopped"), trained("maml", tmp_path / "whole"))


def test_a_checkpoint_is_written_when_time_is_up(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(
        "fsdet.training.loop.save_state", lambda path, step, parts: steps.append(step)
    )
    clock = iter(range(0, 1000, 40))
    monkeypatch.setattr("fsdet.training.loop.time.monotonic", lambda: next(clock))
    slide([1.0] * 9, tmp_path / "x", save_every=100, save_seconds=100.0)
    assert steps == [3, 6, 9]
