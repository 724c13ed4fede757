"""Annotated boxes and detections as tables."""

import numpy as np
from hypothesis import strategies as st

from fsdet.data.dataset import DetectionData
from fsdet.evaluation.detections import DetectionArrays

NO_DETECTIONS = DetectionArrays([], [], [], [])

GRID = st.integers(0, 12).map(lambda n: n * 10.0)  # a coarse grid: overlaps, and equal ones


def annotated(images, classes, rows, ids=None):
    """Data of `rows`: image, label, box, whether to be ignored; images 100 pixels square."""
    rows = sorted(rows, key=lambda row: row[0])
    corners = np.array([row[2] for row in rows], float).reshape(-1, 4)
    return DetectionData(
        root="nowhere",
        classes=[f"class{n}" for n in range(1, classes + 1)],
        category_ids=np.arange(1, classes + 1),
        image_ids=np.arange(images) if ids is None else ids,
        sizes=np.full((images, 2), 100),
        paths=[f"{n}.jpg" for n in range(images)],
        starts=np.searchsorted([row[0] for row in rows], np.arange(images + 1)),
        boxes=corners,
        labels=[row[1] for row in rows],
        ids=np.arange(len(rows)),
        areas=(corners[:, 2:] - corners[:, :2]).prod(axis=1),
        ignore=[row[3] for row in rows],
    )


def detection_arrays(rows):
    """Detections of `rows`: image, label, score, box."""
    return DetectionArrays(*zip(*rows, strict=True)) if rows else NO_DETECTIONS


def detection_rows(detections):
    """Rows of detections: image, label, score, box."""
    return list(zip(*vars(detections).values(), strict=True))


def crowded(seed):
    """40 images with up to 12 boxes of 6 categories, and 2,000 detections on and off them."""
    rng = np.random.default_rng(seed)
    n, num_detections = 240, 2000
    image, label = rng.integers(0, 40, n), rng.integers(1, 7, n)
    corner = rng.uniform(0, 200, (n, 2))
    box = np.hstack([corner, corner + rng.uniform(8, 130, (n, 2))])
    crowd = rng.random(n) < 0.05
    rows = list(zip(image, label, box, crowd, strict=True))
    data = annotated(40, 6, rows, rng.permutation(1000)[:40])
    near = rng.integers(0, n, num_detections)
    corners = box[near] + rng.normal(0, 6, (num_detections, 4))
    corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2] + 1)
    confused = rng.random(num_detections) >= 0.7
    labels = np.where(confused, rng.integers(1, 7, num_detections), label[near])
    scores = rng.random(num_detections).round(2)
    return data, DetectionArrays(image[near], labels, scores, corners)


@st.composite
def truth_and_detections(draw):
    """Ground truth with crowds, images and classes without boxes, and detections with equal scores."""
    images, classes = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    image, label = st.integers(0, images - 1), st.integers(1, classes)
    rows = draw(st.lists(st.tuples(image, label, boxes(), st.booleans()), max_size=12))
    score = st.sampled_from([0.1, 0.5, 0.5000001, 0.9])
    detections = draw(st.lists(st.tuples(image, label, score, boxes()), max_size=25))
    ids = draw(st.permutations([3, 9, 2**40, 7]))[:images]
    data = annotated(images, classes, rows, ids)
    return data, detection_arrays(detections)


def same(a, b):
    """Whether metrics are equal to 1e-9, NaN included."""
    return np.allclose(a, b, rtol=0, atol=1e-9, equal_nan=True)


@st.composite
def boxes(draw):
    x, y = draw(GRID), draw(GRID)
    return [x, y, x + 10 + draw(GRID), y + 10 + draw(GRID)]
