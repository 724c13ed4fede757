"""Train on base categories, learn to learn, take novel categories from a few boxes, and score it all.

Without arguments: the quickstart, on generated images. All is written to the run folder, `run=...`.
A run that was stopped goes on with the same command.

examples:
  python tools/train.py
  python tools/train.py --config configs/quickstart.yaml train.steps=300 run=runs/short
  python tools/train.py --config configs/voc.yaml data.root=VOC0712 data.split=voc1
  python tools/train.py --config configs/voc.yaml --config configs/field.yaml data.root=VOC0712
"""

import argparse
from pathlib import Path

from fsdet import config as cfg
from fsdet import report
from fsdet.cli import program
from fsdet.experiment import run

QUICKSTART = Path(__file__).resolve().parents[1] / "configs" / "quickstart.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config", type=Path, action="append", metavar="FILE", help="of configs/; later ones win"
    )
    parser.add_argument("words", nargs="*", metavar="key=value", help="changes to it")
    words = parser.parse_intermixed_args()
    config = cfg.load(words.config or [QUICKSTART], words.words)
    rows = run(config)
    if not rows:  # another process says it
        return
    print(report.text(rows))
    for line in report.headline(rows):
        print(line)
    print(f"report: {Path(config.run) / 'report.html'}")


if __name__ == "__main__":
    program.main(main, "stopped; the same command goes on from the last checkpoint")
