"""How every tool ends: a user's mistake is one line and status 2, Ctrl-C is 130, nothing else is hidden."""

import argparse
import ipaddress
import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from fsdet.errors import InputError, one_line


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose description keeps its lines and whose errors are `InputError`s."""

    def __init__(self, description: str | None, usage: str):
        kind = argparse.RawDescriptionHelpFormatter
        super().__init__(usage=usage, description=description, formatter_class=kind)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")


def within(least: float, most: float, /, **options: float) -> None:
    """An InputError that names the first option that is out of range: `max_size` is --max-size."""
    for name, value in options.items():
        if not least <= value <= most:
            raise InputError(f"--{name.replace('_', '-')}: expected {least} to {most}, got {value}")


def password_for(host: str, given: str | None) -> str | None:
    """The password that was given, here or as FSDET_PASSWORD in the environment.

    Raises:
        InputError: there is none, and the host lets other machines in.
    """
    password = given or os.environ.get("FSDET_PASSWORD") or None
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


def main(tool: Callable[[], int | None], stopped: str = "stopped") -> None:
    """Run a tool and leave with its exit status; `stopped` is said after Ctrl-C."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    for noisy in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        sys.exit(tool() or 0)
    except InputError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:  # a folder that may not be written to, a file where a folder should be
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(2)
