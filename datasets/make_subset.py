"""Make the data sets of the measurements, `fod` and `voc2012-animals`, from the published ones.

  python datasets/make_subset.py fod FODPascalVOCFormat-V.2.1/VOC2007 fod
  python datasets/make_subset.py voc2012-animals VOCdevkit/VOC2012 voc2012-animals

The source is a folder in VOC's layout. The lists of images and the splits come from datasets/lists.
Images of voc2012-animals are reduced to a long side of 400 pixels, boxes with them, and objects
marked difficult are left out.
"""

import argparse
import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2

LISTS = Path(__file__).parent / "lists"
LONG_SIDE = {"fod": None, "voc2012-animals": 400}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=LONG_SIDE)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    lists = LISTS / arguments.name
    ids = {file.stem: file.read_text().split() for file in lists.glob("*.txt")}
    missing = [i for s in ids.values() for i in s if not image_of(arguments.source, i).is_file()]
    if missing:
        sys.exit(
            f"error: {arguments.source} lacks {len(missing)} of the listed images, the first"
            f" '{image_of(arguments.source, missing[0])}'"
        )
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (arguments.target / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(lists / "splits.yaml", arguments.target)
    for subset, names in ids.items():
        shutil.copy(lists / f"{subset}.txt", arguments.target / "ImageSets/Main")
        for name in names:
            copy(arguments.source, arguments.target, name, LONG_SIDE[arguments.name])
    print(", ".join(f"{subset}: {len(names)} images" for subset, names in sorted(ids.items())))


def image_of(root: Path, name: str) -> Path:
    return root / "JPEGImages" / f"{name}.jpg"


def copy(source: Path, target: Path, name: str, long_side: int | None) -> None:
    """Copy an image and its annotation; with `long_side`, both resized and difficult objects dropped."""
    annotation = source / "Annotations" / f"{name}.xml"
    if long_side is None:
        shutil.copy(annotation, target / "Annotations")
        shutil.copy(image_of(source, name), target / "JPEGImages")
        return
    image = cv2.imread(str(image_of(source, name)))
    height, width = image.shape[:2]
    scale = min(long_side / max(height, width), 1)
    size = (round(width * scale), round(height * scale))
    cv2.imwrite(str(image_of(target, name)), cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    resized(annotation, scale, size).write(target / "Annotations" / f"{name}.xml")


def resized(annotation: Path, scale: float, size: tuple[int, int]) -> ET.ElementTree:
    """A VOC annotation with boxes scaled, corners counted from 1, and without difficult objects and parts."""
    tree = ET.parse(annotation)
    root = tree.getroot()
    for side, value in zip(("width", "height"), size, strict=True):
        root.find(f"size/{side}").text = str(value)
    for entry in root.findall("object"):
        if (entry.findtext("difficult") or "0").strip() == "1":
            root.remove(entry)
            continue
        for part in entry.findall("part"):
            entry.remove(part)
        for corner in entry.find("bndbox"):
            corner.text = f"{max(float(corner.text) * scale, 1):.2f}"
    return tree


if __name__ == "__main__":
    main()
