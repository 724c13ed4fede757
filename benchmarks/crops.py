"""Few-shot classification of ground-truth crops of novel categories: the field's older and simpler question.

Every head of a finished benchmark, as it was meta-trained there, tells N novel categories of test images apart
from K annotated boxes of each, 15 others of each in the query, no image in both; no background.

    python benchmarks/crops.py runs/benchmark-fod/fod-split1
"""

import json
from pathlib import Path

import numpy as np
import torch

from fsdet import cli, structured
from fsdet import config as cfg
from fsdet.engine.bank import Bank
from fsdet.engine.evaluate import embed
from fsdet.engine.image_side import bank_of
from fsdet.engine.intervals import mean_interval
from fsdet.errors import InputError
from fsdet.experiment.benchmark import ROWS
from fsdet.experiment.prepared import Prepared, prepare
from fsdet.heads.base import Head
from fsdet.types import Support

QUERY = 15  # crops of each category


def main() -> None:
    parser = cli.Parser(__doc__, "benchmarks/crops.py RUN")
    parser.add_argument("run", type=Path, metavar="RUN", help="a base detector of a benchmark")
    parser.add_argument("--ways", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=600)
    given = parser.parse_args()
    cells = sorted((given.run / "cells").glob(f"*/{ROWS}"))
    if not cells:
        raise InputError(f"expected cells/*/{ROWS} of tools/benchmark.py in '{given.run}'")
    ready = prepare(cfg.load(given.run / "config.yaml", [f"run={given.run}"]))
    crops = crops_of(ready)
    print(f"{len(crops)} crops of {len(crops.classes)} novel categories")
    for cell in cells:
        spec = structured.part(cfg.Head, json.loads(cell.read_text())["asked"]["head"])
        head = ready.trained(spec, cell.parent / "meta").cpu()
        known = embed(head, crops.features)
        values = [
            mean_interval(accuracies(head, known, crops, given.ways, shots, given.episodes))
            for shots in (1, 5)
        ]
        said = ", ".join(
            f"{shots}-shot {mean:.1f} ± {half:.1f}"
            for shots, (mean, half) in zip((1, 5), values, strict=True)
        )
        print(f"{spec.label:>14} {given.ways}-way: {said}", flush=True)


def crops_of(ready: Prepared) -> Bank:
    """Of every novel object of the test images the region that is its annotated box."""
    problem = ready.problem
    novel = problem.split.novel
    labels = {problem.test.classes.index(name) + 1: n for n, name in enumerate(novel, 1)}
    images = np.unique(np.concatenate([problem.test.images_of(label) for label in labels]))
    bank = bank_of(
        ready.fabric, ready.model, problem.test, images, labels, novel, ready.config.data.workers
    )
    exact = torch.nonzero((bank.labels > 0) & (bank.deltas == 0).all(1))[:, 0]
    parts = (bank.features, bank.labels, bank.deltas, bank.images, bank.objects)
    return Bank(*(part[exact] for part in parts), bank.classes, bank.levels)


@torch.no_grad()
def accuracies(
    head: Head, known: torch.Tensor, crops: Bank, ways: int, shots: int, episodes: int
) -> list[float]:
    """Percent right in each episode; episode i is the same for every head."""
    labels, images = crops.labels.numpy(), crops.images.numpy()
    enough = [
        c for c in range(1, 1 + len(crops.classes)) if (labels == c).sum() >= 2 * (shots + QUERY)
    ]
    if len(enough) < ways:
        raise InputError(f"{ways}-way: only {len(enough)} novel categories have crops enough")
    found = []
    for i in range(episodes):
        rng = np.random.Generator(np.random.PCG64([shots, i]))
        near, far = [], []
        for category in rng.choice(enough, ways, replace=False):
            mine = rng.permutation(np.flatnonzero(labels == category))
            near.append(mine[:shots])
            apart = mine[~np.isin(images[mine], images[near[-1]])]
            far.append(apart[:QUERY])
        support, place = torch.from_numpy(np.concatenate(near)), torch.arange(1, 1 + ways)
        query = torch.from_numpy(np.concatenate(far))
        task = head.learn(
            Support(known[support], place.repeat_interleave(shots), crops.deltas[support], ways)
        )
        said = head.predict(known[query], task).logits[:, 1:].argmax(1) + 1
        truth = place.repeat_interleave(torch.tensor(list(map(len, far))))
        found.append(100 * (said == truth).double().mean().item())
    return found


if __name__ == "__main__":
    cli.main(main)
