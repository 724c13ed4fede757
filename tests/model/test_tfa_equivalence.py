"""The whole detector against torchvision's Faster R-CNN with TFA's classifiers: the same weights, images and draws.

What is ours on purpose is given to torchvision's side here: the averages beside the maps (`Pool`), a box branch
over the maps alone (`BoxHead`), the same box for every category (repeated), fc7 of unit length before the linear
classifier (`Fc`), and the rule for ignored objects (`ignoring`). All else is torchvision's, with its own defaults.
TFA has background last where torchvision and we have it first.
"""

from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign, box_area, box_iou, roi_align

from fsdet import build
from fsdet import config as cfg
from fsdet.data.loading.stream import scaled
from fsdet.data.shapes.dataset import open_shapes
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.training.objectives import Supervised
from fsdet.types import IGNORE, Shots, Target, Task

DRAWN = open_shapes("train", images=5, size=128)
N = len(DRAWN.classes)
BACKBONES = {
    "small": (cfg.Backbone("small", levels=[0, 1, 2], channels=16, extra=False), [16, 32, 64]),
    "resnet18": (cfg.Backbone("resnet18", channels=16), [16, 32, 64, 96, 128]),
}
NAMES = {"loss_class": "loss_classifier", "loss_box": "loss_box_reg"}  # ours: torchvision's


class Levels(nn.Module):
    """The pyramid; the levels under it wait for `Pool`."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone, self.out_channels = backbone, backbone.out_channels

    def forward(self, images):
        pyramid, self.body = self.backbone(images)
        return pyramid


class Pool(MultiScaleRoIAlign):
    """RoIAlign's maps, flat, and beside them the averages of the levels under the pyramid."""

    def __init__(self, levels: Levels, strides: list[int], side: int):
        super().__init__(["0", "1", "2", "3"], side, 2)
        self.under, self.strides = [levels], strides  # in a list: it is registered elsewhere

    def forward(self, pyramid, boxes, image_shapes):
        parts = [super().forward(pyramid, boxes, image_shapes).flatten(1)]
        for level, stride in zip(self.under[0].body, self.strides, strict=True):
            means = roi_align(level, boxes, 1, spatial_scale=1 / stride, sampling_ratio=4)
            parts.append(F.normalize(means.flatten(1), dim=1))
        return torch.cat(parts, 1)


class BoxHead(TwoMLPHead):
    """torchvision's fc6 and fc7 over all of it, and beside fc7 the box branch over the maps."""

    def __init__(self, head):
        super().__init__(1, 1)
        self.fc6, self.fc7, self.boxes = head.trunk.first, head.trunk.last, head.boxes.first

    def forward(self, x):
        maps = x[:, : self.boxes.in_features]
        return torch.cat([super().forward(x), F.relu(self.boxes(maps))], 1)


class Fc(FastRCNNPredictor):
    """TFA w/fc, which is torchvision's own, over fc7 of unit length."""

    def forward(self, x):
        what, where = x.chunk(2, 1)
        return self.cls_score(F.normalize(what, dim=1)), self.bbox_pred(where)


class Cos(FastRCNNPredictor):
    """TFA w/cos as TFA has it: both sides over their length plus 1e-5, the rows in place; 20 times the cosine."""

    def forward(self, x):
        what, where = x.chunk(2, 1)
        rows = self.cls_score.weight
        rows.data /= rows.data.norm(dim=1, keepdim=True) + 1e-5
        what = what / (what.norm(dim=1, keepdim=True) + 1e-5)
        return 20 * F.linear(what, rows), self.bbox_pred(where)


class Pair(NamedTuple):
    """Two detectors of the same weights."""

    ours: FewShotRCNN
    task: Task
    theirs: FasterRCNN


@pytest.fixture(scope="module", params=[(b, h) for b in BACKBONES for h in ("cosine", "linear")])
def pair(request):
    return made(*request.param)


