"""Average precision of a finished run with and without votes on its boxes (`detector.voting`), paired by seed.

python benchmarks/voting.py runs/fod-split2
"""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from fsdet import config as cfg
from fsdet.cli import program
from fsdet.evaluation.intervals import mean_interval
from fsdet.experiment.base_run import prepare
from fsdet.experiment.scoring import score
from fsdet.progress import progress

METRICS = ("nAP", "nAP50", "bAP", "bAP50")


def main() -> None:
    parser = program.Parser("benchmarks/voting.py", "RUN [options]", __doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a finished run")
    parser.add_argument("--heads", metavar="A,B", help="default: the run's")
    arguments = parser.parse_args()
    base = prepare(cfg.load(arguments.run / "config.yaml", [f"run={arguments.run}"]))
    names = program.split_names(arguments.heads, [])
    specs = [cfg.Head(name) for name in names] or [base.config.head, *base.config.baselines]
    for spec in specs:
        head = base.trained_head(spec).cpu()
        without, moved = (
            by_seed(
                score(
                    spec.label,
                    head,
                    base.features,
                    base.problem,
                    replace(base.config, detector=replace(base.config.detector, voting=voting)),
                    progress(f"{spec.label}, voting={voting:g}"),
                ).rows
            )
            for voting in (1.0, cfg.Detector.voting)
        )
        for n, metric in enumerate(METRICS):
            before, after = mean_interval(without[:, n]), mean_interval(moved[:, n])
            gain = mean_interval(moved[:, n] - without[:, n])
            print(
                f"{spec.label:>16} {metric:<6} {before[0]:5.1f} without, {after[0]:5.1f} with votes:"
                f" {gain[0]:+.2f} ± {gain[1]:.2f}",
                flush=True,
            )


def by_seed(rows: list[dict]) -> np.ndarray:
    """[seeds, metrics]: means over shot counts, base and novel categories together."""
    values = defaultdict(list)
    for row in rows:
        if row["protocol"] == "all" and row["shots"]:
            values[row["seed"]].append([row[metric] for metric in METRICS])
    return np.array([np.mean(values[seed], 0) for seed in sorted(values)])


if __name__ == "__main__":
    program.exit_with(main)
