"""The index: flat arrays that select, pickle and map as a list of images would."""

import json
import mmap
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.folders import SCENE, coco_content, write_coco
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdet.data import DetectionData, open_data
from fsdet.data.formats import coco
from fsdet.data.paths import PackedNames
from fsdet.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FSDET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def made(counts, root="data"):
    """Image i has counts[i] boxes; box n is [n, n, n + 1, n + 2] of label n % 3 + 1."""
    rows = np.arange(sum(counts))
    return DetectionData(
        root=root,
        classes=("ant", "cat", "dog"),
        category_ids=[5, 6, 9],
        image_ids=[100 + i for i in range(len(counts))],
        sizes=[(1000, 500 + i) for i in range(len(counts))],
        paths=[f"{i:03}.jpg" for i in range(len(counts))],
        starts=np.cumsum([0, *counts]),
        boxes=np.column_stack([rows, rows, rows + 1, rows + 2]),
        labels=rows % 3 + 1,
        ids=rows * 7,
        areas=rows * 0.5,
        ignore=rows % 4 == 0,
    )


def is_mapped(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


def as_list(data):
    """Each image as plain Python: what must not depend on the flat layout."""
    images = []
    for i in range(len(data)):
        rows = data.rows(i)
        columns = [data.ids[rows], data.labels[rows], data.boxes[rows], data.areas[rows]]
        columns = [column.tolist() for column in [*columns, data.ignore[rows]]]
        images.append((int(data.image_ids[i]), data.sizes[i].tolist(), data.paths[i], columns))
    return images


@given(st.lists(st.text(), max_size=20))
def test_packed_names_are_the_names(names):
    names = [name.encode("utf-8", "ignore").decode() for name in names]
    packed = PackedNames.pack(names)
    assert [packed[i] for i in range(len(packed))] == names


def test_a_file_name_that_is_no_unicode_survives_packing():
    name = os.fsdecode(b"caf\xe9.jpg")
    assert PackedNames.pack([name, "x"])[0] == name


@settings(max_examples=60)
@given(st.data(), st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_a_subset_is_those_images_with_their_boxes(draw, counts):
    data = made(counts)
    whole = as_list(data)
    picked = draw.draw(st.lists(st.integers(0, len(counts) - 1), unique=True))
    assert as_list(data.subset(picked)) == [whole[i] for i in picked]
    mask = np.isin(np.arange(len(counts)), picked)
    assert as_list(data.subset(mask)) == [whole[i] for i in sorted(picked)]


@settings(max_examples=40)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.integers(1, 3))
def test_images_of_a_label_have_a_box_of_it_that_counts(counts, label):
    data = made(counts)
    expected = [
        i
        for i in range(len(data))
        if any(
            data.labels[row] == label and not data.ignore[row]
            for row in range(data.rows(i).start, data.rows(i).stop)
        )
    ]
    assert data.images_of(label).tolist() == expected


@settings(max_examples=40)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_each_box_is_in_the_image_whose_rows_have_it(counts):
    data = made(counts)
    owners = [i for i in range(len(data)) for _ in data.ids[data.rows(i)]]
    assert data.image_of(range(len(data.ids))).tolist() == owners
    backwards = np.arange(len(data.ids))[::-1]
    assert data.image_of(backwards).tolist() == owners[::-1]
    assert data.image_of([]).tolist() == []


def test_rows_count_from_either_end_and_stop_there():
    data = made([2, 0, 3])
    assert [data.rows(i) for i in (0, 1, 2)] == [slice(0, 2), slice(2, 2), slice(2, 5)]
    assert data.rows(-1) == data.rows(2) and data.path(-3) == Path("data/000.jpg")
    for i in (3, -4):
        with pytest.raises(IndexError):
            data.rows(i)


def test_arrays_that_disagree_are_refused():
    data = made([1, 2])
    for change in ({"starts": [0, 1, 4]}, {"image_ids": [1]}, {"labels": [1, 2]}):
        with pytest.raises(ValueError, match="disagree"):
            replace(data, **change)


def test_an_item_is_the_image_and_its_target(tmp_path):
    content = coco_content()
    content["annotations"][1]["iscrowd"] = 1
    write_coco(tmp_path, content)
    image, target = open_data(tmp_path, "train")[0]
    assert image.dtype == np.uint8 and image.shape == (40, 60, 3)
    assert target["boxes"].dtype == torch.float32 and target["labels"].dtype == torch.int64
    assert target["boxes"].tolist() == [[5, 10, 25, 30], [0, 0, 60, 40]]
    assert target["labels"].tolist() == [2, -1]  # a crowd is ignored
    _, empty = open_data(tmp_path, "train")[1]
    assert empty["boxes"].shape == (0, 4) and empty["labels"].shape == (0,)


@pytest.mark.parametrize(
    "name", ["../secret.png", "a/../../secret.png", "/etc/hostname", "link.png"]
)
def test_a_path_out_of_the_root_is_refused(tmp_path, name):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.png").touch()
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    data = DetectionData(root, (), [], [1], [(2, 2)], [name], [0, 0], [], [], [], [], [])
    with pytest.raises(InputError, match="outside the data root"):
        data.path(0)
    with pytest.raises(InputError, match="outside the data root"):
        data.image(0)


def test_what_comes_from_the_cache_is_the_same_and_mapped(tmp_path):
    write_coco(tmp_path)
    fresh = open_data(tmp_path, "train", cache=False)
    assert fresh.stored is None
    for _ in range(2):
        data = open_data(tmp_path, "train")
        assert as_list(data) == as_list(fresh) and data.classes == fresh.classes
        assert data.category_ids.tolist() == fresh.category_ids.tolist()
        assert is_mapped(data.boxes) and not data.boxes.flags.writeable


def test_pickling_mapped_data_copies_nothing(tmp_path):
    scene = {f"{i:04}": ((40, 60), [("cat", 5, 10, 25, 30)]) for i in range(500)}
    write_coco(tmp_path, coco_content(scene))
    for name in scene:
        (tmp_path / "images" / "train" / f"{name}.png").touch()
    data = open_data(tmp_path, "train")
    pickled = pickle.dumps(data)
    assert len(pickled) < 1000 < data.boxes.nbytes
    again = pickle.loads(pickled)
    assert as_list(again) == as_list(data) and is_mapped(again.boxes)
    part = pickle.loads(pickle.dumps(data.subset([3, 1])))
    assert as_list(part) == [as_list(data)[3], as_list(data)[1]]


def test_the_second_opening_reads_no_annotations(tmp_path, monkeypatch):
    file = write_coco(tmp_path)
    data = open_data(tmp_path, "train")
    monkeypatch.setattr(coco, "read", lambda *_: pytest.fail("read again"))
    assert as_list(open_data(tmp_path, "train")) == as_list(data)
    # ... until the file is written, even to the same length
    monkeypatch.undo()
    monkeypatch.setenv("FSDET_CACHE", str(tmp_path / "cache"))
    text = file.read_text()
    os.utime(file, ns=(1, 1))
    file.write_text(text.replace("[5, 10, 20, 20]", "[6, 10, 20, 20]"))
    assert open_data(tmp_path, "train").boxes[0].tolist() == [6, 10, 26, 30]


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "empty"])
@pytest.mark.parametrize("victim", ["boxes.npy", "text.npy", "index.json"])
def test_a_damaged_cache_is_rebuilt(tmp_path, cache, caplog, damage, victim):
    write_coco(tmp_path)
    expected = as_list(open_data(tmp_path, "train"))
    (file,) = cache.glob(f"*/{victim}")
    whole = file.read_bytes()
    broken = {
        "cut": whole[: len(whole) // 2],
        "changed": whole[:-3] + bytes([whole[-3] ^ 255]) + whole[-2:],
        "empty": b"",
    }
    file.unlink()
    if damage != "gone":
        file.write_bytes(broken[damage])
    assert as_list(open_data(tmp_path, "train")) == expected
    assert not caplog.records
    (rebuilt,) = cache.glob(f"*/{victim}")
    assert rebuilt.read_bytes() == whole and not list(cache.glob("*.part*"))


def test_no_cache_where_none_can_be_written(tmp_path, monkeypatch):
    write_coco(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("FSDET_CACHE", str(tmp_path / "file" / "cache"))
    data = open_data(tmp_path, "train")
    assert data.stored is None and len(data) == len(SCENE)


def test_faults_come_back_from_the_cache_until_they_are_cured(tmp_path, caplog):
    write_coco(tmp_path)
    image = tmp_path / "images" / "train" / "a.png"
    whole = image.read_bytes()
    image.write_bytes(whole[:100])
    for _ in range(2):
        caplog.clear()
        assert len(open_data(tmp_path, "train", skip_bad=True)) == 2
        assert "1 x image does not decode" in caplog.text
    image.write_bytes(whole)  # the folder's own time does not change
    caplog.clear()
    assert len(open_data(tmp_path, "train", skip_bad=True)) == 3
    assert not caplog.records


def test_a_cache_that_was_deleted_is_one_line(tmp_path, cache):
    write_coco(tmp_path)
    pickled = pickle.dumps(open_data(tmp_path, "train"))
    for file in cache.glob("*/*"):
        file.unlink()
    with pytest.raises(InputError, match=r"not an index of .* that can be read"):
        pickle.loads(pickled)


def test_large_ids_are_exact(tmp_path):
    content = coco_content()
    for row in content["annotations"]:
        row["id"] += 900_100_581_904
    write_coco(tmp_path, json.loads(json.dumps(content)))
    assert open_data(tmp_path, "train").ids[0] == 900_100_581_905
