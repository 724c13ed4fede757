"""How long the studio takes, and whether it finds what a person drew: Chromium on real photographs.

In headless Chromium: photographs of one category are dropped on the page, boxes are drawn on two of them with
the mouse, named and taught. Measured is the time from the last box to detections on all eight photographs, as the
person sees it and in the studio itself, and the overlap of what is found in the others with the truth.

example:
  python benchmarks/studio.py runs/quickstart --data shapes --category gear
  python benchmarks/studio.py runs/fod-split1 --data fod --category SodaCan --picture docs/studio.jpg
"""

import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from browser import Person, Server, unzipped
from pycocotools.coco import COCO

from fsdet.apps.studio.boxes import iou
from fsdet.cli import program
from fsdet.data import open_data


def main() -> None:
    parser = program.Parser(
        __doc__, "benchmarks/studio.py RUN --data DATA --category NAME [options]"
    )
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--data", required=True, metavar="DATA", help="its subset test is used")
    parser.add_argument("--category", required=True, metavar="NAME")
    parser.add_argument("--photos", type=int, default=8, help="default: 8")
    parser.add_argument("--repeats", type=int, default=5, help="default: 5")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of photographs")
    parser.add_argument("--picture", type=Path, help="a screenshot of the page goes here")
    words = parser.parse_args()
    data = open_data(words.data, "test")
    label = data.classes.index(words.category) + 1
    rng = np.random.default_rng(words.seed)
    seen, inner, overlaps = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Server(
            folder / "log.txt", "--detector", words.run, "--folder", str(folder / "s")
        ) as server:
            for turn in range(words.repeats):
                chosen = rng.choice(data.images_of(label), words.photos, replace=False).tolist()
                files, truth = write(data, label, chosen, folder / f"photos{turn}")
                size = (1300, 1500)
                with Person(server.address, folder / f"browser{turn}", size) as person:
                    taken = teach(person, files, truth, data.sizes[chosen], words.category)
                    seen.append(taken)
                    inner.append(float(person.said().split("(")[-1].split(" s")[0]))
                    if words.picture and turn == 0:
                        time.sleep(1)
                        person.browser.save_screenshot(str(folder / "page.png"))
                        page = cv2.imread(str(folder / "page.png"))
                        cv2.imwrite(str(words.picture), page, [cv2.IMWRITE_JPEG_QUALITY, 80])
                    overlaps.append(found(person, folder / f"out{turn}", files, truth))
    print(f"{words.photos} photographs, two drawn in, {words.repeats} times:")
    print(f"  from Teach to what is found, on the page: {np.round(seen, 2).tolist()} s")
    print(f"  of it learning and looking: {np.round(inner, 2).tolist()} s")
    for turn, values in enumerate(overlaps):
        right = sum(value >= 0.5 for value in values)
        print(
            f"  {turn}: found in {right} of {len(values)} others; IoU {np.round(values, 2).tolist()}"
        )


def write(data, label: int, chosen: list[int], folder: Path) -> tuple[list[Path], list[list]]:
    """Photographs as files, and the boxes of the category in each."""
    folder.mkdir()
    files, truth = [], []
    for place, i in enumerate(chosen):
        image, target = data[i]
        files.append(folder / f"{place}.png")
        cv2.imwrite(str(files[-1]), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        truth.append(target["boxes"][target["labels"] == label].tolist())
    return files, truth


def teach(
    person: Person, files: list[Path], truth: list[list], sizes: np.ndarray, name: str
) -> float:
    """Drop, draw in two, name, teach; seconds from the button to the picture of what was found."""
    person.upload(files)
    person.wait(lambda: len(person.photos()) == len(files))
    person.one("#studio-canvas canvas")
    for place in range(2):
        if place:
            person.open(place)
        for box in truth[place]:
            person.draw(np.array(box), int(sizes[place, 1]))
    person.name(name)
    start = time.perf_counter()
    person.press("#studio-teach")
    person.wait(lambda: "found" in person.said())
    taken = time.perf_counter() - start
    time.sleep(1)  # thresholds are chosen after that
    return taken


def found(person: Person, out: Path, files: list[Path], truth: list[list]) -> list[float]:
    """Everything is accepted and taken away: for each of the other photographs the best overlap with its truth."""
    while any(e.is_displayed() for e in person.find("#studio-every")):
        before = person.said()
        person.press("#studio-every")
        person.wait(lambda before=before: person.said() != before)
        time.sleep(0.5)
    person.press("#studio-trade .label-wrap")
    coco = COCO(
        str(unzipped(person.download("#studio-pack"), out) / "annotations/instances_train.json")
    )
    boxes = {file.name: [] for file in files}
    for image in coco.loadImgs(coco.getImgIds()):
        for one in coco.loadAnns(coco.getAnnIds(image["id"])):
            x, y, w, h = one["bbox"]
            boxes[image["file_name"]].append((x, y, x + w, y + h))
    return [
        max((iou(box, tuple(t)) for box in boxes[file.name] for t in true), default=0.0)
        for file, true in list(zip(files, truth, strict=True))[2:]
    ]


if __name__ == "__main__":
    program.exit_with(main)
