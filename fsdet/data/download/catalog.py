"""Published data sets: their archives, the hosts of these, and the files that they unpack to."""

import posixpath
from dataclasses import dataclass
from pathlib import Path

from fsdet.data.download.fetch import with_suffix

# VOC moved to thor in 2025 (pytorch/vision#9216, by its maintainer). COCO's host has no certificate of
# its own: its files are trusted for their checksums.
VOC = "https://thor.robots.ox.ac.uk/pascal/VOC"
COCO = "http://images.cocodataset.org"
LVIS = "https://dl.fbaipublicfiles.com"

BLOCKS = 1.05  # unpacked bytes per byte of an archive of images: files take whole blocks
JSON = 4.0  # of an archive of COCO's or LVIS's annotations


@dataclass(frozen=True)
class Archive:
    """A tar or zip file of a data set."""

    host: str
    path: str  # on the host
    size: int  # bytes
    sha256: str
    contents: tuple[str, ...]  # paths in the folder that exist once it is unpacked
    subfolder: str = ""  # of the folder: it is unpacked there
    growth: float = BLOCKS  # upper bound of unpacked bytes per byte

    @property
    def name(self) -> str:
        """File name of the archive."""
        return posixpath.basename(self.path)

    def is_unpacked(self, folder: Path) -> bool:
        """Whether the folder has the contents of this archive, completely unpacked."""
        exists = all((folder / path).exists() for path in self.contents)
        return exists and not self.unpacking(folder).exists()

    def unpacking(self, folder: Path) -> Path:
        """Name of the archive while it is unpacked; the file remains if this is interrupted."""
        return with_suffix(folder / self.name, ".unpacking")


@dataclass(frozen=True)
class Published:
    """A data set as few-shot detection uses it."""

    folder: str  # default folder
    archives: tuple[Archive, ...]
    root: str  # of the data set, in the folder
    subsets: tuple[str, ...]
    note: str = ""  # a hint to users of other subsets


def _voc(path: str, size: int, sha256: str, contents: str) -> Archive:
    return Archive(VOC, path, size, sha256, (f"VOCdevkit/{contents}.txt",))


def _images(name: str, size: int, sha256: str) -> Archive:
    return Archive(COCO, f"zips/{name}.zip", size, sha256, (name,))


def _annotations(year: int, size: int, sha256: str) -> Archive:
    contents = tuple(f"annotations/instances_{subset}{year}.json" for subset in ("train", "val"))
    path = f"annotations/annotations_trainval{year}.zip"
    return Archive(COCO, path, size, sha256, contents, growth=JSON)


def _lvis(name: str, size: int, sha256: str) -> Archive:
    contents = (f"annotations/{name}",)
    return Archive(LVIS, f"LVIS/{name}.zip", size, sha256, contents, "annotations", JSON)


# Small files first, so that problems of network or disk appear early. Sizes and SHA-256 are those in
# tensorflow_datasets (url_checksums/coco.txt and voc.txt, object_detection/lvis/checksums.tsv);
# torchvision's prototype data sets have the same checksums for VOC and COCO.
# fmt: off
_VOC = (
    _voc("voc2007/VOCtrainval_06-Nov-2007.tar", 460032000,
         "7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508", "VOC2007/ImageSets/Main/trainval"),
    _voc("voc2007/VOCtest_06-Nov-2007.tar", 451020800,
         "6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892", "VOC2007/ImageSets/Main/test"),
    _voc("voc2012/VOCtrainval_11-May-2012.tar", 1999639040,
         "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb", "VOC2012/ImageSets/Main/trainval"),
)
_IMAGES_2017 = (
    _images("val2017", 815585330, "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"),
    _images("train2017", 19336861798, "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929"),
)
_COCO_2017 = (
    _annotations(2017, 252907541, "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268"),
    *_IMAGES_2017,
)
_COCO_2014 = (
    _annotations(2014, 252872794, "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009"),
    _images("val2014", 6645013297, "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0"),
    _images("train2014", 13510573713, "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775"),
)
_LVIS = (
    _lvis("lvis_v1_val.json", 64026968, "5cae9a3c79aadb667550c2b5dcf7f4d86e059a41ec91ef690225b667e28e9ba5"),
    _lvis("lvis_v1_train.json", 350264821, "334a4caa374030a7817cf050364525e910f7960f9b6968cef47cffbf3893f8ba"),
    *_IMAGES_2017,
)
# fmt: on

PUBLISHED = {
    "voc": Published(".", _VOC, "VOC0712", ("trainval", "test")),
    "coco": Published("coco", _COCO_2017, ".", ("train2017", "val2017")),
    "coco2014": Published(
        "coco",
        _COCO_2014,
        ".",
        ("train2014", "val2014"),
        "trainvalno5k and 5k are in COCO 2017: fsdet download coco",
    ),
    "lvis": Published("coco", _LVIS, ".", ("lvis_v1_train", "lvis_v1_val")),
}
