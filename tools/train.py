"""The command `fsdet train`, from a checkout."""

import sys

from fsdet.cli.main import run_command

if __name__ == "__main__":
    run_command("train", "tools/train.py", sys.argv[1:])
