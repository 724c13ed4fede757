"""Backbones by name: the levels they promise, weights from files, and what stays frozen."""

import copy
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch.nn import functional as F
from torchvision.ops import FrozenBatchNorm2d

from fsdet.errors import InputError
from fsdet.model.backbones import backbone
from fsdet.model.small_backbone import Small
from fsdet.model.weights import _fold_normalisation


def classifier(name="mobilenet_v2"):
    """A classification network whose variances are small: to drop, or to change, its normalisation would show."""
    torch.manual_seed(0)
    if name.startswith("timm/"):
        network = timm.create_model(name.removeprefix("timm/"))
    else:
        network = torchvision.models.get_model(name, weights=None)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data.mul_(0.03)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.rand(4, 3, 64, 64))
    return network.eval()


def outputs(network, modules, images):
    """What these modules of a network return."""
    found = {}
    for name in modules:
        network.get_submodule(name).register_forward_hook(
            lambda module, given, value, name=name: found.update({name: value})
        )
    with torch.no_grad():
        network(images)
    return [found[name] for name in modules]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mobilenet.safetensors"
    save_file(classifier().state_dict(), path)
    return str(path)


@pytest.mark.parametrize(
    ("name", "levels", "widths"),
    [
        ("small", (0, 1, 2, 3), (32, 64, 128, 128)),
        ("small", (1, 2), (64, 128)),
        ("resnet18", (0, 1, 2, 3), (64, 128, 256, 512)),
        ("mobilenet_v2", (1, 2, 3), (32, 96, 1280)),
        ("mobilenet_v3_large", (2, 3), (112, 960)),
        ("timm/resnet18", (1, 3), (128, 512)),
    ],
)
def test_levels_have_the_expected_strides_and_widths(name, levels, widths):
    pyramid = backbone(name, None, levels, channels=16, extra=False)
    levels_by_name, body = pyramid(torch.rand(1, 3, 64, 96))
    assert list(levels_by_name) == list(map(str, levels))
    sizes = [(64 // (4 * 2**level), 96 // (4 * 2**level)) for level in levels]
    assert [tuple(level.shape) for level in levels_by_name.values()] == [
        (1, 16, *size) for size in sizes
    ]
    assert [tuple(level.shape) for level in body] == [
        (1, width, *size) for width, size in zip(widths, sizes, strict=True)
    ]
    assert pyramid.body_channels == widths


def test_an_extra_level_halves_the_last():
    pyramid, _ = backbone("small", None, (1, 2), channels=16, extra=True)(torch.rand(1, 3, 64, 64))
    assert [tuple(level.shape[2:]) for level in pyramid.values()] == [(8, 8), (4, 4), (2, 2)]


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("mobilenet_v2", ["features.6", "features.13", "features.18"]),
        ("mobilenet_v3_large", ["features.6", "features.12", "features.16"]),
        ("resnet18", ["layer2", "layer3", "layer4"]),
        ("timm/resnet18", ["layer2", "layer3", "layer4"]),
        ("timm/mobilenetv3_small_050", ["blocks.1", "blocks.3", "blocks.5"]),
    ],
)
def test_weights_of_a_file_give_the_features_of_the_original_network(name, modules, tmp_path):
    """The normalisation is folded into the convolutions: another sum, the same function."""
    images, network = torch.rand(2, 3, 64, 64), classifier(name)
    save_file(network.state_dict(), tmp_path / "file.safetensors")
    pyramid = backbone(name, str(tmp_path / "file.safetensors"), (1, 2, 3))
    with torch.no_grad():
        _, body = pyramid(images)
    for mine, theirs in zip(body, outputs(network, modules, images), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3 * theirs.std().item())


def test_a_timm_network_does_not_keep_the_tensors_of_the_file(tmp_path):
    torch.save(classifier("timm/resnet18").state_dict(), tmp_path / "file.pth")
    body = backbone("timm/resnet18", str(tmp_path / "file.pth"), (1, 2)).body
    assert not any("state_dict" in getattr(m, "pretrained_cfg", {}) for m in body.modules())


def test_frozen_normalisation_is_folded_and_other_normalisation_is_kept(weights):
    body = backbone("mobilenet_v2", weights, (3,)).body
    assert not [m for m in body.modules() if isinstance(m, FrozenBatchNorm2d)]
    plain = backbone("mobilenet_v2", None, (3,)).body
    assert [m for m in plain.modules() if isinstance(m, torch.nn.BatchNorm2d)]


@pytest.mark.parametrize(
    "name",
    ["tf_efficientnet_lite0", "resnet18", "regnetx_002", "densenet121", "mobilenetv3_small_050"],
)
def test_timms_frozen_normalisation_is_folded_with_its_activation(tmp_path, name):
    torch.manual_seed(0)
    network = timm.create_model(name, features_only=True).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    folded = copy.deepcopy(network)
    folded = timm.layers.freeze_batch_norm_2d(folded)
    _fold_normalisation(folded)
    norms = (FrozenBatchNorm2d, timm.layers.FrozenBatchNormAct2d)
    left = sum(isinstance(module, norms) for module in folded.modules())
    assert left == 0 or name == "densenet121"  # it normalises what it concatenated
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        for ours, theirs in zip(folded(images), network(images), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.std().item())


