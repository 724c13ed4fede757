"""The wheel in an environment of its own, in an empty folder without this repository."""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import cv2
import pytest
from helpers import tiny
from helpers.detectors import square
from helpers.paths import ROOT

from fsdet.data.shapes.dataset import write_shapes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the files that packaging reads."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("fsdet", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source]
    subprocess.run(command, check=True, capture_output=True)
    (file,) = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def fsdet_in(wheel, tmp_path_factory):
    """Runs the installed `fsdet` in a folder; the environment has the wheel and this one's dependencies."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    install = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install"]
    subprocess.run([*install, "--no-deps", "--quiet", wheel], check=True, capture_output=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # Installing the dependencies again would take gigabytes. A path added like this runs no .pth file, so
    # that an editable installation of the checkout stays out of sight.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(cwd, *arguments):
        return subprocess.run(
            [folder / "bin" / "fsdet", *map(str, arguments)],
            cwd=cwd,
            env=environment | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )

    run.python = folder / "bin" / "python"
    run.environment = environment
    return run


def test_wheel_carries_recipes_style_sheet_and_types(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    recipes = {f"fsdet/{file.relative_to(ROOT)}" for file in (ROOT / "configs").rglob("*.yaml")}
    data = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "fsdet").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert recipes and recipes | data <= names
    assert not [name for name in names if not name.startswith(("fsdet/", "fsdet-"))]


def test_wheel_is_imported_from_its_own_environment(fsdet_in, tmp_path):
    command = [fsdet_in.python, "-c", "import fsdet; print(fsdet.__file__)"]
    out = subprocess.run(
        command, cwd=tmp_path, env=fsdet_in.environment, capture_output=True, text=True, check=True
    )
    assert Path(out.stdout.strip()).is_relative_to(fsdet_in.python.parents[1])


def test_check_train_and_detect_work_in_an_empty_folder(fsdet_in, tmp_path):
    (tmp_path / "tiny.yaml").write_text(tiny.SETTINGS + "run: runs/tiny\n")
    write_shapes(tmp_path / "data", train=40, test=8)
    missing = fsdet_in(tmp_path, "train", "--config", "quikstart")
    assert missing.returncode == 2 and "did you mean 'quickstart'" in missing.stderr
    words = ["data.root=data", "train.reference=2", "baselines=[{name: cosine}]"]
    train = fsdet_in(tmp_path, "train", "--config", "shapes", "--config", "tiny.yaml", *words)
    assert train.returncode == 0, train.stderr
    assert (tmp_path / "runs/tiny/report.html").is_file()
    for n in range(2):
        cv2.imwrite(str(tmp_path / f"{n}.png"), square("red", n)[0])
    detect = fsdet_in(tmp_path, "detect", "runs/tiny", "0.png", "--out", "out")
    assert detect.returncode == 0, detect.stderr
    assert (tmp_path / "out/0.png").is_file() and (tmp_path / "out/detections.json").is_file()
    check = fsdet_in(tmp_path, "check", tmp_path / "out")
    assert check.returncode == 2 and check.stderr.startswith("error: ")


def plain(name):
    """The name of a package as an index compares it: `pillow_heif` is `pillow-heif`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_imported_package_is_a_declared_requirement(wheel):
    (metadata,) = (n for n in zipfile.ZipFile(wheel).namelist() if n.endswith("/METADATA"))
    lines = zipfile.ZipFile(wheel).read(metadata).decode()
    declared = {plain(name) for name in re.findall(r"^Requires-Dist: ([\w.-]+)", lines, re.M)}
    declared.add("trackers")  # installed with --no-deps, as it would bring a second OpenCV
    imported = set()
    for path in (ROOT / "fsdet").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    imported -= {"fsdet", *sys.stdlib_module_names}
    owners = packages_distributions()
    for module in sorted(imported):
        names = {plain(owner) for owner in owners.get(module, [module])}
        assert names & declared, f"{module} ({', '.join(names)})"
