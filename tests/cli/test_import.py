"""`fsdet import`: what it prints, saves and refuses."""

import pytest
import torch
from helpers import published
from helpers.commands import run
from PIL import Image

import fsdet

MOBILE = "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    model = published.torchvision_detector(MOBILE.partition("/")[2], num_classes=4)
    torch.save(model.state_dict(), folder / "weights.pth")
    pixels = next(published.pictures(1))
    Image.fromarray(pixels).save(folder / "picture.png")
    return folder / "weights.pth"


def test_import_saves_a_detector_and_compares_it_with_the_original(weights, tmp_path):
    status, out, err = run(
        "import", weights, "--preset", MOBILE, "--names", "cat, dog,cup", "--out", tmp_path / "mine",
        "--check", weights.parent,
    )  # fmt: skip
    assert (status, err.count("error")) == (0, 0), err
    lines = out.splitlines()
    assert lines[0] == "3 categories: cat, dog, cup"
    assert "BSD-3-Clause" in lines[1] and lines[2].startswith("picture.png: ")
    same, _, total = lines[3].split()[:3]
    assert int(same) >= 0.9 * int(total) > 10
    assert lines[4] == f"saved: {tmp_path / 'mine' / 'detector.safetensors'}"
    assert fsdet.load(tmp_path / "mine").names == ("cat", "dog", "cup")


def test_the_original_is_compared_under_the_same_epsilon(weights, tmp_path):
    words = (
        "--preset",
        MOBILE,
        "--names",
        "cat,dog,cup",
        "--eps",
        "0.5",
        "--check",
        weights.parent,
    )
    status, out, err = run("import", weights, *words, "--out", tmp_path / "mine")
    assert status == 0, err
    same, _, total = out.splitlines()[3].split()[:3]
    assert int(same) >= 0.7 * int(total) > 10  # with another epsilon: none


def test_known_categories_can_be_dropped(weights, tmp_path):
    words = (
        "--preset",
        MOBILE,
        "--names",
        "cat,dog,cup",
        "--drop-known",
        "--out",
        tmp_path / "none",
    )
    assert run("import", weights, *words)[0] == 0
    assert fsdet.load(tmp_path / "none").names == ()


def test_another_head_learns_the_categories_from_photographs(tmp_path):
    model = published.small_detector(4, short=96).eval()
    detector = fsdet.import_detector(model, names=["cat", "dog", "cup"])
    images = list(published.pictures(3))
    seen = {d.name for image in images for d in detector.predict(image, 0.75)}
    other = detector.with_head("ridge", images)
    assert seen <= set(other.names) and detector.names == ("cat", "dog", "cup")
    assert other.kept == () and other.head.name == "ridge"
    other.register("new", images[:1], [[20, 20, 120, 110]])
    assert other.names[-1] == "new" and other.predict(images[0], 0.0)
    other.save(tmp_path / "other")
    assert fsdet.load(tmp_path / "other").names == other.names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--preset", "mmdetection"), "has the names of torchvision"),
        (("--head", "ridge"), "--head and --photographs: expected both or neither"),
        ((), "does not say which preset it needs"),
        (("--preset", MOBILE), "has 3 categories and no names"),
        (("--preset", MOBILE, "--names", "a,b"), "has 3 categories, got 2 names"),
        (("--preset", MOBILE, "--names", "a,b,c", "--check", "nowhere"), "nowhere"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_file(weights, tmp_path, words, said):
    status, _, err = run("import", weights, *words, "--out", tmp_path / "mine")
    assert status == 2 and said in err and err.count("\n") == 1
    assert not (tmp_path / "mine").exists()
