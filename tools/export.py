"""The command `fsdet export`, from a checkout."""

import sys

from fsdet.cli.main import run_command

if __name__ == "__main__":
    run_command("export", "tools/export.py", sys.argv[1:])
