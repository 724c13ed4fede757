"""YOLO reader: data.yaml, image lists, outlines, and faults with their places."""

import shutil

import pytest
from helpers.folders import SCENE, assert_same_scene, scene_of, write_images, write_yolo, yolo_lines

from fsdet.data import open_data
from fsdet.data.check import check
from fsdet.errors import InputError


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        (".", "images/train"),
        ("/home/author/data", "images/train"),
        ("../datasets/animals", "images/train"),
        (".", "../images/train"),  # as exported for a data.yaml one level down
        (".", "train.txt"),
        (".", "[images/train, more]"),
    ],
)
def test_yolo_images_are_found_for_every_usual_path(tmp_path, path, entry):
    write_yolo(tmp_path)
    (tmp_path / "train.txt").write_text(
        f"./images/train/a.png\nimages/train/b.png\n\n{tmp_path}/images/train/c.png\n"
    )
    (tmp_path / "more").mkdir()
    (tmp_path / "data.yaml").write_text(f"path: {path}\ntrain: {entry}\nnames: [ant, cat, dog]\n")
    assert_same_scene(scene_of(open_data(tmp_path, "train")), SCENE)


@pytest.mark.parametrize("listed", ["{root}/train.txt", "train.txt", "../pets/train.txt"])
@pytest.mark.parametrize("kind", ["dots", "link/.."])
def test_a_yolo_root_may_contain_dots_and_links(tmp_path, monkeypatch, kind, listed):
    root = tmp_path / "data" / "pets"
    write_yolo(root)
    (root / "train.txt").write_text("".join(f"images/train/{name}.png\n" for name in SCENE))
    entry = listed.format(root=root)
    (root / "data.yaml").write_text(f"train: {entry}\nnames: [ant, cat, dog]\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(root)  # "link/.." is data/, not the folder of the link
    path = {"dots": "data/../data/pets", "link/..": "link/../pets"}[kind]
    assert_same_scene(scene_of(open_data(path, "train")), SCENE)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_yolo_list_may_have_any_encoding(tmp_path, mark):
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [ant, cat, dog]\n")
    lines = [f"images/train/{name}.png".encode() for name in SCENE]
    (tmp_path / "train.txt").write_bytes(mark + b"\n".join(lines))
    assert_same_scene(scene_of(open_data(tmp_path, "train")), SCENE)
    (tmp_path / "train.txt").write_bytes(mark + b"\n".join([*lines, b"images/train/caf\xe9.png"]))
    with pytest.raises(InputError, match=r"train\.txt, line 4: missing image file"):
        open_data(tmp_path, "train")


def test_yolo_outlines_become_bounding_boxes(tmp_path):
    labels = write_yolo(tmp_path)
    (labels / "a.txt").write_text("1 0.25 0.5 0.5 0.25 0.75 0.5 0.5 1.0\n")
    assert scene_of(open_data(tmp_path, "train"))["a"][1] == [("cat", 15, 10, 45, 40)]


def test_yolo_folders_are_searched_recursively(tmp_path):
    write_yolo(tmp_path)
    scene = {"d": SCENE["a"]}
    write_images(tmp_path / "images" / "train" / "night", scene)
    (tmp_path / "labels" / "train" / "night").mkdir()
    (tmp_path / "labels" / "train" / "night" / "d.txt").write_text(yolo_lines(*SCENE["a"]))
    assert_same_scene(scene_of(open_data(tmp_path, "train")), SCENE | scene)


YOLO_FAULTS = {
    "four values": ("1 0.5 0.5 0.2", "label line is malformed", "got '1 0.5 0.5 0.2'"),
    "with a score": (
        "1 0.5 0.5 0.2 0.2 0.9",
        "label line is malformed",
        "expected the columns 'class x y",
    ),
    "with score and track": (
        "1 0.5 0.5 0.2 0.2 0.9 1",
        "label line is malformed",
        "expected the columns",
    ),
    "a word": ("cat 0.5 0.5 0.2 0.2", "label line is malformed", "got 'cat"),
    "half a class": ("1.5 0.5 0.5 0.2 0.2", "label line is malformed", "got '1.5"),
    "infinite class": ("inf 0.5 0.5 0.2 0.2", "label line is malformed", "got 'inf"),
    "unknown class": ("3 0.5 0.5 0.2 0.2", "annotation of an unknown category", "0 to 2; got 3"),
    "negative class": ("-1 0.5 0.5 0.2 0.2", "annotation of an unknown category", "0 to 2; got -1"),
    "in pixels": ("1 30 20 10 10", "box outside its image", "1500, 600, 2100, 1000"),
    "no width": ("1 0.5 0.5 0 0.2", "box without area", "30, 16, 30, 24"),
    "NaN": ("1 nan 0.5 0.2 0.2", "box is not finite", "nan, 16, nan, 24"),
}


@pytest.mark.parametrize("kind", YOLO_FAULTS)
def test_a_yolo_fault_is_reported_and_can_be_skipped(kind, tmp_path):
    line, rule, detail = YOLO_FAULTS[kind]
    labels = write_yolo(tmp_path)
    before, after = (labels / "a.txt").read_text().splitlines()
    (labels / "a.txt").write_text(f"{before}\n\n{line}\n{after}\n")
    with pytest.raises(InputError) as caught:
        open_data(tmp_path, "train")
    for part in ("labels/train/a.txt, line 3", rule, detail):
        assert part in str(caught.value)
    data = open_data(tmp_path, "train", skip_bad=True)
    # The place of the object is unknown: its image is left out, as the object must not become background.
    assert data.ids.tolist() == [4, 5, 6] and [data.path(i).stem for i in range(len(data))] == [
        "b",
        "c",
    ]
    assert check(tmp_path, "train").counts() == {rule: 1}


@pytest.mark.parametrize("link", ["labels/train/a.txt", "labels/train", "images/train/a.png"])
def test_a_label_or_image_file_outside_the_root_is_refused(link, tmp_path, caplog):
    root = tmp_path / "root"
    write_yolo(root)
    (root / link).rename(tmp_path / "elsewhere")
    (root / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="points outside the data root"):
        open_data(root, "train")
    faults = check(root, "train").faults
    assert faults and all("points outside the data root" in fault.detail for fault in faults)


@pytest.mark.parametrize("entry", ["../elsewhere/train", "/{root}/../elsewhere", "list.txt"])
def test_yolo_entries_outside_the_root_are_refused(entry, tmp_path):
    root = tmp_path / "root"
    write_yolo(root)
    shutil.copytree(root / "images", tmp_path / "elsewhere")
    (root / "list.txt").write_text("../elsewhere/train/a.png\n")
    entry = entry.format(root=root)
    (root / "data.yaml").write_text(f"train: {entry}\nnames: [ant, cat, dog]\n")
    with pytest.raises(InputError, match="points outside the data root"):
        open_data(root, "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a, b\ntrain: x", "data.yaml cannot be read"),
        ("train: images/train", "expected the keys names"),
        ("train: images/nowhere\nnames: [a]", "no images/nowhere"),
        ("train: images/train\nnames: [a, a]", "expected one or more names, all different"),
        ("train: images/train\nnames: {a: 1}", "expected whole numbers from 0"),
    ],
)
def test_a_broken_data_yaml_is_reported(text, message, tmp_path):
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        open_data(tmp_path, "train")
    assert "data.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_label_files_without_an_image_are_a_warning(tmp_path, caplog):
    labels = write_yolo(tmp_path)
    (labels / "z.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    open_data(tmp_path, "train")
    assert "1 warning (1 x label file without an image): labels/train/z.txt" in caplog.text
    report = check(tmp_path, "train")
    assert not report.faults
    assert [w.where for w in report.warnings if w.rule == "label file without an image"] == [
        "labels/train/z.txt"
    ]


def test_names_stand_as_they_are_written(tmp_path):
    labels = write_yolo(tmp_path)
    names = ["no", "007", "1_000"]
    lines = "".join(f"  {n}: {name}\n" for n, name in enumerate(names))
    (tmp_path / "data.yaml").write_text(f"train: images/train\nnames:\n{lines}")
    assert open_data(tmp_path, "train").classes == tuple(names)
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: ['', null, 3]\n")
    assert labels.is_dir()
    with pytest.raises(InputError, match="expected a name for each class, number 0 has none"):
        open_data(tmp_path, "train")


def test_key_points_after_a_box_are_no_outline(tmp_path):
    labels = write_yolo(tmp_path)
    for file in labels.iterdir():
        file.write_text(
            "".join(f"{line} 0.1 0.1 0.9 0.9\n" for line in file.read_text().splitlines())
        )
    with (tmp_path / "data.yaml").open("a") as file:
        file.write("kpt_shape: [2, 2]\n")
    assert_same_scene(scene_of(open_data(tmp_path, "train")), SCENE)
    (labels / "a.txt").write_text("1 0.25 0.5 0.5 0.25 0.75 0.5\n")
    with pytest.raises(InputError, match="and the 4 numbers of kpt_shape"):
        open_data(tmp_path, "train")


@pytest.mark.parametrize(
    ("images", "subset"), [("images", "train"), ("images/val", "val"), ("test/images", "test")]
)
def test_a_list_of_class_names_serves_without_data_yaml(images, subset, tmp_path):
    write_yolo(tmp_path / "made")
    (tmp_path / images).parent.mkdir(exist_ok=True)
    labels = tmp_path / images.replace("images", "labels")
    labels.parent.mkdir(exist_ok=True)
    (tmp_path / "made/images/train").rename(tmp_path / images)
    (tmp_path / "made/labels/train").rename(labels)
    shutil.rmtree(tmp_path / "made")
    (tmp_path / "classes.txt").write_text("ant\ncat\ndog\n")
    assert_same_scene(scene_of(open_data(tmp_path, subset)), SCENE)


def test_darknet_lists_with_folders_of_another_machine_are_read(tmp_path):
    labels = write_yolo(tmp_path)
    (tmp_path / "images/train").rename(tmp_path / "obj_train_data")
    for file in labels.iterdir():
        file.rename(tmp_path / "obj_train_data" / file.name)
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "obj.names").write_text("ant\ncat\ndog\n")
    (tmp_path / "obj.data").write_text(
        "classes = 3\ntrain = data/train.txt\nnames = data/obj.names\n"
    )
    (tmp_path / "train.txt").write_text(
        "".join(f"data/obj_train_data/{name}.png\n" for name in SCENE)
    )
    assert_same_scene(scene_of(open_data(tmp_path, "train")), SCENE)


def test_label_files_are_found_by_names_that_mean_the_same(tmp_path):
    scene = {"écran 1": SCENE["a"], "B": SCENE["c"]}
    labels = write_yolo(tmp_path, scene)
    (labels / "écran 1.txt").rename(labels / "%C3%A9cran%201.txt")
    (labels / "B.txt").rename(labels / "b.TXT")
    assert_same_scene(scene_of(open_data(tmp_path, "train")), scene)


def test_images_of_every_ending_are_read_and_other_kinds_named(tmp_path):
    write_yolo(tmp_path)
    folder = tmp_path / "images" / "train"
    for name, ending in {"a": "jfif", "b": "JPE", "c": "mpo"}.items():
        (folder / f"{name}.png").rename(folder / f"{name}.{ending}")
    (folder / "d.jp2").write_bytes(b"?")
    assert_same_scene(scene_of(open_data(tmp_path, "train")), SCENE)
    report = check(tmp_path, "train")
    assert [(f.rule, f.where) for f in report.faults] == [
        ("image of a kind that is not read", "images/train/d.jp2")
    ]
