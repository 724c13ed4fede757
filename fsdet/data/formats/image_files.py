"""Image files that annotations name: found in the folders of a root, by names as other systems write them."""

import os
from collections.abc import Sequence
from pathlib import Path

from fsdet.data.names import forward
from fsdet.data.paths import FolderListing, resolve_inside
from fsdet.errors import InputError


class ImageFiles:
    """Image files below a root; each folder is listed once, which is faster than asking for every file.

    Args:
        folders: folders of images relative to the root, likeliest first.
    """

    def __init__(self, root: Path, folders: Sequence[str]):
        self.root, self.folders = root, folders
        self._listings: dict[str, FolderListing] = {}

    def find(self, name: str) -> str | None:
        """Path of an image relative to the root; None if there is no such file.

        A path of another machine, with a drive or folders that are not here, is found by its last part.

        Raises:
            InputError: a file outside the root.
        """
        outside = None
        for folder in self.folders:
            for spelling in dict.fromkeys((name, forward(name))):
                try:
                    if path := self._in_folder(folder, spelling):
                        return path
                except InputError as error:
                    outside = error
        base = forward(name).rstrip("/").rpartition("/")[2]
        if base != name:
            for folder in self.folders:
                if path := self._in_folder(folder, base):
                    return path
        if outside:
            raise outside
        return None

    def _in_folder(self, folder: str, name: str) -> str | None:
        try:
            path = name if folder == "." else f"{folder}/{name}"
            if name.startswith("/"):
                path = os.path.relpath(resolve_inside(self.root, name), self.root)
            elif ".." in path:
                path = os.path.relpath(resolve_inside(self.root, path), self.root)
            parent, _, base = path.rpartition("/")
            if parent not in self._listings:
                self._listings[parent] = FolderListing.scan(self.root, parent)
        except ValueError as error:  # NUL in a name
            if isinstance(error, InputError):
                raise
            return None
        found = self._listings[parent].similar.find(base)
        if found is None:
            return None
        path = f"{parent}/{found}" if parent else found
        if found in self._listings[parent].links:
            resolve_inside(self.root, path)
        return path
