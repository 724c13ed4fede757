"""A project's labels as the zip of a data set, and such zips, or a COCO JSON, as labels of a project."""

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

from fsdet.apps.studio.project import Box, Corners, Project, checked_name
from fsdet.data.dataset import DetectionData
from fsdet.data.formats import write
from fsdet.data.open import open_data, subsets
from fsdet.data.paths import PackedNames
from fsdet.errors import InputError, nearest

SUBSET = "train"
MOST_FILES, MOST_BYTES = 20_000, 2 * 10**9  # that an archive may unpack to
BROKEN = (  # what Python's zipfile raises of archives that are cut, changed, encrypted or of another kind
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
)
Brought = Mapping[str, list[Box]]  # name of a photograph -> its boxes


def as_data(project: Project, root: Path = Path()) -> DetectionData:
    """What a project's boxes say, as the readers of data sets would: photographs that somebody looked at.

    Raises:
        InputError: nothing has been labelled yet.
    """
    classes = project.categories
    photos = [photo for photo in project.photos if project.of(photo.key).boxes]
    rows = [
        (place, classes.index(box.category) + 1, *box.corners)
        for place, photo in enumerate(photos)
        for box in project.of(photo.key).boxes
        if box.category
    ]
    if not rows:
        raise InputError("nothing to take away yet: draw a box and give it a name first")
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


def zipped(
    project: Project, kind: str, to: Path, file_of: Callable[[str], Path] | None = None
) -> None:
    """Write a project's labels as the zip of a data set.

    Args:
        kind: "COCO", "VOC" or "YOLO".
        file_of: key of a photograph -> its file, if the photographs are to be in the zip.

    Raises:
        InputError: another kind, or nothing labelled.
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
        if file_of is None:
            return
        for photo in project.photos:
            if photo.name in names:
                path = f"{folder.format(subset=SUBSET)}/{photo.name}"
                archive.write(file_of(photo.key), path, zipfile.ZIP_STORED)


def brought(
    content: bytes, name: str, photos: Mapping[str, Path]
) -> tuple[Brought, dict[str, bytes]]:
    """Labels from a zip of a data set in any of the formats, or from a COCO JSON alone.

    Args:
        content, name: of the file that came.
        photos: photographs that are there already, by name: labels may be of these.

    Returns:
        Boxes by the name of their photograph, and the photographs that came along.

    Raises:
        InputError: neither a zip nor a JSON, a zip that leads out of itself or is too large, no data set, or
            labels of photographs that are neither there nor in it.
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
        came = {path.name for path in root.rglob("*") if path.is_file()}
        for photo, file in photos.items():
            for place in ("images", "JPEGImages", f"images/{SUBSET}"):
                target = root / place / photo
                if photo not in came:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _same(file, target)
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
        except InputError as error:  # of a folder that nobody knows
            raise InputError(str(error).replace(str(root), f"'{name}'")) from error
    if not any(boxes.values()):
        raise InputError(
            f"'{name}': no box in it is of a photograph that came along or is in the project;"
            " are the file names the same?"
        )
    return boxes, files


def _same(file: Path, target: Path) -> None:
    """The file under another name too; a copy, where that cannot be."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


def _boxes(data: DetectionData, i: int) -> list[Box]:
    rows = data.rows(i)
    pairs = zip(data.labels[rows].tolist(), data.boxes[rows].tolist(), strict=True)
    return [Box(checked_name(data.classes[n - 1]), _corners(box)) for n, box in pairs]


def _corners(box: list[float]) -> Corners:
    x1, y1, x2, y2 = box
    return x1, y1, x2, y2


def _unpack(content: bytes, name: str, root: Path) -> None:
    """The plain files of an archive under `root`; bounded, and nowhere else."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            size = sum(one.file_size for one in members)
            if len(members) > MOST_FILES or size > MOST_BYTES:
                raise InputError(
                    f"'{name}': {len(members)} files of {size / 1e9:.1f} GB in all; expected up to"
                    f" {MOST_FILES} and {MOST_BYTES / 1e9:.0f} GB"
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
    """The folder that holds the data set: the archive's, or the one folder in it."""
    for place in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        if subsets(place):
            return place
    found = ", ".join(sorted(os.listdir(root))[:5]) or "nothing"
    raise InputError(
        f"'{name}': no data set in it, found {found}; expected annotations/*.json,"
        " Annotations/ with ImageSets/Main/, or data.yaml"
    )
