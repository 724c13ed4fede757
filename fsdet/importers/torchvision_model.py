"""Settings of a Faster R-CNN object of torchvision, as a preset."""

from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from fsdet.errors import InputError
from fsdet.importers.presets import Preset


def preset_of(model: FasterRCNN) -> Preset:
    """Read the settings of a torchvision Faster R-CNN on a feature pyramid.

    Raises:
        InputError: a setting that an imported detector cannot have.
    """
    body, rpn, heads = getattr(model.backbone, "body", None), model.rpn, model.roi_heads
    returned = getattr(body, "return_layers", None)
    if body is None or returned is None or not hasattr(model.backbone, "fpn"):
        raise InputError("import: expected a Faster R-CNN on torchvision's BackboneWithFPN")
    ratios = {tuple(level) for level in rpn.anchor_generator.aspect_ratios}
    pool = heads.box_roi_pool
    _expect("aspect ratios of anchors", ratios, {(0.5, 1.0, 2.0)})
    _expect("NMS thresholds of RPN and heads", (rpn.nms_thresh, heads.nms_thresh), (0.7, 0.5))
    _expect("detections per image", heads.detections_per_img, 100)
    _expect("region pooling", type(pool), MultiScaleRoIAlign)
    _expect("samples of region pooling", pool.sampling_ratio, 2)
    extra = model.backbone.fpn.extra_blocks
    _expect("the extra level", extra is None or isinstance(extra, LastLevelMaxPool), True)
    epsilons = {m.eps for m in body.modules() if isinstance(m, FrozenBatchNorm2d | nn.BatchNorm2d)}
    _expect("epsilons of normalisation", len(epsilons), 1)
    transform = model.transform
    names = list(returned)
    stages = names == ["layer1", "layer2", "layer3", "layer4"]
    return Preset(
        "torchvision",
        "a model in memory",
        mean=tuple(transform.image_mean),
        std=tuple(transform.image_std),
        eps=epsilons.pop(),
        exact=False,
        aligned=False,
        resize="torch",
        min_size=transform.min_size[-1],
        max_size=transform.max_size,
        before=rpn._pre_nms_top_n["testing"],
        proposals=rpn._post_nms_top_n["testing"],
        objectness=rpn.score_thresh,
        anchors=tuple(tuple(map(float, level)) for level in rpn.anchor_generator.sizes),
        pool=pool.output_size[0],
        nodes=() if stages else tuple(_node(name) for name in names),
        extra=extra is not None,
    )


def _node(name: str) -> str:
    """The module of the classification network that an entry of `return_layers` is."""
    return f"features.{name}" if name.isdigit() else name


def _expect(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise InputError(f"import: {what}: expected {expected}, got {got}")
