"""Means, intervals and paired differences, computed by hand."""

import math

import pytest
from helpers.report_values import row

from fsdet.errors import InputError
from fsdet.report.statistics import base_changes, paired_differences, summary
from fsdet.report.tables import grids


def test_summary_has_mean_and_student_t_interval():
    rows = [row("maml", 1, seed, value) for seed, value in enumerate([80.0, 82.0, 84.0])]
    rows += [row("maml", 5, seed, value) for seed, value in enumerate([90.0, 90.0, 96.0])]
    one_shot, five_shots, mean = summary(rows)
    assert [group.shots for group in (one_shot, five_shots, mean)] == [1, 5, "mean"]
    assert one_shot.seeds == 3 and one_shot.metrics["nAP50"].mean == pytest.approx(82)
    assert one_shot.metrics["nAP50"].half == pytest.approx(4.302653 * 2 / math.sqrt(3))
    assert mean.metrics["nAP50"].mean == pytest.approx(87)  # of 85, 86 and 90
    assert mean.metrics["nAP50"].half == pytest.approx(4.302653 * math.sqrt(7 / 3))
    assert math.isnan(one_shot.metrics["bAP50"].mean)


def test_later_row_replaces_earlier_one_and_null_is_left_out():
    rows = [row("maml", 1, 0, 10.0), row("maml", 1, 0, 50.0), row("maml", 1, 1, None)]
    nap50 = summary(rows)[0].metrics["nAP50"]
    assert nap50.mean == 50 and math.isnan(nap50.half)


def test_differences_are_paired_by_split_and_seed():
    rows = []
    for seed, (ours, theirs) in enumerate([(60, 59), (80, 78.5), (90, 89.5)]):
        rows += [row("maml", 1, seed, ours), row("cosine", 1, seed, theirs, split="shapes1")]
    rows += [row("maml", 1, 7, 0.0), row("cosine", 1, 0, 0.0, split="shapes2")]  # unpaired
    difference = paired_differences(rows)[0]
    assert difference.seeds == 3 and difference.interval.mean == pytest.approx(1)
    assert difference.interval.half == pytest.approx(4.302653 * 0.5 / math.sqrt(3))
    assert difference.interval.verdict() == "tie"  # 1 ± 1.24
    swapped = paired_differences(rows, baseline="maml")[0]
    assert swapped.interval.mean == pytest.approx(-1)


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [((1.0, 1.2, 0.9), "better"), ((-1.0, -1.2, -0.9), "worse"), ((1.0, -1.0, 0.1), "tie"),
     ((0.0, 0.0, 0.0), "tie"), ((1.0,), "")],
)  # fmt: skip
def test_verdict_of_paired_difference(gains, verdict):
    rows = [row("cosine", 5, seed, 80.0) for seed in range(len(gains))]
    rows += [row("maml", 5, seed, 80.0 + gain) for seed, gain in enumerate(gains)]
    assert {difference.interval.verdict() for difference in paired_differences(rows)} == {verdict}


def test_mean_over_shots_uses_only_seeds_with_every_shot_count():
    rows = [row("maml", shots, seed, 10.0 * shots) for shots in (1, 3) for seed in (0, 1)]
    rows += [row("maml", 3, 2, 99.0)]
    assert summary(rows)[-1].seeds == 2
    assert summary(rows)[-1].metrics["nAP50"].mean == pytest.approx(20)


def test_row_without_identifying_key_is_an_input_error():
    with pytest.raises(InputError, match="row 1: expected 'seed'"):
        summary([row("maml", 1, 0, 1.0), {"method": "maml", "data": "d", "split": "s",
                                                 "shots": 1, "protocol": "all"}])  # fmt: skip


def test_base_changes_without_own_row_of_0_shots_use_baseline_or_first_method():
    """A novel stage has no row of 0 shots: it started from the base detector of those that have one."""
    rows = [
        row("prototype", 0, 0, None, "all", bAP50=80.0),
        row("prototype", 1, 0, 5.0, "all", bAP50=79.0),
    ]
    rows += [row("stage", 1, seed, 7.0, "all", bAP50=70.0 + seed) for seed in (0, 2)]
    changes = {change.method: change.interval.mean for change in base_changes(rows)
            if change.shots == 1}  # fmt: skip
    assert changes == pytest.approx({"prototype": -1.0, "stage": -9.0})
    own = row("cosine", 0, 0, None, "all", bAP50=60.0)
    changes = {change.method: change.interval.mean for change in base_changes([*rows, own])
            if change.shots == 1}  # fmt: skip
    assert changes == pytest.approx({"prototype": -1.0, "stage": 11.0})
    title = next(grid.title for grid in grids(rows) if "after registering" in grid.title)
    assert title.endswith("(before: 80.0, prototype)")
