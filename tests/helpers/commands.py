"""Commands run as a user runs them."""

import contextlib
import io
import logging
import sys

from fsdet.cli import main


def run(*arguments):
    """Exit status, output and errors of `fsdet`, run in this process to save the imports."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    logger = logging.getLogger("fsdet")
    level = logger.level  # a command may silence what its own output repeats
    sys.argv = ["fsdet", *map(str, arguments)]
    status: int | str | None = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main.main()
        except SystemExit as left:
            status = left.code
        finally:
            sys.argv = before
            logger.setLevel(level)
    return status or 0, out.getvalue(), err.getvalue()
