"""Shots of a data set, and fine-tuning on them."""

import numpy as np
import pytest
import torch
from helpers.detectors import SETTINGS, empty
from helpers.folders import write_coco, write_voc, write_yolo

import fsdet
from fsdet import InputError
from fsdet.api.finetune import finetune
from fsdet.data import open_data
from fsdet.data.loading.transforms import support as augmentation
from fsdet.data.shapes.dataset import open_shapes
from fsdet.data.shots.images import choose
from fsdet.data.shots.shot_list import sample
from fsdet.types import IGNORE

NAMES = ("house", "gear")
DATA = open_shapes("train", images=60, size=96)
HEADS = ("maml", "cosine", "prototype")


def registered(head="maml", **args):
    """A detector that knows `NAMES` and "drop", and the shots of `NAMES`."""
    quick = {"maml": {"steps": 2, "test_steps": 2}, "cosine": {"steps": 10}}
    detector = empty(head, **quick.get(head, {}), **args)
    detector.remember(choose(DATA, ["drop"], 3, 0).batches(4))
    shots = choose(DATA, NAMES, 3, 0)
    detector.remember(shots.batches(4))
    return detector, shots


def weights(detector):
    return {name: value.clone() for name, value in detector.model.state_dict().items()}


def test_shots_carry_their_label_and_every_other_box_is_ignored():
    ids = sample(DATA, NAMES, 3, 1)
    shots, seen = choose(DATA, NAMES, 3, 1), []
    assert shots.classes == NAMES
    for place, image in enumerate(shots.images.tolist()):
        pixels, target = shots[place]
        np.testing.assert_array_equal(pixels, DATA.image(image))
        labels = target["labels"].tolist()
        assert len(labels) == len(DATA.boxes[DATA.rows(image)])
        assert labels == sorted(labels, key=lambda label: label == IGNORE)  # shots come first
        for box, label in zip(target["boxes"].numpy(), labels, strict=True):
            row = np.flatnonzero(np.abs(DATA.boxes - box).max(1) < 1e-3)
            row = row[(row >= DATA.rows(image).start) & (row < DATA.rows(image).stop)]
            number = int(DATA.ids[row[0]])
            assert label == next((n for n, name in enumerate(NAMES, 1) if number in ids[name]), -1)
            seen += [number] if label > 0 else []
    assert sorted(seen) == sorted(ids["house"] + ids["gear"])


def test_without_a_number_every_box_is_a_shot():
    shots = choose(DATA, ["gear"], None, 0)
    count = sum(int((shots[i][1]["labels"] == 1).sum()) for i in range(len(shots)))
    assert count == (DATA.labels == DATA.classes.index("gear") + 1).sum()


def test_batches_hold_every_image_once_and_views_differ_by_seed_alone():
    shots = choose(DATA, NAMES, 3, 0)
    plain = list(shots.batches(2))
    assert [len(batch.images) for batch in plain][:-1] == [2] * (len(plain) - 1)
    assert sum(len(batch.images) for batch in plain) == len(shots)
    change = augmentation(96)
    one, same, other = (next(iter(shots.batches(4, change, seed))).images for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("names", "k", "message"),
    [
        (["gear"], 999, "'gear' has .* boxes to draw from, fewer than 999"),
        (["gaer"], 1, "no category 'gaer'; did you mean 'gear'"),
        (["gaer"], None, "no category 'gaer'"),
        (["gear", "gear"], 1, "each once, got gear, gear"),
        ([], 1, "each once, got none"),
        (["gear"], 0, "at least 1: got 0"),
    ],
)
def test_impossible_shots_are_refused(names, k, message):
    with pytest.raises(InputError, match=message):
        choose(DATA, names, k, 0)


def test_a_category_without_boxes_is_refused():
    few = DATA.subset([0])
    absent = next(name for n, name in enumerate(DATA.classes, 1) if n not in few.labels)
    with pytest.raises(InputError, match=f"category '{absent}' has no box"):
        choose(few, [absent], None, 0)


