"""Write a detector as an ONNX file that needs no PyTorch: image in; boxes, scores and labels out.

The exported file is compared with the detector on images; if they disagree, no file is left and
the exit status is 2.

examples:
  fsdet export runs/quickstart --out shapes.onnx
  fsdet export runs/mine --out mine.onnx --images holiday/ --threshold 0.3
"""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fsdet.cli.program import Parser, add_run, check_output
from fsdet.errors import InputError

if TYPE_CHECKING:
    import numpy as np

USAGE = "RUN --out FILE [options]"


def add_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add_run(parser)
    add("--out", type=Path, metavar="FILE", required=True, help="FILE.onnx")
    add("--threshold", type=float, default=0.5, help="minimum score; default: 0.5")
    add("--images", type=Path, metavar="FOLDER", help="to compare on; default: generated images")


def run(arguments: Namespace) -> None:
    import fsdet
    from fsdet.export import export

    if arguments.out.suffix != ".onnx":
        raise InputError(f"--out: expected a file that ends in .onnx, got '{arguments.out}'")
    check_output("--out", arguments.out)
    images = images_in(arguments.images) if arguments.images else None
    detector = fsdet.load(arguments.run)
    parity = export(detector, arguments.out, arguments.threshold, images)
    print(
        f"ONNX Runtime and PyTorch agree: {parity.detections} detections in {parity.images} images,"
        f" boxes within {parity.box:.2g} pixels, scores within {parity.score:.1g};"
        f" {parity.ties} more at the threshold that only one of them reports"
    )
    megabytes = arguments.out.stat().st_size / 1e6
    print(f"{arguments.out}: {len(detector.names)} categories, {megabytes:.1f} MB")


def images_in(folder: Path) -> "Iterator[np.ndarray]":
    """The images of a folder, RGB."""
    from fsdet.data.images import SUFFIXES, read_image

    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise InputError(f"--images: no image in the folder '{folder}'")
    return (read_image(file) for file in files)
