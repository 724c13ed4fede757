"""Category names as indices, and labels under another order of categories."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fsdet.errors import InputError, nearest


def class_indices(names: Iterable[str], classes: Sequence[str], where: str) -> list[int]:
    """Index in `classes` of each name.

    Args:
        where: what the classes belong to, for the message.

    Raises:
        InputError: a name that is not one of `classes`.
    """
    names, index = list(names), {name: n for n, name in enumerate(classes)}
    for name in names:
        if name not in index:
            raise InputError(f"{where}: no category '{name}'{nearest(name, classes)}")
    return [index[name] for name in names]


def label_table(new_labels: Mapping[int, int], num_classes: int, missing: int) -> np.ndarray:
    """[1 + num_classes] int64: the new label of each label, `missing` for 0 and labels without one."""
    table = np.full(num_classes + 1, missing, np.int64)
    table[list(new_labels)] = list(new_labels.values())
    return table
