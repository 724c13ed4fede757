"""Names of tensors in the files of torchvision, detectron2 and mmdetection, and the one naming they map to.

The naming used here: `body.` and torchvision's names of the classification network, `fpn.` and
torchvision's of a feature pyramid, `rpn.conv.N`, `rpn.cls_logits`, `rpn.bbox_pred`, `trunk.fc6`, `trunk.fc7`,
`trunk.conv.N` and their `trunk.norm.N`, `cls_score` and `bbox_pred`.
"""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from fsdet.errors import InputError
from fsdet.importers.presets import Project

_RULES: dict[Project, tuple[tuple[str, str], ...]] = {
    "torchvision": (
        (r"backbone\.body\.(\d+)\.(.+)", r"body.features.\1.\2"),
        (r"backbone\.body\.(.+)", r"body.\1"),
        (r"backbone\.fpn\.(inner|layer)_blocks\.(\d)\.(weight|bias)", r"fpn.\1_blocks.\2.0.\3"),
        (r"backbone\.fpn\.(.+)", r"fpn.\1"),
        (r"rpn\.head\.conv\.(weight|bias)", r"rpn.conv.0.\1"),
        (r"rpn\.head\.conv\.(\d)\.0\.(.+)", r"rpn.conv.\1.\2"),
        (r"rpn\.head\.(cls_logits|bbox_pred)\.(.+)", r"rpn.\1.\2"),
        (r"roi_heads\.box_head\.(fc[67])\.(.+)", r"trunk.\1.\2"),
        (r"roi_heads\.box_head\.([0-3])\.0\.(.+)", r"trunk.conv.\1.\2"),
        (r"roi_heads\.box_head\.([0-3])\.1\.(.+)", r"trunk.norm.\1.\2"),
        (r"roi_heads\.box_head\.5\.(.+)", r"trunk.fc7.\1"),
        (r"roi_heads\.box_predictor\.(cls_score|bbox_pred)\.(.+)", r"\1.\2"),
    ),
    "detectron2": (
        (r"backbone\.bottom_up\.stem\.conv1\.norm\.(.+)", r"body.bn1.\1"),
        (r"backbone\.bottom_up\.stem\.conv1\.(.+)", r"body.conv1.\1"),
        *((rf"backbone\.bottom_up\.res{n + 1}\.(.+)", rf"res.layer{n}.\1") for n in range(1, 5)),
        (r"res\.(.+)\.conv(\d)\.norm\.(.+)", r"body.\1.bn\2.\3"),
        (r"res\.(.+)\.shortcut\.norm\.(.+)", r"body.\1.downsample.1.\2"),
        (r"res\.(.+)\.shortcut\.(.+)", r"body.\1.downsample.0.\2"),
        (r"res\.(.+)", r"body.\1"),
        *(
            (rf"backbone\.fpn_{kind}{n + 2}\.(.+)", rf"fpn.{ours}_blocks.{n}.0.\1")
            for kind, ours in (("lateral", "inner"), ("output", "layer"))
            for n in range(4)
        ),
        (r"proposal_generator\.rpn_head\.conv\.(weight|bias)", r"rpn.conv.0.\1"),
        (r"proposal_generator\.rpn_head\.objectness_logits\.(.+)", r"rpn.cls_logits.\1"),
        (r"proposal_generator\.rpn_head\.anchor_deltas\.(.+)", r"rpn.bbox_pred.\1"),
        (r"roi_heads\.box_head\.fc1\.(.+)", r"trunk.fc6.\1"),
        (r"roi_heads\.box_head\.fc2\.(.+)", r"trunk.fc7.\1"),
        (r"roi_heads\.box_predictor\.(cls_score|bbox_pred|scale)(.*)", r"\1\2"),
    ),
    "mmdetection": (
        (r"backbone\.(.+)", r"body.\1"),
        (r"neck\.lateral_convs\.(\d)\.conv\.(.+)", r"fpn.inner_blocks.\1.0.\2"),
        (r"neck\.fpn_convs\.(\d)\.conv\.(.+)", r"fpn.layer_blocks.\1.0.\2"),
        (r"rpn_head\.rpn_conv\.(weight|bias)", r"rpn.conv.0.\1"),
        (r"rpn_head\.rpn_cls\.(.+)", r"rpn.cls_logits.\1"),
        (r"rpn_head\.rpn_reg\.(.+)", r"rpn.bbox_pred.\1"),
        (r"roi_head\.bbox_head\.shared_fcs\.0\.(.+)", r"trunk.fc6.\1"),
        (r"roi_head\.bbox_head\.shared_fcs\.1\.(.+)", r"trunk.fc7.\1"),
        (r"roi_head\.bbox_head\.fc_cls\.(.+)", r"cls_score.\1"),
        (r"roi_head\.bbox_head\.fc_reg\.(.+)", r"bbox_pred.\1"),
        (r"roi_head\.bbox_head\.scale", r"scale"),
    ),
}

_MARKS: tuple[tuple[Project, str], ...] = (
    ("torchvision", r"roi_heads\.box_head\.(fc6\.weight|5\.weight)"),
    ("detectron2", r"backbone\.fpn_lateral2\.weight"),
    ("mmdetection", r"roi_head\.bbox_head\.shared_fcs\.0\.weight"),
)

_REFUSED = (  # the first that matches
    (r"roi_heads\.box_predictor\.0\.|roi_head\.bbox_head\.0\.", "a Cascade R-CNN"),
    (r"roi_heads\.res5\.|backbone\.res4\.", "a Faster R-CNN on C4 features (DeFRCN's layout), not on a pyramid"),
    (r"bbox_head\.shared_fcs\.", "a detector of mmdetection 1; its background row comes first"),
    (
        r"(head|bbox_head)\.(cls_subnet|cls_convs|retina_cls|classification_head|conv_cls)",
        "a one-stage detector (RetinaNet, FCOS, SSD)",
    ),
    (r"(transformer|bbox_head|model)\.?.*(query_embed|class_embed|decoder\.layers|fc_cls\.)", "a DETR"),
    (r"model\.\d+\.(conv|cv1|m)\.", "a YOLO"),
    (r"(fc|classifier|head)(\.\d)?\.weight$", "a classification network; `detector.backbone.weights` takes it"),
)  # fmt: skip


def project_of(names: Iterable[str], path: object) -> Project:
    """The project whose names these are.

    Raises:
        InputError: no Faster R-CNN on a feature pyramid, with what it seems to be.
    """
    names = list(names)
    for project, mark in _MARKS:
        if any(re.fullmatch(mark, name) for name in names):
            return project
    for mark, kind in _REFUSED:
        if any(re.match(mark, name) for name in names):
            raise InputError(
                f"import: '{path}' is {kind}; expected a Faster R-CNN on a feature pyramid of"
                " torchvision, detectron2 or mmdetection"
            )
    raise InputError(
        f"import: '{path}' has no layers of a Faster R-CNN on a feature pyramid of torchvision,"
        f" detectron2 or mmdetection; its first tensor is '{names[0]}'"
    )


def renamed(tensors: Mapping[str, Tensor], project: Project) -> dict[str, Tensor]:
    """Tensors under the names of this module; what detection does not need is left out."""
    result = {}
    for name, value in tensors.items():
        new_name = name
        for pattern, replacement in _RULES[project]:
            new_name = re.sub(f"^{pattern}$", replacement, new_name)
        mapped = new_name != name or name.startswith("body.")
        if mapped and not name.endswith("num_batches_tracked"):
            result[new_name] = value
    return result
