"""Region features: extraction of banks and candidates, storage, support."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import tiny
from torchvision.ops import box_iou

from fsdet.boxes import BOX_CODER
from fsdet.data.loading.stream import scaled
from fsdet.evaluation.candidates import CandidateSet
from fsdet.experiment import extraction, features, preflight
from fsdet.experiment.extraction import extract_bank, extract_candidates
from fsdet.experiment.features import REGIONS_PER_OBJECT, extract_features
from fsdet.experiment.few_shot_data import memory_objects, novel_shots
from fsdet.experiment.support import EmbeddedSupport, select_shots

PROBLEM = tiny.problem()
CONFIG = tiny.config()


@pytest.fixture(scope="module")
def model():
    return tiny.model(CONFIG).eval()


@pytest.fixture(scope="module")
def bank(model):
    images = np.arange(1, 30)
    base = PROBLEM.split.base
    return extract_bank(tiny.fabric(), model, PROBLEM.train, images, PROBLEM.labels(base), base)


def image_of(row):
    return int(np.searchsorted(PROBLEM.train.starts, row, side="right")) - 1


def test_the_bank_has_regions_of_every_object_of_its_categories_only(bank):
    data, base = PROBLEM.train, PROBLEM.split.base
    rows = np.arange(data.starts[1], data.starts[30])
    asked = [row for row in rows.tolist() if data.classes[data.labels[row] - 1] in base]
    assert len(asked) < len(rows)
    assert set(bank.objects.tolist()) == {*asked, -1}
    for row in asked:
        found = bank.of_objects([row])
        assert 5 <= len(found) <= 8  # its box, four moved about it, and proposals
        assert {bank.classes[n - 1] for n in bank.labels[found].tolist()} == {
            data.classes[data.labels[row] - 1]
        }
        assert set(bank.images[found].tolist()) == {image_of(row)}
    assert torch.equal(bank.labels == 0, bank.objects == -1)
    assert set(bank.images.tolist()) <= set(range(1, 30))
    assert bank.classes == base and bank.features.maps.dtype == torch.float16


def test_an_object_has_its_own_box_and_jittered_ones_in_the_bank(bank, model):
    exact = 0
    for row in set(bank.objects.tolist()) - {-1}:
        deltas = bank.deltas[bank.of_objects([row])]
        exact += (deltas.abs().max(1).values < 1e-4).any().item()
        assert (deltas.abs().max(1).values > 1e-2).any()
    assert exact == len(set(bank.objects.tolist())) - 1
    assert (bank.deltas[bank.labels == 0] == 0).all()


def spied(model, monkeypatch):
    """Boxes that the detector pools features of."""
    looked, look = [], model.pool_regions

    def spy(view, boxes):
        looked.append([box.clone() for box in boxes])
        return look(view, boxes)

    monkeypatch.setattr(model, "pool_regions", spy)
    return looked


def test_background_does_not_overlap_objects_of_any_category(model, monkeypatch):
    looked = spied(model, monkeypatch)
    data, novel = PROBLEM.train, PROBLEM.split.novel
    images = np.arange(12)
    bank = extract_bank(tiny.fabric(), model, data, images, PROBLEM.labels(novel), novel)
    boxes = [box for batch in looked for box in batch]  # images are 64 pixels: not resized
    assert sum(map(len, boxes)) == len(bank)
    of_image = bank.images.split([len(box) for box in boxes])
    start, empty = 0, 0
    for image, (mine, where) in enumerate(zip(boxes, of_image, strict=True)):
        assert set(where.tolist()) <= {image}
        truth = torch.from_numpy(data.boxes[data.rows(image)]).float()
        background = bank.labels[start : start + len(mine)] == 0
        assert (box_iou(mine[background], truth) < 0.3).all()
        found = bank.objects[start : start + len(mine)][~background]
        own = torch.from_numpy(data.boxes[found.numpy()]).float()
        assert (box_iou(mine[~background], own).diagonal() >= 0.5).all()
        there = BOX_CODER.decode_single(
            bank.deltas[start : start + len(mine)][~background], mine[~background]
        )
        torch.testing.assert_close(there, own, atol=1e-3, rtol=0)
        start, empty = start + len(mine), empty + background.sum().item()
    assert empty > 20


def test_extraction_is_deterministic(bank, model):
    base = PROBLEM.split.base
    again = extract_bank(
        tiny.fabric(), model, PROBLEM.train, np.arange(1, 30), PROBLEM.labels(base), base
    )
    for name in ("labels", "deltas", "images", "objects"):
        assert torch.equal(getattr(again, name), getattr(bank, name))
    assert torch.equal(again.features.maps, bank.features.maps)


def test_regions_of_an_image_do_not_depend_on_other_images(bank, model):
    base = PROBLEM.split.base
    some = extract_bank(tiny.fabric(), model, PROBLEM.train, [20, 3], PROBLEM.labels(base), base)
    mine = torch.cat([torch.nonzero(bank.images == image)[:, 0] for image in (20, 3)])
    assert torch.equal(some.objects, bank.objects[mine])
    torch.testing.assert_close(some.deltas, bank.deltas[mine], atol=1e-3, rtol=0)


def test_candidates_equal_those_of_single_images(model):
    seen = extract_candidates(tiny.fabric(), model, PROBLEM.test, np.arange(len(PROBLEM.test)))
    assert isinstance(seen, CandidateSet) and len(PROBLEM.test) == len(seen.sizes)
    for image in range(len(PROBLEM.test)):
        pixels = scaled(torch.from_numpy(PROBLEM.test.image(image).transpose(2, 0, 1).copy()))
        (alone,) = model.propose([pixels])
        mine = seen.images == image
        assert mine.sum() == len(alone.boxes) > 0
        torch.testing.assert_close(seen.boxes[mine], alone.boxes, atol=1e-2, rtol=0)
        torch.testing.assert_close(
            seen.features.maps[mine].float(), alone.features.maps, atol=2e-3, rtol=2e-3
        )
        torch.testing.assert_close(
            seen.features.means[mine].float(), alone.features.means, atol=1e-3, rtol=2e-3
        )
        assert tuple(seen.sizes[image].tolist()) == alone.size == (64, 64)


def equal(one, other):
    return torch.equal(one.maps, other.maps) and torch.equal(one.means, other.means)


def extracted(model, folder, config=CONFIG, problem=PROBLEM):
    return extract_features(tiny.context(config, folder, problem), model, folder)


def test_stored_features_are_not_extracted_again(model, tmp_path, monkeypatch):
    bank, first = extracted(model, tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == 3 and all(name.endswith(".safetensors") for name in files)

    def never(*_, **__):
        raise AssertionError("features were extracted again")

    monkeypatch.setattr(features, "extract_bank", never)
    monkeypatch.setattr(features, "extract_candidates", never)
    again, second = extracted(model, tmp_path)
    assert first.test == second.test and sum(second.test.num_images) == len(PROBLEM.test)
    for one, other in ((bank, again), (first.novel, second.novel), (first.memory, second.memory)):
        assert equal(one.features, other.features)
    for name in ("labels", "deltas", "images", "objects"):
        assert torch.equal(getattr(first.novel, name), getattr(second.novel, name))
        assert torch.equal(getattr(bank, name), getattr(again, name))
    assert again.classes == PROBLEM.split.base
    assert second.novel.classes == PROBLEM.split.novel
    more = tiny.config("evaluate.seeds=3")
    with pytest.raises(AssertionError, match="extracted again"):  # other shots are in other images
        extracted(model, tmp_path, more)


def test_candidates_in_several_shards_equal_those_in_one(model, tmp_path, monkeypatch):
    whole = extracted(model, tmp_path / "one")[1].test
    monkeypatch.setattr(
        extraction, "SHARD_BYTES", 4 * CONFIG.detector.proposals[1] * model.shape.bytes
    )
    parts = extracted(model, tmp_path / "two")[1].test
    (together,), (first, second) = whole, parts
    assert parts.num_images == (4, 2) and parts.offsets == (0, 4) and whole.num_images == (6,)
    assert torch.equal(first.sizes, together.sizes[:4])
    parted = CandidateSet.cat([first, second])
    assert torch.equal(parted.images, together.images) and torch.equal(parted.sizes, together.sizes)
    torch.testing.assert_close(parted.boxes, together.boxes, atol=1e-2, rtol=0)
    assert len(first.boxes) + len(second.boxes) == len(together.boxes)


@pytest.fixture(scope="module")
def looked(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("seen")
    return extracted(model, folder)


@pytest.fixture(scope="module")
def seen(looked):
    return looked[1]


def test_the_bank_of_base_images_contains_the_memory(looked):
    bank, seen = looked
    base, kept = PROBLEM.split.base, memory_objects(PROBLEM, 2, CONFIG.seed)
    counts = np.bincount(PROBLEM.train.labels[kept], minlength=21)
    assert (
        counts.max() == 2 and (counts[[PROBLEM.train.classes.index(n) + 1 for n in base]] > 0).all()
    )
    assert set(kept) <= set(bank.objects.tolist())
    assert seen.memory.n_way == len(base)
    assert seen.memory.labels.bincount().tolist()[0] == 16  # evaluate.background
    assert seen.memory.labels.bincount()[1:].max() <= 2 * REGIONS_PER_OBJECT
    assert (seen.memory.labels.bincount()[1:] > 0).all()


@pytest.mark.parametrize("k", [1, 2])
def test_a_support_contains_shots_and_no_other_objects(seen, model, k):
    ids = novel_shots(PROBLEM, CONFIG.data, k, 1)
    index, n_base = select_shots(seen, PROBLEM, ids), len(PROBLEM.split.base)
    rows = PROBLEM.rows_of(i for listed in ids.values() for i in listed)
    assert set(seen.novel.objects[index].tolist()) == {*rows, -1}
    assert set(seen.novel.images[index].tolist()) == {image_of(row) for row in rows}
    support = EmbeddedSupport.embed(model.head, seen).with_shots(index)
    assert support.n_way == n_base + 5 == 20
    memory, shots = support.labels.split([len(seen.memory), len(index)])
    assert torch.equal(memory, seen.memory.labels)
    for label, row in zip(shots.tolist(), index.tolist(), strict=True):
        own = seen.novel.labels[row].item()
        assert label == (own + n_base if own else 0)
    objects = {label: set() for label in shots.tolist()}
    for label, row in zip(shots.tolist(), index.tolist(), strict=True):
        objects[label].add(seen.novel.objects[row].item())
    assert {label: len(found) for label, found in objects.items() if label} == dict.fromkeys(
        range(n_base + 1, n_base + 6), k
    )
    plain = torch.cat([seen.memory.features.maps, seen.novel.features.maps[index].float()])
    assert len(support.embeddings) == len(plain) == len(support.deltas)
    one = model.head.embed(seen.novel.take(index[:1], shots[:1], 20).features)
    torch.testing.assert_close(support.embeddings[len(memory)], one[0], atol=1e-5, rtol=1e-4)


@pytest.fixture
def listed(tmp_path):
    """The problem in VOC's layout, with its first novel category difficult in every image, and a
    configuration that takes lists of one image of each."""
    train, novel = PROBLEM.train, PROBLEM.split.novel
    hard = train.labels == train.classes.index(novel[0]) + 1
    for name in novel:
        image = train.images_of(train.classes.index(name) + 1)[0]
        for k in (1, 5):
            (tmp_path / f"box_{k}shot_{name}_train.txt").write_text(f"{train.paths[image]}\n")
    config = tiny.config(f"data.shots={tmp_path}", "evaluate.shots=[1]", "evaluate.seeds=1")
    return replace(PROBLEM, train=replace(train, ignore=hard, layout="VOC")), config


def test_a_listed_difficult_object_is_a_shot(listed, model, tmp_path):
    problem, config = listed
    ids = novel_shots(problem, config.data, 1, 0)
    rows = problem.rows_of(i for listed in ids.values() for i in listed)
    assert len(rows) == 5 and problem.train.ignore[rows].tolist() == [True] + [False] * 4
    _, seen = extracted(model, tmp_path / "run", config, problem)
    index = select_shots(seen, problem, ids)
    assert set(seen.novel.objects[index].tolist()) == {*rows, -1}
    assert set(seen.novel.labels[index].tolist()) == set(range(6))


def test_categories_with_fewer_than_k_shots_are_logged_with_their_counts(listed, caplog):
    problem, config = listed

    def told():
        """Messages about shots; another one is about categories without a test box."""
        caplog.clear()
        with caplog.at_level(logging.WARNING, "fsdet"):
            preflight.check(problem, config, [config.head])
        return [r.getMessage() for r in caplog.records if "no box in the test images" not in r.msg]

    assert not told()
    config = replace(config, evaluate=replace(config.evaluate, shots=[5]))
    drawn = novel_shots(problem, config.data, 5, 0)
    (message,) = told()
    counts = ", ".join(f"{name} ({len(ids)})" for name, ids in drawn.items())
    assert message == f"5 shots, seed 0: fewer boxes of {counts}"
