"""Write the k-shot lists that a training draws in the formats of TFA.

examples:
  fsdet shots VOC0712 --names bird,bus,cow --format voc --out vocsplit
  fsdet shots coco --subset train2017 --format coco --shots 10 30 --out cocosplit
"""

from argparse import Namespace

from fsdet.cli.program import Parser, check_range, split_names

USAGE = "ROOT --format voc|coco --out FOLDER [options]"


def add_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add("root", metavar="ROOT", help="folder of a data set, or shapes")
    add("--subset", default="train", help="default: train")
    add("--names", metavar="A,B", help="categories; default: all of the data set")
    add(
        "--shots",
        type=int,
        nargs="+",
        default=[1, 2, 3, 5, 10],
        metavar="K",
        help="boxes per category",
    )
    add("--seeds", type=int, default=10, metavar="N", help="seeds 0 to N - 1")
    add(
        "--format",
        choices=("voc", "coco"),
        required=True,
        help="lists of images, or of boxes (JSON)",
    )
    add("--out", metavar="FOLDER", required=True, help="seed n > 0 in seed{n}/")


def run(arguments: Namespace) -> None:
    from fsdet.data import open_data
    from fsdet.data.shots.shot_list import sample
    from fsdet.data.shots.write_lists import boxes_listed, write_published

    check_range(1, 10_000, seeds=arguments.seeds)
    data = open_data(arguments.root, arguments.subset)
    names = split_names(arguments.names, list(data.classes))
    num_lists = num_ambiguous = 0
    for k in arguments.shots:
        for seed in range(arguments.seeds):
            ids = sample(data, names, k, seed)
            write_published(arguments.out, data, ids, k, seed, arguments.format)
            num_lists += len(ids)
            if arguments.format == "voc":
                num_ambiguous += sum(count > k for count in boxes_listed(data, ids).values())
    print(
        f"{arguments.out}: {num_lists} lists of {len(names)} categories, seeds 0 to {arguments.seeds - 1}"
    )
    if num_ambiguous:
        print(
            f"in {num_ambiguous} of them the images have more boxes of the category than shots: TFA takes"
            " some at random"
        )
