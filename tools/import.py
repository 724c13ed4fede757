"""The command `fsdet import`, from a checkout."""

import sys

from fsdet.cli.main import run_command

if __name__ == "__main__":
    run_command("import", "tools/import.py", sys.argv[1:])
