"""How every tool ends: a user's mistake is one line and status 2, Ctrl-C is 130, nothing else is hidden."""

import logging
import sys
from collections.abc import Callable

from fsdet.errors import InputError


def main(tool: Callable[[], int | None]) -> None:
    """Run a tool and leave with its exit status."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    for noisy in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        sys.exit(tool() or 0)
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        sys.stderr.close()
        sys.exit(0)
