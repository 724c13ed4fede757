"""Adapt a detector to another data set: all its categories from a few boxes each, scored over seeds.

examples:
  fsdet transfer runs/coco data.root=NEU-DET run=runs/neu-det
  fsdet transfer runs/coco --config field-cross-domain data.root=NEU-DET
  fsdet transfer runs/fod-split1 data.root=bccd data.train=trainval evaluate.seeds=30
"""

from argparse import Namespace
from pathlib import Path

from fsdet.cli import recipes
from fsdet.cli.program import Parser, add_configuration
from fsdet.cli.train import print_results
from fsdet.errors import InputError

USAGE = "RUN data.root=ROOT [key=value ...]"
INTERRUPTED = "stopped; the same command resumes from what is stored"
FIXED_BY_DETECTOR = ("data.split", "detector", "train", "meta", "head", "proposals", "joint")
NOVEL_STAGE_KEYS = ("train.flip", "train.clip")  # novel stages read these too


def add_arguments(parser: Parser) -> None:
    parser.add_argument("source", metavar="RUN", help="run folder or detector.safetensors")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="of data, evaluate, baselines, stages; run, device, train.flip",
    )
    add_configuration(parser)


def run(arguments: Namespace) -> None:
    from fsdet import config as cfg

    files = [recipes.find(name) for name in ["cross-domain", *(arguments.config or [])]]
    config = cfg.load(files, arguments.overrides)
    for override in arguments.overrides:
        key = override.split("=", 1)[0]
        if key.startswith(FIXED_BY_DETECTOR) and key not in NOVEL_STAGE_KEYS:
            raise InputError(
                f"'{override}': {key} is fixed by the detector of '{arguments.source}'; expected keys of"
                " data, evaluate, baselines, stages; run, seed, device, devices, precision, train.flip"
            )
    from fsdet.api.load import on_device, read
    from fsdet.experiment import transfer  # seconds, which a mistyped key does not need

    detector = on_device(read(arguments.source), "cpu")
    print_results(transfer(detector, config), Path(config.run))
