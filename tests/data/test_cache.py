"""Cache: the same data memory-mapped, rebuilt after damage and after changes."""

import mmap
import os
import pickle

import numpy as np
import pytest
from helpers.folders import SCENE, coco_content, images_as_lists, write_coco

from fsdet.data import open_data
from fsdet.data.formats.coco import CocoReader
from fsdet.errors import InputError


def is_mapped(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


def test_cached_data_are_the_same_and_memory_mapped(tmp_path):
    write_coco(tmp_path)
    fresh = open_data(tmp_path, "train", cache=False)
    assert fresh.cache_folder is None
    for _ in range(2):
        data = open_data(tmp_path, "train")
        assert images_as_lists(data) == images_as_lists(fresh) and data.classes == fresh.classes
        assert data.category_ids.tolist() == fresh.category_ids.tolist()
        assert is_mapped(data.boxes) and not data.boxes.flags.writeable


def test_pickling_mapped_data_copies_no_arrays(tmp_path):
    scene = {f"{i:04}": ((40, 60), [("cat", 5, 10, 25, 30)]) for i in range(500)}
    write_coco(tmp_path, coco_content(scene))
    for name in scene:
        (tmp_path / "images" / "train" / f"{name}.png").touch()
    data = open_data(tmp_path, "train")
    pickled = pickle.dumps(data)
    assert len(pickled) < 1000 < data.boxes.nbytes
    again = pickle.loads(pickled)
    assert images_as_lists(again) == images_as_lists(data) and is_mapped(again.boxes)
    part = pickle.loads(pickle.dumps(data.subset([3, 1])))
    assert images_as_lists(part) == [images_as_lists(data)[3], images_as_lists(data)[1]]


def test_annotations_are_read_again_only_after_a_change(tmp_path, monkeypatch):
    file = write_coco(tmp_path)
    data = open_data(tmp_path, "train")
    monkeypatch.setattr(CocoReader, "read", lambda *_: pytest.fail("read again"))
    assert images_as_lists(open_data(tmp_path, "train")) == images_as_lists(data)
    # A changed file is read again, even if its length is the same.
    monkeypatch.undo()
    monkeypatch.setenv("FSDET_CACHE", str(tmp_path / "cache"))
    text = file.read_text()
    os.utime(file, ns=(1, 1))
    file.write_text(text.replace("[5, 10, 20, 20]", "[6, 10, 20, 20]"))
    assert open_data(tmp_path, "train").boxes[0].tolist() == [6, 10, 26, 30]


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "empty"])
@pytest.mark.parametrize("victim", ["boxes.npy", "text.npy", "index.json"])
def test_a_damaged_cache_is_rebuilt(tmp_path, cache_folder, caplog, damage, victim):
    write_coco(tmp_path)
    expected = images_as_lists(open_data(tmp_path, "train"))
    (file,) = cache_folder.glob(f"*/{victim}")
    whole = file.read_bytes()
    broken = {
        "cut": whole[: len(whole) // 2],
        "changed": whole[:-3] + bytes([whole[-3] ^ 255]) + whole[-2:],
        "empty": b"",
    }
    file.unlink()
    if damage != "gone":
        file.write_bytes(broken[damage])
    assert images_as_lists(open_data(tmp_path, "train")) == expected
    assert not caplog.records
    (rebuilt,) = cache_folder.glob(f"*/{victim}")
    assert rebuilt.read_bytes() == whole and not list(cache_folder.glob("*.part*"))


def test_an_unwritable_cache_is_not_used(tmp_path, monkeypatch):
    write_coco(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("FSDET_CACHE", str(tmp_path / "file" / "cache"))
    data = open_data(tmp_path, "train")
    assert data.cache_folder is None and len(data) == len(SCENE)


def test_cached_faults_last_until_the_image_is_repaired(tmp_path, caplog):
    write_coco(tmp_path)
    image = tmp_path / "images" / "train" / "a.png"
    whole = image.read_bytes()
    image.write_bytes(whole[:100])
    for _ in range(2):
        caplog.clear()
        assert len(open_data(tmp_path, "train", skip_bad=True)) == 2
        assert "1 x image cannot be decoded" in caplog.text
    image.write_bytes(whole)  # the folder's own time does not change
    caplog.clear()
    assert len(open_data(tmp_path, "train", skip_bad=True)) == 3
    assert not caplog.records


def test_unpickling_from_a_deleted_cache_is_an_input_error(tmp_path, cache_folder):
    write_coco(tmp_path)
    pickled = pickle.dumps(open_data(tmp_path, "train"))
    for file in cache_folder.glob("*/*"):
        file.unlink()
    with pytest.raises(InputError, match=r"not a readable index of"):
        pickle.loads(pickled)
