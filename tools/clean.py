"""The command `fsdet clean`, from a checkout."""

import sys

from fsdet.cli.main import run_command

if __name__ == "__main__":
    run_command("clean", "tools/clean.py", sys.argv[1:])
