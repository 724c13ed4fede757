"""Scripts of benchmarks/ and datasets/: everything that they import exists; the GPU benchmark runs on a CPU."""

import json
import os
import runpy
import subprocess
import sys

import pytest
from helpers.paths import ROOT

SCRIPTS = sorted([*ROOT.glob("benchmarks/*.py"), *ROOT.glob("datasets/*.py")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_imports(script, monkeypatch):
    monkeypatch.syspath_prepend(script.parent)  # as `python SCRIPT` does
    assert "main" in runpy.run_path(str(script), run_name="imported")


def test_the_gpu_benchmark_runs_on_a_cpu(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", "--tiny", "--out", tmp_path]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    results = json.loads((tmp_path / "gpu.json").read_text())
    parts = {name: part["result"] for name, part in results["parts"].items()}
    assert not results["failed"] and (tmp_path / "gpu.md").read_text() in ended.stdout
    assert {name: set(part) for name, part in parts.items() if name != "inference"} == {
        "correctness": {
            "losses", "found", "derivative", "resume", "bank", "gathered", "precision"
        },
        "training": {"images per second", "times as fast", "peak memory in GiB"},
        "episodes": {"episodes per second"},
        "end-to-end": {"episodes per second", "peak memory in GiB"},
        "registering": {"images, seconds", "head, seconds"},
        "profile": {"milliseconds a step", "longest kernels, milliseconds"},
    }  # fmt: skip
    assert all(check["passed"] for check in parts["correctness"].values())
    # On the same device, all but the comparison of precisions is equal.
    exact = set(parts["correctness"]) - {"precision"}
    assert all(parts["correctness"][name]["difference"] == 0 for name in exact)
    assert parts["correctness"]["found"]["detections"] > 0
    assert {case["ratio of times"] > 0 for case in parts["inference"].values()} == {True}


def test_a_part_that_fails_is_named_and_stops_no_other(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    script = runpy.run_path(str(ROOT / "benchmarks" / "gpu.py"), run_name="imported")
    from gpu.setting import tiny

    def broken(setting, data, seconds):
        raise RuntimeError("out of\nmemory")

    def worked(setting, data, seconds):
        return {"images": len(data), "seconds": seconds}

    script["PARTS"].clear()
    script["PARTS"].update({"first": (broken, 0.5), "second": (worked, 0.5)})
    failed = script["measure"](tiny(), 8.0, tmp_path)
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert failed == results["failed"] == ["first: RuntimeError: out of memory"]
    assert results["parts"]["second"]["result"] == {"images": 12, "seconds": 4.0}
