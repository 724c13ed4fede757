"""Register categories from an annotated data set and, with --steps, move the head on their shots.

examples:
  python tools/finetune.py runs/quickstart --data shapes --names gear,tee --shots 5 --out runs/5
  python tools/finetune.py runs/voc --data my-coco --subset train2017 --steps 30 --out runs/mine
"""

from pathlib import Path

import fsdet
from fsdet import cli
from fsdet.api import BATCH
from fsdet.data import open_data
from fsdet.data.shot_images import choose
from fsdet.finetune import finetune


def main() -> None:
    parser = cli.Parser(__doc__, "tools/finetune.py RUN --data ROOT --out FILE [options]")
    parser.add_argument("run", metavar="RUN", help="a run folder or a detector.safetensors")
    parser.add_argument("--data", metavar="ROOT", required=True, help="COCO, VOC, YOLO or shapes")
    parser.add_argument("--subset", default="train", help="of the data; default: train")
    parser.add_argument("--names", metavar="A,B", help="categories; default: all of the data")
    parser.add_argument("--shots", type=int, metavar="K", help="boxes of each; default: all")
    parser.add_argument(
        "--steps", type=int, default=0, metavar="N", help="default: 0, register only"
    )
    parser.add_argument("--rate", type=float, default=3e-5, metavar="R", help="default: 3e-5")
    parser.add_argument("--no-flip", action="store_true", help="left and right differ: text, signs")
    parser.add_argument("--seed", type=int, default=0, help="of shots and steps; default: 0")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--out", metavar="FILE", required=True, help="or a folder for it")
    words = parser.parse_args()
    detector = fsdet.load(words.run, words.device)
    data = open_data(words.data, words.subset)
    names = [name.strip() for name in words.names.split(",")] if words.names else data.classes
    shots = choose(data, names, words.shots, words.seed)
    register = cli.progress("registering")
    detector.remember(register(shots.batches(BATCH), -(-len(shots) // BATCH)))
    print(f"registered {', '.join(shots.classes)}: boxes in {len(shots)} images")
    losses = finetune(
        detector,
        shots,
        words.steps,
        words.rate,
        words.seed,
        flip=not words.no_flip,
        progress=cli.progress("fine-tuning"),
    )
    if losses:
        print(f"loss {losses[0]:.3f} at first, {losses[-1]:.3f} at step {len(losses)}")
    print(f"{detector.save(Path(words.out))}: {len(detector.names)} categories")


if __name__ == "__main__":
    cli.main(main)
