"""The command `fsdet transfer`, from a checkout."""

import sys

from fsdet.cli.main import run_command

if __name__ == "__main__":
    run_command("transfer", "tools/transfer.py", sys.argv[1:])
