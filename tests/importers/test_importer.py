"""Presets, names and kinds of detectors: what fits is chosen, what does not is named."""

import pytest
import torch
from helpers import published

import fsdet
from fsdet.errors import InputError
from fsdet.importers import importer, read_detector, torchvision_weights
from fsdet.importers.names import LISTS, category_names
from fsdet.importers.presets import PRESETS

MOBILE = "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn"


@pytest.fixture(scope="module")
def state():
    return published.torchvision_detector(MOBILE.partition("/")[2], num_classes=4).state_dict()


def saved(tmp_path, state, name="file.pth"):
    torch.save(state, tmp_path / name)
    return tmp_path / name


def test_preset_must_be_given_where_two_fit(tmp_path, state):
    path = saved(tmp_path, state)
    with pytest.raises(InputError, match=r"does not say which preset.*_320_fpn"):
        read_detector(path, names=["a", "b", "c"])
    assert read_detector(path, MOBILE, ["a", "b", "c"]).names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("preset", "said"),
    [
        (
            "detectron2",
            "names of torchvision; preset 'detectron2' is of detectron2. Fitting: .*320",
        ),
        ("torchvision/fasterrcnn_resnet50_fpn", "does not fit the shapes.*Fitting: .*mobilenet"),
        ("detectron", "no preset 'detectron'.*detectron2"),
    ],
)
def test_wrong_presets_name_the_fitting_ones(tmp_path, state, preset, said):
    with pytest.raises(InputError, match=said):
        read_detector(saved(tmp_path, state), preset, ["a", "b", "c"])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (None, "has 3 categories and no names; give --names"),
        (["a", "b"], "has 3 categories, got 2 names$"),
        (["bg", "a", "b", "c"], "got 4 names .background has none"),
        (["a", "b", "a"], "'a' twice"),
        (["a", "b", " "], "expected a category name, got ' '"),
        ("voc7", "no list 'voc7'.*voc"),
    ],
)
def test_names_must_fit(tmp_path, state, names, said):
    with pytest.raises(InputError, match=said):
        read_detector(saved(tmp_path, state), MOBILE, names)


def test_lists_of_names_have_the_published_order():
    assert {word: len(names) for word, names in LISTS.items()} == {
        "coco": 80, "coco-base": 60, "voc": 20,
        "voc1-base": 15, "voc1": 20, "voc2-base": 15, "voc2": 20, "voc3-base": 15, "voc3": 20,
    }  # fmt: skip
    assert LISTS["voc1"][-5:] == ("bird", "bus", "cow", "motorbike", "sofa")
    rows = category_names(None, (), 90, "file")
    assert [n + 1 for n, name in enumerate(rows) if name is None] == [
        12, 26, 29, 30, 45, 66, 68, 69, 71, 83,
    ]  # fmt: skip
    assert tuple(name for name in rows if name) == LISTS["coco"]


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("roi_heads.res5.0.conv1.weight", "C4 features"),
        ("roi_heads.box_predictor.0.cls_score.weight", "Cascade"),
        ("roi_head.bbox_head.0.fc_cls.weight", "Cascade"),
        ("bbox_head.shared_fcs.0.weight", "mmdetection 1"),
        ("head.classification_head.cls_logits.weight", "one-stage"),
        ("bbox_head.cls_convs.0.conv.weight", "one-stage"),
        ("transformer.decoder.layers.0.linear1.weight", "DETR"),
        ("model.22.cv1.conv.weight", "YOLO"),
        ("layer1.0.conv1.weight", "no layers of a Faster R-CNN"),
        ("fc.weight", "classification network"),
    ],
)
def test_other_detectors_are_refused_with_a_reason(tmp_path, key, kind):
    with pytest.raises(InputError, match=kind):
        read_detector(saved(tmp_path, {key: torch.zeros(2, 2)}))


def test_missing_and_misshapen_tensors_are_named(tmp_path, state):
    name = "backbone.body.4.block.0.0.weight"
    without = {key: value for key, value in state.items() if key != name}
    with pytest.raises(InputError, match=r"'features\.4.block.0.0.weight' of a mobilenet_v3_large"):
        read_detector(saved(tmp_path, without), MOBILE, ["a", "b", "c"])
    name = "roi_heads.box_head.fc6.weight"
    with pytest.raises(InputError, match=r"preset expects .1024, 12544., the file has .1024, 5."):
        read_detector(
            saved(tmp_path, {**state, name: torch.zeros(1024, 5)}), MOBILE, ["a", "b", "c"]
        )


def test_files_without_last_layers_are_body_rpn_and_layers(tmp_path, state):
    bare = {key: value for key, value in state.items() if "box_predictor" not in key}
    detector = fsdet.import_detector(saved(tmp_path, bare), MOBILE)
    assert detector.names == ()
    image = torch.rand(3, 120, 160)
    detector.register("thing", [image], [[20, 20, 90, 90]])
    assert {found.name for found in detector.predict(image, 0.01)} == {"thing"}


def test_no_network_says_where_the_file_belongs(tmp_path, monkeypatch):
    def fail(url, *arguments, **options):
        raise OSError("no route")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(InputError, match=f"no route.*put it there: {tmp_path}/hub/checkpoints/"):
        fsdet.load(MOBILE)
    with pytest.raises(InputError, match="no detector 'torchvision/fasterrcn_resnet50_fpn'"):
        fsdet.load("torchvision/fasterrcn_resnet50_fpn")


def test_load_finds_the_file_where_torch_keeps_it(tmp_path, monkeypatch):
    original = published.torchvision_detector(MOBILE.partition("/")[2], num_classes=91)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub/checkpoints"
    folder.mkdir(parents=True)
    url = torchvision_weights.get_model_weights(MOBILE.partition("/")[2]).DEFAULT.url
    torch.save(original.state_dict(), folder / url.rpartition("/")[2])
    detector = fsdet.load(MOBILE)
    assert detector.names == LISTS["coco"]
    assert "preset torchvision" in repr(detector) and "BSD" in repr(detector)


def test_models_in_memory_are_imported_with_their_settings():
    original = published.torchvision_detector(MOBILE.partition("/")[2], num_classes=4)
    detector = fsdet.import_detector(original, names=["a", "b", "c"])
    assert (detector.settings.min_size, detector.settings.max_size) == (320, 640)
    assert detector.settings.rpn.score == original.rpn.score_thresh == 0.05
    original.roi_heads.nms_thresh = 0.3
    with pytest.raises(InputError, match="NMS thresholds"):
        fsdet.import_detector(original, names=["a", "b", "c"])


def test_every_preset_has_a_licence():
    assert {preset.project for preset in PRESETS.values()} == set(importer._LICENCES)


def test_a_file_with_a_body_that_torchvision_publishes_no_detector_of_names_the_way(tmp_path):
    path = saved(tmp_path, published.small_detector(4, short=64).state_dict())
    with pytest.raises(
        InputError, match=r"backbone mobilenet_v2.*give it to fsdet\.import_detector"
    ):
        read_detector(path, names=["a", "b", "c"])
