"""Adapt a detector to other data: all their categories from a few boxes each, scored over seeds.

examples:
  python tools/transfer.py runs/coco data.root=NEU-DET run=runs/neu-det
  python tools/transfer.py runs/coco --config configs/field-cross-domain.yaml data.root=NEU-DET
  python tools/transfer.py runs/fod-split1 data.root=bccd data.train=trainval evaluate.seeds=30
"""

from pathlib import Path

import fsdet
from fsdet import config as cfg
from fsdet import report
from fsdet.cli import program
from fsdet.errors import InputError
from fsdet.experiment import transfer

BEGINNING = Path(__file__).resolve().parents[1] / "configs" / "cross-domain.yaml"
FIXED_BY_DETECTOR = ("data.split", "detector", "train", "meta", "head", "proposals", "joint")
OF_STAGES = ("train.flip", "train.clip")  # which novel stages take too


def main() -> None:
    parser = program.Parser(__doc__, "tools/transfer.py RUN data.root=ROOT [key=value ...]")
    parser.add_argument("source", metavar="RUN", help="a run folder or a detector.safetensors")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="key=value",
        help="of data, evaluate, baselines, stages; run, device, train.flip",
    )
    parser.add_argument(
        "--config", type=Path, action="append", metavar="FILE", help="of configs/; later ones win"
    )
    words = parser.parse_intermixed_args()
    config = cfg.load([BEGINNING, *(words.config or [])], words.words)
    for word in words.words:
        key = word.split("=", 1)[0]
        if key.startswith(FIXED_BY_DETECTOR) and key not in OF_STAGES:
            raise InputError(
                f"'{word}': {key} is what the detector of '{words.source}' has, or was trained by; expected words"
                " of data, evaluate, baselines, stages; run, seed, device, devices, precision, train.flip"
            )
    rows = transfer(fsdet.load(words.source), config)
    if not rows:  # another process says it
        return
    print(report.text(rows))
    for line in report.headline(rows):
        print(line)
    print(f"report: {Path(config.run) / 'report.html'}")


if __name__ == "__main__":
    program.main(main, "stopped; the same command goes on from what is stored")
