"""DetectionData: selection, rows, items and paths of the flat arrays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.folders import coco_content, images_as_lists, write_coco
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdet.data import DetectionData, open_data
from fsdet.errors import InputError


def flat_data(counts, root="data"):
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


@settings(max_examples=60)
@given(st.data(), st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_a_subset_has_the_chosen_images_with_their_boxes(draw, counts):
    data = flat_data(counts)
    whole = images_as_lists(data)
    picked = draw.draw(st.lists(st.integers(0, len(counts) - 1), unique=True))
    assert images_as_lists(data.subset(picked)) == [whole[i] for i in picked]
    mask = np.isin(np.arange(len(counts)), picked)
    assert images_as_lists(data.subset(mask)) == [whole[i] for i in sorted(picked)]


@settings(max_examples=40)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.integers(1, 3))
def test_images_of_a_label_have_a_box_of_it_that_is_not_ignored(counts, label):
    data = flat_data(counts)
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
def test_image_of_is_the_inverse_of_rows(counts):
    data = flat_data(counts)
    owners = [i for i in range(len(data)) for _ in data.ids[data.rows(i)]]
    assert data.image_of(range(len(data.ids))).tolist() == owners
    backwards = np.arange(len(data.ids))[::-1]
    assert data.image_of(backwards).tolist() == owners[::-1]
    assert data.image_of([]).tolist() == []


def test_negative_indices_count_from_the_end():
    data = flat_data([2, 0, 3])
    assert [data.rows(i) for i in (0, 1, 2)] == [slice(0, 2), slice(2, 2), slice(2, 5)]
    assert data.rows(-1) == data.rows(2) and data.path(-3) == Path("data/000.jpg")
    for i in (3, -4):
        with pytest.raises(IndexError):
            data.rows(i)


def test_arrays_of_different_lengths_are_refused():
    data = flat_data([1, 2])
    for change in ({"starts": [0, 1, 4]}, {"image_ids": [1]}, {"labels": [1, 2]}):
        with pytest.raises(ValueError, match="same length"):
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
def test_a_path_outside_the_root_is_refused(tmp_path, name):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.png").touch()
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    data = DetectionData(root, (), [], [1], [(2, 2)], [name], [0, 0], [], [], [], [], [])
    with pytest.raises(InputError, match="outside the data root"):
        data.path(0)
    with pytest.raises(InputError, match="outside the data root"):
        data.image(0)
