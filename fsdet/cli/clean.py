"""Delete what a finished run no longer needs: checkpoints and stored region features.

Detector, results, report, configuration, shots and losses stay. The same `fsdet train` would
train again from the start.

example: fsdet clean runs/quickstart
"""

from argparse import Namespace
from pathlib import Path

from fsdet.cli.program import Parser

USAGE = "RUN"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="run folder")


def run(arguments: Namespace) -> None:
    from fsdet.experiment.cleaning import clean

    deleted = clean(arguments.run)
    size = sum(size for _, size in deleted)
    print(f"{arguments.run}: {len(deleted)} files deleted, {size / 1e6:.0f} MB")
