"""A whole experiment on a small folder of images: outputs, resuming, mistakes."""

import json
import os
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import tiny
from helpers.paths import ROOT
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import fsdet
from fsdet import config as cfg
from fsdet.data.shapes.dataset import SHAPES_SPLITS, write_shapes
from fsdet.data.shots import shot_list
from fsdet.errors import InputError
from fsdet.evaluation.coco import CocoTruth, evaluate
from fsdet.evaluation.detections import DetectionArrays
from fsdet.experiment import extraction, preflight, run, run_folder
from fsdet.experiment.base_run import prepare
from fsdet.experiment.fabric import fabric_of, precision_of
from fsdet.experiment.few_shot_data import open_problem
from fsdet.experiment.report_images import DetectionImages, report_images
from fsdet.experiment.scoring import score
from fsdet.experiment.stages.training import augmentation
from fsdet.model.postprocess import DetectionTable

pytestmark = pytest.mark.slow

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
    """Rows as they are written, without seconds."""
    return json.loads(
        json.dumps([{**row, "adapt_seconds": 0} for row in rows]).replace("NaN", "null")
    )


def test_rows_cover_every_method_shot_count_seed_and_protocol(done):
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


def test_a_run_folder_contains_results_report_losses_and_checkpoints(done):
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
    for stage in {one["stage"] for one in records}:
        events = EventAccumulator(str(folder / "events" / stage))
        events.Reload()
        for mine in (one for one in records if one["stage"] == stage):
            for name in mine.keys() - {"stage", "step"}:
                stored = {e.step: e.value for e in events.Scalars(name)}
                assert stored[mine["step"]] == pytest.approx(mine[name])
    page = (folder / "report.html").read_text()
    assert "nAP50" in page and "prototype" in page and "end_to_end: 2" in page


def test_a_saved_detector_loads_and_registers_a_category(done):
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


def test_shots_of_a_run_are_saved(done):
    problem = tiny.problem()
    files = {path.name for path in (done[0] / "shots").iterdir()}
    assert files == {f"{k}shot-seed{seed}.json" for k in (1, 2) for seed in (0, 1)}
    written = shot_list.load(done[0] / "shots" / "2shot-seed1.json")
    assert (written.split, written.k, written.seed) == ("shapes1", 2, 1)
    assert set(written.ids) == set(problem.split.novel)
    assert all(len(ids) == 2 for ids in written.ids.values())


def test_the_end_to_end_detector_is_saved_beside_the_other(done):
    one, other = fsdet.load(done[0]), fsdet.load(done[0] / "maml-e2e")
    before, after = one.model.state_dict(), other.model.state_dict()
    assert before.keys() == after.keys() and one.names == other.names
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_meta_training_does_not_change_the_box_branch(done):
    """The box branch of base training has seen more, and regions spliced from two have no box of their own."""

    def layers(stage, kind):
        state = torch.load(done[0] / f"{stage}.state", weights_only=True)["model"]
        return {n.split(f"{kind}.")[1]: t for n, t in state.items() if f"head.{kind}." in n}

    base, mine = layers("base", "boxes"), layers("prototype", "boxes")
    assert base.keys() == mine.keys() and len(base) == 4
    average = torch.load(done[0] / "base.state", weights_only=True)["average"]
    for name, value in mine.items():  # base training ends with its averaged weights
        (there,) = (t for n, t in average.items() if n.endswith(f"head.boxes.{name}"))
        assert torch.equal(value, there)
    moved = layers("prototype", "trunk")
    assert any(not torch.equal(moved[n], t) for n, t in layers("base", "trunk").items())


def test_several_shards_of_test_images_give_the_same_rows(done, tmp_path, monkeypatch):
    folder, rows = done
    shutil.copytree(folder, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("test-*.safetensors"):
        path.unlink()
    monkeypatch.setattr(extraction, "SHARD_BYTES", 3 * 12 * 2 * (16 * 49 + 64 + 128))
    again = run(cfg.load(folder / "config.yaml", [f"run={tmp_path / 'copy'}"]))
    assert len(list((tmp_path / "copy").glob("test-*.safetensors"))) == 3  # 8 images, 3 a file
    # Regions that go through a layer together are added up in another order.
    for one, other in zip(again, rows, strict=True):
        assert one["AP50"] == pytest.approx(other["AP50"], abs=0.1)


@pytest.mark.parametrize("subset", ["train", "test"])
def test_changed_data_are_refused(done, data, tmp_path, subset):
    """Stored files refer to images and boxes by index."""
    folder, _ = done
    shutil.copytree(folder, tmp_path / "run")
    shutil.copytree(data, tmp_path / "data")
    (place,) = (tmp_path / "data" / "annotations").glob(f"*{subset}.json")
    content = json.loads(place.read_text())
    content["annotations"][0]["bbox"][2] -= 1
    place.write_text(json.dumps(content))
    config = tiny.config(*words(data, tmp_path / "run"))
    problem = open_problem(config.data)
    run_folder.claim(
        tmp_path / "run",
        config,
        run_folder.data_fingerprints({"train": problem.train, "test": problem.test}),
    )
    changed = open_problem(replace(config.data, root=str(tmp_path / "data")))
    with pytest.raises(InputError, match=f"images or boxes of '{subset}' have changed since"):
        marks = run_folder.data_fingerprints({"train": changed.train, "test": changed.test})
        run_folder.claim(tmp_path / "run", config, marks)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("data.json", "data.json' cannot be read: .*another folder with run="),
        ("test-0.safetensors", "test-0.safetensors' is damaged: .*delete it, and the same command"),
        (
            "base.bank.safetensors",
            "base.bank.safetensors' is damaged: .*delete it, and the same command",
        ),
    ],
)
def test_truncated_files_are_named(done, tmp_path, file, said):
    shutil.copytree(done[0], tmp_path / "copy")
    cut = tmp_path / "copy" / file
    cut.write_bytes(cut.read_bytes()[:40])
    with pytest.raises(InputError, match=said):
        run(cfg.load(done[0] / "config.yaml", [f"run={tmp_path / 'copy'}"]))


