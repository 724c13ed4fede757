"""Adapt a detector to other data: all their categories from a few boxes each, scored over seeds.

examples:
  python tools/transfer.py runs/coco data.root=NEU-DET run=runs/neu-det
  python tools/transfer.py runs/fod-split1 data.root=bccd data.train=trainval evaluate.seeds=30
"""

from pathlib import Path

import fsdet
from fsdet import cli, report
from fsdet import config as cfg
from fsdet.experiment import transfer

DEFAULTS = ["data.split=every", "evaluate.shots=[1,5,10]", "baselines=[{name: cosine}]"]


def main() -> None:
    parser = cli.Parser(__doc__, "tools/transfer.py RUN data.root=ROOT [key=value ...]")
    parser.add_argument("source", metavar="RUN", help="a run folder or a detector.safetensors")
    parser.add_argument(
        "words", nargs="*", metavar="key=value", help="of data, evaluate, baselines; run, device"
    )
    words = parser.parse_args()
    config = cfg.load((), [*DEFAULTS, *words.words])
    rows = transfer(fsdet.load(words.source), config)
    print(report.text(rows))
    for line in report.headline(rows):
        print(line)
    print(f"report: {Path(config.run) / 'report.html'}")


if __name__ == "__main__":
    cli.main(main, "stopped; the same command goes on from what is stored")
