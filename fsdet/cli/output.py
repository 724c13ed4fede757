"""Output of commands: names in data sets and detectors may hold control characters, a terminal gets none."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO, cast

from fsdet.errors import printable

KEPT = "\n\t"  # that the commands print themselves


class _Escaped:
    """A text stream whose `write` escapes control characters."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(printable(text, KEPT))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Console(logging.Handler):
    """Writes messages to the standard error stream, above progress bars; warnings and errors after their level."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname}: "
        tqdm.write(prefix + printable(self.format(record), KEPT), file=sys.stderr)


@contextmanager
def escaped_output(stream: TextIO) -> Iterator[None]:
    """Escape control characters in what is printed to `stream`, the standard output, and in log messages.

    Log messages of fsdet are shown from level INFO, those of other packages from WARNING.
    """
    logging.basicConfig(handlers=[Console()], format="%(message)s")
    logging.getLogger("fsdet").setLevel(logging.INFO)
    with redirect_stdout(cast(TextIO, _Escaped(stream))):
        yield
