"""Run log: curves of resumed trainings, estimates of the time left, durations."""

import logging
import time
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fsdet.experiment import run_log
from fsdet.experiment.run_log import Clock, LossLog, log_to
from fsdet.progress import duration


def test_a_resumed_training_has_one_loss_curve(tmp_path):
    losses = LossLog(tmp_path)
    for steps in (range(20), range(10, 30)):  # killed at 20, its last checkpoint that of 10
        with losses.record("base", 30) as log:
            for step in steps:
                log(step, {"loss": float(steps.start)})
        time.sleep(
            1.01
        )  # files of events are read in the order of the second that is in their names
    events = EventAccumulator(str(tmp_path / "events" / "base"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [
        (step, 10.0 * (step >= 10)) for step in (0, 5, 10, 15, 20, 25, 29)
    ]
    assert [r["step"] for r in losses.records] == [0, 5, 10, 15, 20, 25, 29]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (59 * 60, "59 min"), (61 * 60, "1 h 1 min")],
)
def test_duration_as_text(seconds, text):
    assert duration(seconds) == text


def test_a_long_training_logs_how_far_it_is(tmp_path, monkeypatch, caplog):
    clock = iter(range(0, 10_000, 25))  # a step takes 25 s, a message comes every 60 s
    monkeypatch.setattr(run_log, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    caplog.set_level(logging.INFO, "fsdet")
    with LossLog(tmp_path).record("base", 200) as log:
        for step in range(100, 107):
            log(step, {"loss": 0.25})
    texts = [record.getMessage() for record in caplog.records]
    assert texts == [
        "base: step 104 of 200, loss 0.250, about 40 min left",
        "base: step 107 of 200, loss 0.250, about 39 min left",
    ]


def test_a_short_training_is_silent(tmp_path, caplog):
    caplog.set_level(logging.INFO, "fsdet")
    with LossLog(tmp_path).record("base", 40) as log:
        for step in range(40):
            log(step, {"loss": 1.0})
    assert not caplog.records


def test_a_stage_is_logged_when_it_ends(monkeypatch, caplog):
    clock = iter([0, 61, 100, 130])
    monkeypatch.setattr(run_log, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    caplog.set_level(logging.INFO, "fsdet")
    for clock_of_run in (Clock(), Clock(writes=False)):
        with clock_of_run.time("scoring"):
            assert not caplog.records or not clock_of_run.writes
    assert [record.getMessage() for record in caplog.records] == ["scoring: 61 s"]


def test_messages_go_to_the_file_of_the_last_run_alone(tmp_path, caplog):
    caplog.set_level(logging.INFO, "fsdet")
    logger, folders = logging.getLogger("fsdet"), [tmp_path / "a", tmp_path / "b"]
    for n, folder in enumerate(folders):
        folder.mkdir()
        log_to(folder)
        logger.info("run %d", n)
    texts = [(folder / "log.txt").read_text() for folder in folders]
    assert [text.endswith(f" INFO run {n}\n") for n, text in enumerate(texts)] == [True, True]
    assert [len(text.splitlines()) for text in texts] == [1, 1]
