"""Few-shot classification of ground-truth crops of novel categories: the field's older and simpler question.

Every head of a finished benchmark, as it was meta-trained there, tells N novel categories apart from K annotated
boxes of each in training images; the query is 15 of each in test images. No background.

    python benchmarks/crops.py runs/benchmark-fod/fod-split1
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from fsdet import config as cfg
from fsdet.cli import program
from fsdet.config import typed_yaml
from fsdet.data import DetectionData
from fsdet.errors import InputError
from fsdet.evaluation.candidates import embed
from fsdet.evaluation.intervals import mean_interval
from fsdet.experiment.base_run import TrainedBase, prepare
from fsdet.experiment.benchmark.run import ROWS
from fsdet.experiment.extraction import extract_bank
from fsdet.heads.base import Head
from fsdet.training.region_bank import RegionBank
from fsdet.types import Support

QUERY = 15  # crops of each category


def main() -> None:
    parser = program.Parser("benchmarks/crops.py", "RUN", __doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a base detector of a benchmark")
    parser.add_argument("--ways", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=600)
    given = parser.parse_args()
    program.check_range(2, 1000, ways=given.ways)
    program.check_range(1, 100_000, episodes=given.episodes)
    cells = sorted((given.run / "cells").glob(f"*/{ROWS}"))
    if not cells:
        raise InputError(f"expected cells/*/{ROWS} of tools/benchmark.py in '{given.run}'")
    base_run = prepare(cfg.load(given.run / "config.yaml", [f"run={given.run}"]))
    problem = base_run.problem
    near, far = crops_of(base_run, problem.train), crops_of(base_run, problem.test)
    print(f"{len(near)} and {len(far)} crops of {len(near.classes)} novel categories")
    for cell in cells:
        spec = typed_yaml.part(cfg.Head, json.loads(cell.read_text())["asked"]["head"])
        head = base_run.trained_head(spec, cell.parent / "meta").cpu()
        known, asked = embedded(head, near), embedded(head, far)
        values = [
            mean_interval(accuracies(head, known, asked, given.ways, shots, given.episodes))
            for shots in (1, 5)
        ]
        said = ", ".join(
            f"{shots}-shot {mean:.1f} ± {half:.1f}"
            for shots, (mean, half) in zip((1, 5), values, strict=True)
        )
        print(f"{spec.label:>14} {given.ways}-way: {said}", flush=True)


def crops_of(base_run: TrainedBase, data: DetectionData) -> RegionBank:
    """Of every novel object the region that is its annotated box."""
    novel = base_run.problem.split.novel
    labels = {data.classes.index(name) + 1: n for n, name in enumerate(novel, 1)}
    images = np.unique(np.concatenate([data.images_of(label) for label in labels]))
    workers = base_run.config.data.workers
    bank = extract_bank(base_run.fabric, base_run.model, data, images, labels, novel, workers)
    exact = torch.nonzero((bank.labels > 0) & (bank.deltas == 0).all(1))[:, 0]
    parts = (bank.features, bank.labels, bank.deltas, bank.images, bank.objects)
    return RegionBank(*(part[exact] for part in parts), bank.classes, bank.levels)


def embedded(head: Head, crops: RegionBank) -> Support:
    """All crops, as a head sees them."""
    return Support(embed(head, crops.features), crops.labels, crops.deltas, len(crops.classes))


@torch.no_grad()
def accuracies(
    head: Head, near: Support, far: Support, ways: int, shots: int, episodes: int
) -> list[float]:
    """Percent right in each episode; episode i is the same for every head."""
    enough = [
        label
        for label in range(1, 1 + near.n_way)
        if (near.labels == label).sum() >= shots and (far.labels == label).sum() >= QUERY
    ]
    if len(enough) < ways:
        raise InputError(f"{ways}-way: only {len(enough)} novel categories have crops enough")
    asked, truth = (torch.arange(1, 1 + ways).repeat_interleave(n) for n in (shots, QUERY))
    found = []
    for i in range(episodes):
        rng = np.random.Generator(np.random.PCG64([shots, i]))
        chosen = rng.choice(enough, ways, replace=False)
        given = drawn(rng, near.labels, chosen, shots)
        task = head.learn(Support(near.embeddings[given], asked, near.deltas[given], ways))
        query = far.embeddings[drawn(rng, far.labels, chosen, QUERY)]
        said = head.predict(query, task).probabilities().argmax(1) + 1
        found.append(100 * (said == truth).double().mean().item())
    return found


def drawn(
    rng: np.random.Generator, labels: torch.Tensor, chosen: Iterable[int], count: int
) -> np.ndarray:
    """As many crops of each category chosen, one category after the other."""
    known = labels.numpy()
    return np.concatenate(
        [rng.permutation(np.flatnonzero(known == label))[:count] for label in chosen]
    )


if __name__ == "__main__":
    program.exit_with(main)
