"""Rows, losses and detections to make reports of, and a parser of pages."""

import math
from html.parser import HTMLParser

import numpy as np

from fsdet.report.detections import CategoryGallery, DetectionCrop, DetectionResults

NOVEL_NAMES = ("gear", "heart", "tee")
BASE_NAMES = ("arrow", "bolt", "cross", "star")


def row(method, shots, seed, value, protocol="novel", **more):
    """A row of `results.json` with an nAP50 of `value`."""
    measurement = {
        "method": method,
        "data": "shapes",
        "split": "shapes1",
        "shots": shots,
        "seed": seed,
    }
    return measurement | {"protocol": protocol, "nAP50": value, "adapt_seconds": 0.1} | more


def rows_of_a_run(methods=("maml", "cosine", "prototype"), seeds=10):
    """Rows of a whole run: methods x 4 shot counts x seeds x 2 protocols, and one row of 0 shots."""
    random = np.random.default_rng(0)
    noise = random.normal(0, 2, (seeds, 11))
    rows = []
    for index, method in enumerate(methods):
        for shots in (1, 3, 5, 10):
            for seed in range(seeds):
                novel = 75 + 7 * math.log(shots) - 1.5 * index + noise[seed, shots] / shots
                novel += random.normal(0, 0.4)
                for protocol in ("novel", "all"):
                    names = NOVEL_NAMES if protocol == "novel" else NOVEL_NAMES + BASE_NAMES
                    more = {"nAP": novel * 0.6, "AP50": novel, "AP": novel * 0.6}
                    more["per_class"] = {name: novel + random.normal(0, 3) for name in names}
                    if protocol == "all":
                        more |= {"bAP50": 85 + random.random(), "bAP": 55.0}
                    nap50 = novel - (protocol == "all")  # base categories compete
                    rows.append(row(method, shots, seed, nap50, protocol, **more))
    rows.append(row("maml", 0, 0, None, "all", bAP50=86.4))
    return rows


def records_of_training():
    return [
        {"step": step, "stage": stage, "loss_classifier": 1 / (1 + step), "loss": 2 / (1 + step)}
        for stage in ("base", "meta")
        for step in range(100)
    ]


def detection_results(names=BASE_NAMES + NOVEL_NAMES, novel=NOVEL_NAMES, **more):
    """Detections of 5 seeds, 10 boxes of each category, eight of them found."""
    n = len(names)
    counts = np.zeros((n + 2, n + 1), int)
    counts[np.arange(1, n + 1), np.arange(1, n + 1)] = 8
    counts[1:-1, 0] = 2
    curve = np.repeat([1.0, 0.5, 0.0], [50, 30, 21])  # its mean is 65 / 101
    picture = np.zeros((30, 40, 3), np.uint8)
    square = np.zeros((20, 20, 3), np.uint8)
    crops = [DetectionCrop(square, 0.91, ""), DetectionCrop(square, 0.9, names[0])]
    values = {
        "method": "maml", "shots": 5, "seed": 0, "threshold": 0.5, "names": names, "novel": novel,
        "precision": {name: np.tile(curve, (5, 1)) for name in novel}, "counts": counts,
        "best": [("best.jpg", picture)], "worst": [("worst.jpg", picture)],
        "galleries": {name: CategoryGallery([square], crops, crops[1:]) for name in novel},
    }  # fmt: skip
    return DetectionResults(**values | more)


class Page(HTMLParser):
    """Tags, addresses and text of an HTML page."""

    def __init__(self):
        super().__init__()
        self.tags, self.addresses, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            assert not name.startswith("on"), "a script in an attribute"
            if name in ("src", "href", "xlink:href", "action", "data", "srcset"):
                self.addresses.append(value)

    def handle_data(self, data):
        self.text.append(data)
