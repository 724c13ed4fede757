"""Each fault of a data set is named with its place, all of them at once, and can be left out."""

import io
import json
import logging
import os
import runpy
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace
from unittest import mock

import cv2
import numpy as np
import pytest
from helpers.folders import SCENE, coco_content, picture, voc_xml, write_coco, write_voc, write_yolo
from helpers.paths import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsdet.data import open_data
from fsdet.data.check import check
from fsdet.errors import InputError

TOOL = ROOT / "tools" / "check_dataset.py"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FSDET_CACHE", str(tmp_path / "cache"))


def tool(*words):
    """The tool as a command, but in this process: importing torch takes seconds."""
    argv, out, err = [str(TOOL), *map(str, words)], io.StringIO(), io.StringIO()
    logger = logging.getLogger("fsdet")
    level = logger.level
    with mock.patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
        try:
            runpy.run_path(str(TOOL), run_name="__main__")
        except SystemExit as status:
            code = status.code
        finally:
            logger.setLevel(level)
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


def test_the_command(tmp_path):
    write_coco(tmp_path).write_text("[")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for root, status in ((tmp_path, 1), (tmp_path / "nowhere", 2)):
        command = [sys.executable, str(TOOL), str(root)]
        run = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)
        assert run.returncode == status
        assert len(run.stderr.splitlines()) == status - 1


def change(key, row, **values):
    """An edit of a COCO file: values of one entry of a list."""

    def edit(content):
        content[key][row].update(values)

    return edit


def again(key, row, **values):
    """... or one more entry."""

    def edit(content):
        content[key].append({**content[key][row], **values})

    return edit


def without(key, row, name):
    def edit(content):
        del content[key][row][name]

    return edit


# Edit -> rule, words of where and detail, and how many images and boxes remain of 3 and 5.
COCO_FAULTS = {
    "outside": (
        change("annotations", 0, bbox=[50, 10, 20, 20]),
        ("box outside its image", "annotation 1", "50, 10, 70, 30 in a.png of 60 x 40"),
        (3, 4),
    ),
    "far away": (
        change("annotations", 0, bbox=[500, 10, 20, 20]),
        ("box outside its image", "annotation 1", "500, 10, 520, 30"),
        (3, 4),
    ),
    "no width": (
        change("annotations", 3, bbox=[10, 10, 0, 5]),
        ("box without area", "annotation 4", "10, 10, 10, 15"),
        (3, 4),
    ),
    "negative height": (
        change("annotations", 3, bbox=[10, 10, 5, -5]),
        ("box without area", "annotation 4", "10, 10, 15, 5"),
        (3, 4),
    ),
    "too thin for float32": (
        change("annotations", 3, bbox=[10, 10, 1e-9, 5]),
        ("box without area", "annotation 4", "'dog'"),
        (3, 4),
    ),
    "NaN": (
        change("annotations", 1, bbox=[float("nan"), 0, 5, 5]),
        ("box is not finite", "annotation 2", "nan, 0, nan, 5"),
        (3, 4),
    ),
    "infinite": (
        change("annotations", 1, bbox=[0, 0, float("inf"), 5]),
        ("box is not finite", "annotation 2", "inf"),
        (3, 4),
    ),
    "missing image": (
        change("annotations", 2, image_id=999),
        ("annotation of a missing image", "annotation 3", "image_id 999 is none of the 3 images"),
        (3, 4),
    ),
    "missing category": (
        change("annotations", 2, category_id=4),
        ("annotation of a missing category", "annotation 3", "category_id 4 is none of 3, 6, 9"),
        (3, 4),
    ),
    "annotation twice": (
        change("annotations", 2, id=1),
        ("annotation id twice", "annotation 1", "'dog'"),
        (3, 4),
    ),
    "image twice": (
        again("images", 0),
        ("image id twice", "image 10", "a.png and a.png"),
        (3, 5),
    ),
    "two images of one id": (
        change("images", 1, id=10),
        ("image id twice", "image 10", "a.png and b.png"),
        (1, 3),
    ),
    "category twice": (
        again("categories", 0, name="cow"),
        ("category id twice", "category 3", "'cow'"),
        (3, 5),
    ),
    "category name twice": (
        again("categories", 0, id=12),
        ("category name twice", "category 12", "'ant' is 3 too"),
        (3, 5),
    ),
    "missing file": (
        change("images", 2, file_name="nowhere.png"),
        ("missing image file", "image 30", "expected images/train/nowhere.png"),
        (2, 2),
    ),
    "file outside": (
        change("images", 2, file_name="../../../secret.png"),
        ("image outside the data root", "image 30", "points outside the data root"),
        (2, 2),
    ),
    "absolute file outside": (
        change("images", 2, file_name="/etc/hostname"),
        ("image outside the data root", "image 30", "points outside the data root"),
        (2, 2),
    ),
    "file outside by a link": (
        change("images", 2, file_name="link.png"),
        ("image outside the data root", "image 30", "points outside the data root"),
        (2, 2),
    ),
    "no file name": (
        without("images", 2, "file_name"),
        ("image is incomplete", "image 30", "got None"),
        (2, 2),
    ),
    "no box": (
        without("annotations", 2, "bbox"),
        ("annotation is incomplete", "annotation 3", "expected bbox"),
        (3, 4),
    ),
    "three numbers": (
        change("annotations", 2, bbox=[1, 2, 3]),
        ("annotation is incomplete", "annotation 3", "[1, 2, 3]"),
        (3, 4),
    ),
    "words": (
        change("annotations", 2, bbox=["1", 2, 3, 4]),
        ("annotation is incomplete", "annotation 3", "['1', 2, 3, 4]"),
        (3, 4),
    ),
    "no id": (
        without("annotations", 2, "id"),
        ("annotation is incomplete", "annotation number 3", "id None"),
        (3, 4),
    ),
    "id in words": (
        change("annotations", 2, image_id="thirty"),
        ("annotation is incomplete", "annotation number 3", "image_id 'thirty'"),
        (3, 4),
    ),
    "too large an id": (
        change("annotations", 2, id=2**63),
        ("annotation is incomplete", "annotation number 3", "id 9223372036854775808"),
        (3, 4),
    ),
}


