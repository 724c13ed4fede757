"""Splits into base and novel categories: published ones by name, others from a file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fsdet import safe_yaml
from fsdet.data.formats.lvis import ABSENT, PARTIAL, Federated
from fsdet.errors import InputError, nearest, one_line
from fsdet.files import is_file, read_regular

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
    """Base categories, which are learned from all their boxes, and novel ones, learned from a few.

    A transferred detector has no base categories. No novel category, or a repeated one, is an `InputError`.
    """

    name: str
    base: tuple[str, ...]
    novel: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", tuple(self.base))
        object.__setattr__(self, "novel", tuple(self.novel))
        if not self.novel:
            raise InputError(f"split '{self.name}' has no novel categories")
        names = self.base + self.novel
        for n, name in enumerate(names):
            if name in names[:n]:
                raise InputError(f"split '{self.name}' names category '{name}' twice")


def find(
    name: str,
    classes: Sequence[str],
    root: Path | str | None = None,
    allow_missing: bool = False,
    federated: Federated | None = None,
) -> FewShotSplit:
    """Find a split for a data set.

    In a file a split is `NAME: {novel: [...], base: [...]}`; without `base`, all other categories are base.
    Names must match exactly: "airplane" is not "aeroplane".

    Args:
        name: a published split ("voc1" to "voc3", "coco", or "lvis", whose rare categories are novel), a split
            of the generated data ("scenes1" to "scenes3", "shapes1" to "shapes3"), "FILE.yaml:NAME", or NAME
            in `root`/splits.yaml.
        classes: categories of the data set.
        allow_missing: leave out categories that the data set lacks.
        federated: frequencies of the categories, for "lvis".

    Raises:
        InputError: an unknown split, a faulty file, a missing category, or no base or novel category.
    """
    base, novel = _named(name, classes, root, federated)
    missing = [category for category in (*base, *novel) if category not in classes]
    if missing and not allow_missing:
        listed = ", ".join(f"'{category}'" for category in missing)
        raise InputError(
            f"split '{name}': the data set has no category {listed}{nearest(missing[0], classes)}"
            f"{'' if len(missing) == len(base) + len(novel) else LEFT_OUT}"
        )
    base, novel = _without(base, missing), _without(novel, missing)
    if not base:
        raise InputError(f"split '{name}' has no base categories")
    return FewShotSplit(name, base, novel)


def _named(
    name: str, classes: Sequence[str], root: Path | str | None, federated: Federated | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Base and novel categories of a split, before they are compared with the data set."""
    path, _, entry = name.rpartition(":")
    if path.endswith((".yaml", ".yml")):
        return _from_file(Path(path), entry, classes)
    if name in VOC_NOVEL:
        return _without(VOC_CLASSES, VOC_NOVEL[name]), VOC_NOVEL[name]
    if name == "coco":
        return _without(COCO_CLASSES, COCO_NOVEL), COCO_NOVEL
    if name == "lvis":
        if federated is None:
            raise InputError(
                "split 'lvis' expects data annotated as LVIS is: a frequency (r, c or f) of each "
                f"category, and lists {ABSENT} and {PARTIAL} of each image; "
                f"{root or 'the data set'} does not have all of these"
            )
        return federated.names(classes, "cf"), federated.names(classes, "r")
    if name.startswith(("scenes", "shapes")):
        from fsdet.data.scenes.dataset import SCENES_SPLITS  # imports OpenCV
        from fsdet.data.shapes.dataset import SHAPES_SPLITS

        if novel := (SCENES_SPLITS | SHAPES_SPLITS).get(name):
            return _without(classes, novel), novel
    generated = [f"{drawn}{number}" for drawn in ("scenes", "shapes") for number in (1, 2, 3)]
    built_in = [*VOC_NOVEL, "coco", "lvis", *generated]
    file = Path(root) / "splits.yaml" if root is not None else None
    if file is None or not is_file(file):
        where = f" and there is no {file}" if file is not None else ""
        raise InputError(f"no built-in split is called '{name}'{where}{nearest(name, built_in)}")
    return _from_file(file, name, classes, built_in)


def _from_file(
    file: Path, entry: str, classes: Sequence[str], built_in: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        splits = safe_yaml.load(read_regular(file).decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as a file of splits ({error})") from None
    except ValueError as error:
        raise InputError(f"{file}: not YAML ({one_line(error)})") from None
    if not isinstance(splits, Mapping):
        raise InputError(f"{file}: expected 'NAME: {{novel: [...]}}' for each split")
    if entry not in splits:
        names = [*splits, *built_in]
        raise InputError(f"{file}: no split is called '{entry}'{nearest(entry, names)}")
    split, where = splits[entry], f"{file}: split '{entry}'"
    if not isinstance(split, Mapping) or "novel" not in split:
        raise InputError(f"{where} must be a mapping with the key 'novel'")
    for key, names in split.items():
        if key not in ("base", "novel"):
            raise InputError(f"{where}: unknown key '{key}' (base, novel)")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(
                f"{where}: {key} must be a list of names, in quotes where YAML would read a number "
                f"or a yes: got {names!r}"
            )
    novel = tuple(split["novel"])
    return tuple(split["base"]) if "base" in split else _without(classes, novel), novel


def _without(names: Iterable[str], removed: Sequence[str]) -> tuple[str, ...]:
    removed_names = set(removed)
    return tuple(name for name in names if name not in removed_names)
