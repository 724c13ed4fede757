"""Parser, checks and exit statuses that all commands share."""

import argparse
import errno
import ipaddress
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from fsdet.cli.output import escaped_output
from fsdet.errors import InputError, one_line, printable

MOST_SEED = 2**32 - 1
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a full disk; Python's own writes do not name the file."""


class Parser(argparse.ArgumentParser):
    """An argument parser that keeps the lines of its description and raises `InputError`.

    Args:
        name: the command as the user typed it, for instance "fsdet train" or "tools/train.py".
        usage: the arguments after the name, in one line.
        description: text above the list of options; its lines stay as they are.
    """

    def __init__(self, name: str, usage: str, description: str | None):
        super().__init__(
            prog=name,
            usage=f"{name} {usage}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the positional argument RUN, a saved detector."""
    parser.add_argument("run", metavar="RUN", help="run folder or detector.safetensors")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the option --data, a data set."""
    parser.add_argument(
        "--data", metavar="ROOT", required=True, help="folder of a data set, or shapes"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the option --device."""
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Add the option --config, which may be repeated."""
    parser.add_argument(
        "--config", action="append", metavar="FILE", help="YAML file or recipe; later ones win"
    )


def check_output(option: str, path: Path | None) -> None:
    """Raise an InputError, before any work, for a path that a file cannot be written to."""
    if path is None:
        return
    parent = next((folder for folder in path.absolute().parents if folder.exists()), Path("/"))
    if path.is_dir():
        raise InputError(f"{option}: expected a file, '{path}' is a folder")
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(f"{option}: '{path}' cannot be written in '{parent}'")


def check_range(minimum: float, maximum: float, /, **options: float) -> None:
    """Raise an InputError for the first option outside `minimum` to `maximum`; `max_size` is --max-size."""
    for name, value in options.items():
        if not minimum <= value <= maximum:
            raise InputError(
                f"--{name.replace('_', '-')}: expected {minimum} to {maximum}, got {value}"
            )


def split_names(text: str | None, default: list[str]) -> list[str]:
    """The names of a comma-separated option; without the option, `default`.

    Names of `default` may have commas and outer blanks themselves.
    """
    if not text:
        return default
    names, parts = [], text.split(",")
    while parts:
        ends = range(len(parts), 0, -1)
        own = next((end for end in ends if ",".join(parts[:end]) in default), None)
        if own is None:
            own = next((end for end in ends if ",".join(parts[:end]).strip() in default), 1)
        name = ",".join(parts[:own])
        names.append(name if name in default else name.strip())
        parts = parts[own:]
    return names


def password_for(host: str, option: str | None) -> str | None:
    """The password of a server: the option, else FSDET_PASSWORD of the environment.

    Raises:
        InputError: there is no password although `host` is reachable from other machines.
    """
    password = option or os.environ.get("FSDET_PASSWORD") or None
    if password is None and not _is_loopback(host):
        raise InputError(
            f"--host {host} lets others in: give --password, or FSDET_PASSWORD in the environment"
        )
    return password


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def exit_with(command: Callable[[], int | None], interrupted: str = "stopped") -> NoReturn:
    """Run a command and exit with its status.

    A user's mistake is one line and status 2, Ctrl-C is `interrupted` and status 130; any other error is
    a fault of the program and keeps its traceback.
    """
    for noisy in ("lightning_fabric", "lightning.fabric", "timm"):  # timm names each layer left out
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        with escaped_output(sys.stdout):
            sys.exit(command() or 0)
    except InputError as error:
        print(f"error: {printable(one_line(error))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output, for instance `head`, has closed the pipe
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:  # for instance a read-only folder, or a full disk
        if error.filename is None and error.errno not in FULL:
            raise
        place = "" if error.filename is None else f"{error.filename}: "
        print(f"error: {printable(f'{place}{error.strerror}')}", file=sys.stderr)
        sys.exit(2)