def test_invalid_fingerprints_are_refused(done, tmp_path):
    shutil.copytree(done[0], tmp_path / "copy")
    (tmp_path / "copy" / "data.json").write_text("[1]")
    with pytest.raises(InputError, match=r"expected fingerprints of the data by name, got \[1\]"):
        run(cfg.load(done[0] / "config.yaml", [f"run={tmp_path / 'copy'}"]))


def test_the_saved_configuration_contains_the_resolved_precision(done):
    assert cfg.load(done[0] / "config.yaml").precision == "32-true"
    assert precision_of(tiny.config("precision=auto", "device=cpu")) == "32-true"  # on every CPU
    assert precision_of(tiny.config("precision=bf16-mixed", "device=cpu")) == "bf16-mixed"


def test_products_of_32_bits_are_rounded_on_a_gpu_only_beside_bf16():
    cuda, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = cuda.allow_tf32, convolutions.allow_tf32
    for precision, allowed in (("bf16-mixed", True), ("32-true", False)):
        fabric_of(tiny.config(f"precision={precision}"), {})
        assert (cuda.allow_tf32, convolutions.allow_tf32) == (allowed, allowed)
    cuda.allow_tf32, convolutions.allow_tf32 = before


def test_configured_augmentation_replaces_the_default(data):
    flip = "train.transforms=[{name: HorizontalFlip, args: {p: 1.0}}]"
    image, target = open_problem(tiny.config(f"data.root={data}").data).train[0]
    flipped, moved = augmentation(tiny.config(flip))(image, target, 0)
    np.testing.assert_array_equal(flipped, image[:, ::-1])
    width = image.shape[1]
    torch.testing.assert_close(moved["boxes"][:, [2, 0]], width - target["boxes"][:, [0, 2]])


def test_a_finished_run_reuses_its_files_and_gives_the_same_rows(done):
    folder, rows = done
    states = {path: path.stat().st_mtime_ns for path in folder.rglob("*.state")}
    stored = {path: path.stat().st_mtime_ns for path in folder.rglob("*.bank.safetensors")}
    assert len(states) == 4 and len(stored) == 4
    again = run(cfg.load(folder / "config.yaml"))
    assert timeless(again) == timeless(rows)
    assert all(path.stat().st_mtime_ns == time for path, time in (states | stored).items())


def test_a_saved_configuration_reproduces_the_rows(done, tmp_path):
    folder, rows = done
    config = cfg.load(folder / "config.yaml", [f"run={tmp_path / 'second'}"])
    assert timeless(run(config)) == timeless(rows)


def test_retraining_a_head_gives_the_same_rows(done, tmp_path):
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


def test_a_baseline_with_other_arguments_is_trained_again(done, tmp_path):
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
        (["train.transforms=[{name: Flop}]"], "albumentations has no 'Flop'"),
        (["device=cuda"], "device: 'cuda' is not available"),
        (
            ["data.split={root}/splits.yaml:one"],
            "two base categories with objects in two images.*:one' has 1",
        ),
    ],
)
def test_mistakes_are_refused_before_training(data, tmp_path, more, said):
    if more == ["device=cuda"] and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    (tmp_path / "splits.yaml").write_text("one: {novel: [gear, tee], base: [drop]}\n")
    more = [word.replace("{root}", str(tmp_path)) for word in more]
    with pytest.raises(InputError, match=said):
        run(tiny.config(*words(data, tmp_path / "run", *more)))
    assert not list(tmp_path.rglob("*.state"))


def test_a_refused_run_does_not_bind_its_folder(data, tmp_path):
    with pytest.raises(InputError, match=r"backbone\.weights"):
        run(tiny.config(*words(data, tmp_path, "detector.backbone.weights=a.pth")))
    with pytest.raises(InputError, match=r"backbone\.weights: .*'b.pth'"):
        run(tiny.config(*words(data, tmp_path, "detector.backbone.weights=b.pth")))


