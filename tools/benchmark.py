"""The command `fsdet benchmark`, from a checkout."""

import sys

from fsdet.cli.main import run_command

if __name__ == "__main__":
    run_command("benchmark", "tools/benchmark.py", sys.argv[1:])
