"""The published data sets: which files they consist of, where these are, and what they unpack to."""

import posixpath
from dataclasses import dataclass
from pathlib import Path

from fsdet.data.download.fetch import beside

# VOC moved to thor in 2025 (pytorch/vision#9216, by who runs it). COCO's host has no certificate of
# its own: what comes is trusted for its checksum.
VOC = "https://thor.robots.ox.ac.uk/pascal/VOC"
COCO = "http://images.cocodataset.org"
LVIS = "https://dl.fbaipublicfiles.com"

ON_DISK = 1.05  # files take whole blocks
JSON = 4.0  # COCO's and LVIS's annotations are about a third of themselves when zipped


@dataclass(frozen=True)
class Archive:
    """A tar or zip file of a data set."""

    host: str
    path: str  # on the host
    size: int  # bytes
    sha256: str
    gives: tuple[str, ...]  # paths in the folder that are there once it is unpacked
    into: str = ""  # where in the folder it is unpacked
    grows: float = ON_DISK  # bytes that it takes unpacked, at most, for each of its own

    @property
    def name(self) -> str:
        return posixpath.basename(self.path)

    def is_there(self, folder: Path) -> bool:
        """Whether the folder has what it gives, and nothing is left of a half unpacked one."""
        whole = all((folder / path).exists() for path in self.gives)
        return whole and not self.unpacking(folder).exists()

    def unpacking(self, folder: Path) -> Path:
        """What the file is called from the first unpacked byte to the last: it was stopped if it is there."""
        return beside(folder / self.name, ".unpacking")


@dataclass(frozen=True)
class Published:
    """A data set as the field uses it."""

    folder: str  # where it goes if nobody says
    archives: tuple[Archive, ...]
    root: str  # of the data set, in the folder
    subsets: tuple[str, ...]
    note: str = ""  # for who expects others


# Small files first: what is wrong with a network or a disk shows early. Sizes and SHA-256 are those that
# tensorflow_datasets records (url_checksums/coco.txt and voc.txt, object_detection/lvis/checksums.tsv);
# torchvision's prototype data sets have the same checksums for VOC and COCO.
_VOC = (
    Archive(
        VOC,
        "voc2007/VOCtrainval_06-Nov-2007.tar",
        460032000,
        "7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508",
        ("VOCdevkit/VOC2007/ImageSets/Main/trainval.txt",),
    ),
    Archive(
        VOC,
        "voc2007/VOCtest_06-Nov-2007.tar",
        451020800,
        "6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892",
        ("VOCdevkit/VOC2007/ImageSets/Main/test.txt",),
    ),
    Archive(
        VOC,
        "voc2012/VOCtrainval_11-May-2012.tar",
        1999639040,
        "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
        ("VOCdevkit/VOC2012/ImageSets/Main/trainval.txt",),
    ),
)
_IMAGES_2017 = (
    Archive(
        COCO,
        "zips/val2017.zip",
        815585330,
        "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
        ("val2017",),
    ),
    Archive(
        COCO,
        "zips/train2017.zip",
        19336861798,
        "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
        ("train2017",),
    ),
)
_COCO_2017 = (
    Archive(
        COCO,
        "annotations/annotations_trainval2017.zip",
        252907541,
        "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
        ("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
        grows=JSON,
    ),
    *_IMAGES_2017,
)
_COCO_2014 = (
    Archive(
        COCO,
        "annotations/annotations_trainval2014.zip",
        252872794,
        "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
        ("annotations/instances_train2014.json", "annotations/instances_val2014.json"),
        grows=JSON,
    ),
    Archive(
        COCO,
        "zips/val2014.zip",
        6645013297,
        "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
        ("val2014",),
    ),
    Archive(
        COCO,
        "zips/train2014.zip",
        13510573713,
        "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
        ("train2014",),
    ),
)
_LVIS = (
    Archive(
        LVIS,
        "LVIS/lvis_v1_val.json.zip",
        64026968,
        "5cae9a3c79aadb667550c2b5dcf7f4d86e059a41ec91ef690225b667e28e9ba5",
        ("annotations/lvis_v1_val.json",),
        into="annotations",
        grows=JSON,
    ),
    Archive(
        LVIS,
        "LVIS/lvis_v1_train.json.zip",
        350264821,
        "334a4caa374030a7817cf050364525e910f7960f9b6968cef47cffbf3893f8ba",
        ("annotations/lvis_v1_train.json",),
        into="annotations",
        grows=JSON,
    ),
    *_IMAGES_2017,
)

PUBLISHED = {
    "voc": Published(".", _VOC, "VOC0712", ("trainval", "test")),
    "coco": Published("coco", _COCO_2017, ".", ("train2017", "val2017")),
    "coco2014": Published(
        "coco",
        _COCO_2014,
        ".",
        ("train2014", "val2014"),
        "the field's trainvalno5k and 5k are 2017's: fsdet download coco",
    ),
    "lvis": Published("coco", _LVIS, ".", ("lvis_v1_train", "lvis_v1_val")),
}
