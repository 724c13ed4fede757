"""Names of an imported detector's categories, in the order of its rows."""

from collections.abc import Sequence

from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from fsdet.data.shots.splits import COCO_CLASSES, COCO_NOVEL, VOC_CLASSES, VOC_NOVEL
from fsdet.errors import InputError, nearest


def _voc_lists() -> dict[str, tuple[str, ...]]:
    """TFA's order: base categories alphabetically, then the split's novel ones."""
    lists: dict[str, tuple[str, ...]] = {}
    for split, novel in VOC_NOVEL.items():
        base = tuple(name for name in VOC_CLASSES if name not in novel)
        lists |= {f"{split}-base": base, split: base + novel}
    return lists


LISTS: dict[str, tuple[str, ...]] = {
    "coco": COCO_CLASSES,
    "coco-base": tuple(name for name in COCO_CLASSES if name not in COCO_NOVEL),
    "voc": VOC_CLASSES,
    **_voc_lists(),
}
_TORCHVISION_COCO: tuple[str | None, ...] = tuple(
    None if name == "N/A" else name
    for name in FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"][1:]
)


def category_names(
    given: str | Sequence[str] | None, in_file: Sequence[str], count: int, origin: str
) -> tuple[str | None, ...]:
    """Names of `count` rows; None for torchvision's rows without a category.

    Args:
        given: names, or a word of `LISTS`; None: the file's own, or COCO's where their number fits.
        in_file: the names that the file has, if any.
        origin: the file, for messages.

    Raises:
        InputError: no names, another number of names, a name twice, or no such list.
    """
    names: Sequence[str | None]
    if given is None:
        names = in_file or {80: COCO_CLASSES, 90: _TORCHVISION_COCO}.get(count, ())
        if count and not names:
            fitting = [word for word, words in LISTS.items() if len(words) == count]
            hint = f", for instance {' or '.join(fitting)}" if fitting else ""
            raise InputError(
                f"import: '{origin}' has {count} categories and no names; give --names{hint}"
            )
    elif isinstance(given, str):
        if given not in LISTS:
            raise InputError(f"import: names: no list '{given}'{nearest(given, LISTS)}")
        names = LISTS[given]
    else:
        names = tuple(given)
    if len(names) != count:
        raise InputError(
            f"import: '{origin}' has {count} categories, got {len(names)} names"
            + (" (background has none)" if len(names) == count + 1 else "")
        )
    texts = [name for name in names if name is not None]
    for name in texts:
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"import: names: expected a category name, got {name!r}")
        if texts.count(name) > 1:
            raise InputError(f"import: names: '{name}' twice")
    return tuple(names)
