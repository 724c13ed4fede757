"""Compare heads: methods x base detectors x shots x seeds, tuned alike, from one plan.

Finished cells are not run again; a benchmark that was stopped resumes with the same command.

examples:
  fsdet benchmark
  fsdet benchmark run=runs/short seeds=3 trials=1 processes=2
  fsdet benchmark --config benchmark/fod words=[data.root=fod,detector.backbone.weights=W]
"""

from argparse import Namespace
from pathlib import Path

from fsdet.cli import recipes
from fsdet.cli.program import Parser

USAGE = "[--config FILE] [--methods FILE] [key=value ...]"
INTERRUPTED = "stopped; the same command resumes from the last finished cell"


def add_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add(
        "--config",
        default="benchmark/shapes",
        metavar="FILE",
        help="base detectors: YAML file or recipe (default: benchmark/shapes)",
    )
    add(
        "--methods",
        default="benchmark/methods",
        metavar="FILE",
        help="heads: YAML file or recipe (default: benchmark/methods, all heads)",
    )
    add("overrides", nargs="*", metavar="key=value", help="changes to the plan")


def run(arguments: Namespace) -> None:
    from fsdet.experiment.benchmark.plan import configs, load
    from fsdet.experiment.benchmark.run import benchmark
    from fsdet.experiment.fabric import batches_of, fabric_of, precision_of
    from fsdet.experiment.run_log import Clock, command_line, environment
    from fsdet.report import benchmark_page, ranking

    files = [recipes.find(name) for name in (arguments.methods, arguments.config)]
    plan = load(files, arguments.overrides)
    clock = Clock()
    with clock.time("this call"):
        rows = benchmark(plan)
    folder = Path(plan.run)
    families = {method.spec({}).label: method.family for method in plan.methods}
    first = next(iter(configs(plan).values()))
    facts = environment(fabric_of(first, batches_of(first)).device, precision_of(first), clock)
    page = benchmark_page.write(
        folder,
        rows,
        families,
        plan.baseline,
        (folder / "plan.yaml").read_text(),
        facts | {"processes": str(plan.processes)},
        command_line(),
    )
    print(benchmark_page.text(rows, plan.baseline))
    for line in ranking(rows):
        print(line)
    print(f"tables: {folder / 'benchmark.csv'}, {folder / 'benchmark.json'}")
    print(f"report: {page}")