@torch.no_grad()
def made(name: str, head: str) -> Pair:
    torch.manual_seed(0)
    backbone, anchors = BACKBONES[name]
    settings = cfg.Detector(
        backbone,
        [[size] for size in anchors],
        min_size=128,
        max_size=160,
        proposals=[150, 32],
        per_image=12,
        pool=5,
        width=64,
        voting=1.0,
    )
    model = build.detector(settings, cfg.Head(head), N, pretrained=False)
    # Weights that say something, and an fc7 beside whose length TFA's 1e-5 is nothing.
    model.rpn.head.cls_logits.weight.normal_(std=0.3)
    model.rpn.head.bbox_pred.weight.normal_(std=0.05)
    model.head.trunk.last.weight.mul_(100)
    model.head.boxes.regressor.weight.normal_(std=0.3)
    if head == "cosine":
        model.head.rows.normal_()
        task = model.head.base_task()
        predictor, rows, biases = Cos, task["rows"], torch.zeros(1 + N)
    else:
        rows, biases = torch.randn(1 + N, settings.width) / 8, torch.randn(1 + N)
        task = {"rows": rows, "biases": biases, **model.head.regressor()}
        predictor, rows = Fc, 20 * rows
    predictor = predictor(settings.width, 1 + N)
    boxes = {"weight": task["weight"].repeat(1 + N, 1), "bias": task["bias"].repeat(1 + N)}
    predictor.cls_score.load_state_dict({"weight": rows.clone(), "bias": biases})
    predictor.bbox_pred.load_state_dict(boxes)
    levels = Levels(model.backbone)
    theirs = FasterRCNN(
        levels,
        min_size=128,
        max_size=160,
        rpn_anchor_generator=AnchorGenerator(
            tuple((size,) for size in anchors), ((0.5, 1.0, 2.0),) * len(anchors)
        ),
        rpn_head=model.rpn.head,
        rpn_pre_nms_top_n_train=300,
        rpn_pre_nms_top_n_test=600,
        rpn_post_nms_top_n_train=150,
        rpn_post_nms_top_n_test=32,
        box_roi_pool=Pool(levels, [4 * 2**level for level in backbone.levels], 5),
        box_head=BoxHead(model.head),
        box_predictor=predictor,
        box_batch_size_per_image=12,
    )
    return Pair(model, task, theirs)


def touched(boxes: torch.Tensor, ignored: torch.Tensor) -> torch.Tensor:
    """Whether a box overlaps one of the ignored by 0.3 (IoU), or has 0.7 of its area in it."""
    overlap, area = box_iou(boxes, ignored), box_area(boxes)[:, None]
    shared = overlap * (area + box_area(ignored)) / (1 + overlap)  # what the IoU is made of
    return ((overlap >= 0.3) | (shared >= 0.7 * area)).any(1)


@pytest.fixture
def ignoring(pair, monkeypatch):
    """torchvision's matching, after which what touches an ignored object is not background."""
    rpn, heads = pair.theirs.rpn, pair.theirs.roi_heads
    of_anchors, of_proposals = rpn.assign_targets_to_anchors, heads.assign_targets_to_proposals

    def left_out(labels, boxes, truth, kinds):
        parts = zip(labels, boxes, truth, kinds, strict=True)
        return [
            label.masked_fill((label == 0) & touched(box, true[kind == IGNORE]), -1)
            for label, box, true, kind in parts
        ]

    def anchors(boxes, targets):
        truth, kinds = [t["boxes"] for t in targets], [t["labels"] for t in targets]
        objects = [{"boxes": t[k > 0]} for t, k in zip(truth, kinds, strict=True)]
        labels, matched = of_anchors(boxes, objects)
        return left_out(labels, boxes, truth, kinds), matched

    def proposals(boxes, truth, kinds):
        matched, labels = of_proposals(boxes, truth, kinds)
        return matched, left_out(labels, boxes, truth, kinds)

    monkeypatch.setattr(rpn, "assign_targets_to_anchors", anchors)
    monkeypatch.setattr(heads, "assign_targets_to_proposals", proposals)


