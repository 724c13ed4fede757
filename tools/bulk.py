"""The command `fsdet bulk`, from a checkout."""

import sys

from fsdet.cli.main import run_command

if __name__ == "__main__":
    run_command("bulk", "tools/bulk.py", sys.argv[1:])
