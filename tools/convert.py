"""The command `fsdet convert`, from a checkout."""

import sys

from fsdet.cli.main import run_command

if __name__ == "__main__":
    run_command("convert", "tools/convert.py", sys.argv[1:])
