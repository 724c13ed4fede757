"""Cleaning of run folders."""

import pytest

from fsdet.errors import InputError
from fsdet.experiment.cleaning import clean

KEPT = ("config.yaml", "data.json", "results.json", "report.html", "detector.safetensors")
KEPT += ("losses.jsonl", "shots/1shot-seed0.json", "events/base/x", "maml-e2e/detector.safetensors")
DELETED = ("base.state", "base.bank.safetensors", "test-0.safetensors", "stages/tfa/joint.state")
DELETED += ("maml-e2e/test-11.safetensors", "shots-1-2-seeds-2.bank.safetensors")


def write(folder, names):
    for n, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(n))


def test_results_stay_and_what_can_be_computed_again_goes(tmp_path):
    write(tmp_path, KEPT + DELETED)
    deleted = clean(tmp_path)
    assert {str(file.relative_to(tmp_path)) for file, _ in deleted} == set(DELETED)
    sizes = {name: n for n, name in enumerate(KEPT + DELETED)}
    assert all(sizes[str(file.relative_to(tmp_path))] == size for file, size in deleted)
    assert {str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*") if f.is_file()} == set(KEPT)
    assert clean(tmp_path) == []


def test_a_folder_that_is_none_or_not_finished_is_left_alone(tmp_path):
    write(tmp_path, DELETED)
    with pytest.raises(InputError, match=r"is no run folder: it has no config\.yaml"):
        clean(tmp_path)
    write(tmp_path, ["config.yaml"])
    with pytest.raises(InputError, match="has no results yet"):
        clean(tmp_path)
    assert all((tmp_path / name).is_file() for name in DELETED)


def test_links_are_not_followed(tmp_path):
    write(tmp_path / "other", ["base.state"])
    write(tmp_path / "run", ["config.yaml", "results.json"])
    (tmp_path / "run" / "base.state").symlink_to(tmp_path / "other" / "base.state")
    assert clean(tmp_path / "run") == []
    assert (tmp_path / "other" / "base.state").is_file()
