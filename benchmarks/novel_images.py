"""nAP50 of a finished run on those test images alone that have a novel object.

A detector that is only ever shown such images cannot be wrong on others: numbers are higher than those of
the field's protocol, in which all test images count. For comparison with others who measure it so.

    python benchmarks/novel_images.py runs/fod-split1
"""

from pathlib import Path

import numpy as np
import torch

from fsdet import cli
from fsdet import config as cfg
from fsdet.engine.evaluate import embed, find, measure
from fsdet.engine.intervals import mean_interval
from fsdet.engine.metrics import CocoTruth
from fsdet.experiment import record
from fsdet.experiment.device import fabric_of
from fsdet.experiment.image_side import Supports, look, shots_of
from fsdet.experiment.problem import novel_shots, open_problem
from fsdet.experiment.run import trained
from fsdet.experiment.stages import base_training
from fsdet.postprocess import Found, Selection


def main() -> None:
    parser = cli.Parser(__doc__, "benchmarks/novel_images.py RUN")
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a finished run")
    folder = parser.parse_args().run
    config = cfg.load(folder / "config.yaml")
    problem, fabric = open_problem(config.data), fabric_of(config)
    losses, clock = record.Losses(folder, writes=False), record.Clock()
    # All of it is there: every stage only reads what it stored.
    model = base_training(fabric, problem, config, folder, losses)
    seen = look(fabric, model, problem, config, folder, clock)
    base, novel, test = problem.split.base, problem.split.novel, problem.test
    labels = [test.classes.index(name) + 1 for name in novel]
    shown = np.zeros(len(test), bool)
    shown[test.image_of(np.flatnonzero(np.isin(test.labels, labels)))] = True
    print(f"{shown.sum()} of {len(test)} test images have a novel object")
    truth, selection = CocoTruth(test, base + novel), Selection(config.evaluate.score)
    for spec in (config.head, *config.baselines):
        head = trained(fabric, spec, model, seen, config, folder, losses, clock).cpu()
        supports = Supports.of(head, seen)
        runs = [(embed(head, run.features), run) for run in seen.test]
        for k in config.evaluate.shots:
            found = []
            for seed in range(config.evaluate.seeds):
                index = shots_of(seen, problem, novel_shots(problem, config.data, k, seed))
                task = head.learn(supports.with_shots(index))
                parts = [find(head, task, known, run, selection) for known, run in runs]
                all_ = Found.cat(parts, seen.test.firsts)
                keep = torch.from_numpy(shown)[all_.images]
                there = Found(*(value[keep] for value in vars(all_).values()))
                found.append(100 * measure(there, truth).mean(novel).AP50)
            mean, half = mean_interval(found)
            print(f"{spec.name:>10} {k:2} shots: nAP50 {mean:.1f} ± {half:.1f}", flush=True)


if __name__ == "__main__":
    cli.main(main)
