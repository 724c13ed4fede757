"""Exchange of labels: a project as the zip of a data set, and data sets as labels of a project."""

import io
import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np

from fsdet.apps.studio.project import Box, Photo, Project, checked_name
from fsdet.data.dataset import DetectionData
from fsdet.data.formats import write
from fsdet.data.open import open_data, subsets
from fsdet.data.paths import PackedNames
from fsdet.errors import InputError, nearest

SUBSET = "train"
MAX_FILES, MAX_BYTES = 20_000, 2 * 10**9  # of an unpacked archive
BROKEN = (  # raised by Python's zipfile for cut, damaged, encrypted or unsupported archives
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
)


def exported(project: Project) -> list[Photo]:
    """The photographs of a project with boxes, and those marked empty."""
    labels = [(photo, project.of(photo.key)) for photo in project.photos]
    return [photo for photo, of_it in labels if of_it.boxes or of_it.complete]


def as_data(project: Project, root: Path = Path()) -> DetectionData:
    """The photographs of a project that are exported, as a data set.

    Raises:
        InputError: no box has a category yet.
    """
    classes, photos = project.categories, exported(project)
    rows = [
        (index, classes.index(box.category) + 1, *box.corners)
        for index, photo in enumerate(photos)
        for box in project.of(photo.key).boxes
        if box.category
    ]
    if not rows:
        raise InputError("nothing to export yet: draw a box and give it a name first")
    table = np.array(rows, np.float64)
    boxes = table[:, 2:]
    counts = np.bincount(table[:, 0].astype(int), minlength=len(photos))
    return DetectionData(
        root=root,
        classes=classes,
        category_ids=np.arange(1, len(classes) + 1),
        image_ids=np.arange(1, len(photos) + 1),
        sizes=np.array([(photo.height, photo.width) for photo in photos]),
        paths=PackedNames.pack([photo.name for photo in photos]),
        starts=np.concatenate([[0], np.cumsum(counts)]),
        boxes=boxes,
        labels=table[:, 1],
        ids=np.arange(1, len(rows) + 1),
        areas=(boxes[:, 2:] - boxes[:, :2]).prod(1),
        ignore=np.zeros(len(rows), bool),
    )


def write_zip(
    project: Project, kind: str, to: Path, file_of: Callable[[str], Path] | None = None
) -> None:
    """Write a project's labels as the zip of a data set.

    Args:
        kind: "COCO", "VOC" or "YOLO".
        to: the zip.
        file_of: key of a photograph -> its file; None: a zip without photographs.

    Raises:
        InputError: another kind, or no box with a category.
    """
    if kind not in write.FORMATS:
        raise InputError(
            f"expected one of {', '.join(write.FORMATS)}{nearest(kind, write.FORMATS)}"
        )
    annotations, folder = write.FORMATS[kind]
    data = as_data(project)
    names = set(write.file_names(data))
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in annotations(data, SUBSET):
            archive.writestr(path, text)
        for photo in project.photos:
            if file_of is not None and photo.name in names:
                path = f"{folder.format(subset=SUBSET)}/{photo.name}"
                archive.write(file_of(photo.key), path, zipfile.ZIP_STORED)


def read_labels(
    content: bytes, name: str, photos: Mapping[str, Path]
) -> tuple[dict[str, list[Box]], dict[str, bytes]]:
    """Read labels from the zip of a data set in any format, or from a COCO JSON alone.

    Args:
        content, name: of the uploaded file.
        photos: files of the project's photographs, by name; labels may refer to them.

    Returns:
        Boxes by the name of their photograph, and the photographs in the zip.

    Raises:
        InputError: neither zip nor JSON, a zip that is too large or leads out of its folder, no data set, or
            labels of photographs that are neither in the project nor in the zip.
    """
    with TemporaryDirectory() as folder:
        root = Path(folder)
        if zipfile.is_zipfile(io.BytesIO(content)):
            _unpack(content, name, root)
        elif content.lstrip()[:1] == b"{":
            (root / "annotations").mkdir()
            (root / "annotations" / f"instances_{SUBSET}.json").write_bytes(content)
        else:
            raise InputError(f"'{name}': expected a zip of a data set or a COCO JSON")
        root = _data_root(root, name)
        try:
            _add_photos(root, photos)
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(
                f"'{name}': expected folders images and JPEGImages, got a file of such a name"
            ) from error
        boxes: dict[str, list[Box]] = {}
        files: dict[str, bytes] = {}
        try:
            for subset in subsets(root):
                data = open_data(root, subset, skip_bad=True, cache=False)
                for i in range(len(data)):
                    path = data.path(i)
                    if path.name not in boxes:  # subsets may share photographs
                        boxes[path.name] = _boxes(data, i)
                        if path.name not in photos:
                            files[path.name] = path.read_bytes()
        except InputError as error:  # the user does not know the temporary folder
            raise InputError(str(error).replace(str(root), f"'{name}'")) from error
    if not any(boxes.values()):
        raise InputError(
            f"'{name}': expected boxes of photographs in it or in the project, got none;"
            " are the file names the same?"
        )
    return boxes, files


def _add_photos(root: Path, photos: Mapping[str, Path]) -> None:
    """Put the project's photographs where a data set of any format expects its images."""
    unpacked = {path.name for path in root.rglob("*") if path.is_file()}
    for name in photos.keys() - unpacked:
        for folder in ("images", "JPEGImages", f"images/{SUBSET}"):
            target = root / folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(photos[name], target)
            except OSError:  # another file system
                shutil.copyfile(photos[name], target)


def _boxes(data: DetectionData, i: int) -> list[Box]:
    rows = data.rows(i)
    pairs = zip(data.labels[rows].tolist(), data.boxes[rows].tolist(), strict=True)
    return [
        Box(checked_name(data.classes[n - 1]), (x1, y1, x2, y2)) for n, (x1, y1, x2, y2) in pairs
    ]


def _unpack(content: bytes, name: str, root: Path) -> None:
    """Unpack the plain files of an archive into `root`, within limits."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            size = sum(member.file_size for member in members)
            if len(members) > MAX_FILES or size > MAX_BYTES:
                raise InputError(
                    f"'{name}': {len(members)} files of {size / 1e9:.1f} GB in all; expected up to"
                    f" {MAX_FILES} and {MAX_BYTES / 1e9:.0f} GB"
                )
            for member in members:
                path = PurePosixPath(member.filename.replace("\\", "/"))
                kind = stat.S_IFMT(member.external_attr >> 16)
                if path.is_absolute() or ".." in path.parts or kind not in (0, stat.S_IFREG):
                    raise InputError(f"'{name}': '{member.filename:.80}' leads out of the archive")
                target = root / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source:
                    target.write_bytes(source.read(member.file_size + 1))
    except InputError:
        raise
    except BROKEN as error:
        raise InputError(f"'{name}': the zip cannot be unpacked: {error}") from error


def _data_root(root: Path, name: str) -> Path:
    """The folder of the data set: `root`, or a folder in it."""
    for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        if subsets(folder):
            return folder
    entries = ", ".join(sorted(os.listdir(root))[:5]) or "nothing"
    raise InputError(
        f"'{name}': no data set in it, found {entries}; expected COCO's JSON, VOC's XML or"
        " YOLO's labels with classes.txt or data.yaml, beside the photographs or in folders"
    )
