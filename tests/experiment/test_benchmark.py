"""Benchmark on two small base detectors: tables, caching, invalid plans."""

import csv
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import tiny
from helpers.paths import ROOT

from fsdet import build
from fsdet.config import typed_yaml
from fsdet.data.shapes.dataset import SHAPES_SPLITS, write_shapes
from fsdet.errors import InputError
from fsdet.experiment.base_run import prepare
from fsdet.experiment.benchmark import run as benchmark_run
from fsdet.experiment.benchmark.plan import BaseDetector, Method, Plan, configs, load
from fsdet.experiment.benchmark.run import ROWS, TRIALS, benchmark
from fsdet.experiment.benchmark.search import Trial, average_precision, best_trial, tune
from fsdet.heads.base import Head
from fsdet.heads.layers import RegionShape
from fsdet.report import benchmark_page, ranking

pytestmark = pytest.mark.slow

CONFIGS = ROOT / "configs" / "benchmark"
METHODS_FILE = CONFIGS / "methods.yaml"
METHODS_FILES = sorted(CONFIGS.glob("*methods.yaml"))
METHODS = """
methods:
  - {name: prototype, search: {share: [1.2, 4.0], scale: [10.0, 20.0]}}
  - {name: cosine, args: {steps: 5}, search: {steps: [5, 9]}}
  - {name: cosine, args: {steps: 5}, calibration: 0.5}
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    write_shapes(folder / "data", train=40, test=8)
    (folder / "tiny.yaml").write_text(tiny.SETTINGS + "run: x\n")
    detectors = "".join(
        f"\n  - {{config: {folder / 'tiny.yaml'}, words: [data.split={split}]}}"
        for split in ("shapes1", "shapes2")
    )
    (folder / "plan.yaml").write_text(f"detectors:{detectors}{METHODS}")
    words = [f"run={folder / 'run'}", f"words=[data.root={folder / 'data'},train.steps=3]"]
    more = ["shots=[1,2]", "seeds=2", "trials=2", "episodes=3", "trial_share=0.5"]
    return load([folder / "plan.yaml"], [*words, *more])


@pytest.fixture(scope="module")
def rows(plan):
    return benchmark(plan)


@pytest.fixture
def in_process(monkeypatch):
    """Cells are computed in this process: a new one imports PyTorch for seconds."""
    monkeypatch.setattr(benchmark_run, "process_pool", ThreadPoolExecutor)


def test_rows_cover_every_method_detector_shot_count_and_seed(plan, rows):
    folder = Path(plan.run)
    stored = json.loads((folder / "benchmark.json").read_text())
    assert len(stored) == len(rows) == 2 * 3 * (1 + 2 * 2 * 2)
    assert {(r["split"], r["method"]) for r in stored} == {
        (split, method)
        for split in ("shapes1", "shapes2")
        for method in ("prototype", "cosine", "cosine+pcb")
    }
    with (folder / "benchmark.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [(r["method"], r["seed"]) for r in table] == [
        (r["method"], str(r["seed"])) for r in stored
    ]
    costs = {r["method"]: r["meta_seconds"] for r in stored}
    assert costs["prototype"] > 0 and costs["cosine"] == 0
    assert all(r["parameters"] > 0 and r["task_megabytes"] > 0 for r in stored)


def test_every_method_is_tuned_once_per_data_set_with_the_same_budget(plan, rows):
    folder = Path(plan.run)
    places = {path.parent.name: path for path in folder.rglob(TRIALS)}
    assert set(places) == {"prototype", "cosine"}  # nothing to choose of the third
    assert not list((folder / "tiny-shapes2").rglob(TRIALS))
    for place in places.values():
        kept = json.loads(place.read_text())
        assert len(kept["result"]) == 2 and all(0 <= one["score"] <= 100 for one in kept["result"])
        novel = {*SHAPES_SPLITS["shapes1"], *SHAPES_SPLITS["shapes2"]}
        assert not novel & set(kept["key"]["classes"])
        assert len(kept["key"]["classes"]) == 10
    trials = json.loads(places["prototype"].read_text())["result"]
    best = max(trials, key=lambda trial: trial["score"])["args"]
    cell = json.loads((folder / "tiny-shapes2" / "cells" / "prototype" / ROWS).read_text())
    assert cell["key"]["head"]["args"] == best


def test_a_second_run_computes_only_missing_damaged_and_outdated_cells(plan, rows, in_process):
    folder = Path(plan.run)
    lost, cut, old, *kept = sorted(folder.rglob(ROWS))
    before = {path: path.stat().st_mtime_ns for path in kept}
    cut.write_text(cut.read_text()[:50])
    lost.unlink()
    content = json.loads(old.read_text())
    content["key"]["head versions"]["Head"] -= 1
    old.write_text(json.dumps(content))
    again = benchmark(plan)
    timed = ("adapt_seconds", "meta_seconds")
    assert [{k: v for k, v in r.items() if k not in timed} for r in again] == [
        {k: v for k, v in r.items() if k not in timed} for r in rows
    ]
    costs = {r["method"]: r["meta_seconds"] for r in again}
    assert costs["prototype"] > 0  # trained again, not read
    assert lost.is_file() and json.loads(cut.read_text())["result"]
    assert json.loads(old.read_text())["key"]["head versions"]["Head"] == Head.version
    assert all(path.stat().st_mtime_ns == before[path] for path in kept)


def test_other_seeds_and_shots_reuse_the_tuned_arguments(plan, rows, tmp_path, in_process):
    copy = shutil.copytree(plan.run, tmp_path / "run")
    tuned = {path: path.stat().st_mtime_ns for path in copy.rglob(TRIALS)}
    more = benchmark(replace(plan, run=str(copy), shots=[2], seeds=3))
    assert {path: path.stat().st_mtime_ns for path in copy.rglob(TRIALS)} == tuned
    known = {(r["method"], r["split"], r["seed"], r["protocol"]): r for r in more if r["shots"]}
    assert len(known) == 3 * 2 * 3 * 2
    for row in rows:
        if row["shots"] == 2:
            mine = known[row["method"], row["split"], row["seed"], row["protocol"]]
            assert (mine["args"], mine["nAP50"]) == (row["args"], row["nAP50"])


def test_a_diverged_trial_is_never_best():
    bad, low, high = Trial({"a": 1}, None, 1.0), Trial({"a": 2}, 50.0, 1.0), Trial({}, 60.0, 1.0)
    assert best_trial([bad, low, high, high]) is high
    with pytest.raises(InputError, match="all 1 trials diverged"):
        best_trial([bad])


def test_candidates_are_distinct_points_of_the_search_grid():
    method = Method("maml", args={"share": 2.0}, search={"steps": [1, 2], "test_steps": [3, 4]})
    found = method.candidates(9, 0)
    assert {(c["share"], c["steps"], c["test_steps"]) for c in found} == {
        (2.0, 1, 3),
        (2.0, 1, 4),
        (2.0, 2, 3),
        (2.0, 2, 4),
    }
    assert len(found) == 4 and method.candidates(3, 0) == found[:3]
    assert method.candidates(1, 0) == [{"share": 2.0}] and Method("maml").candidates(3, 0) == [{}]


def test_average_precision_by_hand():
    scores = torch.tensor([0.9, 0.8, 0.7, 0.1])
    positive = torch.tensor([True, False, True, False])
    assert average_precision(scores, positive) == pytest.approx((1 + 2 / 3) / 2)


def test_the_ranking_names_ties():
    def row(method, seed, value, seconds):
        about = {"data": "d", "split": "s", "shots": 1, "seed": seed, "protocol": "all"}
        return about | {"method": method, "nAP50": value, "adapt_seconds": seconds}

    rows = [row("a", s, 50 + s, 1.0) for s in range(3)]
    rows += [row("b", s, 50 + s + (-1) ** s, 0.5) for s in range(3)]
    rows += [row("c", s, 40 + s, 0.1) for s in range(3)]
    (first, mean) = ranking(rows)
    assert first.startswith("At 1 shot b is best (nAP50 51.3")
    assert "a tie with it: a; of these b adapts fastest" in first and "c" not in first[30:].split()
    assert mean.startswith("On the mean over shots b")


def test_the_report_ranks_by_mean_and_has_a_panel_per_family(plan, rows, tmp_path):
    families = {"prototype": "metric", "cosine": "baselines", "cosine+pcb": "baselines"}
    table = benchmark_page.ranked(rows, "cosine")
    assert table[0][:4] == ["method", "1", "2", "mean"] and len(table) == 4
    means = [float(line[3].split()[0]) for line in table[1:]]
    assert means == sorted(means, reverse=True)
    mine = [r for r in rows if (r["method"], r["protocol"]) == ("prototype", "all") and r["shots"]]
    (line,) = (line for line in table if line[0] == "prototype")
    assert float(line[3].split()[0]) == round(np.mean([r["nAP50"] for r in mine]), 1)
    assert len(benchmark_page.by_split(rows)[0]) == 3
    costs = {line[0]: line for line in benchmark_page.costs(rows, families)[1:]}
    assert costs["prototype"][1] == "metric" and costs["prototype"][-1] == mine[0]["args"]
    differences = {line[0]: line for line in benchmark_page.against_baseline(rows, "cosine")}
    assert differences["nAP50, paired"][1:] == ["1", "2", "mean"]
    theirs = [r for r in rows if (r["method"], r["protocol"]) == ("cosine", "all") and r["shots"]]
    gain = np.mean([a["nAP50"] - b["nAP50"] for a, b in zip(mine, theirs, strict=True)])
    assert float(differences["prototype"][3].split()[0]) == pytest.approx(gain, abs=0.051)
    facts = {"device": "<some>"}
    page = benchmark_page.write(tmp_path / "r", rows, families, "cosine", "a: 1", facts, "python x")
    html, words = page.read_text(), page.with_suffix(".md").read_text()
    assert html.count("<svg") == 2 and "&lt;some&gt;" in html and "**Splits**" in words
    for method in ("prototype", "TFA (cosine)", "cosine+pcb"):
        assert method in html and method in words
    wide = benchmark_page.text(rows, "cosine").splitlines()
    assert max(map(len, wide)) <= 100 and "prototype" in "\n".join(wide)


def test_a_benchmark_of_the_baseline_at_one_shot_count_has_a_report(rows, tmp_path):
    mine = [r for r in rows if r["method"] == "cosine" and r["shots"] in (0, 1)]
    mine = [r for r in mine if r["split"] == mine[0]["split"]]
    page = benchmark_page.write(
        tmp_path, mine, {"cosine": "baselines"}, "cosine", "a: 1", {}, "python `x`"
    )
    words = page.with_suffix(".md").read_text()
    assert "`````sh\npython `x`\n`````" in words and "Splits" not in words
    assert benchmark_page.against_baseline(mine, "cosine") == [["nAP50, paired"]]
    assert [line[0] for line in benchmark_page.ranked(mine, "cosine")] == ["method", "TFA (cosine)"]


@pytest.mark.parametrize("methods_file", METHODS_FILES, ids=lambda p: p.stem)
@pytest.mark.parametrize(
    "path",
    [p for p in sorted(CONFIGS.glob("*.yaml")) if p not in METHODS_FILES],
    ids=lambda p: p.stem,
)
def test_plans_in_configs_are_valid_and_contain_every_head(path, methods_file):
    plan = load([methods_file, path])
    if methods_file == METHODS_FILE:
        assert {method.name for method in plan.methods} == set(build.HEADS) - {"beside"}
    for method in plan.methods:
        candidates = method.candidates(plan.trials, plan.seed)
        assert len(candidates) == plan.trials  # each has the same budget
        for args in candidates:
            build.head(method.spec(args), RegionShape(4, 3, (5,)), 8, 3)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("methods=[]", "methods: expected at least one"),
        ("seeds=0", "seeds: expected at least 1, got 0"),
        ("trial_share=0", "trial_share: expected above 0, got 0"),
        ("baseline=cosin", "baseline: 'cosin' is not one of the methods prototype, cosine"),
        ("methods=[{name: maml}, {name: maml}]", "methods: 'maml' is listed 2 times"),
        (
            "methods=[{name: cosine, search: {scale: 3}}]",
            "methods.0.search.scale: expected a list in brackets",
        ),
        ("methdos=[]", "no key 'methdos' in the configuration; did you mean 'methods'"),
    ],
)
def test_invalid_plans_are_refused(plan, tmp_path, word, said):
    typed_yaml.save(plan, tmp_path / "plan.yaml")
    with pytest.raises(InputError, match=said):
        load([tmp_path / "plan.yaml"], [word])


def test_mistakes_are_refused_before_training(plan, tmp_path):
    asked = typed_yaml.read(Plan, [])
    asked.detectors, asked.words, asked.shots = plan.detectors, plan.words, [1]
    asked.run, asked.methods = str(tmp_path), [Method("cosine", search={"scal": [1.0]})]
    with pytest.raises(InputError, match=r"head\.args\.scal: 'cosine' has no such argument"):
        benchmark(asked)
    assert not list(tmp_path.rglob("*.state"))
    asked.detectors = [plan.detectors[0], plan.detectors[0]]
    with pytest.raises(InputError, match=r"detectors, 'x.yaml': no .* words=\[key=value"):
        configs(replace(asked, detectors=[BaseDetector("x.yaml")]))
    with pytest.raises(
        InputError, match=r"words: 'evaluate.seeds=3' belongs to the plan itself: seeds=3"
    ):
        configs(replace(asked, words=[*plan.words, "evaluate.seeds=3"]))
    with pytest.raises(InputError, match="detectors: two have the file name"):
        benchmark(asked)


def test_beside_is_tuned_on_chimeras_which_are_none_of_its_kept_rows(tmp_path):
    write_shapes(tmp_path / "data", train=40, test=2)
    words = [f"run={tmp_path / 'run'}", f"data.root={tmp_path / 'data'}", "train.steps=3"]
    base = prepare(tiny.config(*words))
    arguments = [{"scale": 10.0}, {"scale": 20.0}]
    trials = tune(base, Method("beside"), arguments, 0.5, 2, base.problem.split.base)
    assert [trial.args for trial in trials] == arguments
    assert all(trial.score is not None and 0 < trial.score <= 100 for trial in trials)
