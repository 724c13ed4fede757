"""Time of feature extraction and scoring: thirty seeds at five shot counts against one seed at one.

    python benchmarks/seeds.py runs/shapes --head cosine

The base detector comes from the run folder. Features are extracted into temporary folders, the two settings in
turn, so that other processes of the machine slow both.
"""

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from fsdet import config as cfg
from fsdet.cli import program
from fsdet.experiment.base_run import prepare
from fsdet.experiment.features import extract_features
from fsdet.experiment.run_log import Clock
from fsdet.experiment.scoring import score


def main() -> None:
    parser = program.Parser("benchmarks/seeds.py", "RUN [options]", __doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder of tools/train.py")
    parser.add_argument("--head", default="cosine")
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    config = replace(cfg.load(arguments.run / "config.yaml"), run=str(arguments.run))
    base_run = prepare(config)
    head = base_run.trained_head(cfg.Head(arguments.head)).cpu()
    for _ in range(arguments.rounds):
        seconds = []
        for shots, seeds in (([5], 1), ([1, 2, 3, 5, 10], 30)):
            settings = replace(config, evaluate=replace(config.evaluate, shots=shots, seeds=seeds))
            context = replace(base_run, config=settings, clock=Clock())
            start = time.perf_counter()
            with TemporaryDirectory() as folder:
                _, features = extract_features(context, base_run.model, Path(folder))
                with context.clock.time("scoring"):
                    rows = score(arguments.head, head, features, base_run.problem, settings).rows
            seconds.append(time.perf_counter() - start)
            parts = ", ".join(
                f"{stage} {value:.1f}" for stage, value in context.clock.seconds.items()
            )
            print(f"{len(rows) // 2} tasks: {seconds[-1]:.1f} s ({parts})")
        print(f"{seconds[1] / seconds[0]:.2f} times")


if __name__ == "__main__":
    program.exit_with(main)
