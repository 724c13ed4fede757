"""The detector against torchvision's own RoIHeads under the same weights, and the rule for ignored objects."""

import copy
from dataclasses import replace

import pytest
import torch
from helpers.detectors import knowing
from torch.nn import functional as F
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign, box_iou

from fsdet import build
from fsdet import config as cfg
from fsdet.heads.base import Head, region_losses
from fsdet.heads.support import index_in_group
from fsdet.model import postprocess
from fsdet.model.postprocess import Selection
from fsdet.model.region_sampling import jitter
from fsdet.types import IGNORE, Episode, Prediction, Shots, Target

SETTINGS = cfg.Detector(
    backbone=cfg.Backbone(name="small", levels=[0, 1, 2], channels=16, extra=False),
    anchors=[[16.0], [32.0], [64.0]],
    min_size=96,
    max_size=96,
    proposals=[60, 40],
    per_image=32,
    pool=3,
    width=24,
    voting=1.0,
)
N = 3


def test_training_draws_an_image_size_and_test_uses_the_last():
    model = build.detector(
        replace(SETTINGS, other_sizes=[48, 64]), cfg.Head("cosine"), N, pretrained=False
    )
    images = [torch.rand(3, 80, 100) for _ in range(30)]

    def short_sides() -> set[int]:
        return {min(shape) for shape in model.transform(images)[0].image_sizes}

    model.transform.max_size = 200
    assert short_sides() == {48, 64, 96}
    model.eval()
    assert short_sides() == {96}


class Plain(Head):
    """Fast R-CNN's box head over the maps, its categories fixed: torchvision's, in this interface."""

    def __init__(self, shape, box_head: TwoMLPHead, predictor: FastRCNNPredictor):
        super().__init__(shape, 24, Head.Options())
        self.box_head, self.predictor = box_head, predictor

    def embed(self, features):
        return self.box_head(features.maps)

    def learn(self, support):
        return {}

    def predict(self, embeddings, task):
        logits, deltas = self.predictor(embeddings)
        return Prediction(logits, deltas[:, 4:8])


@pytest.fixture(scope="module")
def pair():
    """A detector and torchvision's RoIHeads that share their weights."""
    torch.manual_seed(0)
    model = build.detector(SETTINGS, cfg.Head("cosine"), N, pretrained=False)
    box_head, predictor = TwoMLPHead(16 * 9, 24), FastRCNNPredictor(24, 1 + N)
    with torch.no_grad():  # the same box for every category
        boxes = predictor.bbox_pred
        boxes.weight.copy_(0.3 * torch.randn(4, 24).repeat(1 + N, 1))
        boxes.bias.zero_()
        predictor.cls_score.weight.mul_(20)
    model.head = Plain(model.shape, box_head, predictor)
    pool = MultiScaleRoIAlign(["0", "1", "2"], 3, 2)
    theirs = RoIHeads(pool, box_head, predictor, 0.5, 0.5, 32, 0.25, None, 0.05, 0.5, 100)
    return model, theirs


def scene(count: int = 2, ignored: bool = False) -> Shots:
    generator = torch.Generator().manual_seed(3)
    images = [torch.rand((3, 96, 96), generator=generator) for _ in range(count)]
    boxes = torch.tensor([[8.0, 8.0, 40.0, 44.0], [50.0, 40.0, 90.0, 84.0]])
    labels = torch.tensor([1, IGNORE if ignored else 3])
    targets = [Target(boxes=boxes.clone(), labels=labels.clone()) for _ in images]
    return Shots(images, targets, ("a", "b", "c"))


def test_losses_match_torchvisions_roi_heads(pair):
    model, theirs = pair
    shots = scene()
    features, targets = model.eval().extract(shots.images, shots.targets)
    proposals, _ = model.rpn(features.batch, features.pyramid)
    theirs.train()
    torch.manual_seed(7)
    _, expected = theirs(features.pyramid, proposals, features.batch.image_sizes, targets)
    torch.manual_seed(7)
    chosen, _, labels, deltas = model.sampler.select_training_samples(proposals, targets)
    features = model.pool_regions(features, chosen)
    prediction = model.head(features, {})
    ours = region_losses(prediction, torch.cat(labels), torch.cat(deltas))
    assert ours["loss_class"].item() == pytest.approx(expected["loss_classifier"].item(), rel=1e-5)
    assert ours["loss_box"].item() == pytest.approx(expected["loss_box_reg"].item(), rel=1e-5)


