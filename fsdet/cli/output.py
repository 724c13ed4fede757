"""Output of commands: names in data sets and detectors may hold control characters, a terminal gets none."""

import logging
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


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), KEPT)


@contextmanager
def escaped_output(stream: TextIO) -> Iterator[None]:
    """Escape control characters in what is printed to `stream`, the standard output, and in log messages."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler])
    with redirect_stdout(cast(TextIO, _Escaped(stream))):
        yield
