"""A whole experiment on a small folder of images: what it leaves, what it does twice, what it refuses."""

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import fsdet
from fsdet import config as cfg
from fsdet.data.shapes import SHAPES_SPLITS, write_shapes
from fsdet.errors import InputError
from fsdet.experiment import run

ROOT = Path(__file__).parent.parent
NUMBERS = ["AP", "AP50", "AP75", "bAP", "bAP50", "bAP75", "nAP", "nAP50", "nAP75"]
METHODS = ["maml", "cosine", "prototype", "maml-e2e"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_shapes(folder, train=40, test=8)
    return folder


def words(data, folder, *more):
    given = [f"data.root={data}", f"run={folder}", "meta.end_to_end=2", "train.steps=3"]
    return [*given, "meta.steps=3", "train.ema=0.5", *more]


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    """A run folder, and the rows that `run` returned."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    return folder, run(tiny.config(*words(data, folder)))


def timeless(rows):
    """Rows as they are written, without what a clock says."""
    return json.loads(
        json.dumps([{**row, "adapt_seconds": 0} for row in rows]).replace("NaN", "null")
    )


def test_there_is_a_row_for_every_method_shot_count_seed_and_protocol(done):
    folder, rows = done
    stored = json.loads((folder / "results.json").read_text())
    assert timeless(stored) == timeless(rows)
    measured = [(row["method"], row["shots"], row["seed"], row["protocol"]) for row in stored]
    cases = [(k, seed, p) for k in (1, 2) for seed in (0, 1) for p in ("all", "novel")]
    assert measured == [(m, *case) for m in METHODS for case in ((0, 0, "all"), *cases)]
    about = ["method", "data", "split", "shots", "seed", "protocol"]
    novel = set(SHAPES_SPLITS["shapes1"])
    for row in stored:
        assert set(row) == {*about, *NUMBERS, "adapt_seconds", "per_class"}
        assert row["split"] == "shapes1" and row["adapt_seconds"] >= 0
        assert all(row[name] is None or 0 <= row[name] <= 100 for name in NUMBERS)
        kinds = set(row["per_class"])
        assert len(kinds) == {0: 15}.get(row["shots"], 20 if row["protocol"] == "all" else 5)
        assert (kinds & novel == novel) == (row["shots"] > 0)
        assert (row["bAP"] is None) == (row["protocol"] == "novel")
        assert (row["nAP"] is None) == (row["shots"] == 0)


def test_a_run_folder_holds_all_that_there_is_to_know(done):
    folder, _ = done
    names = {path.name for path in folder.iterdir()}
    expected = {"config.yaml", "results.json", "detector.safetensors", "report.html", "report.md"}
    assert expected | {"losses.jsonl", "events", "base.state", "maml-e2e"} <= names
    assert not [name for name in names if name.startswith(".")]
    records = [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]
    assert [(r["stage"], r["step"]) for r in records] == [
        (stage, step)
        for stage, last in (("base", 2), ("maml", 2), ("prototype", 2), ("maml-e2e", 1))
        for step in (0, last)
    ]
    events = EventAccumulator(str(folder / "events"))
    events.Reload()
    for record in records:
        for name in record.keys() - {"stage", "step"}:
            stored = {e.step: e.value for e in events.Scalars(f"{record['stage']}/{name}")}
            assert stored[record["step"]] == pytest.approx(record[name])
    page = (folder / "report.html").read_text()
    assert "nAP50" in page and "prototype" in page and "end_to_end: 2" in page


def test_the_detector_of_a_run_is_loaded_and_takes_a_category_more(done):
    detector = fsdet.load(done[0])
    problem = tiny.problem()
    assert detector.names == problem.split.base
    found = detector.predict(problem.test.image(0), threshold=0.0)
    assert found and {one.name for one in found} <= set(detector.names)
    detector.register(
        "mine", [problem.train.image(0)], [problem.train.boxes[problem.train.rows(0)]]
    )
    assert detector.names == (*problem.split.base, "mine")
    assert detector.predict(problem.test.image(0), threshold=0.0)


def test_the_same_run_again_gives_the_same_rows(done):
    folder, rows = done
    states = {path: path.stat().st_mtime_ns for path in folder.rglob("*.state")}
    stored = {path: path.stat().st_mtime_ns for path in folder.rglob("*.bank.safetensors")}
    assert len(states) == 4 and len(stored) == 4
    again = run(cfg.load(folder / "config.yaml"))
    assert timeless(again) == timeless(rows)
    assert all(path.stat().st_mtime_ns == time for path, time in (states | stored).items())


def test_its_config_alone_gives_the_same_rows_in_another_folder(done, tmp_path):
    folder, rows = done
    config = cfg.load(folder / "config.yaml", [f"run={tmp_path / 'second'}"])
    assert timeless(run(config)) == timeless(rows)


def test_a_run_that_lost_a_head_trains_it_to_the_same_numbers(done, tmp_path):
    folder, rows = done
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "prototype.state").unlink()
    more = ["baselines=[{name: prototype}]", f"run={tmp_path / 'copy'}"]
    again = run(cfg.load(folder / "config.yaml", more))
    assert timeless(again) == timeless([row for row in rows if row["method"] != "cosine"])


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("train.steps=4", "holds a run with train.steps=3, not 4.*another folder with run="),
        ("head.args.steps=3", "holds a run with head.args="),
        ("data.split=shapes2", "holds a run with data.split=shapes1, not shapes2"),
        ("seed=1", "holds a run with seed=0, not 1"),
        ("evaluate.base_shots=3", "holds a run with evaluate.base_shots=2, not 3"),
    ],
)
def test_another_configuration_in_the_same_folder_is_refused(done, data, word, said):
    before = (done[0] / "config.yaml").read_text()
    with pytest.raises(InputError, match=said):
        run(tiny.config(*words(data, done[0], word)))
    assert (done[0] / "config.yaml").read_text() == before


def test_a_baseline_with_other_arguments_is_not_taken_for_the_one_that_was_trained(done, tmp_path):
    folder, rows = done
    shutil.copytree(folder, tmp_path / "copy")
    more = ["baselines=[{name: prototype, args: {scale: 3.0}}]", "meta.end_to_end=2"]
    again = run(cfg.load(folder / "config.yaml", [f"run={tmp_path / 'copy'}", *more]))
    assert (tmp_path / "copy" / "prototype,scale=3.0.state").is_file()
    assert timeless([r for r in again if r["method"] == "maml"]) == timeless(
        [r for r in rows if r["method"] == "maml"]
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["data.test=train"], "40 images are in 'train' and in 'train', the first 'images/train/"),
        (["data.split=shapes9"], "no built-in split is called 'shapes9'"),
        (["data.train=trian"], "trian"),
        (["evaluate.shots=[1,500]"], r"category '\w+' has \d+ boxes.*fewer than 500 shots"),
        (["head.name=mmal"], "head.name: no head 'mmal'; did you mean 'maml'"),
        (["head.args.stesp=3"], "head.args.stesp: 'maml' has no such argument.*'steps'"),
        (["baselines=[{name: cosine, args: {scal: 1}}]"], "head.args.scal: 'cosine' has no such"),
        (["device=cuda"], "device: 'cuda' asked for and there is none"),
    ],
)
def test_what_cannot_be_done_is_said_before_training(data, tmp_path, more, said):
    if more == ["device=cuda"] and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match=said):
        run(tiny.config(*words(data, tmp_path / "run", *more)))
    assert not list(tmp_path.rglob("*.state"))


def test_a_run_that_was_refused_does_not_keep_its_folder(data, tmp_path):
    with pytest.raises(InputError, match=r"backbone\.weights"):
        run(tiny.config(*words(data, tmp_path, "detector.backbone.weights=a.pth")))
    with pytest.raises(InputError, match=r"backbone\.weights: .*'b.pth'"):
        run(tiny.config(*words(data, tmp_path, "detector.backbone.weights=b.pth")))


def test_the_tool_names_a_mistake_in_one_line():
    process = subprocess.run(
        [sys.executable, ROOT / "tools" / "train.py", "train.stepz=3"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    said = "error: 'train.stepz=3': no key 'train.stepz' in the configuration"
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr == f"{said}; did you mean 'train.steps'?\n"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--config", "configs/quikstart.yaml"], "did you mean 'configs/quickstart.yaml'"),
        (["evaluate.shots=[9000]", "run={run}"], "boxes to draw from, fewer than 9000 shots"),
        (["train.steps"], "expected key=value, as in train.steps=600; got 'train.steps'"),
    ],
)
def test_the_tool_says_what_is_wrong_before_it_does_anything(
    given, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["train.py", *(word.format(run=tmp_path) for word in given)])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(ROOT / "tools" / "train.py"), run_name="__main__")
    output, errors = capsys.readouterr()
    assert (left.value.code, output) == (2, "")
    assert errors.startswith("error: ") and said in errors and errors.count("\n") == 1
    assert not list(tmp_path.iterdir())
