"""The command `fsdet finetune`, from a checkout."""

import sys

from fsdet.cli.main import run_command

if __name__ == "__main__":
    run_command("finetune", "tools/finetune.py", sys.argv[1:])
