"""The command `fsdet detect`, from a checkout."""

import sys

from fsdet.cli.main import run_command

if __name__ == "__main__":
    run_command("detect", "tools/detect.py", sys.argv[1:])
