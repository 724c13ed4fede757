"""Readers: the same scene in every format is the same data."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.folders import (
    CLASSES,
    FORMATS,
    SCENE,
    assert_same_scene,
    picture,
    scene_of,
)
from hypothesis import strategies as st

from fsdet.data import open_data
from fsdet.data.open import READERS, find_reader, subsets
from fsdet.errors import InputError


@st.composite
def scenes(draw):
    """Up to five images with up to six boxes of whole pixels inside them."""
    scene = {}
    for n in range(draw(st.integers(1, 5))):
        height, width = draw(SIDES), draw(SIDES)
        boxes = []
        for _ in range(draw(st.integers(0, 6))):
            x1, y1 = draw(st.integers(0, width - 2)), draw(st.integers(0, height - 2))
            x2, y2 = draw(st.integers(x1 + 1, width)), draw(st.integers(y1 + 1, height))
            boxes.append((draw(st.sampled_from(CLASSES)), x1, y1, x2, y2))
        scene[f"{n:02}"] = ((height, width), boxes)
    return scene


def test_every_reader_has_a_row_in_the_table_of_formats():
    assert [reader.name for reader in READERS] == list(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_scene_that_was_written(name, tmp_path):
    FORMATS[name].write(tmp_path, SCENE)
    assert find_reader(tmp_path, "train").name == name and subsets(tmp_path) == ["train"]
    data = open_data(tmp_path, "train")
    assert_same_scene(scene_of(data), SCENE)
    assert data.classes == CLASSES and data.root == tmp_path and data.layout == name
    assert data.category_ids.tolist() == FORMATS[name].category_ids
    assert data.image_ids.tolist() == FORMATS[name].image_ids
    assert data.ids.tolist() == [1, 2, 3, 4, 5] and not data.ignore.any()
    np.testing.assert_allclose(data.areas, [400, 2400, 80, 210, 128], rtol=1e-5)
    for i in range(3):
        np.testing.assert_array_equal(data.image(i), picture(data.sizes[i], seed=i))


@pytest.mark.parametrize("name", FORMATS)
def test_an_index_is_read_again_after_a_change_of_any_source(name, tmp_path):
    FORMATS[name].write(tmp_path, SCENE)
    assert open_data(tmp_path, "train").cache_folder == open_data(tmp_path, "train").cache_folder
    files = [Path(file) for file in find_reader(tmp_path, "train").sources(tmp_path, "train")]
    for file in filter(Path.is_file, files):
        before = open_data(tmp_path, "train").cache_folder
        os.utime(file, ns=(1, 1))
        assert open_data(tmp_path, "train").cache_folder != before, file


SIDES = st.integers(8, 90)


SIDES = st.integers(8, 90)


@pytest.mark.parametrize("name", FORMATS)
def test_a_mistyped_subset_suggests_the_nearest(name, tmp_path):
    FORMATS[name].write(tmp_path, SCENE)
    with pytest.raises(InputError, match="no subset 'trian'; did you mean 'train'"):
        open_data(tmp_path, "trian")
