"""Large images in tiles: every pixel is seen, boxes come back in pixels of the image, objects count once."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers.detectors import knowing, square
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdet.api.tiles import EDGE, OVERLAP, Window, joined, windows
from fsdet.errors import InputError
from fsdet.types import Detections

LENGTHS, SIDES = st.integers(1, 3000), st.integers(32, 900)


def boxes_of(*rows):
    """Detections with boxes, all of category 1, unless a row has a label and a score too."""
    full = [(*row, 1, 0.9)[:6] if len(row) == 4 else row for row in rows]
    table = torch.tensor(full, dtype=torch.float32).reshape(-1, 6)
    return Detections(boxes=table[:, :4], labels=table[:, 4].long(), scores=table[:, 5])


@settings(deadline=None, max_examples=60)
@given(LENGTHS, LENGTHS, SIDES)
def test_tiles_cover_the_image_and_overlap(height, width, side):
    whole, *tiles = windows(height, width, side)
    assert whole == (0, 0, width, height)
    assert bool(tiles) == (max(height, width) > side)
    for length, axis in ((width, 0), (height, 1)) if tiles else ():
        spans = sorted({(tile[axis], tile[axis + 2]) for tile in tiles})
        assert spans[0][0] == 0 and spans[-1][1] == length
        assert all(end - start == min(side, length) for start, end in spans)
        for (_, end), (start, _) in pairwise(spans):
            assert end - start >= OVERLAP * side - 1  # starts are rounded


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_a_detection_within_one_tile_alone_is_moved_with_it(data):
    height, width, side = data.draw(LENGTHS), data.draw(LENGTHS), data.draw(SIDES)
    seen = windows(height, width, side)
    chosen = data.draw(st.integers(0, len(seen) - 1))
    window = seen[chosen]
    wide, high = window.x2 - window.x1, window.y2 - window.y1
    box = [0.3 * wide, 0.4 * high, 0.6 * wide, 0.9 * high]
    parts = [boxes_of(*([box] if n == chosen else [])) for n in range(len(seen))]
    found = joined(parts, seen, 0.5)
    x, y = window.x1, window.y1
    np.testing.assert_allclose(found["boxes"], [np.add(box, [x, y, x, y])], rtol=1e-6)
    np.testing.assert_allclose(found["scores"], [0.9])


def test_an_object_in_several_windows_counts_once_and_cut_ones_do_not():
    seen = [Window(0, 0, 300, 100), Window(0, 0, 200, 100), Window(100, 0, 300, 100)]
    whole = boxes_of((110, 20, 190, 60, 1, 0.6), (110, 20, 190, 60, 2, 0.5))
    left = boxes_of((111, 20, 190, 60, 1, 0.8), (150, 20, 200 - 200 * EDGE / 2, 90), (0, 0, 50, 50))
    right = boxes_of((10, 20, 90, 60, 1, 0.7), (0, 20, 30, 90), (150, 60, 200, 100))
    found = joined([whole, left, right], seen, 0.5)
    rows = sorted(zip(found["boxes"].tolist(), found["labels"].tolist(), strict=True))
    assert rows == [
        ([0, 0, 50, 50], 1),  # edges of a tile that are those of the image cut nothing
        ([110, 20, 190, 60], 2),
        ([111, 20, 190, 60], 1),
        ([250, 60, 300, 100], 1),
    ]
    assert found["scores"].tolist() == sorted(found["scores"].tolist(), reverse=True)


def test_a_small_image_is_seen_as_without_tiles_and_a_large_one_better():
    detector = knowing()
    image = square("red", 7)[0]
    assert detector.predict(image, 0.1, tiles=96) == detector.predict(image, 0.1) != []
    large = np.random.default_rng(0).integers(0, 90, (96, 960, 3), dtype=np.uint8)
    large[30:60, 700:730] = image.max(axis=(0, 1))  # 3 pixels wide when the image is seen whole
    found = detector.predict(large, 0.1, tiles=96)
    assert found.image is large and found.boxes.max() > 96
    each = list(detector.predict_each([large, image], 0.1, tiles=96))
    assert each == [found, detector.predict(image, 0.1)]


@pytest.mark.parametrize("side", [0, 31, -640, 64.0, "640", True])
def test_a_side_that_is_none_is_refused(side):
    with pytest.raises(InputError, match="tiles: expected pixels a side from 32 on, got"):
        knowing().predict_many([], tiles=side)
