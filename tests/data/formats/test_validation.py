"""Validation of boxes: clipped, or reported."""

import json

import numpy as np
import pytest
from helpers.folders import coco_content, write_coco
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsdet.data import open_data


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(width=32) | st.integers(-70, 130), min_size=4, max_size=4))
def test_a_box_is_kept_clipped_by_at_most_a_pixel_or_reported(tmp_path_factory, box):
    root = tmp_path_factory.getbasetemp() / "one"
    content = coco_content()
    content["annotations"][0]["bbox"] = box
    file = root / "annotations" / "instances_train.json"
    if not file.exists():
        write_coco(root, content)
    file.write_text(json.dumps(content))
    data = open_data(root, "train", skip_bad=True, cache=False)
    width, height = 60, 40
    x, y, w, h = (float(edge) for edge in box)
    corners = np.array([x, y, x + w, y + h])
    finite, kept = np.isfinite(corners).all(), 1 in data.ids
    assert kept == (2 in data.ids)  # without its box the whole image is left out
    if kept:
        box_read, ignored = data.boxes[data.ids == 1][0], data.ignore[data.ids == 1][0]
        assert finite
        ordered = np.concatenate(
            [np.minimum(corners[:2], corners[2:]), np.maximum(corners[:2], corners[2:])]
        )
        np.testing.assert_allclose(box_read, np.clip(ordered, 0, [60, 40, 60, 40]))
        assert ignored == (np.abs(box_read - corners).max() > 1)
        assert 0 <= box_read[0] < box_read[2] <= width and 0 <= box_read[1] < box_read[3] <= height
        assert (box_read.astype(np.float32)[2:] > box_read.astype(np.float32)[:2]).all()
    elif finite and w > 1e-3 and h > 1e-3:
        assert x < 0 or y < 0 or x + w > width or y + h > height


def test_boxes_slightly_over_the_border_are_clipped(tmp_path):
    content = coco_content()
    content["annotations"][0]["bbox"] = [-0.8, -0.9, 61.5, 20]
    write_coco(tmp_path, content)
    assert open_data(tmp_path, "train").boxes[0].tolist() == pytest.approx([0, 0, 60, 19.1])
