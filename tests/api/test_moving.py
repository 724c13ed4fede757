"""Moving a detector: it learns to see what it did not, and earlier categories stay."""

import cv2
import numpy as np
import pytest
import torch
from helpers.detectors import INKS, empty, square, trained
from helpers.folders import coco_content, write_coco

import fsdet
from fsdet import InputError
from fsdet.api.levels import Choice, Estimate, adapt, ap50, best, estimates, folds
from fsdet.api.moving import Moving, move
from fsdet.api.predict_dataset import detections
from fsdet.api.translation import Translation, paired_features
from fsdet.data import open_data
from fsdet.data.shots.images import ShotImages, choose
from fsdet.evaluation.detections import DetectionArrays
from fsdet.types import IGNORE, Features

pytestmark = pytest.mark.slow  # it trains
NAMES = tuple(INKS)


def write_squares(root, subset, first):
    """Twelve pictures with a red or a blue square each, as COCO."""
    pairs = {f"{n}": square(NAMES[n % 2], n) for n in range(first, first + 12)}
    scene = {name: ((96, 96), [(NAMES[int(name) % 2], *box)]) for name, (_, box) in pairs.items()}
    write_coco(root, coco_content(scene, NAMES), subset, scene)
    for name, (image, _) in pairs.items():
        cv2.imwrite(str(root / "images" / subset / f"{name}.png"), image[..., ::-1])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    write_squares(folder, "train", 0)
    write_squares(folder, "test", 50)
    return folder


@pytest.fixture(scope="module")
def shots(root):
    return choose(open_data(root, "train"), NAMES, None, 0)


def score(detector, root):
    test = open_data(root, "test")
    return ap50(test, NAMES, detections(detector, test, NAMES))


def test_a_detector_that_sees_nothing_learns_to_see_and_is_saved(root, shots, tmp_path):
    detector = empty("cosine")
    weights = {name: value.clone() for name, value in detector.model.state_dict().items()}
    registered = adapt(detector, shots, Choice("register", 0))
    # Without earlier training, the small backbone must learn as well.
    settings = Moving("all", 60, learning_rate=0.02, layer_rate=3e-3, body_rate=3e-3)
    moved = move(detector, shots, settings)
    assert score(moved, root) > score(registered, root) + 30
    assert detector.names == () and registered.names == moved.names == NAMES
    for name, value in detector.model.state_dict().items():
        assert value.equal(weights[name]), name
    same = fsdet.load(moved.save(tmp_path))
    image = square("red", 77)[0]
    assert same.predict(image, 0.05) == moved.predict(image, 0.05)


@pytest.mark.parametrize(("level", "body_moves"), [("detector", False), ("all", True)])
def test_a_level_moves_the_layers_that_it_says(shots, level, body_moves):
    detector = trained("maml")
    moved = move(detector, shots, Moving(level, 2))
    before, after = detector.model.state_dict(), moved.model.state_dict()
    changed = {name for name, value in before.items() if not value.equal(after[name])}
    for part in ("rpn.", "backbone.fpn.", "head.trunk.", "head.boxes."):
        assert any(name.startswith(part) for name in changed), part
    assert any(name.startswith("backbone.body.") for name in changed) == body_moves
    assert not any(name.startswith("head.log_") for name in changed)  # what episodes taught stays


def test_earlier_categories_stay_without_their_pictures(root, shots):
    detector = trained("cosine")
    red = ShotImages(shots.data, {"red": shots.ids["red"]})
    blue = ShotImages(shots.data, {"blue": shots.ids["blue"]})
    detector.remember(red.batches(4))
    moved = move(detector, blue, Moving("detector", 40))
    assert moved.names == ("red", "blue") and detector.names == ("red",)
    alone = adapt(detector, blue, Choice("register", 0))
    assert score(moved, root) > score(alone, root) - 5


def test_same_arguments_give_the_same_detector(shots):
    detector = trained("cosine")
    states = [move(detector, shots, Moving("detector", 3)).model.state_dict() for _ in range(2)]
    assert all(value.equal(states[1][name]) for name, value in states[0].items())


def test_imported_categories_must_be_given_up_first(shots):
    detector = trained("cosine")
    detector.kept = ("person",)
    with pytest.raises(InputError, match="rest on the layers that would move; forget them"):
        move(detector, shots, Moving("detector", 1))


