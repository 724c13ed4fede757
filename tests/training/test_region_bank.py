"""Region bank, and episodes from it: pure functions with disjoint support and query."""

from dataclasses import replace

import pytest
import torch
from helpers import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdet.errors import InputError
from fsdet.training.episodes import EpisodeSampler
from fsdet.training.region_bank import RegionBank
from fsdet.types import Features

BANK = tiny.bank()
LARGE = tiny.bank(categories=5, objects=80, images=200)


def sampler(bank=BANK, ways=(2, 3), shots=(1, 3), **more):
    return EpisodeSampler(bank, ways, shots, **{"known": 2, "background": 5, **more})


def shown(bank, regions):
    """Rows of the bank in each region: one, or two spliced ones."""
    known = {}
    for row, pixels in enumerate(bank.features.maps.flatten(2).transpose(1, 2).numpy()):
        known |= {(place, pixel.tobytes()): row for place, pixel in enumerate(pixels)}
    found = []
    for pixels in regions.features.maps.flatten(2).transpose(1, 2).numpy():
        rows = {known[place, pixel.tobytes()] for place, pixel in enumerate(pixels)}
        found.append(sorted(rows))
    return found


def of(bank, values, rows):
    """Values of a field of the bank at the rows of all regions."""
    return {int(getattr(bank, values)[row]) for each in rows for row in each}


def equal(one, other):
    pairs = zip(one, other, strict=True)
    return all(
        torch.equal(a.features.maps, b.features.maps)
        and torch.equal(a.features.means, b.features.means)
        and torch.equal(a.labels, b.labels)
        and torch.equal(a.deltas, b.deltas)
        and a.n_way == b.n_way
        for a, b in pairs
    )


@pytest.mark.parametrize("chimeras", [0.0, 0.5])
def test_episode_is_a_function_of_seed_and_index(chimeras):
    one, other = sampler(chimeras=chimeras, seed=4), sampler(chimeras=chimeras, seed=4)
    later = [one(i) for i in (7, 3, 0)]
    assert all(equal(other(i), episode) for i, episode in zip((7, 3, 0), later, strict=True))
    assert not equal(one(0), one(1)) and not equal(one(0), sampler(chimeras=chimeras, seed=5)(0))


