"""What thirty seeds at five shot counts cost, against one seed at one: all that comes after base training.

    python benchmarks/seeds.py runs/quickstart --head cosine

The run folder has the base detector; image side and scores are made anew in a folder of their own, once for either,
one after the other, so that what else runs on the machine slows both.
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
    words = parser.parse_args()
    config = replace(cfg.load(words.run / "config.yaml"), run=str(words.run))
    base_run = prepare(config)
    head = base_run.trained_head(cfg.Head(words.head)).cpu()
    for _ in range(words.rounds):
        taken = []
        for shots, seeds in (([5], 1), ([1, 2, 3, 5, 10], 30)):
            asked = replace(config, evaluate=replace(config.evaluate, shots=shots, seeds=seeds))
            context = replace(base_run, config=asked, clock=Clock())
            start = time.perf_counter()
            with TemporaryDirectory() as folder:
                _, features = extract_features(context, base_run.model, Path(folder))
                with context.clock.time("scoring"):
                    rows = score(words.head, head, features, base_run.problem, asked).rows
            taken.append(time.perf_counter() - start)
            seconds_of = context.clock.seconds
            parts = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in seconds_of.items())
            print(f"{len(rows) // 2} tasks: {taken[-1]:.1f} s ({parts})")
        print(f"{taken[1] / taken[0]:.2f} times")


if __name__ == "__main__":
    program.exit_with(main)
