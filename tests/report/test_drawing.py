"""Boxes, labels, paths and crops, and ground truth beside detections."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdet.errors import InputError
from fsdet.report.comparison import side_by_side
from fsdet.report.drawing import crop, draw, palette, trace
from fsdet.report.lettering import text_mask


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    boxes=st.lists(st.tuples(*[st.floats(-400, 700)] * 4), max_size=5),
    text=st.text(max_size=40),
)
def test_draw_accepts_any_box_and_text_on_any_image(size, boxes, text):
    image = np.full((*size, 3), 90, np.uint8)
    out = draw(image, boxes, [text] * len(boxes), [(0, 158, 230)] * len(boxes))
    assert out.shape == image.shape and out.dtype == np.uint8 and (image == 90).all()
    assert out.any() and (bool(boxes) or (out == image).all())


@pytest.mark.parametrize("size", [(64, 64), (480, 640), (2000, 3000)])
def test_text_stays_in_the_image_and_grows_with_it(size):
    height, width = size
    boxes = [[0, 0, 20, 20], [width - 15, height - 10, width, height], [width - 5, 0, width, 9]]
    image = np.zeros((height, width, 3), np.uint8)
    colour = (240, 200, 30)
    boxes_only = draw(image, boxes, [""] * 3, [colour] * 3)
    expected = text_mask("gear 0.91", max(9, round(min(height, width) / 26)), width, height).shape
    for n, box in enumerate(boxes):
        texts = ["" if k != n else "gear 0.91" for k in range(3)]
        changed = (draw(image, boxes, texts, [colour] * 3) != boxes_only).any(2)
        # The whole plate is drawn; pixels shared with the lines of its box do not change.
        extent = [np.ptp(index) + 1 for index in np.nonzero(changed)]
        shared = 2 + 2 * round(min(height, width) / 200)
        assert np.abs(np.subtract(expected, extent)).max() <= shared, box
    assert expected[0] > min(height, width) / 26


def test_box_is_drawn_at_its_coordinates():
    image = np.zeros((100, 100, 3), np.uint8)
    out = draw(image, [[20, 30, 60, 80]], [""], [(255, 0, 0)])
    ys, xs = np.nonzero(out[..., 0] > 200)
    np.testing.assert_allclose([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], [20, 30, 60, 80],
                               atol=1)  # fmt: skip
    assert not out[40:70, 30:50].any()


def test_trace_is_drawn_along_its_path():
    image = np.zeros((100, 100, 3), np.uint8)
    paths = [[(20, 30), (60, 30), (60, 80)], [], [(5, 90)]]
    out = trace(image, paths, [(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    expected = np.zeros((100, 100), bool)
    expected[30, 20:61] = expected[30:81, 60] = True
    red = out[..., 0] > 60
    assert (np.abs(np.argwhere(red)[:, None] - np.argwhere(expected)).max(2).min(1) <= 1).all()
    assert red[29:31].any(0)[20:60].all() and red[:, 59:61].any(1)[30:80].all()
    assert not out[..., 1:].any() and not image.any()


@pytest.mark.parametrize(
    ("image", "texts", "message"),
    [(np.zeros((9, 9), np.uint8), ["a"], "uint8 image"), (np.zeros((9, 9, 3)), ["a"], "float64"),
     (np.zeros((9, 9, 3), np.uint8), [], "a text and a colour for each of 1 boxes")],
)  # fmt: skip
def test_draw_rejects_wrong_images_and_unequal_lengths(image, texts, message):
    with pytest.raises(InputError, match=message):
        draw(image, [[1, 1, 5, 5]], texts, [(0, 0, 0)])


def test_palette_is_stable_and_has_different_colours():
    names = [f"category {n}" for n in range(18)]
    assert len(set(palette(names).values())) == 18
    assert palette(names).items() <= palette([*names, "another"]).items()


def test_crop_is_centred_on_its_box_and_grey_outside_the_image():
    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 100:120] = 250
    square = crop(image, np.array([100, 40, 120, 60]), (255, 0, 0), side=120)
    assert square.shape == (120, 120, 3) and (square[60, 60] == 250).all()
    assert (square[30:90, 30:90].min(axis=2) > 200).all() and not square[:15].any()
    ys, xs = np.nonzero((square[..., 0] > 200) & (square[..., 1] < 60))
    assert np.abs(np.array([xs.min(), xs.max(), ys.min(), ys.max()]) - [20, 99, 20, 99]).max() <= 2
    rim = crop(image, np.array([0, 0, 20, 20]), (255, 0, 0), side=60)
    assert (rim[:6] == 128).all() and (rim[:, :6] == 128).all() and not rim[-8:, -8:].any()


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    box=st.tuples(*[st.floats(0, 300)] * 4),
    side=st.integers(16, 200),
)
def test_crop_accepts_any_box_in_any_image(size, box, side):
    x1, x2, y1, y2 = (*sorted(box[:2]), *sorted(box[2:]))
    square = crop(np.zeros((*size, 3), np.uint8), np.array([x1, y1, x2, y2]), (9, 9, 9), side)
    assert square.shape == (side, side, 3) and square.dtype == np.uint8


def test_side_by_side_leaves_out_low_scores_and_resizes():
    image = np.full((60, 120, 3), 128, np.uint8)
    boxes = np.array([[10, 10, 50, 50], [60, 10, 110, 50]], float)
    options = {"novel": {"gear"}, "side": 240}

    def image_with(scores):
        return side_by_side(image, (boxes, ["gear", "star"]), (boxes, ["gear", "star"], scores),
                             **options)  # fmt: skip

    both, first, none = image_with([0.9, 0.8]), image_with([0.9, 0.2]), image_with([0.1, 0.2])
    assert both.shape == first.shape and both.shape[1] >= 480 and both.shape[0] > 120
    left, right = np.split(both[:, : 2 * (both.shape[1] // 2)], 2, axis=1)
    assert (first[:, :240] == both[:, :240]).all() and (first[:, 240:] != both[:, 240:]).any()
    assert (none[-120:, -238:] == 128).all() and left.shape == right.shape
    empty = side_by_side(image, (np.zeros((0, 4)), []), (np.zeros((0, 4)), [], []))
    assert (empty[-100:, :300] == 128).all()
