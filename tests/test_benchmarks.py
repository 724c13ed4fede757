"""Scripts of benchmarks/ and datasets/: everything that they import exists."""

import runpy

import pytest
from helpers.paths import ROOT

SCRIPTS = sorted([*ROOT.glob("benchmarks/*.py"), *ROOT.glob("datasets/*.py")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_imports(script, monkeypatch):
    monkeypatch.syspath_prepend(script.parent)  # as `python SCRIPT` does
    assert "main" in runpy.run_path(str(script), run_name="imported")
