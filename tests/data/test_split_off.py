"""Splitting off a test subset: by image, balanced, the same on every machine."""

import json

import cv2
import numpy as np
import pytest
from helpers.folders import coco_content, picture, write_coco

from fsdet import config as cfg
from fsdet.data import open_data
from fsdet.data.equal_files import equal_files
from fsdet.data.split_off import split_off
from fsdet.errors import InputError
from fsdet.experiment.context import write_split
from fsdet.experiment.few_shot_data import open_problem

CLASSES = ("ant", "cat", "dog", "once")


def many(root, count=40):
    """Cats in all images, dogs in every fourth, ants in two, `once` in the first."""
    scene = {}
    for n in range(count):
        boxes = [("cat", 1, 2, 9, 12)]
        boxes += [("dog", 3, 3, 20, 20)] if n % 4 == 0 else []
        boxes += [("ant", 5, 5, 15, 15)] if n in (7, 9) else []
        boxes += [("once", 2, 2, 8, 8)] if n == 0 else []
        scene[f"{n:02}"] = ((24, 24), boxes)
    write_coco(root, coco_content(scene, CLASSES), scene=scene)
    return open_data(root, "train", cache=False)


def names(data):
    return [data.path(i).name for i in range(len(data))]


def test_both_parts_are_the_data_and_each_category_has_its_share(tmp_path):
    data = many(tmp_path)
    stays, test = split_off(data, 0.25, seed=0)
    assert sorted(names(stays) + names(test)) == names(data) and len(test) == 10
    assert names(test) == sorted(names(test))
    counts = [[len(part.images_of(label)) for label in (1, 2, 3, 4)] for part in (stays, test)]
    assert counts[0][0] == counts[1][0] == 1  # of the two images with ants one is tested
    assert counts[1][2] in (2, 3)  # about a quarter of ten
    assert counts[0][3] == 1 and counts[1][3] == 0  # its only image stays


def test_the_draw_depends_on_the_seed_and_on_nothing_else(tmp_path):
    first, other = many(tmp_path / "a"), many(tmp_path / "b")
    drawn = names(split_off(first, 0.25, seed=3)[1])
    assert drawn == names(split_off(other.subset(np.arange(39, -1, -1)), 0.25, seed=3)[1])[::-1]
    assert drawn != names(split_off(first, 0.25, seed=4)[1])


def test_copies_of_one_photograph_stay_together(tmp_path):
    scene = {
        f"p{n}.rf.{copy}": ((24, 24), [("cat", 1, 2, 9, 12)]) for n in range(8) for copy in "abc"
    }
    scene |= {f"q{n}": ((24, 24), []) for n in range(8)}
    write_coco(tmp_path, scene=scene)
    for n in range(0, 8, 2):  # pairs of equal files
        for name in (f"q{n}", f"q{n + 1}"):
            image = picture((24, 24), seed=1000 + n)
            cv2.imwrite(str(tmp_path / "images/train" / f"{name}.png"), image)
    for seed in range(5):
        parts = split_off(open_data(tmp_path, "train", cache=False), 0.4, seed)
        stems = [{name[:2] for name in names(part)} for part in parts]
        pairs = [{name[1] for name in some if name[0] == "q"} for some in stems]
        assert not stems[0] & stems[1]
        assert not {int(n) // 2 for n in pairs[0]} & {int(n) // 2 for n in pairs[1]}


def test_equal_files_are_found_among_those_of_equal_length(tmp_path):
    for name, text in {"a": "xy", "b": "xz", "c": "xy", "d": "long"}.items():
        (tmp_path / name).write_text(text)
    paths = [tmp_path / name for name in "dcbae"]
    assert equal_files([*paths, *paths]) == [[tmp_path / "c", tmp_path / "a"]]


@pytest.mark.parametrize("count", [1, 3])
def test_nothing_to_split_off_is_an_error(count, tmp_path):
    scene = {f"{n}": ((24, 24), [(CLASSES[n], 1, 2, 9, 12)]) for n in range(count)}
    write_coco(tmp_path, coco_content(scene), scene=scene)
    with pytest.raises(InputError, match=f"no image can be split off.*got {count} images"):
        split_off(open_data(tmp_path, "train", cache=False), 0.5, seed=0)


def settings(root, **more):
    (root / "splits.yaml").write_text("own: {novel: [ant]}")
    return cfg.Data(root=str(root), split="own", **more)


def test_an_experiment_splits_off_the_subset_that_the_folder_lacks(tmp_path):
    data = many(tmp_path)
    with pytest.raises(InputError, match=r"no subset 'test'.*fsdet split .*data\.split_off=0\.25"):
        open_problem(settings(tmp_path))
    config = settings(tmp_path, split_off=0.25, split_seed=2)
    problem = open_problem(config)
    expected = split_off(data, 0.25, seed=2)
    assert [names(problem.train), names(problem.test)] == [names(part) for part in expected]
    assert problem.is_split_off
    write_split(tmp_path / "split.json", problem, config)
    written = json.loads((tmp_path / "split.json").read_text())
    assert (written["share"], written["seed"]) == (0.25, 2)
    assert written["images"]["test"] == [f"images/train/{name}" for name in names(problem.test)]


def test_an_experiment_takes_the_subset_that_the_folder_has(tmp_path):
    data = many(tmp_path)
    scene = {"x": ((24, 24), [("ant", 1, 2, 9, 12)]), "y": ((24, 24), [("cat", 1, 2, 9, 12)])}
    scene |= {"z": ((24, 24), [("dog", 1, 2, 9, 12), ("once", 1, 2, 9, 12)])}
    write_coco(tmp_path, coco_content(scene, CLASSES), subset="test", scene=scene)
    problem = open_problem(settings(tmp_path, split_off=0.25))
    assert len(problem.train) == len(data) and len(problem.test) == 3 and not problem.is_split_off
