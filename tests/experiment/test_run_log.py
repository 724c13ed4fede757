"""Run log: curves of resumed trainings, estimates of the time left, durations."""

import logging
import time
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fsdet.experiment import run_log
from fsdet.experiment.run_log import LossLog
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


def test_a_long_training_logs_the_time_left_once(tmp_path, monkeypatch, caplog):
    clock = iter(range(0, 10_000, 600))
    monkeypatch.setattr(run_log, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    caplog.set_level(logging.WARNING, "fsdet")
    for first, steps in ((0, 200), (100, 110), (0, 15)):
        with LossLog(tmp_path).record("base", steps) as log:
            for step in range(first, steps):
                log(step, {"loss": 1.0})
    (record,) = caplog.records  # 20 steps in 600 s; the others ended before or have no steps left
    text = "base: 21 of 200 steps done, the other 179 take about 1 h 30 min"
    assert record.getMessage() == text


def test_a_short_training_does_not_log_the_time_left(tmp_path, caplog):
    with LossLog(tmp_path).record("base", 40) as log:
        for step in range(40):
            log(step, {"loss": 1.0})
    assert not caplog.records
