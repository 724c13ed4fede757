"""Compare few-shot learners: methods x base detectors x shots x seeds, tuned alike, from one plan.

Cells that are finished are not run again; a benchmark that was stopped goes on with the same command.

examples:
  python tools/benchmark.py
  python tools/benchmark.py run=runs/short seeds=3 trials=1 processes=2
  python tools/benchmark.py --config configs/benchmark-fod.yaml words=[data.root=fod,detector.backbone.weights=W]
"""

import argparse
import sys
from pathlib import Path

import torch

from fsdet import cli, report
from fsdet.experiment.benchmark import benchmark
from fsdet.experiment.plan import load
from fsdet.experiment.record import Clock, environment

SHAPES = Path(__file__).resolve().parents[1] / "configs" / "benchmark.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=SHAPES, help="a plan of configs/")
    parser.add_argument("words", nargs="*", metavar="key=value", help="changes to it")
    given = parser.parse_args()
    plan = load(given.config, given.words)
    clock = Clock()
    with clock.time("all of it"):
        rows = benchmark(plan)
    folder = Path(plan.run)
    about = environment(torch.device("cpu"), "32-true", clock) | {
        "command": " ".join(["python", *sys.argv])
    }
    report.write(
        folder, rows, [], [], (folder / "plan.yaml").read_text(), about, baseline=plan.baseline
    )
    print(report.text(rows, plan.baseline))
    for line in report.ranking(rows):
        print(line)
    print(f"tables: {folder / 'benchmark.csv'}, {folder / 'benchmark.json'}")
    print(f"report: {folder / 'report.html'}")


if __name__ == "__main__":
    cli.main(main, "stopped; the same command goes on from the last finished cell")