def test_translation_is_exact_where_the_change_is_linear():
    draws = torch.Generator().manual_seed(0)
    maps, means = torch.randn(50, 6, 3, 3, generator=draws), torch.randn(50, 4, generator=draws)
    by_maps, by_means = torch.randn(6, 6, generator=draws), torch.randn(4, 4, generator=draws)
    new = Features(torch.einsum("rchw,cd->rdhw", maps, by_maps), means @ by_means)
    translation = Translation.fit(Features(maps, means), new, decay=0.0)
    torch.testing.assert_close(translation.maps, by_maps, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(translation.means, by_means, atol=1e-4, rtol=1e-4)
    half = Features(maps.half(), means.half())
    assert translation(half).maps.dtype == torch.float16
    torch.testing.assert_close(translation(half).maps.float(), new.maps, atol=0.05, rtol=0.01)


def test_translation_without_evidence_changes_nothing():
    zero = Features(torch.zeros(2, 5, 3, 3), torch.zeros(2, 4))
    translation = Translation.fit(zero, zero)
    assert translation.maps.equal(torch.eye(5)) and translation.means.equal(torch.eye(4))


def test_pairs_are_features_of_the_same_boxes():
    detector = trained("cosine")
    images = [torch.from_numpy(square("red", n)[0]).permute(2, 0, 1) for n in range(2)]
    old, new = paired_features(detector.model, detector.model, images)
    assert old.maps.equal(new.maps) and old.means.equal(new.means)
    candidates = detector.candidates(images)
    assert old.maps.equal(torch.cat([c.features.maps for c in candidates]))


def test_a_part_of_the_shots_keeps_the_boxes_of_its_pictures(shots):
    part = shots.only([0, 3])
    assert part.images.tolist() == shots.images[[0, 3]].tolist()
    for position, whole in ((0, 0), (1, 3)):
        pixels, target = part[position]
        same, expected = shots[whole]
        np.testing.assert_array_equal(pixels, same)
        names = [part.classes[label - 1] for label in target["labels"].tolist()]
        assert names == [shots.classes[label - 1] for label in expected["labels"].tolist()]
    assert shots.only([0, 2]).classes == ("red",)  # even pictures show red squares alone


def test_boxes_that_are_no_shots_are_ignored_as_ground_truth(shots):
    few = ShotImages(shots.data, {"red": shots.ids["red"][:2]})
    truth = few.truth()
    assert len(truth) == 2 and not truth.ignore.any()
    none = ShotImages(shots.data, {"blue": shots.ids["blue"][:1], "red": []})
    rows = none.truth()
    assert rows.labels[~rows.ignore].tolist() == [2]
    assert all(label != IGNORE for label in rows.labels.tolist())


def test_every_picture_is_left_out_once():
    parts = folds(10, 0)
    assert sorted(np.concatenate(parts).tolist()) == list(range(10)) and len(parts) == 3
    assert [len(part) for part in folds(2, 0)] == [1, 1]
    assert [len(part) for part in folds(80, 0)] == [20]
    assert [len(part) for part in folds(1000, 0)] == [100]
    with pytest.raises(InputError, match="at least two, got 1"):
        folds(1, 0)


def test_levels_are_scored_on_pictures_that_they_have_not_seen(shots):
    detector = trained("cosine")
    found = estimates(detector, shots, {"register": 0, "head": 2, "detector": 4})
    assert [estimate.choice.level for estimate in found] == ["register", "head", "detector"]
    assert found[2].choice.steps in (1, 2, 4)
    assert found[0].gain == 0 and found[0].interval == 0
    assert all(0 <= estimate.ap50 <= 100 for estimate in found)
    # By hand: each part is scored by a detector that has registered the others.
    arrays, truth = [], shots.truth()
    for part in folds(len(shots), 0):
        rest = shots.only(np.setdiff1d(np.arange(len(shots)), part))
        registered = adapt(detector, rest, Choice("register", 0))
        arrays += [
            (int(part[row[0]]), row[1], row[2], tuple(row[3]))
            for row in zip(
                *vars(detections(registered, truth.subset(part), NAMES)).values(), strict=True
            )
        ]
    columns = [np.array(column) for column in zip(*arrays, strict=True)]
    assert ap50(truth, NAMES, DetectionArrays(*columns)) == pytest.approx(found[0].ap50, abs=0.01)


def test_a_costlier_level_must_pay():
    def estimate(level, score):
        return Estimate(Choice(level, 1), score, 0.0, 0.0)

    cheap, near, far = estimate("register", 20), estimate("head", 20.5), estimate("detector", 40)
    assert best([cheap, near]) == cheap and best([cheap, near, far]) == far


def test_unknown_level(shots):
    with pytest.raises(InputError, match="expected one of register, head, detector, all; got 'x'"):
        adapt(trained("cosine"), shots, Choice("x", 1))
