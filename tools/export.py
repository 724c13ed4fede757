"""Write a detector as an ONNX file that needs no PyTorch: an image in, boxes, scores and labels out.

The file is compared with the detector on images, and left out (exit status 2) if they do not agree.

examples:
  python tools/export.py runs/quickstart --out shapes.onnx
  python tools/export.py runs/mine --out mine.onnx --images holiday/ --threshold 0.3
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

import fsdet
from fsdet.cli import program
from fsdet.data.images import SUFFIXES, read_image
from fsdet.errors import InputError
from fsdet.export.onnx import export


def main() -> None:
    parser = program.Parser(__doc__, "tools/export.py RUN --out FILE [options]")
    parser.add_argument("run", metavar="RUN", help="a run folder or a detector.safetensors")
    parser.add_argument("--out", type=Path, metavar="FILE", required=True, help="FILE.onnx")
    parser.add_argument("--threshold", type=float, default=0.5, help="least score; default: 0.5")
    parser.add_argument(
        "--images", type=Path, metavar="FOLDER", help="to compare on; default: drawn ones"
    )
    words = parser.parse_args()
    if words.out.suffix != ".onnx":
        raise InputError(f"--out: expected a file that ends in .onnx, got '{words.out}'")
    images = pictures(words.images) if words.images else None
    detector = fsdet.load(words.run)
    parity = export(detector, words.out, words.threshold, images)
    print(
        f"onnxruntime finds what PyTorch finds: {parity.detections} detections in {parity.images}"
        f" images, boxes within {parity.box:.2g} pixels, scores within {parity.score:.1g};"
        f" {parity.ties} more at the threshold that one alone has found"
    )
    size = words.out.stat().st_size / 1e6
    print(f"{words.out}: {len(detector.names)} categories, {size:.1f} MB")


def pictures(folder: Path) -> Iterator[np.ndarray]:
    """The images of a folder, RGB."""
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES)
    if not files:
        raise InputError(f"--images: no picture in the folder '{folder}'")
    return (read_image(file) for file in files)


if __name__ == "__main__":
    program.main(main)