def test_tensorflow_padding_pads_right_and_below(weights):
    body = backbone("mobilenet_v2_tf", weights, (0,)).body
    first = next(m for m in body.modules() if isinstance(m, torch.nn.Conv2d))
    x = torch.rand(1, 3, 32, 32)
    expected = F.conv2d(F.pad(x, (0, 1, 0, 1)), first.weight, first.bias, 2)
    torch.testing.assert_close(first(x), expected)
    same = F.conv2d(x, first.weight, first.bias, 2, 1)
    assert same.shape == expected.shape and not torch.allclose(same, expected)


@pytest.mark.parametrize("stages", [0, 1, 2, 4])
def test_only_frozen_stages_have_no_gradients(weights, stages):
    ends = {0: -1, 1: 3, 2: 6, 4: 18}
    body = backbone("mobilenet_v2", weights, (1, 2, 3), frozen_stages=stages).body
    for name, parameter in body.named_parameters():
        layer = int(name.split(".")[1])
        assert parameter.requires_grad == (layer > ends[stages]), name


@pytest.mark.parametrize("stages", [0, 1, 2, 3, 4])
@pytest.mark.parametrize(
    "name",
    ["small", "resnet18", "timm/resnet18", "timm/mobilenetv3_small_050", "timm/convnext_atto"],
)
def test_frozen_parameters_are_those_that_the_stage_depends_on(name, stages):
    """A level depends on the parameters that get a gradient from it."""
    free = backbone(name, None, (0, 1, 2, 3)).body
    levels = list(free(torch.rand(2, 3, 64, 64)).values())[:stages]
    sum((level.square().sum() for level in levels), torch.zeros(1, requires_grad=True)).backward()
    used = {name for name, parameter in free.named_parameters() if parameter.grad is not None}
    held = backbone(name, None, (1, 2, 3), frozen_stages=stages).body
    assert {name for name, p in held.named_parameters() if not p.requires_grad} == used


def test_freezing_an_unknown_stage_is_an_error():
    held = backbone("small", None, (0, 1), frozen_stages=4).body
    assert not any(parameter.requires_grad for parameter in held.parameters())
    says = r"a stage whose end timm knows, got 1; 'vit_tiny.*' has strides \[16, 16, 16\]"
    with pytest.raises(InputError, match=says):
        backbone("timm/vit_tiny_patch16_224", None, (2,), frozen_stages=1)


def test_a_backbone_without_reading_needs_no_weights_file():
    """The same modules, ready for a state dict, though the file is gone."""
    made = backbone("mobilenet_v2", "gone.safetensors", (1, 2), read=False)
    assert not [m for m in made.body.modules() if isinstance(m, torch.nn.BatchNorm2d)]


def test_features_of_the_small_backbone_depend_on_the_image():
    torch.manual_seed(0)
    levels = Small()(torch.rand(2, 3, 64, 64))
    assert all(level.std() > 0 and not torch.equal(level[0], level[1]) for level in levels.values())


def cut(path, weights):
    path.write_bytes(Path(weights).read_bytes()[:1000])


def other(path, weights):
    save_file(classifier("resnet18").state_dict(), path)


class Code:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def code(path, weights):
    torch.save({"x": Code(path.with_name("ran"))}, path)


def more(path, weights):
    torch.save({"epoch": 3, "state_dict": {}}, path)


@pytest.mark.parametrize("name", ["mobilenet_v2", "timm/mobilenetv2_100"])
@pytest.mark.parametrize(
    ("file", "damage", "says"),
    [
        ("cut.safetensors", cut, "not a whole weights file"),
        ("cut.pth", cut, "is not read|not a whole weights file"),
        ("other.safetensors", other, "is not of '{name}'.*[Mm]issing"),
        ("code.pth", code, "holds more than tensors and is not read"),
        ("more.pth", more, "expected tensors by name, got int under 'epoch'"),
        ("none.pth", lambda path, weights: torch.save({}, path), "expected tensors by name"),
        ("list.pth", lambda path, weights: torch.save([1], path), "expected tensors by name"),
        ("absent.safetensors", lambda path, weights: None, "no file"),
    ],
)
def test_unusable_weights_files_are_input_errors(tmp_path, weights, name, file, damage, says):
    path = tmp_path / file
    damage(path, weights)
    with pytest.raises(InputError, match=says.format(name=name)) as error:
        backbone(name, str(path), (3,))
    assert file in str(error.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("smal", "did you mean 'small'"),
        ("resnet5", "did you mean 'resnet50'"),
        ("timm/resnet5", "timm has no 'resnet5'"),
        ("vgg16", "no backbone 'vgg16'"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(name, says):
    with pytest.raises(InputError, match=says):
        backbone(name)


def test_missing_strides_are_an_error_that_lists_the_strides():
    with pytest.raises(InputError, match=r"strides .* not all of \[4, 8\]"):
        backbone("timm/vit_tiny_patch16_224", None, (0, 1))
