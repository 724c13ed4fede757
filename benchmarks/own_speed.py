"""Inference of own detectors against a plain torchvision Faster R-CNN over the same backbone, alternated.

  python benchmarks/own_speed.py [--rounds 40] [--profile]

The detector has the sizes of configs/shapes.yaml, random weights and twenty categories. torchvision's has the same
backbone, pyramid, anchors, numbers of proposals and width, and `TwoMLPHead`. One thread. --profile says where our
time goes.
"""

import argparse
import statistics
import time
from dataclasses import replace
from functools import partial

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

from fsdet import build
from fsdet import config as cfg
from fsdet.cli import recipes
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.types import Features, Regions, Task

CATEGORIES = 20
SCORE = 0.9  # random weights detect hundreds of things with low scores, a trained detector few


class PyramidOnly(nn.Module):
    """A backbone of ours as torchvision wants it: the pyramid alone."""

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.inner, self.out_channels = backbone, backbone.out_channels

    def forward(self, images):
        return self.inner(images.contiguous(memory_format=torch.channels_last))[0]


def plain(settings: cfg.Detector, backbone: nn.Module, categories: int) -> FasterRCNN:
    """torchvision's detector of the same sizes over a backbone of torchvision's kind."""
    sizes = tuple(tuple(map(int, level)) for level in settings.anchors)
    names = [str(level) for level in settings.backbone.levels]
    in_training, after = settings.proposals
    return FasterRCNN(
        backbone,
        min_size=settings.min_size,
        max_size=settings.max_size,
        rpn_anchor_generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes)),
        rpn_pre_nms_top_n_train=2 * in_training,
        rpn_post_nms_top_n_train=in_training,
        rpn_pre_nms_top_n_test=max(2 * after, 600),
        rpn_post_nms_top_n_test=after,
        box_roi_pool=MultiScaleRoIAlign(names, settings.pool, 2),
        box_batch_size_per_image=settings.per_image,
        box_head=TwoMLPHead(settings.backbone.channels * settings.pool**2, settings.width),
        box_predictor=FastRCNNPredictor(settings.width, 1 + categories),
        box_score_thresh=SCORE,
    ).eval()


def task_of(model: FewShotRCNN, categories: int) -> Task:
    """A task of random regions, five of each category."""
    shape, n = model.shape, 5 * categories
    features = Features(
        torch.rand(n, shape.channels, shape.side, shape.side), torch.rand(n, sum(shape.means))
    )
    labels = torch.arange(n) % categories + 1
    regions = Regions(features, labels, torch.zeros(n, 4), categories)
    return model.head.adapt(regions.to(next(model.parameters()).device))


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--profile", action="store_true")
    words = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = cfg.load(recipes.find("shapes"))
    model = build.detector(config.detector, config.head, 15, pretrained=False).eval()
    model.selection = replace(model.selection, score=SCORE)
    theirs = plain(config.detector, PyramidOnly(model.backbone), CATEGORIES)
    task = task_of(model, CATEGORIES)
    images = [torch.rand(3, 192, 256) for _ in range(words.rounds + 2)]
    pairs = [
        (seconds(partial(theirs, [image])), seconds(partial(model.detect, [image], task)))
        for image in images
    ][2:]
    ratios = sorted(b / a for a, b in pairs)
    print(
        f"torchvision {statistics.median(a for a, _ in pairs):.4f} s, ours"
        f" {statistics.median(b for _, b in pairs):.4f} s, median ratio {statistics.median(ratios):.2f}"
        f" ({ratios[len(ratios) // 10]:.2f} to {ratios[-len(ratios) // 10]:.2f}, 80 %)"
    )
    if words.profile:
        with torch.profiler.profile(with_stack=False) as profile:
            for image in images[:10]:
                model.detect([image], task)
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=18))


if __name__ == "__main__":
    main()
