"""Trained detectors of torchvision against their imports: detections in photographs.

  python benchmarks/imported_parity.py DATA OUT [--networks NAME,...] [--minutes 5] [--images 50]
  python benchmarks/imported_parity.py DATA OUT --base BASE.pth

Each network of torchvision is trained from random weights on 4 photographs of DATA (a VOC folder) for minutes,
or it is that of `imported_base.py`. It is then saved by torchvision's code and imported from the file under its
preset (`--base`: as an object). Both detect in these photographs and in others of the test list, at 256 pixels.
Matched: same category, nearest box.
"""

import argparse
import json
import time
from pathlib import Path

import torch
import torchvision
from imported_base import annotated, base_names, detector
from PIL import Image
from torchvision.models.detection import FasterRCNN
from torchvision.transforms.functional import pil_to_tensor

import fsdet

NETWORKS = (
    "fasterrcnn_mobilenet_v3_large_320_fpn,fasterrcnn_resnet50_fpn,fasterrcnn_resnet50_fpn_v2"
)
LOW = 0.05  # score
SHORT = 256  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", default="split1")
    parser.add_argument("--networks", default=NETWORKS)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--base", type=Path)
    words = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    words.out.mkdir(parents=True, exist_ok=True)
    names = base_names(words.data, words.split)
    training = annotated(words.data, names)
    training = training[:: len(training) // 4][:4]
    stems = (words.data / "ImageSets/Main/test.txt").read_text().split()[: words.images - 4]
    files = [file for file, *_ in training]
    files += [next((words.data / "JPEGImages").glob(f"{stem}.*")) for stem in stems]
    if words.base:
        file = torch.load(words.base, weights_only=True)
        model = detector(1 + len(names), file["size"]).eval()
        model.load_state_dict(file["model"])
        imported = fsdet.import_detector(model, names=file["names"])
        row = parity(model, imported, file["names"], files)
        print(json.dumps({"network": words.base.name, **row}))
    for name in [] if words.base else words.networks.split(","):
        model = trained(name, training, len(names), words.minutes)
        weights = words.out / f"{name}.pth"
        torch.save(model.state_dict(), weights)
        eps = None if name.endswith("_v2") else 1e-5
        imported = fsdet.import_detector(weights, f"torchvision/{name}", names, eps)
        imported.model.transform.min_size = (SHORT,)
        row = parity(model, imported, names, files)
        print(json.dumps({"network": name, **row}), flush=True)


def trained(name: str, images: list, categories: int, minutes: float) -> FasterRCNN:
    """A detector of torchvision that has seen a few photographs for some minutes."""
    model = torchvision.models.get_model(
        name,
        weights=None,
        weights_backbone=None,
        num_classes=1 + categories,
        min_size=SHORT,
        rpn_pre_nms_top_n_train=300,
        rpn_post_nms_top_n_train=100,
        box_batch_size_per_image=32,
    )
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 2e-4)
    start, step = time.time(), 0
    model.train()
    while time.time() - start < 60 * minutes:
        pairs = [images[(2 * step + n) % len(images)] for n in range(2)]
        batch = [pil_to_tensor(Image.open(file).convert("RGB")) / 255 for file, *_ in pairs]
        targets = [{"boxes": boxes, "labels": labels} for _, boxes, labels in pairs]
        losses = model(batch, targets)
        loss = sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
        optimizer.step()
        step += 1
    print(f"{name}: {step} steps, loss {loss.item():.3f}", flush=True)
    return model.eval()


@torch.no_grad()
def parity(model: FasterRCNN, imported: fsdet.Detector, names: list[str], files: list) -> dict:
    """Numbers of detections, and the largest differences of those that match."""
    total = matched = ours = 0
    box = score = 0.0
    for file in files:
        image = pil_to_tensor(Image.open(file).convert("RGB"))
        expected = model([image / 255])[0]
        found = imported.predict(image / 255, LOW)
        ours += len(found)
        total += len(expected["labels"])
        boxes = torch.tensor([d.box for d in found]).reshape(-1, 4)
        labels = torch.tensor([names.index(d.name) + 1 for d in found])
        scores = torch.tensor([d.score for d in found])
        for side, label, value in zip(
            *(expected[k] for k in ("boxes", "labels", "scores")), strict=True
        ):
            apart = (boxes - side).abs().amax(1) + 1e9 * (labels != label)
            if len(found) and apart.min() <= 1:
                nearest = int(apart.argmin())
                matched += 1
                box = max(box, float(apart[nearest]))
                score = max(score, abs(float(scores[nearest] - value)))
    return {
        "images": len(files), "detections": total, "imported": ours, "matched": matched,
        "box": box, "score": score,
    }  # fmt: skip


if __name__ == "__main__":
    main()
