"""The command `fsdet studio`, from a checkout."""

import sys

from fsdet.cli.main import run_command

if __name__ == "__main__":
    run_command("studio", "tools/studio.py", sys.argv[1:])
