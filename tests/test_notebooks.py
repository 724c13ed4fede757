"""The notebooks run from their first cell to their last, in a folder with a finished run."""

import nbformat
import pytest
from helpers import tiny
from helpers.paths import ROOT
from nbclient import NotebookClient

from fsdet.data.shapes.dataset import write_shapes
from fsdet.experiment.run import run

pytestmark = pytest.mark.slow

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a small run of two heads in the place of the quickstart's."""
    folder = tmp_path_factory.mktemp("notebooks")
    data = folder / "data"
    write_shapes(data, train=40, test=8)
    words = [f"run={folder}/runs/quickstart", f"data.root={data}", "baselines=[{name: cosine}]"]
    run(tiny.config(*words))
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, folder):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # results would grow stale
    executed = NotebookClient(notebook, timeout=120).execute(cwd=str(folder))
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
