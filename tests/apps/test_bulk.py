"""Bulk detection: a row a picture, none twice, none lost, whatever stops the run."""

import cv2
import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers import bulk_detection, detectors
from helpers.commands import run

from fsdet.apps.detect import bulk, shards
from fsdet.apps.detect.remote import addresses_of, read_address
from fsdet.errors import InputError


@pytest.fixture(scope="module")
def detector():
    known = detectors.empty("prototype")
    images, boxes = zip(*(detectors.square("red", seed) for seed in range(3)), strict=True)
    known.register("red", list(images), [[box] for box in boxes])
    return known


@pytest.fixture
def pictures(tmp_path):
    """A folder with seven pictures, one of them in a folder of it, and a file that is none."""
    folder = tmp_path / "pictures"
    (folder / "deeper").mkdir(parents=True)
    names = ["0.png", "1.png", "2.png", "deeper/3.png", "4.png", "5.png", "6.png"]
    for seed, name in enumerate(names):
        cv2.imwrite(str(folder / name), detectors.square("red", seed)[0])
    (folder / "bad.jpg").write_text("no picture")
    (folder / "notes.md").write_text("none either")
    return folder


@pytest.fixture
def in_process(monkeypatch):
    """Shards of two pictures, detected in this process in the place of Ray's."""
    monkeypatch.setattr(shards, "SIZE", 2)
    bulk_detection.without_ray(monkeypatch)


def stored(out):
    return [
        row for file in sorted(out.glob("*.parquet")) for row in pq.read_table(file).to_pylist()
    ]


def test_rows_are_the_detections_of_predict_and_an_unreadable_picture_is_its_error(
    detector, pictures
):
    names = addresses_of(str(pictures))
    assert len(names) == 8 and str(pictures / "deeper/3.png") in names
    rows = {row["file_name"]: row for row in bulk.rows_of(detector, names, 0.0)}
    bad = rows.pop(str(pictures / "bad.jpg"))
    assert "not an image" in bad["error"] and "category" not in bad
    for name, row in rows.items():
        found = detector.predict(name, 0.0)
        assert row["error"] is None and (row["height"], row["width"]) == (96, 96)
        assert row["category"] == [d.name for d in found] and len(found) > 0
        np.testing.assert_allclose(row["score"], [d.score for d in found], atol=1e-4)
        corners = [(x, y, x + w, y + h) for x, y, w, h in row["bbox"]]
        np.testing.assert_allclose(corners, [d.box for d in found], atol=0.02)


def test_a_stopped_run_goes_on_with_what_no_shard_holds(detector, pictures, tmp_path, in_process):
    names, out = addresses_of(str(pictures)), tmp_path / "out"

    def stopped(loop, total):
        yield next(iter(loop))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bulk.detect_all(detector, names, out, bar=stopped)
    first = {file.name for file in out.glob("*.parquet")}
    assert len(first) == 1 and len(stored(out)) == 2
    totals = []

    def count(loop, total):
        totals.append(total)
        yield from loop

    assert bulk.detect_all(detector, names, out, bar=count) == (8, 1)
    assert totals == [3] and first < {file.name for file in out.glob("*.parquet")}
    assert sorted(row["file_name"] for row in stored(out)) == sorted(names)
    assert bulk.detect_all(detector, names, out, bar=count) == (8, 1) and totals == [3]
    with pytest.raises(InputError, match="detections with another threshold; use another --out"):
        bulk.detect_all(detector, names, out, threshold=0.9)


def test_command_says_what_could_not_be_read(detector, pictures, tmp_path, in_process, monkeypatch):
    saved, out = detector.save(tmp_path / "d.safetensors"), tmp_path / "out"
    words = ("bulk", saved, pictures, "--out", out)
    assert run(*words) == (1, f"{out}: 8 pictures, 1 of them could not be read\n", "")
    (pictures / "bad.jpg").unlink()
    assert run("bulk", saved, pictures, "--out", tmp_path / "new")[0] == 0
    status, _, err = run(*words, "--names", "rad")
    assert status == 2 and "did you mean 'red'?" in err
    monkeypatch.setattr("fsdet.errors.find_spec", lambda name: None)
    status, _, err = run(*words)
    assert (status, err) == (2, "error: fsdet bulk needs ray: pip install 'fsdet[cluster]'\n")


def test_a_shard_that_is_done_twice_has_one_file(tmp_path):
    for _ in range(2):
        shards.write_shard(tmp_path, ["a", "b"], b"x")
    shards.write_shard(tmp_path, ["a\nb"[:1]], b"y")
    assert len(list(tmp_path.iterdir())) == 2


def test_damaged_shard_is_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"a\.parquet' is damaged"):
        shards.missing(tmp_path, ["a"])


def test_lists_name_pictures_beside_them_and_at_addresses(pictures, tmp_path):
    list_file = pictures / "list.txt"
    list_file.write_text("0.png\n\nmemory://far/1.png\n0.png\n")
    fsspec.filesystem("memory").pipe("/far/1.png", (pictures / "1.png").read_bytes())
    names = addresses_of(str(list_file))
    assert names == [str(pictures / "0.png"), "memory://far/1.png"]
    assert addresses_of("memory://far") == ["memory:///far/1.png"]
    np.testing.assert_array_equal(read_address(names[1]), read_address(str(pictures / "1.png")))
    with pytest.raises(InputError, match=r"memory://far/2\.png: cannot be read"):
        read_address("memory://far/2.png")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", "nowhere: expected a folder of pictures"),
        ("nowhere.txt", "nowhere.txt: cannot be read"),
        ("nonsense://x", "nonsense://x: cannot be read"),
    ],
)
def test_sources_without_pictures_are_refused(source, message):
    with pytest.raises(InputError, match=message):
        addresses_of(source)
