"""Episodes of images: pure functions of seed and number, whose support and query share no image."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from helpers import tiny
from torch.utils.data import DataLoader

from fsdet.data.dataset import DetectionData
from fsdet.data.loading.episodes import Episodes
from fsdet.data.loading.transforms import support, training
from fsdet.errors import InputError
from fsdet.types import IGNORE


@dataclass(frozen=True, eq=False)
class Numbered(DetectionData):
    """Image n is of colour n, and row r of the annotations is a box of width 10 + r / 10."""

    def image(self, i):
        return np.full((100, 100, 3), i, np.uint8)


def numbered(images=40, categories=5, boxes=160, ignored=0.1):
    rng = np.random.default_rng(0)
    owners = np.sort(rng.integers(0, images, boxes))
    corners = np.tile([5.0, 5, 0, 30], (boxes, 1))
    corners[:, 2] = 15 + np.arange(boxes) / 10
    return Numbered(
        root="nowhere",
        classes=[f"class{n}" for n in range(1, 1 + categories)],
        category_ids=np.arange(1, 1 + categories),
        image_ids=np.arange(images),
        sizes=np.full((images, 2), 100),
        paths=[f"{n}.jpg" for n in range(images)],
        starts=np.searchsorted(owners, np.arange(images + 1)),
        boxes=corners,
        labels=rng.integers(1, 1 + categories, boxes),
        ids=np.arange(boxes),
        areas=np.ones(boxes),
        ignore=rng.random(boxes) < ignored,
    )


def as_it_is(image, target, seed):
    return image, target


DATA = numbered()


def episodes(data=DATA, labels=(1, 2, 4, 5), ways=(2, 3), shots=(1, 3), query=2, **more):
    given = {"support_transform": as_it_is, "query_transform": as_it_is, "seed": 3, "length": 30}
    return Episodes(data, labels, ways, shots, query, **(given | more))


def images_of(shots):
    """Indices of images, from their colours."""
    return [round(image.mean().item() * 255) for image in shots.images]


def rows_of(target):
    """Rows of annotations, from the widths of the boxes."""
    return (10 * (target["boxes"][:, 2] - 15)).round().int().tolist()


def equal(one, other):
    sides = ((one.support, other.support), (one.query, other.query))
    return all(
        a.classes == b.classes
        and len(a.images) == len(b.images)
        and all(torch.equal(x, y) for x, y in zip(a.images, b.images, strict=True))
        and all(
            torch.equal(x["boxes"], y["boxes"]) and torch.equal(x["labels"], y["labels"])
            for x, y in zip(a.targets, b.targets, strict=True)
        )
        for a, b in sides
    )


def test_images_of_support_and_query_are_distinct():
    for episode in episodes():
        near, far = images_of(episode.support), images_of(episode.query)
        assert not set(near) & set(far) and near and far
        assert len(set(near)) == len(near) and len(set(far)) == len(far)
        assert episode.support.classes == episode.query.classes


def test_support_labels_exactly_k_objects_of_each_category():
    ways, shots = set(), set()
    for episode in episodes():
        classes = episode.support.classes
        assert len(set(classes)) == len(classes) and set(classes) <= {
            f"class{n}" for n in (1, 2, 4, 5)
        }
        counts = dict.fromkeys(classes, 0)
        for image, target in zip(images_of(episode.support), episode.support.targets, strict=True):
            assert rows_of(target) == list(range(DATA.starts[image], DATA.starts[image + 1]))
            for row, label in zip(rows_of(target), target["labels"].tolist(), strict=True):
                if label != IGNORE:
                    assert not DATA.ignore[row]
                    assert classes[label - 1] == DATA.classes[DATA.labels[row] - 1]
                    counts[classes[label - 1]] += 1
        assert len(set(counts.values())) == 1
        ways.add(len(classes))
        shots |= set(counts.values())
    assert ways == {2, 3} and shots == {1, 2, 3}


def test_query_labels_exactly_the_objects_of_the_categories():
    for episode in episodes():
        classes, seen = episode.query.classes, set()
        for image, target in zip(images_of(episode.query), episode.query.targets, strict=True):
            rows = list(range(DATA.starts[image], DATA.starts[image + 1]))
            expected = [
                classes.index(DATA.classes[DATA.labels[row] - 1]) + 1
                if not DATA.ignore[row] and DATA.classes[DATA.labels[row] - 1] in classes
                else IGNORE
                for row in rows
            ]
            assert (rows_of(target), target["labels"].tolist()) == (rows, expected)
            seen |= set(expected)
        assert seen - {IGNORE} == set(range(1, 1 + len(classes)))
        assert len(episode.query.images) <= 2 * len(classes)


def test_episode_is_a_function_of_seed_and_index():
    whole, again, later = episodes(), episodes(), episodes(start=4)
    assert all(equal(whole[i], again[i]) for i in (5, 0, 17, 5))
    assert all(equal(whole[4 + i], later[i]) for i in range(5))
    assert not equal(whole[0], whole[1]) and not equal(whole[0], episodes(seed=4)[0])
    with pytest.raises(IndexError):
        whole[30]


@pytest.mark.parametrize("workers", [1, 2])
def test_number_of_workers_does_not_change_episodes(workers):
    data = tiny.problem(train=120).train
    given = {"support_transform": support(64), "query_transform": training(64), "length": 6}
    stream = episodes(data, range(1, 16), **given)
    loaded = DataLoader(stream, 2, num_workers=workers, collate_fn=list)
    batches = [episode for batch in loaded for episode in batch]
    assert len(batches) == 6
    assert all(equal(one, stream[i]) for i, one in enumerate(batches))
    for episode in batches:
        labels = torch.cat([target["labels"] for target in episode.support.targets])
        counts = labels[labels > 0].bincount()[1:]
        assert len(counts) == len(episode.support.classes) and (counts == counts[0]).all()
        assert all(
            image.dtype == torch.float32 and image.max() <= 1 for image in episode.query.images
        )


@pytest.mark.parametrize(("images", "boxes"), [(2, 20), (3, 30), (4, 12), (6, 12)])
def test_query_has_images_even_of_few(images, boxes):
    data = numbered(images, 4, boxes, 0.0)
    for episode in episodes(data, (1, 2, 3, 4), (1, 4), (1, 5)):
        near, far = images_of(episode.support), images_of(episode.query)
        assert near and far and not set(near) & set(far)
        labels = torch.cat([target["labels"] for target in episode.support.targets])
        assert set(labels.tolist()) - {IGNORE} == set(range(1, 1 + len(episode.support.classes)))


def test_too_few_images_are_refused():
    with pytest.raises(InputError, match="nowhere: no category has more than 39 images"):
        episodes(shots=(39, 40))
