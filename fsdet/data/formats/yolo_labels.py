"""Label files of a YOLO folder: which belongs to an image, and which to none."""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from fsdet.data.names import SimilarNames, stem
from fsdet.data.paths import FolderListing


def label_file_of(image: str) -> str:
    """labels/.../x.txt for images/.../x.jpg; the last `images` of the path is replaced."""
    return stem(_images_to_labels(image)) + ".txt"


def label_files(root: Path, images: Sequence[str]) -> dict[str, str]:
    """Image -> its label file, by names that mean the same, in labels/ or beside the image.

    Raises:
        InputError: a folder of labels outside the root.
    """
    listings: dict[str, SimilarNames] = {}
    found = {}
    for image in images:
        for expected in (label_file_of(image), stem(image) + ".txt"):
            folder, base = os.path.split(expected)
            if folder not in listings:
                listings[folder] = FolderListing.scan(root, folder).similar
            if name := listings[folder].find(base):
                found[image] = os.path.join(folder, name)
                break
    return found


def label_folder_of(folder: str) -> str:
    """The folder of the labels for a folder of images."""
    return _images_to_labels(f"{folder}/").rstrip("/")


def orphan_label_files(root: Path, folders: Sequence[str], used: Collection[str]) -> Iterator[str]:
    """Label files that are not used by any image, relative to the root."""
    for folder in dict.fromkeys(map(label_folder_of, folders)):
        if folder in folders:
            continue  # labels beside images: other text files are indistinguishable from labels
        for parent, _, files in sorted(os.walk(root / folder)):
            for file in sorted(files):
                path = os.path.relpath(os.path.join(parent, file), root)
                if file.endswith(".txt") and file != "classes.txt" and path not in used:
                    yield path


def _images_to_labels(path: str) -> str:
    before, images, after = f"/{path}".rpartition("/images/")
    return (f"{before}/labels/{after}" if images else path).lstrip("/")
