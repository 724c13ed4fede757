"""Train a detector: base training, meta-training, novel categories from a few boxes, scores, report.

Without arguments: the quickstart, on generated images. Everything is written to the run folder,
`run=FOLDER`. A run that was stopped resumes with the same command.

examples:
  fsdet train
  fsdet train --config quickstart train.steps=300 run=runs/short
  fsdet train --config voc data.root=VOC0712 data.split=voc1
  fsdet train --config voc --config field data.root=VOC0712
"""

from argparse import Namespace
from pathlib import Path

from fsdet.cli import recipes
from fsdet.cli.program import Parser, add_configuration

USAGE = "[--config FILE] [key=value ...]"
INTERRUPTED = "stopped; the same command resumes from the last checkpoint"


def add_arguments(parser: Parser) -> None:
    add_configuration(parser)
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="changes to the configuration"
    )


def run(arguments: Namespace) -> None:
    from fsdet import config as cfg

    files = [recipes.find(name) for name in arguments.config or ["quickstart"]]
    config = cfg.load(files, arguments.overrides)
    from fsdet.experiment import run as experiment  # seconds, which a mistyped key does not need

    print_results(experiment(config), Path(config.run))


def print_results(rows: list[dict], folder: Path) -> None:
    """Print the tables of an experiment; `rows` are empty in all processes but the first."""
    from fsdet import report

    if not rows:
        return
    print(report.text(rows))
    for line in report.headline(rows):
        print(line)
    print(f"report: {folder / 'report.html'}")
