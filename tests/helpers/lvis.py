"""A small data set with federated annotations, as LVIS has them."""

import numpy as np

from fsdet.data import DetectionData
from fsdet.data.formats.lvis import Federated


def federated_data(rows, absent, partial, images=3, frequency="rcf"):
    corners = np.array([row[2] for row in rows], float).reshape(-1, 4)
    pairs_by_kind = (np.array(pairs, np.int32).reshape(-1, 2) for pairs in (absent, partial))
    return DetectionData(
        root="nowhere",
        classes=[f"class{n}" for n in range(1, len(frequency) + 1)],
        category_ids=np.arange(1, len(frequency) + 1),
        image_ids=np.arange(images, 0, -1) * 7,  # not ascending
        sizes=np.full((images, 2), 200),
        paths=[f"{n}.jpg" for n in range(images)],
        starts=np.searchsorted([row[0] for row in rows], np.arange(images + 1)),
        boxes=corners,
        labels=[row[1] for row in rows],
        ids=np.arange(len(rows)) + 1,
        areas=(corners[:, 2:] - corners[:, :2]).prod(axis=1),
        ignore=np.zeros(len(rows), bool),
        federated=Federated(frequency, *pairs_by_kind),
    )
