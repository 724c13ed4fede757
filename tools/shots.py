"""Write k-shot lists in the field's formats, for TFA and what reads its lists.

They name the boxes that a training here draws too, for each number of shots and every seed.

examples:
  python tools/shots.py VOC0712 --subset trainval --format voc --out vocsplit
  python tools/shots.py coco --subset train2017 --format coco --shots 10 30 --out cocosplit
"""

from fsdet.cli import program
from fsdet.data import open_data
from fsdet.data.shots.shot_list import sample
from fsdet.data.shots.write_lists import FORMATS, boxes_listed, write_published


def main() -> None:
    parser = program.Parser(__doc__, "tools/shots.py ROOT --format voc|coco --out FOLDER [options]")
    parser.add_argument("root", metavar="ROOT", help="COCO, VOC, YOLO or shapes")
    parser.add_argument("--subset", default="train", help="of the data; default: train")
    parser.add_argument("--names", metavar="A,B", help="categories; default: all of the data")
    parser.add_argument(
        "--shots", type=int, nargs="+", default=[1, 2, 3, 5, 10], metavar="K", help="boxes of each"
    )
    parser.add_argument("--seeds", type=int, default=10, metavar="N", help="0 to N - 1")
    parser.add_argument(
        "--format", choices=list(FORMATS), required=True, help="lists of images, or of boxes (JSON)"
    )
    parser.add_argument("--out", metavar="FOLDER", required=True, help="seed n > 0 in seed{n}/")
    words = parser.parse_args()
    program.within(1, 10_000, seeds=words.seeds)
    data = open_data(words.root, words.subset)
    names = [name.strip() for name in words.names.split(",")] if words.names else data.classes
    lists = vague = 0
    for k in words.shots:
        for seed in range(words.seeds):
            ids = sample(data, names, k, seed)
            write_published(words.out, data, ids, k, seed, words.format)
            lists += len(ids)
            if words.format == "voc":
                vague += sum(found > k for found in boxes_listed(data, ids).values())
    print(f"{words.out}: {lists} lists of {len(names)} categories, seeds 0 to {words.seeds - 1}")
    if vague:
        print(
            f"in {vague} of them the images have more boxes of the category than shots: TFA takes some at random"
        )


if __name__ == "__main__":
    program.main(main)
