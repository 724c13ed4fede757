"""Categories of a COCO JSON: their names, and the label of each category id."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from fsdet.data.formats.coco_ids import Key, id_key, numbers_of
from fsdet.data.formats.validation import DataIssue, is_name


class Categories(NamedTuple):
    """Names and ids of the categories in the order of their ids."""

    classes: list[str]  # label n means classes[n - 1]
    ids: list[int]  # [N]
    label_of: dict[
        Key, int
    ]  # category id -> label; names twice share one; 0: an id of several names


def read_categories(
    file: Path,
    entries: list[Any],
    used: Collection[Key],
    faults: list[DataIssue],
    warnings: list[DataIssue],
) -> Categories:
    """The categories that have a name and an id of their own; the same category again is no fault.

    Args:
        used: category ids of the annotations. Roboflow's JSON has the group of all categories as one of them: it
            is left out if no annotation uses it.
    """
    name_of: dict[Key, str] = {}
    ambiguous: set[Key] = set()
    supercategories = [entry.get("supercategory") for entry in entries if isinstance(entry, dict)]
    groups = {name for name in supercategories if isinstance(name, str)}
    for position, entry in enumerate(entries, 1):
        entry = entry if isinstance(entry, dict) else {}
        name, key = entry.get("name"), id_key(entry.get("id"))
        where = f"{file.name}, category {f'number {position}' if key is None else key}"
        if not is_name(name) or not name.strip() or key is None:
            detail = f"expected a name and an id; got name {name!r:.80}, id {entry.get('id')!r:.80}"
            faults.append(DataIssue(where, "category is incomplete", detail))
        elif name_of.get(key, name) != name:
            detail = f"expected an id of its own; '{name}' has the id of '{name_of[key]}'"
            faults.append(DataIssue(where, "duplicate category id", detail))
            ambiguous.add(key)
        elif entry.get("supercategory") != "none" or name not in groups or key in used:
            name_of[key] = name
    for key in ambiguous:
        name_of.pop(key, None)
    numbers = numbers_of(name_of)
    id_of_name: dict[str, int] = {}
    for key in sorted(name_of, key=numbers.__getitem__):
        if name_of[key] in id_of_name:
            detail = (
                f"category {id_of_name[name_of[key]]} is '{name_of[key]}' too; both are read as one"
            )
            where = f"{file.name}, category {key}"
            warnings.append(DataIssue(where, "category name under two ids", detail))
        id_of_name.setdefault(name_of[key], numbers[key])
    label_of_name = {name: label for label, name in enumerate(id_of_name, 1)}
    label_of = {key: label_of_name[name] for key, name in name_of.items()}
    label_of |= dict.fromkeys(ambiguous, 0)
    return Categories(list(id_of_name), list(id_of_name.values()), label_of)