@pytest.mark.parametrize("kind", COCO_FAULTS)
def test_a_fault_of_a_coco_file(kind, tmp_path, caplog):
    edit, (rule, where, detail), remaining = COCO_FAULTS[kind]
    root, content = tmp_path / "root", coco_content()
    edit(content)
    write_coco(root, content)
    cv2.imwrite(str(tmp_path / "secret.png"), picture((32, 32)))
    (root / "images" / "train" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(InputError) as caught:
        open_data(root, "train")
    message = str(caught.value)
    for words in (rule, where, detail, "1 fault", "fsdet check", "data.skip_bad=true"):
        assert words in message
    assert "\n" not in message and not caplog.records
    report = check(root, "train")
    assert report.counts() == {rule: 1}
    assert where in report.faults[0].where and detail in report.faults[0].detail
    for _ in range(2):  # the second time from the cache
        caplog.clear()
        data = open_data(root, "train", skip_bad=True)
        assert (len(data), len(data.boxes)) == remaining
        assert len(set(data.ids.tolist())) == len(data.boxes)
        assert f"left out what has 1 fault (1 x {rule})" in caplog.text


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(width=32) | st.integers(-70, 130), min_size=4, max_size=4))
def test_a_box_is_right_or_a_fault_and_never_more_than_clipped(tmp_path_factory, box):
    root = tmp_path_factory.getbasetemp() / "one"
    content = coco_content()
    content["annotations"][0]["bbox"] = box
    file = root / "annotations" / "instances_train.json"
    if not file.exists():
        write_coco(root, content)
    file.write_text(json.dumps(content))
    data = open_data(root, "train", skip_bad=True, cache=False)
    width, height = 60, 40
    x, y, w, h = (float(edge) for edge in box)
    corners = np.array([x, y, x + w, y + h])
    finite, kept = np.isfinite(corners).all(), 1 in data.ids
    if kept:
        found = data.boxes[data.ids == 1][0]
        assert finite and np.abs(found - corners).max() <= 1
        assert 0 <= found[0] < found[2] <= width and 0 <= found[1] < found[3] <= height
        assert (found.astype(np.float32)[2:] > found.astype(np.float32)[:2]).all()
    elif finite and w > 1e-3 and h > 1e-3:
        assert x < 0 or y < 0 or x + w > width or y + h > height