def test_detections_match_torchvisions_roi_heads(pair):
    model, theirs = pair
    images = scene(3).images
    with torch.no_grad():
        features, _ = model.eval().extract(images)
        proposals, _ = model.rpn(features.batch, features.pyramid)
        expected, _ = theirs.eval()(features.pyramid, proposals, features.batch.image_sizes)
        detections = model.detect(images, {})
    assert sum(len(image["boxes"]) for image in detections) > 10
    for ours, known in zip(detections, expected, strict=True):
        assert ours["labels"].tolist() == known["labels"].tolist()
        assert torch.allclose(ours["scores"], known["scores"], atol=1e-5)
        assert torch.allclose(ours["boxes"], known["boxes"], atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_batched_selection_matches_torchvision_per_image(seed):
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 40, (6,), generator=generator)
    corner = 60 * torch.rand((int(counts.sum()), 2), generator=generator)
    boxes = torch.cat([corner, corner + 5 + 30 * torch.rand(corner.shape, generator=generator)], 1)
    logits = 2 * torch.randn((len(boxes), 1 + N), generator=generator).round(decimals=1)
    deltas = torch.randn((len(boxes), 4), generator=generator)
    images = torch.repeat_interleave(counts)
    sizes = torch.tensor([[96, 80]] * 6)
    table = Selection(0.05, 0.5, 7)(Prediction(logits, deltas), boxes, images, sizes)
    theirs = RoIHeads(None, None, None, 0.5, 0.5, 32, 0.25, None, 0.05, 0.5, 7)
    expected = theirs.postprocess_detections(
        logits, deltas.repeat(1, 1 + N), list(boxes.split(counts.tolist())), [(96, 80)] * 6
    )
    for image, (box, score, label) in enumerate(zip(*expected, strict=True)):
        ours = table.of_image(image)
        assert torch.allclose(ours["scores"], score, atol=1e-6)
        rows = sorted(zip(score.tolist(), label.tolist(), box.tolist(), strict=True))
        mine = sorted(
            zip(
                ours["scores"].tolist(),
                ours["labels"].tolist(),
                ours["boxes"].tolist(),
                strict=True,
            )
        )
        assert [r[1] for r in rows] == [m[1] for m in mine]


def test_regions_on_ignored_objects_are_neither_targets_nor_background(pair):
    model = pair[0]
    shots = scene(1, ignored=True)
    boxes, labels = shots.targets[0]["boxes"], shots.targets[0]["labels"]
    near = boxes + torch.tensor([2.0, -2.0, 1.0, 3.0])
    inside = torch.tensor([[60.0, 50.0, 75.0, 70.0]])  # a part of the ignored object
    far = torch.tensor([[0.0, 80.0, 10.0, 95.0]])
    proposals = torch.cat([near, inside, far])
    _, kinds = model.sampler.assign_targets_to_proposals([proposals], [boxes], [labels])
    assert kinds[0].tolist() == [1, IGNORE, IGNORE, 0]
    targets = [{"boxes": boxes, "labels": labels}]
    anchors = model.rpn.assign_targets_to_anchors([proposals], targets)[0][0]
    assert anchors.tolist() == [1.0, -1.0, -1.0, 0.0]


def test_without_ignored_objects_matching_is_torchvisions(pair):
    model, theirs = pair
    target = scene(1).targets[0]
    proposals = torch.rand(200, 4, generator=torch.Generator().manual_seed(0)) * 60
    proposals[:, 2:] += proposals[:, :2]
    ours = model.sampler.assign_targets_to_proposals(
        [proposals], [target["boxes"]], [target["labels"]]
    )
    known = theirs.assign_targets_to_proposals([proposals], [target["boxes"]], [target["labels"]])
    assert torch.equal(ours[0][0], known[0][0])
    assert torch.equal(ours[1][0], known[1][0])


def test_regions_of_annotated_images(pair):
    model, shots = pair[0].eval(), scene()
    (first, matched), (again, _) = (
        model.regions(shots, torch.Generator().manual_seed(5), per_object=6, background=7)
        for _ in range(2)
    )
    for regions, repeated, index, target in zip(first, again, matched, shots.targets, strict=True):
        assert torch.equal(regions.features.maps, repeated.features.maps)
        counts = torch.bincount(regions.labels, minlength=1 + N).tolist()
        assert 0 < counts[1] <= 6 and counts[2] == 0 and 0 < counts[3] <= 6 and counts[0] <= 7
        assert torch.equal(regions.deltas[regions.labels == 0], torch.zeros(counts[0], 4))
        assert torch.equal(index >= 0, regions.labels > 0)
        assert torch.equal(target["labels"][index[index >= 0]], regions.labels[index >= 0])
    empty = Shots(
        shots.images, [Target(boxes=torch.zeros(0, 4), labels=torch.zeros(0).long())] * 2, ()
    )
    assert all((r.labels == 0).all() for r in model.regions(empty, torch.Generator())[0])


def test_jittered_boxes_are_near_and_inside():
    boxes = torch.tensor([[0.0, 0.0, 30.0, 30.0], [60.0, 60.0, 96.0, 96.0]])
    moved = jitter(boxes, 50, (96, 96), torch.Generator().manual_seed(0))
    assert moved.min() >= 0 and moved.max() <= 96
    assert (box_iou(moved, boxes.repeat(50, 1)).diagonal() > 0.45).all()
    assert index_in_group(torch.tensor([4, 7, 4, 4, 7])).tolist() == [0, 0, 1, 2, 1]


