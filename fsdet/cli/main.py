"""The `fsdet` command: a table of commands, help, version and shell completion."""

import argparse
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Any, Protocol, cast

from fsdet.cli import program
from fsdet.errors import InputError, nearest

COMMANDS = {
    "train": "train a detector on base categories, score it on novel ones, write a report",
    "import": "a detector of torchvision, detectron2, TFA or mmdetection, to start from",
    "finetune": "add the categories of an annotated data set to a detector",
    "test": "COCO's twelve numbers and AP per category of a detector on a data set",
    "detect": "boxes in images, folders and videos, drawn and as COCO results",
    "bulk": "boxes in any number of images, as Parquet, on a Ray cluster or all cores",
    "transfer": "a detector on another data set, from a few boxes, over seeds",
    "benchmark": "many heads on the same base detectors, tuned alike, in one table",
    "clean": "delete what a finished run no longer needs",
    "shots": "k-shot lists in the formats of TFA",
    "check": "every fault of a data set, at once",
    "split": "a test subset where a data set has none",
    "convert": "a data set as a COCO, VOC or YOLO folder",
    "download": "VOC, COCO and LVIS, checked and unpacked",
    "export": "a detector as an ONNX file, compared with PyTorch",
    "studio": "the web page: draw boxes, name a category, correct detections",
    "serve": "a detector over HTTP, and as a backend of Label Studio",
}


class Command(Protocol):
    """Interface of the module of a command; its docstring is the text above the list of options.

    `INTERRUPTED` of the module, if it has one, is printed after Ctrl-C in place of "stopped". The module
    imports the rest of the package inside `run`, so that --help and a mistyped option answer at once.
    """

    USAGE: str

    def add_arguments(self, parser: program.Parser) -> None:
        """Add the options of the command."""

    def run(self, arguments: argparse.Namespace) -> int | None:
        """Run the command; the exit status, None for 0."""


def main() -> None:
    """The console script `fsdet`."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in COMMANDS:
        run_command(arguments[0], f"fsdet {arguments[0]}", arguments[1:])
    program.exit_with(lambda: _without_command(arguments))


def run_command(name: str, typed: str, arguments: list[str]) -> None:
    """Run one command and exit with its status.

    Args:
        name: a key of `COMMANDS`.
        typed: the command as the user typed it, for the usage line.
        arguments: the command-line arguments after the command.
    """
    command = _load(name)

    def run() -> int | None:
        return command.run(_parser(command, typed).parse_intermixed_args(arguments))

    program.exit_with(run, getattr(command, "INTERRUPTED", "stopped"))


def _load(name: str) -> Command:
    return cast(Command, import_module(f"fsdet.cli.{name}"))


def _parser(command: Command, typed: str) -> program.Parser:
    parser = program.Parser(typed, command.USAGE, command.__doc__)
    command.add_arguments(parser)
    return parser


def _without_command(arguments: list[str]) -> None:
    """Handle a call that names no command.

    Raises:
        InputError: the first argument is neither a command nor an option of `fsdet` itself.
    """
    parser = program.Parser("fsdet", "COMMAND [--help] [arguments] | --version", _help_text())
    number = f"fsdet {version('fsdet')}"
    hidden = argparse.SUPPRESS  # the usage names it, and the list of commands fills the screen
    parser.add_argument("--version", action="version", version=number, help=hidden)
    parser.add_argument(
        "--completion",
        choices=("bash", "zsh", "tcsh"),
        metavar="SHELL",
        help="print a completion script for bash, zsh or tcsh",
    )
    if arguments and not arguments[0].startswith("-"):
        raise InputError(f"no command '{arguments[0]}'{nearest(arguments[0], COMMANDS)}")
    options = parser.parse_args(arguments)
    if options.completion:
        print(_completion(options.completion))
    else:
        parser.print_help()


def _help_text() -> str:
    rows = "\n".join(f"  {name:10} {summary}" for name, summary in COMMANDS.items())
    return f"""Few-shot object detection: new categories from a few annotated boxes. Commands:
{rows}
"""


def _completion(shell: str) -> str:
    """A completion script, made by shtab from the parsers of all commands."""
    import shtab

    parser = argparse.ArgumentParser(prog="fsdet")
    subparsers: Any = parser.add_subparsers()
    for name, summary in COMMANDS.items():
        _load(name).add_arguments(subparsers.add_parser(name, help=summary))
    return shtab.complete(parser, shell)
