"""N-way K-shot classification of ground-truth boxes of novel categories, by the heads of a finished benchmark.

The heads are those that the benchmark meta-trained. The support is K boxes of each category in training images,
the query 15 boxes of each in test images. There is no background.

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
    arguments = parser.parse_args()
    program.check_range(2, 1000, ways=arguments.ways)
    program.check_range(1, 100_000, episodes=arguments.episodes)
    cells = sorted((arguments.run / "cells").glob(f"*/{ROWS}"))
    if not cells:
        raise InputError(f"expected cells/*/{ROWS} of tools/benchmark.py in '{arguments.run}'")
    base_run = prepare(cfg.load(arguments.run / "config.yaml", [f"run={arguments.run}"]))
    problem = base_run.problem
    train, test = crops_of(base_run, problem.train), crops_of(base_run, problem.test)
    print(f"{len(train)} and {len(test)} crops of {len(train.classes)} novel categories")
    for cell in cells:
        spec = typed_yaml.part(cfg.Head, json.loads(cell.read_text())["key"]["head"])
        head = base_run.trained_head(spec, cell.parent / "meta").cpu()
        supports, queries = embedded(head, train), embedded(head, test)
        values = [
            mean_interval(
                accuracies(head, supports, queries, arguments.ways, shots, arguments.episodes)
            )
            for shots in (1, 5)
        ]
        results = ", ".join(
            f"{shots}-shot {mean:.1f} ± {half:.1f}"
            for shots, (mean, half) in zip((1, 5), values, strict=True)
        )
        print(f"{spec.label:>14} {arguments.ways}-way: {results}", flush=True)


def crops_of(base_run: TrainedBase, data: DetectionData) -> RegionBank:
    """The annotated boxes of all novel objects, as regions."""
    novel = base_run.problem.split.novel
    labels = {data.classes.index(name) + 1: n for n, name in enumerate(novel, 1)}
    images = np.unique(np.concatenate([data.images_of(label) for label in labels]))
    workers = base_run.config.data.workers
    bank = extract_bank(base_run.fabric, base_run.model, data, images, labels, novel, workers)
    exact = torch.nonzero((bank.labels > 0) & (bank.deltas == 0).all(1))[:, 0]
    parts = (bank.features, bank.labels, bank.deltas, bank.images, bank.objects)
    return RegionBank(*(part[exact] for part in parts), bank.classes, bank.levels)


def embedded(head: Head, crops: RegionBank) -> Support:
    """All crops, embedded by a head."""
    return Support(embed(head, crops.features), crops.labels, crops.deltas, len(crops.classes))


@torch.no_grad()
def accuracies(
    head: Head, train: Support, test: Support, ways: int, shots: int, episodes: int
) -> list[float]:
    """Accuracy in percent in each episode; episode i is the same for every head."""
    candidates = [
        label
        for label in range(1, 1 + train.n_way)
        if (train.labels == label).sum() >= shots and (test.labels == label).sum() >= QUERY
    ]
    if len(candidates) < ways:
        raise InputError(
            f"--ways {ways}: only {len(candidates)} novel categories have {shots} crops in the training"
            f" images and {QUERY} in the test images"
        )
    support_labels, truth = (torch.arange(1, 1 + ways).repeat_interleave(n) for n in (shots, QUERY))
    accuracy = []
    for i in range(episodes):
        rng = np.random.Generator(np.random.PCG64([shots, i]))
        labels = rng.choice(candidates, ways, replace=False)
        index = draw(rng, train.labels, labels, shots)
        support = Support(train.embeddings[index], support_labels, train.deltas[index], ways)
        query = test.embeddings[draw(rng, test.labels, labels, QUERY)]
        predicted = head.predict(query, head.learn(support)).probabilities().argmax(1) + 1
        accuracy.append(100 * (predicted == truth).double().mean().item())
    return accuracy


def draw(
    rng: np.random.Generator, labels_of_crops: torch.Tensor, labels: Iterable[int], count: int
) -> np.ndarray:
    """Indices of `count` random crops of each label, label by label."""
    crops = labels_of_crops.numpy()
    return np.concatenate(
        [rng.permutation(np.flatnonzero(crops == label))[:count] for label in labels]
    )


if __name__ == "__main__":
    program.exit_with(main)
