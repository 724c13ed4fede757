"""The command `fsdet check`, from a checkout."""

import sys

from fsdet.cli.main import run_command

if __name__ == "__main__":
    run_command("check", "tools/check_dataset.py", sys.argv[1:])