def test_all_faults_are_told_at_once(tmp_path):
    content = coco_content()
    for kind in ("outside", "missing image", "no width", "missing file"):
        COCO_FAULTS[kind][0](content)
    write_coco(tmp_path, content)
    with pytest.raises(InputError, match=r"4 faults \(1 x .*; and 1 more\."):
        open_data(tmp_path, "train")
    run = tool(tmp_path, "train")
    assert run.returncode == 1
    for rule in ("box outside its image", "annotation of a missing image", "missing image file"):
        assert f"1 x {rule}" in run.stdout
    run = tool(tmp_path, "--json")
    assert run.returncode == 1
    (report,) = json.loads(run.stdout)
    assert sum(report["counts"].values()) == len(report["faults"]) == 4
    assert report["images"] == 2 and report["per_category"] == {"ant": 0, "cat": 0, "dog": 1}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_json_cut_in_the_middle(share, tmp_path):
    file = write_coco(tmp_path)
    text = json.dumps(coco_content(), indent=1)
    file.write_text(text[: int(len(text) * share)])
    lines = file.read_text().count("\n") + 1
    for skip_bad in (False, True):  # there is nothing to go on with
        with pytest.raises(InputError) as caught:
            open_data(tmp_path, "train", skip_bad=skip_bad)
        assert "instances_train.json: annotation file is not whole JSON" in str(caught.value)
        assert f"line {lines} column" in str(caught.value) or share == 0.3
    run = tool(tmp_path)
    assert run.returncode == 1 and "not whole JSON" in run.stdout


@pytest.mark.parametrize("text", ["[]", "3", '{"images": []}', '{"images": {}, "annotations": []}'])
def test_json_that_is_not_coco(text, tmp_path):
    write_coco(tmp_path).write_text(text)
    with pytest.raises(InputError, match="expected lists images, annotations, categories"):
        open_data(tmp_path, "train")


@pytest.mark.parametrize(
    ("text", "rule", "detail"),
    [
        ("<annotation><object>", "not whole XML", "line 1, column 20"),
        ("", "not whole XML", "no element found"),
        (
            "<!DOCTYPE a [<!ENTITY b 'c'>]><annotation>&b;</annotation>",
            "cannot be read",
            "entities",
        ),
        (None, "cannot be read", "No such file"),
    ],
)
def test_an_xml_file_that_cannot_be_used(text, rule, detail, tmp_path, caplog):
    folder = write_voc(tmp_path)
    (folder / "a.xml").unlink() if text is None else (folder / "a.xml").write_text(text)
    with pytest.raises(InputError) as caught:
        open_data(tmp_path, "train")
    for words in ("Annotations/a.xml", rule, detail, "1 fault"):
        assert words in str(caught.value)
    data = open_data(tmp_path, "train", skip_bad=True)
    assert [data.path(i).stem for i in range(len(data))] == ["b", "c"]
    assert data.image_ids.tolist() == [2, 3]
    assert tool(tmp_path).returncode == 1


def test_a_billion_laughs_are_not_expanded(tmp_path):
    folder = write_voc(tmp_path)
    layers = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE a [<!ENTITY l0 "ha">{layers}]><annotation>&l11;</annotation>'
    (folder / "a.xml").write_text(bomb, encoding="utf-16")
    with pytest.raises(InputError, match="entities is not accepted"):
        open_data(tmp_path, "train")


VOC_FAULTS = {
    "outside": ([("cat", 50, 10, 80, 20)], "box outside its image", "50, 10, 80, 20"),
    "no area": ([("cat", 5, 10, 5, 20)], "box without area", "5, 10, 5, 20"),
    "NaN": ([("cat", float("nan"), 10, 20, 20)], "box is not finite", "nan, 10, 20, 20"),
    "no name": ([("", 5, 10, 20, 20)], "annotation is incomplete", "name ''"),
    "a word": ([("cat", 5, 10, "x", 20)], "annotation is incomplete", "xmax x"),
}


@pytest.mark.parametrize("kind", VOC_FAULTS)
def test_a_fault_of_a_voc_object(kind, tmp_path):
    boxes, rule, detail = VOC_FAULTS[kind]
    folder = write_voc(tmp_path)
    size, right = SCENE["a"]
    (folder / "a.xml").write_text(voc_xml(size, [right[0], *boxes, right[1]]))
    with pytest.raises(InputError) as caught:
        open_data(tmp_path, "train")
    for words in ("Annotations/a.xml, object 2", rule, detail):
        assert words in str(caught.value)
    data = open_data(tmp_path, "train", skip_bad=True)
    assert data.ids.tolist() == [1, 3, 4, 5, 6]  # the faulty one keeps its number
    assert check(tmp_path, "train").counts() == {rule: 1}


