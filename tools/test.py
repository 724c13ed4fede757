"""The command `fsdet test`, from a checkout."""

import sys

from fsdet.cli.main import run_command

if __name__ == "__main__":
    run_command("test", "tools/test.py", sys.argv[1:])