@pytest.mark.parametrize("chimeras", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("bank", [BANK, LARGE], ids=["small", "large"])
def test_support_and_query_share_no_image_and_no_object(bank, chimeras):
    draw = sampler(bank, chimeras=chimeras)
    for i in range(25):
        near, far = (shown(bank, regions) for regions in draw(i))
        assert not of(bank, "images", near) & of(bank, "images", far)
        assert not (of(bank, "objects", near) - {-1}) & (of(bank, "objects", far) - {-1})


def test_labels_are_distinct_categories_and_background_is_zero():
    for i in range(25):
        categories = []
        for regions in sampler()(i):
            rows = shown(BANK, regions)
            assert set(regions.labels.tolist()) <= set(range(1 + regions.n_way))
            by_label = {}
            for label, (row,) in zip(regions.labels.tolist(), rows, strict=True):
                by_label.setdefault(label, set()).add(int(BANK.labels[row]))
            assert by_label.pop(0) == {0}
            assert all(len(kinds) == 1 for kinds in by_label.values())
            categories.append({label: kinds.pop() for label, kinds in by_label.items()})
        near, far = categories
        assert set(near) == set(range(1, 1 + regions.n_way))  # a support of every category
        assert len(set(near.values())) == len(near) and far.items() <= near.items()
        rows = [row for (row,) in shown(BANK, regions)]
        assert torch.equal(regions.deltas, BANK.deltas[rows])
        assert torch.equal(regions.features.means, BANK.features.means[rows])


def test_n_and_k_are_in_range_and_k_counts_objects():
    draw = sampler(LARGE, (1, 3), (2, 4), known=2, known_shots=7, query=3, per_object=2)
    ways, shots = set(), set()
    for i in range(40):
        near, far = draw(i)
        new = near.n_way - 2
        counts = []
        for regions in (near, far):
            rows = [row for (row,) in shown(LARGE, regions)]
            objects = [
                LARGE.objects[rows][regions.labels == label] for label in range(1, 1 + near.n_way)
            ]
            counts.append([len(set(found.tolist())) for found in objects])
            assert max(found.bincount().max() for found in objects) <= 2  # per_object
            assert (regions.labels == 0).sum() == 5
        assert len(set(counts[0][:new])) == 1 and counts[0][new:] == [7, 7]
        assert counts[1] == [3] * near.n_way
        ways.add(new)
        shots.add(counts[0][0])
    assert ways == {1, 2, 3} and shots == {2, 3, 4}


def test_only_new_categories_are_chimeras_of_two():
    pairs = set()
    for i in range(20):
        near, far = sampler(LARGE, (2, 2), known=2, chimeras=1.0)(i)
        kinds = {}
        for regions in (near, far):
            for label, rows in zip(regions.labels.tolist(), shown(LARGE, regions), strict=True):
                kinds.setdefault(label, set()).add(tuple(LARGE.labels[rows].sort()[0].tolist()))
        assert all(len(found) == 1 for label, found in kinds.items() if label)
        shown_by = {label: found.pop() for label, found in kinds.items()}
        assert [len(shown_by[label]) for label in range(5)] == [1, 2, 2, 1, 1]
        assert all(len(set(shown_by[label])) == 2 for label in (1, 2))
        pairs |= {shown_by[1], shown_by[2]}
    assert len(pairs) > 5


@settings(max_examples=40)
@given(st.integers(2, 3), st.integers(2, 4), st.integers(3, 8), st.sampled_from([0.0, 1.0]))
def test_small_banks_give_episodes_without_empty_sides(categories, objects, images, chimeras):
    bank = tiny.bank(categories, objects, images)
    try:
        draw = sampler(bank, (1, 5), (1, 9), chimeras=chimeras)
        episodes = [draw(i) for i in range(5)]
    except InputError as error:
        assert "two images or more" in str(error) or "too few base images" in str(error)
        return
    for near, far in episodes:
        assert (far.labels > 0).any()
        if not chimeras:
            assert set(near.labels.tolist()) >= set(range(1, 1 + near.n_way))
        near, far = shown(bank, near), shown(bank, far)
        assert not of(bank, "images", near) & of(bank, "images", far)


def test_too_few_categories_are_refused():
    with pytest.raises(InputError, match=r"two base categories with objects in two images.*got 1"):
        sampler(tiny.bank(categories=1))
    with pytest.raises(InputError, match=r"got 0"):
        sampler(replace(BANK, images=torch.zeros_like(BANK.images)))
    empty = BANK.labels == 0
    nothing = RegionBank(
        BANK.features[empty],
        *(getattr(BANK, name)[empty] for name in ("labels", "deltas", "images", "objects")),
        BANK.classes,
        BANK.levels,
    )
    with pytest.raises(InputError, match="got 0"):
        sampler(nothing)


def by_hand():
    features = Features(torch.arange(8.0).reshape(8, 1, 1, 1).half(), torch.ones(8, 2).half())
    labels = torch.tensor([1, 0, 2, 1, 1, 0, 2, 1])
    objects = torch.tensor([7, -1, 3, 7, 9, -1, 3, 7])
    images = torch.tensor([0, 0, 0, 0, 1, 1, 0, 0])
    deltas = torch.arange(32.0).reshape(8, 4)
    return RegionBank(features, labels, deltas, images, objects, ("a", "b"), (2,))


def test_regions_of_objects_are_limited_per_object():
    bank = by_hand()
    assert len(bank) == 8
    assert bank.of_objects([7, 3]).tolist() == [0, 2, 3, 6, 7]
    assert bank.of_objects([7, 3], 2).tolist() == [0, 2, 3, 6]
    assert bank.of_objects(iter([3, 9]), most=1).tolist() == [2, 4]
    assert bank.of_objects([]).tolist() == bank.of_objects([5], 1).tolist() == []


def test_background_of_images():
    bank = by_hand()
    assert bank.background_of(torch.tensor([0, 1])).tolist() == [1, 5]
    assert bank.background_of(torch.tensor([1])).tolist() == [5]
    assert bank.background_of(torch.tensor([], dtype=torch.int64)).tolist() == []


def test_regions_are_taken_with_the_labels_of_a_task():
    bank, index = by_hand(), torch.tensor([4, 1])
    taken = bank.take(index, torch.tensor([3, 0]), 5)
    assert taken.labels.tolist() == [3, 0] and taken.n_way == 5
    assert taken.features.maps.flatten().tolist() == [4, 1]
    assert taken.features.maps.dtype == taken.features.means.dtype == torch.float32
    assert torch.equal(taken.deltas, bank.deltas[index])
