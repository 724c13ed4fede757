"""Messages of the package on the standard error stream."""

import logging
import sys


class Console(logging.Handler):
    """Writes messages above progress bars: information as it is, warnings and errors after their level."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname}: "
        tqdm.write(prefix + self.format(record), file=sys.stderr)


def show_messages() -> None:
    """Show the package's messages from information on, and warnings of all others."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(Console())
    logging.getLogger("fsdet").setLevel(logging.INFO)
