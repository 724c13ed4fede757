"""timm's networks as bodies: tokens of vision transformers, maps of Swin, frozen parts, weights, refusals."""

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from helpers import detectors
from safetensors.torch import save_file
from timm.models import VisionTransformer
from torch import nn
from torch.nn import functional as F
from torchvision.ops import box_iou

from fsdet import build
from fsdet import config as cfg
from fsdet.api.detector import Detector
from fsdet.api.load import load
from fsdet.data.shapes.dataset import open_shapes
from fsdet.errors import InputError
from fsdet.experiment.stages.training import base_task
from fsdet.export import export
from fsdet.model.backbones import backbone
from fsdet.model.timm_bodies import Tokens
from fsdet.training.objectives import Supervised
from fsdet.types import Target

VIT = "timm/test_vit"  # six blocks of 64 channels, patches of 16 pixels, made for 160 pixels
SETTINGS = replace(
    detectors.SETTINGS,
    backbone=cfg.Backbone(VIT, levels=[0, 1, 2], channels=16, extra=False, pyramid="simple"),
)


def patch14(width=64):
    """A transformer of two blocks and patches of 14 pixels, as DINOv2's."""
    torch.manual_seed(0)
    return VisionTransformer(
        56, 14, num_classes=0, embed_dim=width, depth=2, num_heads=2, dynamic_img_size=True
    )


def simple(weights=None, **settings):
    torch.manual_seed(0)
    return backbone(VIT, weights, (0, 1, 2, 3), 16, pyramid="simple", **settings)


class Patches(nn.Module):
    """In the place of a transformer: means of the pixels of every patch of 14 pixels."""

    def forward_intermediates(self, images, **arguments):
        return [F.avg_pool2d(images, 14)]


