"""Base and novel categories by name: the field's published splits, or a user's own from a file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fsdet import safe_yaml
from fsdet.data.formats.lvis import ABSENT, PARTIAL, Federated
from fsdet.errors import InputError, nearest, one_line

LEFT_OUT = " (data.allow_missing=true leaves such categories out)"


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


VOC_CLASSES = _names(
    "aeroplane,bicycle,bird,boat,bottle,bus,car,cat,chair,cow,diningtable,dog,horse,motorbike,"
    "person,pottedplant,sheep,sofa,train,tvmonitor"
)
COCO_CLASSES = _names(
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,"
    "stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,"
    "backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,"
    "baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,"
    "banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,"
    "oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,"
    "toothbrush"
)
VOC_NOVEL = {
    "voc1": _names("bird,bus,cow,motorbike,sofa"),
    "voc2": _names("aeroplane,bottle,cow,horse,sofa"),
    "voc3": _names("boat,cat,motorbike,sheep,sofa"),
}
# VOC's twenty categories under COCO's names, in COCO's order.
COCO_NOVEL = _names(
    "person,bicycle,car,motorcycle,airplane,bus,train,boat,bird,cat,dog,horse,sheep,cow,bottle,"
    "chair,couch,potted plant,dining table,tv"
)


@dataclass(frozen=True)
class FewShotSplit:
    """Categories learnt from all their boxes (`base`; none if a detector comes from other data) and from a few.

    They share no name and some are novel, else `InputError`.
    """

    name: str
    base: tuple[str, ...]
    novel: tuple[str, ...]

    def __post_init__(self):
        object.__setattr__(self, "base", tuple(self.base))
        object.__setattr__(self, "novel", tuple(self.novel))
        if not self.novel:
            raise InputError(f"split '{self.name}' has no novel categories")
        names_so_far = set()
        for name in self.base + self.novel:
            if name in names_so_far:
                raise InputError(f"split '{self.name}' names category '{name}' twice")
            names_so_far.add(name)


def find(
    name: str,
    classes: Sequence[str],
    root: Path | str | None = None,
    allow_missing: bool = False,
    federated: Federated | None = None,
) -> FewShotSplit:
    """The split of this name for a data set with these categories.

    `name` is a published split ("voc1" to "voc3", "coco", or "lvis": the rare categories are novel,
    by the frequencies in `federated`), one of the generated shapes ("shapes1" to "shapes3"),
    "FILE.yaml:NAME", or NAME alone, which is looked up in `root`/splits.yaml. In a file a split is
    `NAME: {novel: [...], base: [...]}`; without `base`, every other category of the data set is
    one. Names are taken as they stand: "airplane" is not "aeroplane". A category that the data set
    lacks is an `InputError`, or left out if `allow_missing`.
    """
    base, novel = _named(name, classes, root, federated)
    missing = [category for category in (*base, *novel) if category not in set(classes)]
    if missing and not allow_missing:
        listed = ", ".join(f"'{category}'" for category in missing)
        raise InputError(
            f"split '{name}': the data set has no category {listed}{nearest(missing[0], classes)}"
            f"{'' if len(missing) == len(base) + len(novel) else LEFT_OUT}"
        )
    left = tuple(category for category in base if category not in missing)
    if not left:
        raise InputError(f"split '{name}' has no base categories")
    return FewShotSplit(
        name, left, tuple(category for category in novel if category not in missing)
    )


def _named(
    name: str, classes: Sequence[str], root, federated: Federated | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    path, _, entry = name.rpartition(":")
    if path.endswith((".yaml", ".yml")):
        return _from_file(Path(path), entry, classes)
    if name in VOC_NOVEL:
        return _others(VOC_CLASSES, VOC_NOVEL[name]), VOC_NOVEL[name]
    if name == "coco":
        return _others(COCO_CLASSES, COCO_NOVEL), COCO_NOVEL
    if name == "lvis":
        if federated is None:
            raise InputError(
                "split 'lvis' is of data annotated as LVIS is: with a frequency (r, c or f) for each"
                f" category and lists {ABSENT} and {PARTIAL} for each image;"
                f" {root or 'the data set'} has not all of these"
            )
        return federated.names(classes, "cf"), federated.names(classes, "r")
    if name.startswith("shapes"):
        from fsdet.data.shapes.dataset import (
            SHAPES_SPLITS,  # draws with OpenCV: only when asked for
        )

        if name in SHAPES_SPLITS:
            novel = tuple(SHAPES_SPLITS[name])
            return _others(classes, novel), novel
    built_in = [*VOC_NOVEL, "coco", "lvis", "shapes1", "shapes2", "shapes3"]
    file = Path(root) / "splits.yaml" if root is not None else None
    if file is None or not file.is_file():
        where = f" and there is no {file}" if file is not None else ""
        raise InputError(f"no built-in split is called '{name}'{where}{nearest(name, built_in)}")
    return _from_file(file, name, classes, built_in)


def _from_file(
    file: Path, entry: str, classes: Sequence[str], built_in: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        splits = safe_yaml.load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as a file of splits ({error})") from None
    except ValueError as error:
        raise InputError(f"{file}: not YAML ({one_line(error)})") from None
    if not isinstance(splits, Mapping):
        raise InputError(f"{file}: expected 'NAME: {{novel: [...]}}' for each split")
    if entry not in splits:
        names = [*splits, *built_in]
        raise InputError(f"{file}: no split is called '{entry}'{nearest(entry, names)}")
    split = splits[entry]
    if not isinstance(split, Mapping) or "novel" not in split:
        raise InputError(f"{file}: split '{entry}' must be a mapping with the key 'novel'")
    for key, names in split.items():
        if key not in ("base", "novel"):
            raise InputError(f"{file}: split '{entry}': unknown key '{key}' (base, novel)")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(
                f"{file}: split '{entry}': {key} must be a list of names, in quotes where YAML "
                f"would read a number or a yes: got {names!r}"
            )
    novel = tuple(split["novel"])
    return tuple(split["base"]) if "base" in split else _others(classes, novel), novel


def _others(classes: Iterable[str], novel: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in classes if name not in set(novel))
