"""Layout of a COCO folder: where the JSON of each subset lies."""

from pathlib import Path

from fsdet.data.formats.coco_images import ROBOFLOW_FILE
from fsdet.data.formats.coco_json import is_coco_json
from fsdet.files import is_file

PREFIX = "instances_"
# Files in the folder of a subset that are called after their format or not at all.
FOLDER_FILES = (ROBOFLOW_FILE, "annotations.json", "labels.json", "result.json", "coco.json")
# COCO's other annotations of the images of instances_*.json.
OTHERS = ("captions_", "image_info_", "panoptic_", "person_keypoints_", "stuff_")


def coco_jsons(root: Path) -> dict[str, Path]:
    """Subset -> its JSON: those of annotations/, of folders of subsets, and of the root itself."""
    found: dict[str, Path] = {}
    for file in _files(root, "annotations/*.json"):
        if file.name.startswith(PREFIX):
            found[file.stem.removeprefix(PREFIX)] = file
    for file in _files(root, "annotations/*.json"):
        if not file.name.startswith((PREFIX, *OTHERS)) and is_coco_json(file):
            found.setdefault(file.stem, file)
    for name in FOLDER_FILES:
        for file in _files(root, f"*/{name}"):
            if file.parent.name != "annotations" and is_coco_json(file):
                found.setdefault(file.parent.name, file)
    for file in _files(root, "*.json"):
        if is_coco_json(file):
            found.setdefault(file.stem.removeprefix(PREFIX), file)
    return found


def find_json(root: Path, subset: str) -> Path | None:
    """The JSON of a subset; a subset that ends in .json is a path from the root or from here."""
    if subset.endswith(".json"):
        candidates = [root / subset, Path(subset)]
    else:
        stems = (f"annotations/{PREFIX}{subset}", f"annotations/{subset}")
        candidates = [*(root / f"{stem}.json" for stem in stems), root / subset / ROBOFLOW_FILE]
    named = next((file for file in candidates if is_file(file)), None)
    return named or coco_jsons(root).get(subset)


def _files(root: Path, pattern: str) -> list[Path]:
    return [file for file in sorted(root.glob(pattern)) if is_file(file)]