def test_a_missing_voc_image(tmp_path):
    write_voc(tmp_path)
    (tmp_path / "JPEGImages" / "a.png").unlink()
    with pytest.raises(InputError, match=r"Annotations/a\.xml: missing image file \(JPEGImages"):
        open_data(tmp_path, "train")
    assert len(open_data(tmp_path, "train", skip_bad=True)) == 2


@pytest.mark.parametrize("link", ["JPEGImages", "JPEGImages/a.png", "Annotations/a.xml"])
def test_voc_files_outside_the_root(link, tmp_path):
    write_voc(tmp_path / "root")
    (tmp_path / "root" / link).rename(tmp_path / "elsewhere")
    (tmp_path / "root" / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="points outside the data root"):
        open_data(tmp_path / "root", "train")


YOLO_FAULTS = {
    "four values": ("1 0.5 0.5 0.2", "label line is malformed", "got '1 0.5 0.5 0.2'"),
    "with a score": ("1 0.5 0.5 0.2 0.2 0.9", "label line is malformed", "expected 'class x y"),
    "a word": ("cat 0.5 0.5 0.2 0.2", "label line is malformed", "got 'cat"),
    "half a class": ("1.5 0.5 0.5 0.2 0.2", "label line is malformed", "got '1.5"),
    "infinite class": ("inf 0.5 0.5 0.2 0.2", "label line is malformed", "got 'inf"),
    "unknown class": ("3 0.5 0.5 0.2 0.2", "annotation of a missing category", "none of 0..2"),
    "negative class": ("-1 0.5 0.5 0.2 0.2", "annotation of a missing category", "class -1"),
    "in pixels": ("1 30 20 10 10", "box outside its image", "1500, 600, 2100, 1000"),
    "no width": ("1 0.5 0.5 0 0.2", "box without area", "30, 16, 30, 24"),
    "NaN": ("1 nan 0.5 0.2 0.2", "box is not finite", "nan, 16, nan, 24"),
}


@pytest.mark.parametrize("kind", YOLO_FAULTS)
def test_a_fault_of_a_yolo_line(kind, tmp_path):
    line, rule, detail = YOLO_FAULTS[kind]
    labels = write_yolo(tmp_path)
    before, after = (labels / "a.txt").read_text().splitlines()
    (labels / "a.txt").write_text(f"{before}\n\n{line}\n{after}\n")
    with pytest.raises(InputError) as caught:
        open_data(tmp_path, "train")
    for words in ("labels/train/a.txt, line 3", rule, detail):
        assert words in str(caught.value)
    data = open_data(tmp_path, "train", skip_bad=True)
    assert data.ids.tolist() == [1, 3, 4, 5, 6]
    assert check(tmp_path, "train").counts() == {rule: 1}


@pytest.mark.parametrize("link", ["labels/train/a.txt", "labels/train", "images/train/a.png"])
def test_a_label_or_image_file_outside_the_root(link, tmp_path, caplog):
    root = tmp_path / "root"
    write_yolo(root)
    (root / link).rename(tmp_path / "elsewhere")
    (root / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="points outside the data root"):
        open_data(root, "train")
    run = tool(root)
    assert run.returncode == 1 and "points outside the data root" in run.stdout


