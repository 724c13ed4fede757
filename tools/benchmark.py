"""Compare few-shot learners: methods x base detectors x shots x seeds, tuned alike, from one plan.

Cells that are finished are not run again; a benchmark that was stopped goes on with the same command.

examples:
  python tools/benchmark.py
  python tools/benchmark.py run=runs/short seeds=3 trials=1 processes=2
  python tools/benchmark.py --config configs/benchmark/fod.yaml words=[data.root=fod,detector.backbone.weights=W]
"""

import argparse
import sys
from pathlib import Path

from fsdet.cli import program
from fsdet.experiment.benchmark.plan import configs, load
from fsdet.experiment.benchmark.run import benchmark
from fsdet.experiment.fabric import batches_of, fabric_of, precision_of
from fsdet.experiment.run_folder import Clock, environment
from fsdet.report import benchmark_page, ranking

PLANS = Path(__file__).resolve().parents[1] / "configs" / "benchmark"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=PLANS / "shapes.yaml",
        help="base detectors (default: shapes)",
    )
    parser.add_argument(
        "--methods", type=Path, default=PLANS / "methods.yaml", help="heads (default: all of them)"
    )
    parser.add_argument("words", nargs="*", metavar="key=value", help="changes to it")
    given = parser.parse_intermixed_args()
    plan = load([given.methods, given.config], given.words)
    clock = Clock()
    with clock.time("this call"):
        rows = benchmark(plan)
    folder = Path(plan.run)
    families = {method.spec({}).label: method.family for method in plan.methods}
    first = next(iter(configs(plan).values()))
    about = environment(fabric_of(first, batches_of(first)).device, precision_of(first), clock)
    page = benchmark_page.write(
        folder,
        rows,
        families,
        plan.baseline,
        (folder / "plan.yaml").read_text(),
        about | {"processes": str(plan.processes)},
        " ".join(["python", *sys.argv]),
    )
    print(benchmark_page.text(rows, plan.baseline))
    for line in ranking(rows):
        print(line)
    print(f"tables: {folder / 'benchmark.csv'}, {folder / 'benchmark.json'}")
    print(f"report: {page}")


if __name__ == "__main__":
    program.main(main, "stopped; the same command goes on from the last finished cell")