@pytest.mark.parametrize("write", [write_coco, write_voc, write_yolo])
def test_a_detector_learns_from_every_format(write, tmp_path):
    write(tmp_path)
    detector = empty("prototype")
    detector.remember(choose(open_data(tmp_path, "train"), ["cat", "dog"], 1, 0).batches(8))
    assert detector.names == ("cat", "dog")


@pytest.mark.parametrize("head", HEADS)
def test_steps_lower_the_loss_and_move_the_head_alone(head):
    detector, shots = registered(head)
    before, memory = weights(detector), detector.support()
    losses = finetune(detector, shots, steps=12, rate=1e-3)
    assert len(losses) == 12 and np.mean(losses[-3:]) < np.mean(losses[:3])
    moved = {name for name, value in weights(detector).items() if not value.equal(before[name])}
    assert moved and all(name.startswith("head.") for name in moved)
    assert not detector.model.training
    torch.testing.assert_close(detector.support().features.maps, memory.features.maps)
    assert detector.names == ("drop", *NAMES)


def test_the_same_seed_gives_the_same_head_and_leaves_the_global_generator():
    heads = []
    for seed in (3, 3, 4):
        detector, shots = registered()
        torch.manual_seed(len(heads))
        state = torch.get_rng_state()
        finetune(detector, shots, steps=2, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        heads.append(weights(detector))
    same, other = ([heads[0][name].equal(head[name]) for name in head] for head in heads[1:])
    assert all(same) and not all(other)


def test_predictions_use_the_fine_tuned_head_also_after_saving(tmp_path):
    detector, shots = registered()
    image = shots[0][0]
    before = detector.predict(image, 0.01)
    finetune(detector, shots, steps=3, rate=1e-2)
    after = detector.predict(image, 0.01)
    assert after != before
    assert fsdet.load(detector.save(tmp_path)).predict(image, 0.01) == after


def test_zero_steps_change_nothing():
    detector, shots = registered()
    before = weights(detector)
    assert finetune(detector, shots, steps=0) == []
    assert all(value.equal(before[name]) for name, value in weights(detector).items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": -1}, "steps: expected at least 0, got -1"),
        ({"steps": 1, "rate": float("nan")}, "rate: expected at least 0, got nan"),
        ({"steps": 1, "views": 0}, "views: expected at least 1"),
        ({"steps": 1, "rate": 2}, "rate: expected at most 1, got 2"),
        ({"steps": 1, "seed": -1}, "seed: expected at least 0, got -1"),
    ],
)
def test_wrong_arguments_leave_the_detector_as_it_was(arguments, message):
    detector, shots = registered("prototype")
    before = weights(detector)
    with pytest.raises(InputError, match=message):
        finetune(detector, shots, **arguments)
    assert all(value.equal(before[name]) for name, value in weights(detector).items())


def test_a_loss_that_is_not_finite_leaves_the_detector_as_it_was(monkeypatch):
    detector, shots = registered("prototype")
    before, whole = weights(detector), type(detector.model.head).loss

    def broken(head, query, task):
        losses = whole(head, query, task)
        return {name: value / 0 for name, value in losses.items()}

    monkeypatch.setattr(type(detector.model.head), "loss", broken)
    with pytest.raises(InputError, match=r"the loss of step 0 is .*; lower the rate"):
        finetune(detector, shots, steps=2)
    assert all(value.equal(before[name]) for name, value in weights(detector).items())


def test_an_unregistered_category_is_refused():
    with pytest.raises(InputError, match="register 'house' first"):
        finetune(empty(), choose(DATA, NAMES, 1, 0), steps=1)


def test_one_box_of_one_category_is_enough():
    detector, shots = empty("cosine", steps=5), choose(DATA, ["gear"], 1, 0)
    detector.remember(shots.batches(1))
    assert np.isfinite(finetune(detector, shots, steps=2)).all()
    assert SETTINGS.max_size == 96 and detector.names == ("gear",)


def test_fine_tuning_a_copy_leaves_the_original_as_it_was():
    detector, shots = registered()
    image = DATA.image(0)
    before, other = detector.predict(image, 0.0), detector.copy()
    finetune(other, shots, 2, 1e-2)
    assert other.predict(image, 0.0) != before
    detector.use(detector.model.head)  # discards the cached task
    assert detector.predict(image, 0.0) == before
