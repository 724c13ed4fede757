"""The command `fsdet serve`, from a checkout."""

import sys

from fsdet.cli.main import run_command

if __name__ == "__main__":
    run_command("serve", "tools/serve.py", sys.argv[1:])
