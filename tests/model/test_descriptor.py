"""A second, frozen body: its averages are those of the same network as a backbone."""

from dataclasses import replace

import pytest
import torch
from helpers.detectors import SETTINGS

from fsdet import build
from fsdet import config as cfg
from fsdet.errors import InputError
from fsdet.training.objectives import Supervised
from fsdet.types import Target

NETWORK = "timm/tf_efficientnet_lite0"
LEVELS = [1, 2]
DESCRIPTOR = cfg.Descriptor(NETWORK, "pip", LEVELS)
PIXELS = {"mean": [0.1, 0.2, 0.3], "std": [0.3, 0.2, 0.1]}  # of the first body


def described(head: str = "prototype", **settings):
    torch.manual_seed(0)
    made = replace(SETTINGS, descriptor=DESCRIPTOR, **settings)
    return build.detector(made, cfg.Head(head), 2, pretrained=True)


@pytest.fixture(scope="module")
def model():
    return described(**PIXELS).eval()


@pytest.fixture(scope="module")
def images():
    """Two sizes in one batch, and none a multiple of 32: padding must not be seen."""
    generator = torch.Generator().manual_seed(1)
    coarse = [torch.rand((1, 3, 5, 6), generator=generator) for _ in range(2)]
    sizes = [(70, 90), (96, 61)]
    return [
        torch.nn.functional.interpolate(c, s, mode="bilinear")[0].clamp(0, 1)
        for c, s in zip(coarse, sizes, strict=True)
    ]


BOXES = [
    torch.tensor([[5.0, 8.0, 40.0, 60.0], [30.0, 10.0, 85.0, 66.0]]),
    torch.tensor([[0.0, 0, 50, 90]]),
]


@torch.no_grad()
def means(model, images):
    features, _ = model.extract(images)
    return model.pool_regions(features, BOXES).means


def test_means_are_those_of_the_network_as_a_backbone(model, images):
    backbone = cfg.Backbone(NETWORK, "pip", LEVELS, channels=16, extra=False)
    alone = replace(SETTINGS, backbone=backbone, anchors=[[16.0], [32.0]])
    expected = build.detector(alone, cfg.Head("prototype"), 2, pretrained=True).eval()
    assert expected.transform.image_mean == [0.5] * 3 != model.transform.image_mean
    torch.testing.assert_close(means(model, images), means(expected, images), atol=1e-4, rtol=0)
    assert model.shape.means == expected.shape.means == (40, 112)


def test_maps_come_from_the_first_body_alone(model, images, monkeypatch):
    features, _ = model.extract(images)
    maps = model.pool_regions(features, BOXES).maps
    monkeypatch.setattr(model.descriptor, "forward", None)  # not called without averages
    without = model.pool_regions(features, BOXES, averages=False)
    assert torch.equal(without.maps, maps) and without.means.shape == (3, 0)
    assert len(model.propose(images, averages=False)) == 2


def test_training_changes_the_first_body_and_leaves_the_second(images):
    model = described("cosine")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    objective = Supervised(model, ("a", "b")).train()
    assert not any(module.training for module in model.descriptor.modules())
    targets = [Target(boxes=b, labels=torch.ones(len(b), dtype=torch.int64)) for b in BOXES]
    sum(objective((images, targets)).values()).backward()
    assert all(parameter.grad is None for parameter in model.descriptor.parameters())
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1).step()
    moved = {
        n.split(".")[0] for n, v in model.state_dict().items() if not torch.equal(v, before[n])
    }
    assert moved == {"backbone", "head", "rpn"}


def test_a_configuration_is_checked():
    for words, said in (
        (["detector.descriptor.name=resnet18"], r"missing: detector.descriptor.weights"),
        (["detector.descriptor=resnet18"], r"did you mean \{name: resnet18\}"),
        (
            ["detector.descriptor={name: a, weights: b, level: 1}"],
            r"mean 'detector.descriptor.levels'",
        ),
        (["detector.boxes=given"], r"detector.boxes: given boxes need a descriptor"),
        (
            ["detector.descriptor={name: a, weights: b}", "detector.boxes=given"],
            r"data.proposals=FILE",
        ),
    ):
        with pytest.raises(InputError, match=said):
            cfg.load([], ["data.root=r", "data.split=s", *words])
    wrong = replace(SETTINGS, descriptor=cfg.Descriptor("resnet18", "nowhere.pth"))
    with pytest.raises(InputError, match=r"descriptor.weights: no file 'nowhere.pth'"):
        build.detector(wrong, cfg.Head("prototype"), 2, pretrained=True)


def test_own_pixel_statistics_take_the_place_of_the_cards(images):
    torch.manual_seed(0)
    same = replace(DESCRIPTOR, mean=[0.5] * 3, std=[0.5] * 3)
    other = replace(DESCRIPTOR, mean=[0.0] * 3)
    by_card, as_card, shifted = (
        means(
            build.detector(replace(SETTINGS, descriptor=d), cfg.Head("prototype"), 2, True).eval(),
            images,
        )
        for d in (DESCRIPTOR, same, other)
    )
    torch.testing.assert_close(by_card, as_card)
    assert (by_card - shifted).abs().max() > 0.01