@pytest.mark.parametrize("entry", ["../elsewhere/train", "/{root}/../elsewhere", "list.txt"])
def test_yolo_places_outside_the_root(entry, tmp_path):
    root = tmp_path / "root"
    write_yolo(root)
    shutil.copytree(root / "images", tmp_path / "elsewhere")
    (root / "list.txt").write_text("../elsewhere/train/a.png\n")
    entry = entry.format(root=root)
    (root / "data.yaml").write_text(f"train: {entry}\nnames: [ant, cat, dog]\n")
    with pytest.raises(InputError, match="points outside the data root"):
        open_data(root, "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a, b\ntrain: x", "data.yaml cannot be read"),
        ("train: images/train", "expected names"),
        ("train: images/nowhere\nnames: [a]", "no images/nowhere"),
        ("train: images/train\nnames: [a, a]", "expected different names"),
        ("train: images/train\nnames: {a: 1}", "expected numbers from 0"),
    ],
)
def test_a_broken_data_yaml(text, message, tmp_path):
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        open_data(tmp_path, "train")
    assert "data.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_label_files_of_no_image_are_told(tmp_path, caplog):
    labels = write_yolo(tmp_path)
    (labels / "z.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    open_data(tmp_path, "train")
    assert "1 label files of no image, as labels/train/z.txt" in caplog.text
    report = check(tmp_path, "train")
    assert not report.faults
    assert [w.where for w in report.warnings if w.rule == "label file alone"] == [
        "labels/train/z.txt"
    ]


@pytest.mark.parametrize("kind", ["cut", "no image", "other size"])
def test_images_that_cannot_be_used(kind, tmp_path, caplog):
    write_coco(tmp_path)
    image = tmp_path / "images" / "train" / "c.png"
    whole = image.read_bytes()
    if kind == "other size":
        cv2.imwrite(str(image), picture((33, 32)))
    else:
        image.write_bytes(whole[: len(whole) // 2] if kind == "cut" else b"<html>")
    rule = "image of another size" if kind == "other size" else "image does not decode"
    data = open_data(tmp_path, "train")  # not every image is decoded before a training
    with pytest.raises(InputError, match=r"images/train/c\.png: "):
        data[2]
    run = tool(tmp_path)
    assert run.returncode == 1
    assert f"1 x {rule}" in run.stdout and "images/train/c.png" in run.stdout
    data = open_data(tmp_path, "train", skip_bad=True)
    assert [data.path(i).stem for i in range(len(data))] == ["a", "b"]
    assert f"1 x {rule}" in caplog.text


def test_the_tool_on_a_good_folder(tmp_path):
    write_coco(tmp_path)
    run = tool(tmp_path)
    assert run.returncode == 0 and not run.stderr
    assert "3 images, 5 boxes (0 to be ignored), 3 categories" in run.stdout
    assert "no faults" in run.stdout


@pytest.mark.parametrize("words", [[], ["nowhere"], ["{root}", "trian"], ["{root}", "--jsn"]])
def test_the_tool_on_mistakes_of_its_user(words, tmp_path):
    write_coco(tmp_path)
    run = tool(*(word.format(root=tmp_path) for word in words))
    assert run.returncode == 2 and not run.stdout
    assert "error: " in run.stderr


def test_the_help_fits_a_screen():
    run = tool("--help")
    assert run.returncode == 0
    lines = run.stdout.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 100


def test_a_thousand_faults_fit_a_screen(tmp_path):
    content = coco_content()
    for n in range(1000):
        row = {"id": 100 + n, "image_id": 10 + n % 2, "category_id": 3, "bbox": [n, 0, 100, 9]}
        content["annotations"].append(row)
    write_coco(tmp_path, content)
    lines = tool(tmp_path).stdout.splitlines()
    assert len(lines) <= 24
    assert len(tool(tmp_path, "--all").stdout.splitlines()) > 1000


def test_warnings_name_what_is_odd_and_do_not_fail(tmp_path):
    content = coco_content()
    content["annotations"].append({**content["annotations"][0], "id": 77})
    write_coco(tmp_path, content)
    write_coco(tmp_path, subset="test")
    shutil.copy(tmp_path / "images/train/a.png", tmp_path / "images/train/d.png")
    shutil.copy(tmp_path / "images/train/a.png", tmp_path / "images/test/c.png")
    content["images"].append({"id": 40, "file_name": "d.png", "height": 40, "width": 60})
    write_coco_json(tmp_path, content)
    report = check(tmp_path, "train")
    assert not report.faults
    told = {(warning.rule, warning.where) for warning in report.warnings}
    assert told == {
        ("category with fewer than 10 boxes", "ant"),
        ("category with fewer than 10 boxes", "cat"),
        ("category with fewer than 10 boxes", "dog"),
        ("image without boxes", "images/train/b.png"),
        ("image without boxes", "images/train/d.png"),
        ("box twice", "images/train/a.png, annotation 77"),
        ("same image twice", "images/train/d.png"),
        ("image in another subset", "images/train/a.png"),
        ("image in another subset", "images/train/b.png"),
    }
    assert tool(tmp_path, "train").returncode == 0


def write_coco_json(root, content):
    (root / "annotations" / "instances_train.json").write_text(json.dumps(content))


def test_an_image_in_the_lists_of_two_subsets(tmp_path):
    write_voc(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_text("c\n")
    warnings = check(tmp_path, "test").warnings
    detail = "1 of 1 images are in 'train' too"
    assert ("test", "images in another subset", detail) in [warning[:3] for warning in warnings]