def test_boxes_are_in_pixels_of_the_original_image(pair):
    model = pair[0].eval()
    image = scene(1).images[0]
    large = F.interpolate(image[None], scale_factor=2.0, mode="bilinear")[0]
    small, big = model.propose([image])[0], model.propose([large])[0]
    assert big.size == (192, 192) and small.size == (96, 96)
    assert big.boxes.max() > 100 and big.boxes.max() <= 192
    assert small.boxes.max() <= 96


def test_8_bit_images_give_the_features_of_floats(pair):
    model = pair[0].eval()
    image = torch.randint(256, (3, 80, 100), generator=torch.Generator().manual_seed(0)).byte()
    (of_bytes,), (of_floats,) = model.propose([image]), model.propose([image.float() / 255])
    assert torch.equal(of_bytes.boxes, of_floats.boxes)
    assert torch.equal(of_bytes.features.maps, of_floats.features.maps)


def test_the_first_image_does_not_fix_the_pooling_scales():
    image, maps = scene(1).images[0], []
    for first in ([], [image[:, :9]]):
        torch.manual_seed(0)
        model = build.detector(SETTINGS, cfg.Head("cosine"), N, pretrained=False).eval()
        for flat in first:
            model.propose([flat])
        maps.append(model.propose([image])[0].features.maps)
    assert torch.equal(*maps)


@pytest.mark.parametrize("name", ["cosine", "prototype", "maml"])
def test_an_episode_trains_backbone_and_head_and_detection_changes_no_state(name):
    torch.manual_seed(0)
    model = build.detector(SETTINGS, cfg.Head(name), N, pretrained=False)
    shots = scene()
    losses = model.train()(Episode(shots, shots), torch.Generator().manual_seed(0))
    assert set(losses) == {"loss_objectness", "loss_rpn_box_reg", "loss_class", "loss_box"}
    sum(losses.values()).backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.backbone.parameters())
    assert model.head.trunk.first.weight.grad.abs().sum() > 0
    before = copy.deepcopy(model.eval().state_dict())
    task = model.adapt(shots, torch.Generator().manual_seed(0))
    model.detect([torch.rand(3, 80, 120), torch.rand(3, 200, 96)], task)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_boxes_labelled_0_give_background_regions_except_on_objects():
    detector = knowing()
    model, image = detector.model, torch.rand(3, 96, 96)
    boxes = torch.tensor([[10.0, 10, 40, 40], [12.0, 10, 42, 40], [60.0, 60, 90, 90]])
    target = {"boxes": boxes, "labels": torch.tensor([1, 0, 0])}
    shots = Shots([image], [target], ("a",))
    generator = torch.Generator().manual_seed(0)
    (regions,), (matched,) = model.regions(shots, generator, per_object=4, background=0)
    object_alone = {"boxes": boxes[:1], "labels": torch.tensor([1])}
    (without,), _ = model.regions(
        Shots([image], [object_alone], ("a",)), torch.Generator().manual_seed(0), 4, background=0
    )
    assert (without.labels == 1).all()
    assert torch.equal(matched, regions.labels - 1)
    assert 1 <= (regions.labels == 0).sum() <= 4  # of the third box: an object lies on the second
    features, targets = model.extract([image], [target])
    third = model.pool_regions(features, [targets[0]["boxes"][2:]])
    background = regions.labels == 0
    assert (regions.features.maps[background] == third.maps).flatten(1).all(1).any()
    assert (regions.deltas[background] == 0).all()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("oversampling", [1, 2])
def test_suppression_of_the_best_boxes_matches_suppression_of_all(monkeypatch, seed, oversampling):
    """However many of the best boxes are suppressed."""
    draw = torch.Generator().manual_seed(seed)
    counts = torch.tensor([40, 0, 3, 25])  # regions of each image; they lie on each other in places
    images = torch.repeat_interleave(torch.arange(4), counts)
    corners = 20 * torch.rand((len(images), 2), generator=draw)
    boxes = torch.cat([corners, corners + 10 + 30 * torch.rand(corners.shape, generator=draw)], 1)
    logits = 2 * torch.randn((len(images), 31), generator=draw)
    prediction = Prediction(logits, torch.zeros(len(images), 4))
    selection, sizes = Selection(score=0.001, per_image=12), torch.full((4, 2), 64)
    monkeypatch.setattr(postprocess, "NMS_OVERSAMPLING", 10**6)
    whole = selection(prediction, boxes, images, sizes)
    monkeypatch.setattr(postprocess, "NMS_OVERSAMPLING", oversampling)
    part = selection(prediction, boxes, images, sizes)
    for name in ("images", "boxes", "labels", "scores"):
        assert torch.equal(getattr(whole, name), getattr(part, name))
    assert whole.images.bincount(minlength=4).max() == 12