def scenes(ignored: bool) -> tuple[list[torch.Tensor], list[Target]]:
    """Drawn images, each stretched to another shape, the last without objects; on demand some are to be ignored."""
    images, targets = [], []
    for n in range(len(DRAWN)):
        pixels, target = DRAWN[n]
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
        height, width = 128 - 9 * n, 100 + 21 * n
        images.append(F.interpolate(image, (height, width)).byte()[0])
        boxes = target["boxes"] * torch.tensor([width / 128, height / 128]).repeat(2)
        targets.append(Target(boxes=boxes, labels=target["labels"]))
    targets[-1] = Target(boxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
    if ignored:  # of the first image all objects, of the others the first
        targets[0]["labels"][:] = IGNORE
        for target in targets[1:]:
            target["labels"][:1] = IGNORE
    assert sum(int((target["labels"] > 0).sum() > 1) for target in targets) >= 2
    return images, targets


def losses(pair: Pair, images: list[torch.Tensor], targets: list[Target]):
    """Ours and torchvision's, of the same draws."""
    images = list(map(scaled, images))
    torch.manual_seed(7)
    ours = pair.ours.train().loss(Shots(images, targets, DRAWN.classes), pair.task)
    torch.manual_seed(7)
    return ours, pair.theirs.train()(images, targets)


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert {NAMES.get(name, name) for name in ours} == set(theirs) and len(theirs) == 4
    for name, value in ours.items():
        assert value > 0.001, name
        assert value.item() == pytest.approx(theirs[NAMES.get(name, name)].item(), rel=1e-5), name


def test_losses_match_torchvision(pair):
    same(*losses(pair, *scenes(ignored=False)))


def test_losses_with_ignored_objects_match_torchvision_without_the_regions_on_them(pair, ignoring):
    ours, theirs = losses(pair, *scenes(ignored=True))
    same(ours, theirs)
    whole, _ = losses(pair, *scenes(ignored=False))
    assert all(abs(whole[name] - ours[name]) > 1e-4 for name in whole)


def test_gradients_match_torchvision(pair):
    """The rows' too, but for the part along the row, which is there only where rows are scaled in place."""
    cosine, predictor = "biases" not in pair.task, pair.theirs.roi_heads.box_predictor
    both = set(pair.ours.parameters()) & set(pair.theirs.parameters())
    shared = [parameter for parameter in pair.ours.parameters() if parameter in both]
    mine = [pair.task["weight"], pair.task["rows"]][: 1 + cosine]
    copies = [predictor.bbox_pred.weight, predictor.cls_score.weight][: 1 + cosine]
    assert len(list(pair.ours.parameters())) == len(shared) + len(mine) + 1  # the boxes' bias
    ours, theirs = losses(pair, *scenes(ignored=False))
    ours = torch.autograd.grad(sum(ours.values()), shared + mine)
    theirs = list(torch.autograd.grad(sum(theirs.values()), shared + copies))
    theirs[len(shared)] = (
        theirs[len(shared)].view(1 + N, 4, -1).sum(0)
    )  # one box for all categories
    if cosine:
        row = predictor.cls_score.weight.detach()
        across = theirs[-1] - (theirs[-1] * row).sum(1, keepdim=True) * row
        theirs[-1] = across / pair.task["rows"].detach().norm(dim=1, keepdim=True)
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm()


def test_base_training_minimises_these_losses():
    pair, (images, targets) = made("small", "cosine"), scenes(ignored=False)
    torch.manual_seed(7)
    found = Supervised(pair.ours, DRAWN.classes).train()((images, targets))
    same(found, losses(pair, images, targets)[1])


def test_detections_match_torchvision(pair):
    images = list(map(scaled, scenes(ignored=False)[0]))
    with torch.no_grad():
        found, expected = pair.ours.eval().detect(images, pair.task), pair.theirs.eval()(images)
    assert min(len(one["labels"].unique()) for one in expected) > 3
    for ours, known in zip(found, expected, strict=True):
        assert ours["labels"].tolist() == known["labels"].tolist()
        assert torch.allclose(ours["scores"], known["scores"], atol=2e-5)
        assert torch.allclose(ours["boxes"], known["boxes"], atol=1e-3)
