"""Import a detector of torchvision, detectron2, TFA, FSCE, mmdetection or mmfewshot.

Its categories stay; `fsdet finetune` registers new ones beside them. No code in FILE is run.
examples:
  fsdet import model_final.pkl --names coco --out runs/d2 --check holiday/
  fsdet import base.pth --names voc1-base --head ridge --photographs street/ --out runs/tfa
"""

from argparse import Namespace
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fsdet.cli.program import Parser, add_device
from fsdet.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from fsdet.api.detector import Detector
    from fsdet.config import Descriptor
    from fsdet.importers import Imported

USAGE = "FILE --out FILE [options]"
INTERRUPTED = "stopped"
MOST_CHECKED = 50  # pictures


def add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "file", metavar="FILE", help=".pth, .pkl or .safetensors, or torchvision/NAME"
    )
    parser.add_argument(
        "--preset", metavar="NAME", help="what the file does not say; default: the one that fits"
    )
    parser.add_argument(
        "--names", metavar="A,B", help="categories in the file's order, or coco, voc1-base, ..."
    )
    parser.add_argument("--eps", type=float, metavar="E", help="of the batch normalisation")
    parser.add_argument(
        "--descriptor",
        metavar="N=W",
        help="frozen network and weights that describe new categories",
    )
    parser.add_argument("--drop-known", action="store_true", help="its categories: background")
    parser.add_argument("--head", metavar="NAME", help="another head, with --photographs")
    parser.add_argument(
        "--photographs", type=Path, metavar="IMAGES", help="that show its categories, without boxes"
    )
    parser.add_argument(
        "--check",
        type=Path,
        metavar="IMAGES",
        help="detect in pictures, and compare with the original",
    )
    parser.add_argument("--out", metavar="FILE", required=True, help="detector file, or a folder")
    add_device(parser)


def run(arguments: Namespace) -> None:
    if bool(arguments.head) != bool(arguments.photographs):
        raise InputError("--head and --photographs: expected both or neither")
    if arguments.head and arguments.drop_known:
        raise InputError("--head learns the known categories, which --drop-known drops; give one")
    from fsdet.api.load import on_device, parts_of
    from fsdet.importers import PREFIX, from_state, read_state, weights_file

    file, preset = arguments.file, arguments.preset
    if file.startswith(PREFIX) and not Path(file).exists():
        file, preset = weights_file(file), preset or file
    path = Path(file)
    state = read_state(path)
    imported = from_state(state, path, preset, names_of(arguments.names), arguments.eps)
    if imported.left_out:
        print(f"not loaded: {', '.join(imported.left_out)}")
    detector = on_device(parts_of(imported), arguments.device)
    print(f"{len(detector.names)} categories: {', '.join(detector.names) or 'none'}")
    print(f"from {detector.origin}")
    if arguments.check:
        check(detector, imported, state.tensors, arguments.check)
    if arguments.descriptor:
        detector = detector.with_descriptor(descriptor_of(arguments.descriptor))
    if arguments.head:
        photographs = [str(file) for file in pictures_in(arguments.photographs, "--photographs")]
        detector = detector.with_head(arguments.head, photographs)
        print(f"{arguments.head} learned from photographs: {', '.join(detector.names)}")
    if arguments.drop_known:
        detector.drop_kept()
    print(f"saved: {detector.save(arguments.out)}")


def descriptor_of(text: str) -> "Descriptor":
    """The network of `NAME=WEIGHTS`."""
    from fsdet import config as cfg

    name, equals, weights = text.partition("=")
    if not (name and equals and weights):
        raise InputError(
            f"--descriptor: expected NAME=WEIGHTS, as in timm/tf_efficientnet_lite2=pip; got '{text}'"
        )
    return cfg.Descriptor(name, weights)


def names_of(text: str | None) -> str | list[str] | None:
    """Names, or the word of a list of names."""
    from fsdet.importers.names import LISTS

    if text is None or text in LISTS:
        return text
    return [name.strip() for name in text.split(",")]


def pictures_in(images: Path, option: str) -> list[Path]:
    """A picture, or those in a folder.

    Raises:
        InputError: none there.
    """
    from fsdet.apps.detect.sources import files_of
    from fsdet.data.images import SUFFIXES

    pictures = [file for file in files_of([str(images)]) if file.suffix.lower() in SUFFIXES]
    if not pictures:
        raise InputError(f"{option}: no picture at '{images}'")
    return pictures


def check(
    detector: "Detector", imported: "Imported", tensors: "Mapping[str, Tensor]", images: Path
) -> None:
    """Print what the detector sees in pictures, and how far it is from the original detector."""
    from fsdet.data.images import read_image
    from fsdet.importers.comparison import compare, original_of

    pictures = pictures_in(images, "--check")[:MOST_CHECKED]
    original = original_of(tensors, imported)
    total, same, box, score = 0, 0, 0.0, 0.0
    for picture in pictures:
        pixels = read_image(picture)
        detections = detector.predict(pixels, threshold=0.05)
        sure = Counter(d.name for d in detections if d.score >= 0.5).most_common()
        print(f"{picture.name}: {', '.join(f'{n} {name}' for name, n in sure) or 'nothing'}")
        comparison = compare(original(pixels), detections, imported.rows)
        total, same = total + comparison.total, same + comparison.same
        box, score = max(box, comparison.box), max(score, comparison.score)
    print(
        f"{same} of {total} detections (score above 0.05) as the original's, in {len(pictures)} pictures:"
        f" boxes within {box:.2g} pixels, scores within {score:.2g}"
    )
