"""The command `fsdet download`, from a checkout."""

import sys

from fsdet.cli.main import run_command

if __name__ == "__main__":
    run_command("download", "tools/download.py", sys.argv[1:])
