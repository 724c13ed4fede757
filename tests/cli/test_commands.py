"""The commands as a user runs them: on files, with exit statuses, and with every mistake in one line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.commands import run
from helpers.detectors import INKS, empty, knowing, square
from helpers.paths import ROOT
from safetensors.torch import save_file

import fsdet
from fsdet.apps.detect.video import Video
from fsdet.apps.detect.write_video import write_video
from fsdet.cli.main import COMMANDS
from fsdet.cli.program import split_names
from fsdet.data import open_data
from fsdet.data.shots.published_lists import published
from fsdet.data.shots.shot_list import sample
from fsdet.errors import InputError
from fsdet.tracking import FAINT, follow

pytestmark = pytest.mark.slow


def tool_of(command):
    """The file of tools/ that runs a command from a checkout."""
    return ROOT / "tools" / ("check_dataset.py" if command == "check" else f"{command}.py")


def process(command, *arguments):
    """The tool of a command, in a process of its own."""
    return subprocess.run(
        [sys.executable, tool_of(command), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


def write_data(root: Path, subset: str, count: int, first: int) -> None:
    """A COCO folder of pictures with a red and a blue square; every picture has a third, unknown category."""
    images, annotations = [], []
    (root / "images" / subset).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    for n in range(count):
        ink = list(INKS)[n % 2]
        picture, (x1, y1, x2, y2) = square(ink, first + n)
        name = f"{first + n}.png"
        cv2.imwrite(str(root / "images" / subset / name), picture[..., ::-1])
        images.append({"id": n + 1, "file_name": name, "height": 96, "width": 96})
        for category, box in ((n % 2 + 1, [x1, y1, x2 - x1, y2 - y1]), (3, [0, 0, 96, 96])):
            row = {"id": len(annotations) + 1, "image_id": n + 1, "category_id": category}
            area = box[2] * box[3]
            annotations.append(row | {"bbox": box, "area": area, "iscrowd": 0})
    categories = [{"id": n, "name": name} for n, name in enumerate(("red", "blue", "whole"), 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / f"instances_{subset}.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a data set, pictures, a video, and detectors whole and broken."""
    folder = tmp_path_factory.mktemp("tools")
    write_data(folder / "data", "train", 8, 0)
    write_data(folder / "data", "test", 6, 100)
    knowing().save(folder / "run")
    empty("prototype").save(folder / "none")
    content = (folder / "run" / "detector.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(content[: len(content) // 2])
    wider = content.replace(b'\\"width\\": 32', b'\\"width\\": 48')
    (folder / "other.safetensors").write_bytes(wider)
    save_file({"weight": torch.zeros(3)}, folder / "weights.safetensors")
    pictures = folder / "pictures"
    pictures.mkdir()
    for n, name in enumerate(("a.jpg", "b.PNG", "c.tif")):
        whole, encoded = cv2.imencode(Path(name).suffix, square(list(INKS)[n % 2], n)[0][..., ::-1])
        assert whole
        (pictures / name).write_bytes(encoded.tobytes())
    frames = [square("red", 7, side=97)[0]] * 5
    write_video(pictures / "v.mp4", iter(frames), 10)
    (folder / "empty").mkdir()
    (folder / "text.txt").write_text("no picture")
    (folder / "cut.jpg").write_bytes((pictures / "a.jpg").read_bytes()[:900])
    (folder / "cut.mp4").write_bytes((pictures / "v.mp4").read_bytes()[:300])
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_screen(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    status, out, err = run(command, "--help")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"usage: fsdet {command} ")
    assert len(lines) <= 24 and max(map(len, lines)) <= 100


def test_help_without_a_command_lists_all_commands_on_a_screen():
    status, out, err = run("--help")
    assert (status, err) == (0, "") and len(out.splitlines()) <= 24
    assert all(f"\n  {command} " in out for command in COMMANDS)
    assert run()[1] == out


def test_help_does_not_import_torch():
    code = "import sys; sys.argv = ['fsdet', 'detect', '--help']\nfrom fsdet.cli.main import main\n"
    code += "try: main()\nexcept SystemExit: print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert done.stdout.endswith("False\n")


def test_an_unknown_command_is_named_with_the_nearest_one():
    assert run("trian") == (2, "", "error: no command 'trian'; did you mean 'train'?\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_script_has_every_command_and_its_options(shell):
    status, out, err = run("--completion", shell)
    assert (status, err) == (0, "")
    assert all(command in out for command in COMMANDS) and "register-from" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_tools_run_their_command(command):
    text = tool_of(command).read_text()
    assert f'run_command("{command}", ' in text and len(text.splitlines()) < 12


def test_finetune_registers_or_trains_as_told(here, tmp_path):
    words = [here / "none", "--data", here / "data", "--names", "red,blue", "--shots", 3]
    for level, done in (
        ("register", "registered in"),
        ("head", "head, 3 steps in"),
        ("detector", "detector, 3 steps in"),
    ):
        more = ["--level", level, "--steps", 3, "--no-flip", "--out", tmp_path / level]
        status, out, err = run("finetune", *words, *more)
        assert (status, err) == (0, "")
        assert out.startswith(done) and ": red, blue; boxes in 6 photographs\n" in out
        assert out.endswith(f"{level}/detector.safetensors: 2 categories\n")
    detectors = [fsdet.load(tmp_path / name) for name in ("register", "head", "detector")]
    states = [detector.model.state_dict() for detector in detectors]
    for place, changed in ((1, {"head"}), (2, {"head", "rpn", "backbone"})):
        names = {n.split(".")[0] for n, v in states[0].items() if not v.equal(states[place][n])}
        assert names == changed
    image = square("red", 55)[0]
    assert all(detector.predict(image, 0.01) for detector in detectors)


def test_finetune_chooses_the_level_by_left_out_photographs(here, tmp_path):
    words = [here / "none", "--data", here / "data", "--names", "red,blue", "--shots", 3]
    status, out, err = run("finetune", *words, "--steps", 2, "--out", tmp_path / "auto")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("comparing levels on photographs that are left out; 3 parts, about")
    assert [line.split()[0] for line in lines[2:5]] == ["register", "head", "detector"]
    scores = {line.split()[0]: float(line.split()[2]) for line in lines[2:5]}
    chosen = {"registered": "register"}.get(
        lines[5].split(",")[0].split()[0], lines[5].split(",")[0]
    )
    assert scores[chosen] > max(scores.values()) - 2.1  # a point for each costlier level


def test_finetune_of_one_photograph_registers(here, tmp_path):
    words = [here / "none", "--data", here / "data", "--names", "red", "--shots", 1]
    status, out, err = run("finetune", *words, "--out", tmp_path / "one")
    assert (status, err) == (0, "")
    assert out.startswith("level register: one photograph, none to leave out\nregistered in")


def test_finetune_says_what_new_categories_cost_the_old_ones(here, tmp_path):
    data = here / "data"
    words = [
        here / "none",
        "--data",
        data,
        "--names",
        "red",
        "--shots",
        3,
        "--out",
        tmp_path / "red",
    ]
    run("finetune", *words, "--steps", 0)
    words = [tmp_path / "red", "--data", data, "--names", "blue", "--shots", 3, "--steps", 0]
    status, out, err = run("finetune", *words, "--out", tmp_path / "both", "--old", f"{data}:test")
    assert (status, err) == (0, "")
    before, after, change = map(
        float,
        re.search(r"AP50 of 1 old category: (.+) before, (.+) after \((.+)\)", out).groups(),
    )
    assert change == pytest.approx(after - before, abs=0.11)
    for name, number in (("red", before), ("both", after)):
        run("test", tmp_path / name, "--data", data, "--json", tmp_path / "scores.json")
        scores = json.loads((tmp_path / "scores.json").read_text())
        assert scores["categories"]["red"]["AP50"] == pytest.approx(number, abs=0.05)


def test_shots_are_those_that_a_training_draws(here, tmp_path):
    words = [here / "data", "--names", "red,blue", "--shots", 1, 3, "--seeds", 2, "--format"]
    data = open_data(here / "data", "train")
    for kind in ("voc", "coco"):
        status, out, err = run("shots", *words, kind, "--out", tmp_path / kind)
        assert (status, err) == (0, "")
        assert out == f"{tmp_path / kind}: 8 lists of 2 categories, seeds 0 to 1\n"
        for k, seed in ((1, 0), (3, 0), (1, 1), (3, 1)):
            drawn = sample(data, ["red", "blue"], k, seed)
            assert published(tmp_path / kind, data, ["red", "blue"], k, seed) == drawn
    status, _, err = run("shots", *words, "voc", "--shots", 9, "--out", tmp_path)
    assert status == 2 and "has 4 boxes to draw from, fewer than 9 shots" in err


def test_test_scores_what_data_and_detector_share(here, tmp_path):
    words = [here / "run", "--data", here / "data", "--json", tmp_path / "scores.json"]
    status, out, err = run("test", *words)
    assert (status, err) == (0, "left out, not known to the detector: whole\n")
    content = json.loads((tmp_path / "scores.json").read_text())
    assert list(content["categories"]) == ["red", "blue"] and content["images"] == 6
    assert len(content["numbers"]) == 12 and content["numbers"]["APl"] is None
    for name, value in content["numbers"].items():
        assert f"{name} {'-' if value is None else f'{value:.1f}'}" in out
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["red", "blue"]


def test_test_registers_what_the_detector_does_not_know(here):
    words = [here / "none", "--data", here / "data", "--register-from", "train", "--shots", 2]
    status, out, err = run("test", *words)
    assert (status, err) == (0, "") and "whole" in out
    assert run("test", *words) == (status, out, err)
    status, _, err = run("test", here / "run", *words[1:])
    assert status == 0
    status, _, err = run("test", *words[:4], "test", *words[5:])
    assert status == 2 and "one of the images to score on" in err


def test_the_scores_are_those_of_the_detections(here, tmp_path):
    """A detector that finds each box exactly has 100 percent."""

    class Perfect:
        names = ("blue", "red", "other")

        def __init__(self):
            self.data, self.place = open_data(here / "data", "test"), 0

        def predict_many(self, images, threshold):
            found = []
            for image in images:
                np.testing.assert_array_equal(image, self.data.image(self.place))
                rows = self.data.rows(self.place)
                named = zip(self.data.boxes[rows], self.data.labels[rows], strict=True)
                found.append(
                    [fsdet.Detection(tuple(b), self.data.classes[n - 1], 0.9) for b, n in named]
                )
                self.place += 1
            return found

    from fsdet.api.predict_dataset import detections
    from fsdet.evaluation.coco import CocoTruth, evaluate

    detector = Perfect()
    found = detections(detector, detector.data, ["red", "blue"])
    assert len(found) == 6
    scores = evaluate(CocoTruth(detector.data, ["red", "blue"]), found)
    np.testing.assert_allclose(scores.ap, 1)


def test_detect_draws_pictures_and_videos_and_writes_coco_results(here, tmp_path):
    (folder := tmp_path / "in").mkdir()
    for file in (here / "pictures").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    for name in ("cut.jpg", "cut.mp4", "text.txt"):
        (folder / name).write_bytes((here / name).read_bytes())
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    out = tmp_path / "deep" / "out"
    done = process("detect", here / "run", folder, "--out", out, "--threshold", 0.2)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    left, first, second = (line for line in lines if "Corrupt JPEG" not in line)  # of libjpeg
    assert left == f"left out, neither image nor video: {folder / 'text.txt'}"
    assert first.startswith(f"error: {folder / 'cut.jpg'}: ") and "cut.mp4" in second
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert sorted(file.name for file in out.iterdir()) == [
        "a.jpg", "b.PNG", "c.tif.png", "detections.json", "v.mp4",
    ]  # fmt: skip
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["a.jpg", "b.PNG", "c.tif", "v.mp4"]
    rows = json.loads((out / "detections.json").read_text())
    detector = fsdet.load(here / "run")
    for name in ("a.jpg", "b.PNG", "c.tif"):
        mine = [row for row in rows if row["file_name"] == name]
        found = detector.predict(folder / name, 0.2)
        assert [row["category"] for row in mine] == [one.name for one in found] != []
        for row, one in zip(mine, found, strict=True):
            x, y, width, height = row["bbox"]
            np.testing.assert_allclose((x, y, x + width, y + height), one.box, atol=1e-3)
            assert detector.names[row["category_id"] - 1] == one.name
        assert len({row["image_id"] for row in mine}) == 1
        drawn = cv2.imread(str(out / (name + ".png" * (name == "c.tif"))))
        assert np.abs(drawn.astype(int) - cv2.imread(str(folder / name))).max() > 100
    of_video = [row for row in rows if row["file_name"] == "v.mp4"]
    assert {row["frame"] for row in of_video} == set(range(5))
    assert len({row["image_id"] for row in rows}) == 3 + 5
    video = Video(out / "v.mp4")
    assert len(list(video)) == 5 and video.rate == 10


def test_detect_follows_objects_through_a_video(here, tmp_path):
    background = np.random.default_rng(0).integers(0, 90, (96, 96, 3), dtype=np.uint8)
    frames = [background.copy() for _ in range(12)]
    for n, frame in enumerate(frames):
        frame[33:63, 3 * n + 8 : 3 * n + 38] = INKS["red"]
    write_video(tmp_path / "v.mp4", frames, 10)
    words = (here / "run", tmp_path / "v.mp4", "--out", tmp_path / "out", "--track")
    status, out, err = run("detect", *words, "--threshold", 0.9)
    assert (status, err) == (0, "")
    rows = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert {row["category"] for row in rows} == {"red"} and min(row["score"] for row in rows) < 0.9
    assert out == f"v.mp4: {len({row['track_id'] for row in rows})} red over 12 frames\n"
    detector, video = fsdet.load(here / "run"), Video(tmp_path / "v.mp4")
    found = follow((detector.predict(frame, FAINT * 0.9) for frame in video), 10, 0.9)
    expected = [(n, one) for n, frame in enumerate(found) for one in frame]
    assert len(rows) == len(expected) > 12
    for row, (n, one) in zip(rows, expected, strict=True):
        assert (row["frame"], row["track_id"], row["score"]) == (n, one.track, one.score)
        x, y, width, height = row["bbox"]
        np.testing.assert_allclose((x, y, x + width, y + height), one.box, atol=1e-3)
    shown = list(Video(tmp_path / "out" / "v.mp4"))
    changed = [
        np.abs(one.astype(int) - other).max() for one, other in zip(shown, video, strict=True)
    ]
    assert max(changed[:2]) < 60 < min(changed[5:])


def test_detect_looks_at_one_file_of_any_name(here, tmp_path):
    (tmp_path / "photo").write_bytes((here / "pictures" / "a.jpg").read_bytes())
    status, out, err = run("detect", here / "run", tmp_path / "photo", "--out", tmp_path / "out")
    assert (status, err) == (0, "") and out.startswith("photo: ")
    assert (tmp_path / "out" / "photo.png").is_file()
    assert json.loads((tmp_path / "out" / "detections.json").read_text()) is not None
    words = ("--out", tmp_path / "out", "--threshold", 1)
    status, out, _ = run("detect", here / "run", tmp_path / "photo", *words)
    assert status == 0 and out == "photo: nothing\n"
    assert json.loads((tmp_path / "out" / "detections.json").read_text()) == []


def test_export_compares_on_the_pictures_that_it_is_given(here, tmp_path):
    words = ("--images", here / "pictures", "--threshold", 0.2)
    status, out, err = run("export", here / "run", "--out", tmp_path / "model.onnx", *words)
    assert (status, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith("ONNX Runtime and PyTorch agree: ") and " in 3 images, " in first
    assert second.startswith(f"{tmp_path / 'model.onnx'}: 2 categories, ")


MISTAKES = [
    ("detect nowhere pictures --out x", "no detector at 'nowhere'; expected a run folder"),
    ("detect empty pictures --out x", "no detector at 'empty/detector.safetensors'"),
    ("detect text.txt pictures --out x", "'text.txt' is not a whole safetensors file"),
    ("detect cut.safetensors pictures --out x", "is not a whole safetensors file"),
    ("detect weights.safetensors pictures --out x", "holds tensors but no detector"),
    ("detect other.safetensors pictures --out x", "its content differs from its checksum"),
    ("detect none pictures --out x", "the detector has no category yet"),
    ("detect run nowhere --out x", "nowhere: no such file or folder"),
    ("detect run nowhere/*.jpg --out x", "no image and no video matches 'nowhere/*.jpg'"),
    ("detect run empty --out x", "empty: no image and no video in this folder"),
    ("detect run text.txt --out x", "text.txt, line 1: expected the path of an image or video"),
    ("detect run cut.jpg --out x", "cut.jpg: cannot be decoded"),
    ("detect run cut.mp4 --out x", "cut.mp4: not a video"),
    ("detect run pictures --out pictures", "--out: expected another folder than that of the input"),
    ("detect run pictures/a.jpg --out pictures/../pictures", "--out: expected another folder"),
    ("detect run pictures --out text.txt", "text.txt: File exists"),
    ("detect run pictures --out x --threshold 7", "score in 0..1, got 7.0"),
    ("detect run pictures --out x --threshold high", "--threshold: invalid float value: 'high'"),
    ("detect run pictures --out x --track", "--track: expected a video (.mp4 "),
    ("detect run pictures/a.jpg --out x --track", ".wmv), got 'pictures/a.jpg'"),
    ("detect run pictures --out x --tiles 5", "tiles: expected pixels a side from 32 on, got 5"),
    ("detect run pictures", "required: --out; see --help"),
    ("detect run pictures --out x --device gpu", "device 'gpu'"),
    ("test run --data nowhere", "nowhere: expected the folder of a data set"),
    ("test run --data data --subset tset", "no subset 'tset'; did you mean 'test'"),
    ("test run --data shapes", "no category to score: shapes has arrow, "),
    ("test run --data data --register-from train --shots 9", "fewer than 9 shots"),
    ("test run --data data --json text.txt/x", "cannot be written"),
    ("finetune run --data data --names green --out x", "no category 'green'"),
    ("finetune run --data data --names red --shots 99 --out x", "fewer than 99 shots"),
    ("transfer nowhere --config {configs}/field-cross-domain.yaml data.root=x", "no detector at"),
    ("transfer run data.root=x --config nowhere.yaml", "no configuration file 'nowhere.yaml'"),
    (
        "transfer run data.root=x train.steps=3",
        "'train.steps=3': train.steps is fixed by the detector of",
    ),
    ("transfer run data.root=x data.split=voc1", "'data.split=voc1': data.split is fixed by the"),
    ("finetune run --data data --names red,, --out x", "each once, got red, ,"),
    ("finetune run --data data --names red --out x --old data", "expected ROOT:SUBSET"),
    (
        "finetune run --data data --names red,blue --out x --old data:test",
        "shows no old category of the detector",
    ),
    ("finetune run --data data --names red --steps -3 --out x", "--steps: expected 0 to"),
    ("finetune run --data data --names red --level haed --out x", "all; got 'haed'"),
    ("finetune run --data data --names red --out text.txt/x", "cannot be written"),
    ("serve nowhere", "no detector at 'nowhere'; expected a run folder"),
    ("serve run --host 0.0.0.0", "lets others in: give --password"),
    ("serve run --port 70000", "--port: expected 0 to 65535, got 70000"),
    ("serve run --threads 0", "--threads: expected 1 to 64, got 0"),
    ("serve run --megapixels nan", "--megapixels: expected 0.01 to 100, got nan"),
    ("serve run --save run", "--save: expected another file than that of RUN"),
    ("serve run --save none", "is a detector, but no service wrote it"),
    ("serve run --label-studio file:///etc", "expected http://HOST:PORT, got 'file:///etc'"),
    ("serve run --label-studio-files nowhere", "no folder 'nowhere'"),
    ("export nowhere --out x.onnx", "no detector at 'nowhere'"),
    ("export none --out x.onnx", "the detector has no category yet"),
    ("export run --out x", "--out: expected a file that ends in .onnx, got 'x'"),
    ("export run --out text.txt/x.onnx --images pictures", "cannot be written"),
    ("export run --out x.onnx --images empty", "--images: no image in the folder 'empty'"),
    ("export run --out x.onnx --images nowhere", "nowhere: No such file"),
    ("studio --detector nowhere", "no detector at 'nowhere'; expected a run folder"),
    ("studio --detector run --host 0.0.0.0", "lets others in: give --password"),
    ("studio --detector run --port 70000", "--port: expected 0 to 65535, got 70000"),
    ("studio --detector run --photos nowhere", "--photos: no folder 'nowhere'"),
    ("studio --detector run --megapixels 0", "--megapixels: expected 1 to 100, got 0"),
    ("train --config nowhere.yaml", "no configuration file 'nowhere.yaml'"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES)
def test_a_mistake_is_one_line_and_status_2(words, message, here, monkeypatch):
    monkeypatch.chdir(here)
    files = sorted(str(file) for file in here.rglob("*"))
    configs = ROOT / "configs"
    status, _, err = run(*words.format(configs=configs).split())
    assert status == 2 and message in err
    said = [line for line in err.splitlines() if not line.startswith("left out, ")]
    assert len(said) == 1 and said[0].startswith("error: ") and len(said[0]) < 500
    assert sorted(str(file) for file in here.rglob("*")) == files


def test_libraries_print_nothing_beside_the_error(here, capfd):
    """OpenCV writes to the file descriptors of the process, past `sys.stderr`."""
    status, out, err = run("detect", here / "run", here / "cut.mp4", "--out", here / "x")
    assert (status, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1
    assert capfd.readouterr() == ("", "")


def test_a_video_is_whole_or_named(here, tmp_path):
    frames = [np.full((40, 50, 3), 40 * n, np.uint8) for n in range(4)]
    write_video(tmp_path / "v.mp4", frames, 5)
    video = Video(tmp_path / "v.mp4")
    read = list(video)
    assert len(video) == len(read) == 4 and video.rate == 5
    for frame, given in zip(read, frames, strict=True):
        assert frame.shape == given.shape and np.abs(frame.astype(int) - given).max() < 12
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 96))
    for n in range(8):
        writer.write(square("red", n)[0])
    writer.release()
    content = (tmp_path / "v.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"cut.avi: ends after [1-7] of 8 frames"):
        list(Video(tmp_path / "cut.avi"))
    with pytest.raises(InputError, match="no such file"):
        Video(tmp_path / "none.avi")

    def failing():
        yield frames[0]
        raise InputError("no more")

    with pytest.raises(InputError, match="no more"):
        write_video(tmp_path / "w.mp4", failing(), 5)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cut.avi", "v.avi", "v.mp4"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("gear,tee", ["gear", "tee"]),
        ("gear, tee", ["gear", "tee"]),
        ("bolt, hexagonal", ["bolt, hexagonal"]),
        ("gear, bolt, hexagonal,tee", ["gear", "bolt, hexagonal", "tee"]),
        (" nut", [" nut"]),
        ("unknown, gear", ["unknown", "gear"]),
        (None, ["gear", "tee", "bolt, hexagonal", " nut"]),
    ],
)
def test_names_of_an_option_may_have_commas_and_blanks(text, names):
    assert split_names(text, ["gear", "tee", "bolt, hexagonal", " nut"]) == names
