"""Train torchvision's Faster R-CNN on base categories by torchvision's own training loop; nothing of fsdet in it.

  python benchmarks/imported_base.py DATA SPLIT WEIGHTS OUT [--steps N] [--size PIXELS] [--threads N]

DATA is a VOC folder with a splits.yaml (`fod`, `voc2012-animals`), WEIGHTS a MobileNetV2 of torchvision as
.safetensors. The loop is that of torchvision's references/detection: SGD with momentum 0.9 and weight decay 1e-4,
linear warm-up, two drops. OUT receives the state dict; `detector()` builds the network for it.
"""

import argparse
import random
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from torchvision.models import mobilenet_v2
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FrozenBatchNorm2d
from torchvision.transforms.functional import hflip, pil_to_tensor


def detector(num_classes: int, size: int, weights: Path | None = None) -> FasterRCNN:
    """MobileNetV2 (strides 8, 16, 32) under torchvision's pyramid, RPN and two-layer box head."""
    network = mobilenet_v2(norm_layer=FrozenBatchNorm2d)
    if weights:
        network.load_state_dict(load_file(weights))
    network.features.requires_grad_(False)  # pyramid, RPN and heads learn
    levels = {"6": "0", "13": "1", "18": "2"}
    backbone = BackboneWithFPN(network.features, levels, [32, 96, 1280], 128, extra_blocks=None)
    backbone.fpn.extra_blocks = None
    sizes = ((24, 38), (60, 96), (140, 224))
    return FasterRCNN(
        backbone,
        num_classes,
        min_size=size,
        max_size=400,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        rpn_anchor_generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 3),
        rpn_pre_nms_top_n_train=512,
        rpn_post_nms_top_n_train=256,
        rpn_pre_nms_top_n_test=600,
        rpn_post_nms_top_n_test=100,
        box_batch_size_per_image=64,
    )


def base_names(root: Path, split: str) -> list[str]:
    """Categories of the data set that are not novel in a split, in alphabetical order."""
    novel = yaml.safe_load((root / "splits.yaml").read_text())[split]["novel"]
    names = set()
    for file in (root / "Annotations").glob("*.xml"):
        names |= {node.text for node in ElementTree.parse(file).iterfind("object/name")}
    return sorted(names - set(novel))


def unseen(root: Path) -> list[str]:
    """Names of the images of the training list that are left out of base training."""
    return (root / "ImageSets/Main/train.txt").read_text().split()[::10]


def annotated(root: Path, names: list[str]) -> list[tuple[Path, torch.Tensor, torch.Tensor]]:
    """Training images with boxes of these categories; every tenth image is left out (`unseen`)."""
    result, left_out = [], set(unseen(root))
    for stem in (root / "ImageSets/Main/train.txt").read_text().split():
        if stem in left_out:
            continue
        boxes, labels = [], []
        for node in ElementTree.parse(root / f"Annotations/{stem}.xml").iterfind("object"):
            if node.findtext("name") in names and node.findtext("difficult") != "1":
                corners = [
                    float(node.findtext(f"bndbox/{c}")) for c in ("xmin", "ymin", "xmax", "ymax")
                ]
                if corners[2] > corners[0] and corners[3] > corners[1]:
                    boxes.append([corners[0] - 1, corners[1] - 1, corners[2], corners[3]])
                    labels.append(names.index(node.findtext("name")) + 1)
        if boxes:
            image = next((root / "JPEGImages").glob(f"{stem}.*"))
            result.append((image, torch.tensor(boxes), torch.tensor(labels)))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("split")
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--size", type=int, default=288)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--threads", type=int, default=1)
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    torch.manual_seed(0)
    draw = random.Random(0)
    names = base_names(words.data, words.split)
    images = annotated(words.data, names)
    model = detector(1 + len(names), words.size, words.weights).train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, words.rate, momentum=0.9, weight_decay=1e-4)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 1e-3, total_iters=100)
    drops = [int(words.steps * share) for share in (0.7, 0.9)]
    steps = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops)
    start = time.time()
    for step in range(words.steps):
        batch, targets = [], []
        for file, boxes, labels in draw.sample(images, words.batch):
            image = pil_to_tensor(Image.open(file).convert("RGB")) / 255
            if draw.random() < 0.5:
                width = image.shape[2]
                image, boxes = hflip(image), boxes.clone()
                boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
            batch.append(image)
            targets.append({"boxes": boxes, "labels": labels})
        losses = model(batch, targets)
        loss = sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        warmup.step()
        steps.step()
        if step % 50 == 0:
            parts = " ".join(f"{key[5:]} {value.item():.3f}" for key, value in losses.items())
            print(
                f"{step} {time.time() - start:.0f} s, loss {loss.item():.3f}: {parts}", flush=True
            )
    words.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model.state_dict(), "names": names, "size": words.size}, words.out)


if __name__ == "__main__":
    main()
