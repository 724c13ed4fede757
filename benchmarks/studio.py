"""Speed and accuracy of the studio in headless Chromium, on real photographs.

A script drops photographs of one category on the page, draws the boxes of two of them with the mouse, names the
category and presses the key of Teach. Measured are the seconds from the press to detections on all photographs, on
the page and in the studio itself, and the IoU of detections with the ground truth in the other photographs.

example:
  python benchmarks/studio.py runs/shapes --data shapes --category gear
  python benchmarks/studio.py runs/fod-split1 --data fod --category SodaCan --picture docs/studio.jpg
"""

import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.browser import Person, Server, unzipped
from pycocotools.coco import COCO
from selenium.webdriver.common.keys import Keys

from fsdet.apps.studio.boxes import iou
from fsdet.cli import program
from fsdet.data import open_data


def main() -> None:
    usage = "RUN --data DATA --category NAME [options]"
    parser = program.Parser("benchmarks/studio.py", usage, __doc__)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--data", required=True, metavar="DATA", help="its subset test is used")
    parser.add_argument("--category", required=True, metavar="NAME")
    parser.add_argument("--photos", type=int, default=8, help="default: 8")
    parser.add_argument("--repeats", type=int, default=5, help="default: 5")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of photographs")
    parser.add_argument("--picture", type=Path, help="a screenshot of the page goes here")
    arguments = parser.parse_args()
    data = open_data(arguments.data, "test")
    label = data.classes.index(arguments.category) + 1
    rng = np.random.default_rng(arguments.seed)
    page_seconds, studio_seconds, overlaps = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Server(
            folder / "log.txt", "--detector", arguments.run, "--folder", str(folder / "s")
        ) as server:
            for turn in range(arguments.repeats):
                chosen = rng.choice(data.images_of(label), arguments.photos, replace=False).tolist()
                files, truth = write(data, label, chosen, folder / f"photos{turn}")
                size = (1300, 1500)
                with Person(server.address, folder / f"browser{turn}", size) as person:
                    page_seconds.append(teach(person, files, truth, arguments.category))
                    studio_seconds.append(float(person.said().split("(")[-1].split(" s")[0]))
                    if arguments.picture and turn == 0:
                        time.sleep(1)
                        person.browser.save_screenshot(str(folder / "page.png"))
                        page = cv2.imread(str(folder / "page.png"))
                        cv2.imwrite(str(arguments.picture), page, [cv2.IMWRITE_JPEG_QUALITY, 80])
                    overlaps.append(overlaps_of(person, folder / f"out{turn}", files, truth))
    print(f"{arguments.photos} photographs, two drawn in, {arguments.repeats} times:")
    print(f"  from Teach to detections on the page: {np.round(page_seconds, 2).tolist()} s")
    print(f"  in the studio itself: {np.round(studio_seconds, 2).tolist()} s")
    for turn, values in enumerate(overlaps):
        right = sum(value >= 0.5 for value in values)
        print(
            f"  {turn}: detected in {right} of {len(values)} others; IoU {np.round(values, 2).tolist()}"
        )


def write(data, label: int, chosen: list[int], folder: Path) -> tuple[list[Path], list[list]]:
    """Photographs as files, and the boxes of the category in each."""
    folder.mkdir()
    files, truth = [], []
    for n, i in enumerate(chosen):
        image, target = data[i]
        files.append(folder / f"{n}.png")
        cv2.imwrite(str(files[-1]), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        truth.append(target["boxes"][target["labels"] == label].tolist())
    return files, truth


def teach(person: Person, files: list[Path], truth: list[list], name: str) -> float:
    """Drop photographs, draw boxes in two, name and teach; seconds from the button to the detections."""
    person.upload(files)
    person.wait(lambda: len(person.photos()) == len(files))
    for n in range(2):
        person.open(n)
        for box in truth[n]:
            person.draw(np.array(box))
        if not n:
            person.name(name)
        person.keys("c")
    start = time.perf_counter()
    person.keys("t")
    person.wait(lambda: "found" in person.said())
    return time.perf_counter() - start


def overlaps_of(person: Person, out: Path, files: list[Path], truth: list[list]) -> list[float]:
    """Accept all detections and export them; the best IoU with the truth in each of the other photographs."""
    for n in range(2, len(files)):
        person.open(n)
        person.keys(Keys.ENTER)
        person.wait(lambda n=n: f"({n + 1} of " not in person.status() or n == len(files) - 1)
    person.press("#studio-trade .label-wrap")
    coco = COCO(
        str(unzipped(person.download("#studio-pack"), out) / "annotations/instances_train.json")
    )
    boxes = {file.name: [] for file in files}
    for image in coco.loadImgs(coco.getImgIds()):
        for annotation in coco.loadAnns(coco.getAnnIds(image["id"])):
            x, y, w, h = annotation["bbox"]
            boxes[image["file_name"]].append((x, y, x + w, y + h))
    return [
        max((iou(box, tuple(t)) for box in boxes[file.name] for t in true), default=0.0)
        for file, true in list(zip(files, truth, strict=True))[2:]
    ]


if __name__ == "__main__":
    program.exit_with(main)