def test_a_token_of_patch_14_covers_16_pixels_of_the_image():
    """On a ramp, the mean over a patch is the ramp at the patch's centre."""
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(160.0), indexing="ij")
    image = torch.stack([x, y, x - 2 * y])[None]
    (level,) = Tokens(Patches(), 14)(image).values()
    assert level.shape == (1, 3, 6, 10)
    inside = (..., slice(1, -1), slice(1, -1))  # at its edges an image has no pixels to blend with
    torch.testing.assert_close(level[inside], F.avg_pool2d(image, 16)[inside], rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", [(160, 160), (64, 96)])
def test_tokens_are_those_of_the_last_block_after_the_final_norm(size, tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("test_vit", dynamic_img_size=True).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_file(network.state_dict(), tmp_path / "file.safetensors")
    body = simple(str(tmp_path / "file.safetensors")).eval().body
    images = torch.rand(2, 3, *size)
    with torch.no_grad():
        (level,) = body(images).values()
        expected = network.forward_features(images)[:, network.num_prefix_tokens :]
    torch.testing.assert_close(level.flatten(2).transpose(1, 2), expected, rtol=1e-4, atol=1e-4)
    assert level.shape == (2, 64, size[0] // 16, size[1] // 16)


def test_weights_with_the_keys_of_dinov2(tmp_path):
    """Meta's files have a mask token, which timm's network lacks; with others' tensors they are refused."""
    network = timm.create_model("test_vit")
    state = dict(network.state_dict())
    torch.save(state | {"mask_token": torch.zeros(1, 64)}, tmp_path / "meta.pth")
    body = simple(str(tmp_path / "meta.pth")).body.body
    for key, value in body.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert not any("state_dict" in getattr(m, "pretrained_cfg", {}) for m in body.modules())
    del state["blocks.3.mlp.fc1.weight"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(InputError, match=r"is not of 'timm/test_vit'.*blocks\.3\.mlp\.fc1"):
        simple(str(tmp_path / "cut.pth"))


@pytest.mark.parametrize(
    "name",
    [
        "vit_small_patch14_dinov2.lvd142m",
        "vit_small_patch16_dinov3",
        "vit_base_patch16_siglip_224",
        "vit_base_patch16_clip_224.openai",
        "vit_base_patch16_224.mae",
        "eva02_tiny_patch14_224",
    ],
)
def test_foundation_transformers_have_levels_of_powers_of_two(name):
    with torch.device("meta"), torch.no_grad():
        pyramid = backbone(f"timm/{name}", None, (0, 1, 2, 3), 16, extra=False, pyramid="simple")
        levels, body = pyramid(torch.zeros(1, 3, 64, 96))
    assert [level.shape[2:] for level in levels.values()] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert [level.shape for level in body] == [(1, *pyramid.body_channels, 4, 6)]


@pytest.mark.parametrize(
    "name", ["swinv2_tiny_window8_256", "sam2_hiera_tiny", "convnext_tiny", "test_mambaout"]
)
def test_networks_with_stages_give_maps_with_channels_first_for_images_of_any_size(name):
    with torch.device("meta"), torch.no_grad():
        pyramid = backbone(f"timm/{name}", None, channels=16)
        _, body = pyramid(torch.zeros(2, 3, 64, 96))
    sides = [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert [level.shape for level in body] == [
        (2, width, *side) for width, side in zip(pyramid.body_channels, sides, strict=True)
    ]


@pytest.fixture(scope="module")
def swin():
    torch.manual_seed(0)
    return backbone("timm/swin_tiny_patch4_window7_224", None, (0, 1, 2, 3), 16)


def test_swin_has_the_features_of_timm(swin):
    """Its maps are [B, H, W, C], of which the pyramid took the height for the channels."""
    name = "swin_tiny_patch4_window7_224"
    getter = timm.create_model(
        name, features_only=True, feature_cls="getter", strict_img_size=False
    )
    theirs = getter.state_dict()
    mine = {
        key: theirs["model." + key.replace("layers_", "layers.")]
        for key in swin.body.body.state_dict()
    }
    swin.body.body.load_state_dict(mine)
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        levels, body = swin.eval()(images)
        expected = getter.eval()(images)
    for level, value in zip(body, expected, strict=True):
        torch.testing.assert_close(level, value)
    assert [level.shape[2:] for level in levels.values()][:2] == [(16, 24), (8, 12)]


def test_what_is_frozen_stays_in_eval(swin):
    """Swin leaves out blocks at random in training."""
    images = torch.rand(2, 3, 64, 64)
    swin.train()
    with torch.no_grad():
        assert not torch.equal(swin(images)[1][-1], swin(images)[1][-1])
    swin.body.requires_grad_(False)
    swin.train()
    assert not any(module.training for module in swin.body.body.modules())
    with torch.no_grad():
        assert torch.equal(swin(images)[1][-1], swin(images)[1][-1])
    swin.body.requires_grad_(True)
    assert all(module.training for module in swin.train().modules())


@pytest.mark.parametrize("stages", [0, 1, 2, 3, 4])
def test_stages_of_a_transformer_are_thirds_of_its_blocks(stages):
    body = simple(frozen_stages=stages).train().body.body
    for name, parameter in body.named_parameters():
        block = int(name.split(".")[1]) if name.startswith("blocks") else 0
        last = name.startswith("norm.")
        frozen = stages == 4 or (not last and block < 2 * stages)
        assert parameter.requires_grad == (not frozen), name
    assert [block.training for block in body.blocks] == [n >= 2 * stages for n in range(6)]


def test_a_frozen_transformer_gets_no_gradient_and_keeps_no_graph():
    pyramid = simple(frozen_stages=4).train()
    levels, body = pyramid(torch.rand(1, 3, 64, 64))
    assert not body[0].requires_grad and levels["0"].requires_grad


@pytest.mark.parametrize(
    ("name", "pyramid", "says"),
    [
        ("timm/beit_base_patch16_224", "simple", "images of one size only .*expected .*swin_"),
        ("timm/hiera_tiny_224", "fpn", "images of one size only"),
        ("timm/swin_tiny_patch4_window7_224", "simple", r"strides \[4, 8, 16, 32\]; expected fpn"),
        ("timm/test_vit", "fpn", "not all of .*; expected pyramid: simple"),
        ("timm/test_vi", "simple", "did you mean 'test_vit'"),
        ("resnet50", "simple", "of timm, got 'resnet50'; expected fpn"),
        ("small", "simple", "of timm, got 'small'; expected fpn"),
    ],
)
def test_unfit_networks_are_refused(name, pyramid, says):
    with torch.device("meta"), pytest.raises(InputError, match=says):
        backbone(name, None, pyramid=pyramid)


def bilinear(grid, x, y):
    """A map [C, H, W] between its places, of which the first lies at 0."""
    left, top = int(np.floor(x)), int(np.floor(y))
    right, below = min(left + 1, grid.shape[2] - 1), min(top + 1, grid.shape[1] - 1)
    x, y = x - left, y - top
    upper = (1 - x) * grid[:, top, left] + x * grid[:, top, right]
    return (1 - y) * upper + y * ((1 - x) * grid[:, below, left] + x * grid[:, below, right])


def mean_of_region(grid, box, stride):
    """Mean over the 4 x 4 samples of RoIAlign, of unit length."""
    x1, y1, x2, y2 = np.array(box) / stride
    places = (np.arange(4) + 0.5) / 4
    samples = [
        bilinear(grid, x1 + u * (x2 - x1), y1 + v * (y2 - y1)) for v in places for u in places
    ]
    mean = np.mean(samples, 0)
    return mean / np.linalg.norm(mean)


def detector(**settings):
    torch.manual_seed(0)
    return build.detector(
        replace(SETTINGS, **settings), cfg.Head("cosine"), n_base=20, pretrained=False
    )


@torch.no_grad()
def test_averages_of_regions_are_means_of_the_tokens():
    """With patches of 14 pixels too: at a stride of 14 all regions would be shifted by an eighth."""
    model = detector().eval()
    model.backbone.body = Tokens(patch14(), 14).eval()
    features, _ = model.extract([torch.rand(3, 96, 160)])
    assert features.batch.tensors.shape[-2:] == (64, 96)  # the short side of 57.6 is padded
    boxes = [[4.0, 6.0, 60.0, 50.0], [20.0, 0.0, 90.0, 33.0]]
    means = model.pool_regions(features, [torch.tensor(boxes)]).means
    grid = features.body[0][0].numpy().astype(np.float64)
    assert grid.shape == (64, 4, 6)
    for box, mean in zip(boxes, means.numpy(), strict=True):
        np.testing.assert_allclose(mean, mean_of_region(grid, box, 16), atol=1e-5)


@torch.no_grad()
def test_a_transformer_describes_regions_that_another_network_finds():
    torch.manual_seed(0)
    second = cfg.Descriptor(VIT, "gone.safetensors")
    settings = replace(detectors.SETTINGS, descriptor=second)
    model = build.detector(settings, cfg.Head("cosine"), n_base=20, pretrained=False).eval()
    alone = detector(backbone=replace(SETTINGS.backbone, weights="gone.safetensors")).eval()
    alone.backbone.body = model.descriptor.body
    images, boxes = [torch.rand(3, 96, 96)], [torch.tensor([[4.0, 6.0, 60.0, 50.0]])]
    means = [m.pool_regions(m.extract(images)[0], boxes).means for m in (model, alone)]
    assert means[0].shape == (1, 64)
    torch.testing.assert_close(*means, rtol=1e-4, atol=1e-5)


def test_a_saved_detector_needs_no_weights_file(tmp_path):
    settings = replace(SETTINGS.backbone, weights="gone.safetensors", frozen_stages=4)
    settings = replace(SETTINGS, backbone=settings)
    head = cfg.Head("prototype")
    model = build.detector(settings, head, n_base=3, pretrained=False)
    before = Detector(model, settings, head, {}, 3)
    image, box = detectors.square("red", 1)
    before.register("red", [image], [box])
    before.save(tmp_path / "saved.safetensors")
    after = load(tmp_path / "saved.safetensors")
    mine, theirs = before.predict(image, threshold=0.0), after.predict(image, threshold=0.0)
    assert len(mine) and mine == theirs
    assert not any(p.requires_grad for p in after.model.backbone.body.parameters())
    with pytest.raises(InputError, match="export: 'timm/test_vit' fits its positions"):
        export(after, tmp_path / "x.onnx")


def test_a_transformer_from_scratch_learns_two_images_by_heart():
    """It finds every object that it was shown, under its name."""
    data = open_shapes("train", images=2, size=64)
    images = [torch.from_numpy(data.image(i)).permute(2, 0, 1) for i in range(len(data))]
    targets = [
        Target(
            boxes=torch.from_numpy(data.boxes[data.rows(i)]).float(),
            labels=torch.from_numpy(data.labels[data.rows(i)]).long(),
        )
        for i in range(len(data))
    ]
    model = detector(
        backbone=replace(SETTINGS.backbone, levels=[0, 1], channels=32),
        anchors=[[12.0], [24.0]],
        min_size=64,
        max_size=64,
        proposals=[40, 20],
        width=64,
    )
    objective = Supervised(model, data.classes).train()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 10, (100 - step) / 30)
    )
    for _ in range(100):
        losses = objective((images, targets))
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
    found = model.eval().detect(images, base_task(model))
    for target, detections in zip(targets, found, strict=True):
        named = target["labels"][:, None] == detections["labels"]
        overlaps = box_iou(target["boxes"], detections["boxes"]) * named
        assert (overlaps.max(1).values > 0.5).all(), overlaps.max(1).values
