"""Opening a folder: detection of the format, undecodable images, real data sets."""

import cv2
import pytest
from helpers.folders import assert_same_scene, picture, scene_of, write_coco
from helpers.paths import DATA

from fsdet.data import open_data
from fsdet.data.check import check
from fsdet.errors import InputError


def test_a_folder_without_data_set_lists_the_expected_and_the_present_files(tmp_path):
    root = tmp_path / "pets"
    (root / "pictures").mkdir(parents=True)
    (root / "notes.txt").touch()
    with pytest.raises(InputError) as caught:
        open_data(root, "train")
    for part in (
        "annotations/instances_train.json",
        "train/_annotations.coco.json",
        "ImageSets/Main/train.txt",
        "data.yaml",
        "the folder has notes.txt, pictures/",
    ):
        assert part in str(caught.value)
    with pytest.raises(InputError, match=r"petz: expected the folder.*did you mean 'pets'"):
        open_data(tmp_path / "petz", "train")


def test_shapes_is_generated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = open_data("shapes", "test")
    assert len(data) == 500 and len(data.classes) == 20


@pytest.mark.parametrize("kind", ["cut", "no image", "other size"])
def test_undecodable_images_are_reported_and_can_be_skipped(kind, tmp_path, caplog):
    write_coco(tmp_path)
    image = tmp_path / "images" / "train" / "c.png"
    whole = image.read_bytes()
    if kind == "other size":
        cv2.imwrite(str(image), picture((33, 32)))
    else:
        image.write_bytes(whole[: len(whole) // 2] if kind == "cut" else b"<html>")
    rule = (
        "image size differs from its annotations"
        if kind == "other size"
        else "image cannot be decoded"
    )
    data = open_data(tmp_path, "train")  # without skip_bad images are not decoded
    with pytest.raises(InputError, match=r"images/train/c\.png: "):
        data[2]
    report = check(tmp_path, "train")
    assert report.counts() == {rule: 1} and report.faults[0].where == "images/train/c.png"
    data = open_data(tmp_path, "train", skip_bad=True)
    assert [data.path(i).stem for i in range(len(data))] == ["a", "b"]
    assert f"1 x {rule}" in caplog.text


# Images, boxes, boxes to be ignored, categories: counted in the files by other means.
FOLDERS = {
    ("fod", "train"): (3132, 3166, 0, 31),
    ("fod", "test"): (981, 981, 0, 31),
    ("voc2012-animals", "train"): (2692, 5164, 0, 19),
    ("voc2012-animals", "test"): (916, 1618, 0, 19),
    ("neu-det", "train"): (1416, 3334, 66, 6),
    ("neu-det", "test"): (354, 792, 13, 6),
    ("bccd", "trainval"): (292, 3943, 0, 3),
    ("bccd", "test"): (72, 945, 0, 3),
    ("coco128", "train2017"): (128, 929, 0, 80),
    ("coco128", "train"): (128, 929, 0, 80),
}


@pytest.mark.parametrize(("folder", "subset"), FOLDERS)
def test_real_data_sets_have_the_counted_images_and_boxes(folder, subset):
    if not (DATA / folder).is_dir():
        pytest.skip(f"no {DATA / folder}: set FSDET_DATA to the folder of real data sets")
    data = open_data(DATA / folder, subset, cache=False)
    counts = (len(data), len(data.boxes), int(data.ignore.sum()), len(data.classes))
    assert counts == FOLDERS[folder, subset]
    for i in (0, len(data) // 2, -1):
        image, target = data[i]
        assert image.shape[:2] == tuple(data.sizes[i]) and len(target["boxes"])


def test_coco_and_yolo_labels_of_coco128_agree():
    if not (DATA / "coco128").is_dir():
        pytest.skip(f"no {DATA / 'coco128'}: set FSDET_DATA to the folder of real data sets")
    for coco, yolo in (("train2017", "train"), ("val2017", "val")):
        first, second = (
            scene_of(open_data(DATA / "coco128", subset, cache=False)) for subset in (coco, yolo)
        )
        assert_same_scene(second, first, atol=1e-3)
