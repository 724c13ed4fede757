"""The command `fsdet shots`, from a checkout."""

import sys

from fsdet.cli.main import run_command

if __name__ == "__main__":
    run_command("shots", "tools/shots.py", sys.argv[1:])