def test_the_command_prints_a_mistake_in_one_line():
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
        (["--config", "configs/quikstart.yaml"], "did you mean 'quickstart'"),
        (["evaluate.shots=[9000]", "run={run}"], "boxes to draw from, fewer than 9000 shots"),
        (["train.steps"], "expected key=value, as in train.steps=600; got 'train.steps'"),
    ],
)
def test_the_command_refuses_mistakes_before_it_writes(given, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["train.py", *(word.format(run=tmp_path) for word in given)])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(ROOT / "tools" / "train.py"), run_name="__main__")
    output, errors = capsys.readouterr()
    assert (left.value.code, output) == (2, "")
    assert errors.startswith("error: ") and said in errors and errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def scored(done, data):
    """A scored head of a run, its problem and its configuration."""
    base_run = prepare(tiny.config(*words(data, done[0])))
    head = base_run.trained_head(base_run.config.head).cpu()
    return (
        score("maml", head, base_run.features, base_run.problem, base_run.config),
        base_run.problem,
        base_run.config,
    )


def test_returned_detections_reproduce_the_scores(done, scored):
    made, problem, _ = scored
    assert timeless(made.rows) == timeless([row for row in done[1] if row["method"] == "maml"])
    names = problem.split.base + problem.split.novel
    assert list(made.detections) == [1, 2] and list(made.scores) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    for k, found in made.detections.items():
        again = evaluate(CocoTruth(problem.test, names), DetectionArrays.of(found))
        np.testing.assert_array_equal(again.ap50, made.scores[k, 0].ap50)


def test_report_images_agree_with_the_rows(scored):
    made, problem, config = scored
    tested, overlays = report_images(made, problem, config)
    rows = [r for r in made.rows if r["shots"] == tested.shots and r["protocol"] == "novel"]
    assert (tested.method, tested.shots, len(rows)) == ("maml", 2, 2)
    for name in problem.split.novel:
        measured = [row["per_class"][name] for row in rows]
        means = 100 * tested.precision[name].mean(axis=1)
        np.testing.assert_allclose(means, [np.nan if m is None else m for m in measured])
        gallery = tested.galleries[name]
        assert len(gallery.shots) == 2 and all(crop.mistake for crop in gallery.mistakes)
        scores = [crop.score for crop in gallery.detections]
        assert scores == sorted(scores, reverse=True)
    boxes = np.bincount(problem.test.labels, minlength=21)[1:]
    by_name = dict(zip(problem.test.classes, boxes, strict=True))
    totals = tested.counts[1:-1].sum(axis=1)
    assert totals.tolist() == [by_name[name] for name in tested.names]
    assert len(overlays) == len(tested.best) == 2
    shown = [caption for caption, _ in (*tested.best, *tested.worst)]
    assert len(set(shown)) == len(shown) and set(shown) <= set(map(str, problem.test.paths))


def test_errors_of_wrong_detections_are_named(scored):
    """Boxes placed by hand around one object of the test."""
    _, problem, _ = scored
    test, names = problem.test, problem.split.base + problem.split.novel
    row = next(
        r for r in range(len(test.ids)) if test.classes[test.labels[r] - 1] in problem.split.novel
    )
    image, name = int(test.image_of([row])[0]), test.classes[test.labels[row] - 1]
    x1, y1, x2, y2 = test.boxes[row]
    other = next(n for n in problem.split.novel if n != name)
    far = [0.0, 0.0, 1.0, 1.0]
    part = [x1, y1, x1 + (x2 - x1) * 0.3, y2]
    rows = [(name, 0.9, [x1, y1, x2, y2]), (name, 0.8, [x1, y1, x2, y2]), (name, 0.7, part),
            (name, 0.6, far), (other, 0.9, [x1, y1, x2, y2]), (other, 0.8, part)]  # fmt: skip
    detections = DetectionTable(
        torch.full((6,), image),
        torch.tensor([box for *_, box in rows]),
        torch.tensor([names.index(n) + 1 for n, *_ in rows]),
        torch.tensor([score for _, score, _ in rows]),
    )
    images = DetectionImages.match(detections, problem)
    mistakes = [crop.mistake for crop in images.gallery(name, problem.train, []).detections]
    assert mistakes == ["", "found already", "badly placed", "background"]
    gallery = images.gallery(other, problem.train, [])
    assert [crop.mistake for crop in gallery.detections] == [name, f"partly {name}"]
    assert image in images.best_first() and gallery.mistakes == []


def test_novel_categories_without_a_test_box_are_named(data, tmp_path, caplog):
    config = tiny.config(*words(data, tmp_path / "run"))
    problem = open_problem(config.data)
    for images in (range(len(problem.test)), [0, 1]):
        caplog.clear()
        test = problem.test.subset(list(images))
        preflight.check(replace(problem, test=test), config, [config.head])
        shown = {test.classes[label - 1] for label in test.labels}
        untested = [name for name in problem.split.novel if name not in shown]
        assert untested and f"novel category {', '.join(untested)}" in caplog.text
