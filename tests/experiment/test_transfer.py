"""Cross-domain transfer: every category of other data from a few boxes."""

import json
import shutil
from itertools import count

import cv2
import pytest
from helpers.detectors import BASE, INKS, empty, square, trained

from fsdet import config as cfg
from fsdet.errors import InputError
from fsdet.experiment import transfer

pytestmark = pytest.mark.slow

CATEGORIES = [{"id": n, "name": name} for n, name in enumerate(INKS, 7)]


def folder_of_squares(root, images: int = 8):
    """A COCO folder of one square an image, in colours that no detector here was trained on."""
    numbers = count(500)
    for subset in ("train", "test"):
        (root / subset).mkdir(parents=True)
        content = {"images": [], "annotations": [], "categories": CATEGORIES}
        for n, category in enumerate(CATEGORIES * (images // 2), 1):
            image, (x1, y1, x2, y2) = square(category["name"], next(numbers))
            cv2.imwrite(str(root / subset / f"{n}.png"), image[..., ::-1])
            content["images"].append({"id": n, "file_name": f"{n}.png", "height": 96, "width": 96})
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": 900, "iscrowd": 0}
            content["annotations"].append(
                box | {"id": n, "image_id": n, "category_id": category["id"]}
            )
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"{subset}.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return folder_of_squares(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def detector():
    """Knows squares of other colours."""
    made = trained()
    for n, ink in enumerate(BASE):
        image, box = square(ink, 900 + n)
        made.register(ink, [image], [box])
    return made


def asked(data, run, *words) -> cfg.Config:
    given = [f"data.root={data}", "data.split=every", f"run={run}", "device=cpu"]
    given += ["evaluate.shots=[1,3]", "evaluate.seeds=2", "baselines=[{name: cosine}]"]
    return cfg.load((), [*given, "precision=32-true", *words])


@pytest.fixture(scope="module")
def done(detector, data, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "one"
    return run, transfer(detector, asked(data, run))


def test_transfer_learns_categories_of_other_data(done):
    run, rows = done
    measured = [(row["method"], row["shots"], row["seed"], row["protocol"]) for row in rows]
    cases = [(k, seed, "novel") for k in (1, 3) for seed in (0, 1)]
    assert measured == [(m, *case) for m in ("prototype", "cosine") for case in cases]
    assert all(set(row["per_class"]) == set(INKS) for row in rows)
    assert all(row["nAP50"] > 60 for row in rows if row["shots"] == 3)
    stored = json.loads((run / "results.json").read_text())
    assert [row["nAP50"] for row in stored] == [row["nAP50"] for row in rows]
    assert "novel categories only" in (run / "report.md").read_text()
    assert (run / "shots" / "3shot-seed1.json").is_file() and (run / "report.html").is_file()


def test_categories_with_too_few_boxes_are_left_out_and_named(detector, data, tmp_path, caplog):
    """Of three categories one has two boxes, and one has none in the test."""
    root = tmp_path / "data"
    shutil.copytree(data, root)
    for subset, counts in (("train", (2, 3)), ("test", (1, 0))):
        file = root / "annotations" / f"{subset}.json"
        content = json.loads(file.read_text())
        for extra, (label, boxes) in enumerate(zip((91, 92), counts, strict=True)):
            content["categories"].append({"id": label, "name": ("rare", "untested")[extra]})
            for box in content["annotations"][:boxes]:
                number = 1000 + len(content["annotations"])
                content["annotations"].append(box | {"id": number, "category_id": label})
        file.write_text(json.dumps(content))
    rows = transfer(detector, asked(root, tmp_path / "run"))
    assert set(rows[0]["per_class"]) == set(INKS)
    assert "fewer than 3 boxes, left out: rare" in caplog.text
    assert "no box in the test images, left out: untested" in caplog.text
    with pytest.raises(InputError, match="expected a category with 50 boxes in 'train'"):
        transfer(detector, asked(root, tmp_path / "other", "evaluate.shots=[50]"))


def test_novel_stages_fine_tune_a_transferred_detector(detector, data, tmp_path):
    stage = (
        "{name: moved, head: {name: finetune}, learns: [pyramid, rpn, layers], steps: 2, batch: 2}"
    )
    stage = f"stages=[{stage}]"
    rows = transfer(detector, asked(data, tmp_path / "run", stage, "evaluate.shots=[1]"))
    assert [row["method"] for row in rows] == [
        "prototype",
        "prototype",
        "cosine",
        "cosine",
        "moved",
        "moved",
    ]
    assert {row["protocol"] for row in rows} == {"novel"}


def test_a_baseline_with_the_name_of_the_own_head_is_ignored(data, tmp_path):
    own = empty("cosine", steps=0)
    rows = transfer(own, asked(data, tmp_path / "one", "evaluate.shots=[1]"))
    alone = transfer(own, asked(data, tmp_path / "two", "evaluate.shots=[1]", "baselines=[]"))
    assert [row["nAP50"] for row in rows] == [row["nAP50"] for row in alone]


def test_transfer_does_not_change_the_detector(detector, done):
    assert set(detector.names) == set(BASE)


def test_base_categories_do_not_influence_transfer(done, detector, data, tmp_path):
    other = detector.copy()
    for name in list(BASE)[:4]:
        other.forget(name)
    rows = transfer(other, asked(data, tmp_path / "two"))
    assert [row["nAP50"] for row in rows] == [row["nAP50"] for row in done[1]]


def test_a_changed_detector_needs_another_folder(done, data, detector):
    other = detector.copy()
    image, box = square("red", 3)
    other.register("red", [image], [box])
    with pytest.raises(InputError, match="the detector has changed since; give this run another"):
        transfer(other, asked(data, done[0]))


def test_only_batches_of_stages_must_be_divisible_among_devices(
    detector, data, tmp_path, monkeypatch
):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(InputError, match="stages, 'a': batch: 5 cannot be divided"):
        transfer(detector, asked(data, tmp_path / "run", "stages=[{name: a, batch: 5}]"))


def test_a_detector_without_memory_is_adapted(data, tmp_path):
    rows = transfer(empty("prototype"), asked(data, tmp_path / "run", "evaluate.shots=[1]"))
    assert len(rows) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["baselines=[{name: maml}]"], "'maml' learns from episodes of base images"),
        (
            ["evaluate.shots=[1,50]"],
            "expected a category with 50 boxes in 'train' and one in 'test'",
        ),
        (["data.test=train"], "8 images are in 'train' and in 'train'"),
        (["data.test=val"], "val"),
        (["stages=[{name: a, head: {name: maml}}]"], "'maml' has no second stage"),
        (
            ["stages=[{name: a, start: random}]"],
            "classifier of base training, which other data",
        ),
        (
            ["detector.gradients=[0,1]", "stages=[{name: a, gradients: [0, 1]}]"],
            "stages.0.gradients: needs detector.gradients in base training too",
        ),
    ],
)
def test_mistakes_are_refused_before_extraction(detector, data, tmp_path, words, message):
    with pytest.raises(InputError, match=message):
        transfer(detector, asked(data, tmp_path / "run", *words))
    assert not (tmp_path / "run").exists()
