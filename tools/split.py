"""The command `fsdet split`, from a checkout."""

import sys

from fsdet.cli.main import run_command

if __name__ == "__main__":
    run_command("split", "tools/split.py", sys.argv[1:])
