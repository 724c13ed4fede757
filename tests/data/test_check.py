"""Check of a data set and its command: every fault and warning, exit status, output."""

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

import pytest
from helpers.folders import coco_content, write_coco, write_voc
from helpers.paths import ROOT

from fsdet.data import open_data
from fsdet.data.check import check
from fsdet.errors import InputError

TOOL = ROOT / "tools" / "check_dataset.py"


def run_tool(*arguments):
    """Run the command in this process, as importing torch takes seconds."""
    argv, out, err = [str(TOOL), *map(str, arguments)], io.StringIO(), io.StringIO()
    logger = logging.getLogger("fsdet")
    level = logger.level
    with mock.patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
        try:
            runpy.run_path(str(TOOL), run_name="__main__")
        except SystemExit as error:
            code = error.code
        finally:
            logger.setLevel(level)
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


def test_the_command_exits_with_one_for_faults_and_two_without_data(tmp_path):
    write_coco(tmp_path).write_text("[")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for root, status in ((tmp_path, 1), (tmp_path / "nowhere", 2)):
        command = [sys.executable, str(TOOL), str(root)]
        run = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)
        assert run.returncode == status
        assert len(run.stderr.splitlines()) == status - 1


def test_all_faults_are_reported_at_once(tmp_path):
    content = coco_content()
    content["annotations"][0]["bbox"] = [50, 10, 20, 20]  # outside of its image
    content["annotations"][2]["image_id"] = 999
    content["annotations"][3]["bbox"] = [10, 10, 0, 5]
    content["images"][2]["file_name"] = "nowhere.png"
    write_coco(tmp_path, content)
    with pytest.raises(InputError, match=r"4 faults \(1 x .*; and 1 more\."):
        open_data(tmp_path, "train")
    run = run_tool(tmp_path, "train")
    assert run.returncode == 1
    for rule in ("box outside its image", "annotation of an unknown image", "missing image file"):
        assert f"1 x {rule}" in run.stdout
    run = run_tool(tmp_path, "--json")
    assert run.returncode == 1
    (report,) = json.loads(run.stdout)
    assert sum(report["counts"].values()) == len(report["faults"]) == 4
    assert report["images"] == 2 and report["per_category"] == {"ant": 0, "cat": 0, "dog": 1}


def test_a_sound_folder_exits_with_zero(tmp_path):
    write_coco(tmp_path)
    run = run_tool(tmp_path)
    assert run.returncode == 0 and not run.stderr
    assert "3 images, 5 boxes (0 to be ignored), 3 categories" in run.stdout
    assert "no faults" in run.stdout


@pytest.mark.parametrize("arguments", [[], ["nowhere"], ["{root}", "trian"], ["{root}", "--jsn"]])
def test_wrong_arguments_exit_with_two(arguments, tmp_path):
    write_coco(tmp_path)
    run = run_tool(*(argument.format(root=tmp_path) for argument in arguments))
    assert run.returncode == 2 and not run.stdout
    assert "error: " in run.stderr


def test_the_help_fits_a_screen():
    run = run_tool("--help")
    assert run.returncode == 0
    lines = run.stdout.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 100


def test_a_thousand_faults_fit_a_screen(tmp_path):
    content = coco_content()
    for n in range(1000):
        row = {"id": 100 + n, "image_id": 10 + n % 2, "category_id": 3, "bbox": [n, 0, 100, 9]}
        content["annotations"].append(row)
    write_coco(tmp_path, content)
    lines = run_tool(tmp_path).stdout.splitlines()
    assert len(lines) <= 24
    assert len(run_tool(tmp_path, "--all").stdout.splitlines()) > 1000


def test_warnings_name_the_oddities_and_exit_with_zero(tmp_path):
    content = coco_content()
    content["annotations"].append({**content["annotations"][0], "id": 77})
    write_coco(tmp_path, content)
    write_coco(tmp_path, subset="test")
    shutil.copy(tmp_path / "images/train/a.png", tmp_path / "images/train/d.png")
    shutil.copy(tmp_path / "images/train/a.png", tmp_path / "images/test/c.png")
    content["images"].append({"id": 40, "file_name": "d.png", "height": 40, "width": 60})
    (tmp_path / "annotations/instances_train.json").write_text(json.dumps(content))
    report = check(tmp_path, "train")
    assert not report.faults
    warnings = {(warning.rule, warning.where) for warning in report.warnings}
    assert warnings == {
        ("category with fewer than 10 boxes", "ant"),
        ("category with fewer than 10 boxes", "cat"),
        ("category with fewer than 10 boxes", "dog"),
        ("image without boxes", "images/train/b.png"),
        ("image without boxes", "images/train/d.png"),
        ("duplicate box", "images/train/a.png, annotation 77"),
        ("duplicate image", "images/train/d.png"),
        ("duplicate image in another subset", "images/train/a.png"),
        ("duplicate image in another subset", "images/train/b.png"),
    }
    assert run_tool(tmp_path, "train").returncode == 0


def test_images_listed_in_two_subsets_are_one_warning(tmp_path):
    write_voc(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_text("c\n")
    warnings = check(tmp_path, "test").warnings
    detail = "1 of 1 are in 'train' too"
    assert ("test", "images also in another subset", detail) in [
        warning[:3] for warning in warnings
    ]
