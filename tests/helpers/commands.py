"""Tools run as a user runs them."""

import contextlib
import io
import logging
import runpy
import sys

from helpers.paths import ROOT


def run(tool, *words):
    """Exit status, output and errors of a tool run in this process, which saves the imports."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    logger = logging.getLogger("fsdet")
    level = logger.level  # a tool may be silent of what it reports
    sys.argv = [tool, *map(str, words)]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(str(ROOT / "tools" / f"{tool}.py"), run_name="__main__")
            status = 0
        except SystemExit as left:
            status = left.code or 0
        finally:
            sys.argv = before
            logger.setLevel(level)
    return status, out.getvalue(), err.getvalue()
