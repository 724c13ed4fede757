"""Pickles of other programs, read without running any code in them.

An unpickler calls whatever a file names. This one hands out stand-ins (`stand_ins`) instead of the named objects: a
few that build arrays and tensors from bytes, after checking sizes, and for every other name one that does nothing.
"""

import io
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

from torch import Tensor

from fsdet.importers.stand_ins import KNOWN, STORAGES, Inert

MAX_OPERATIONS = 5_000_000  # a state dict of a thousand tensors takes some 50,000


class _Unpickler(pickle.Unpickler):
    """Reads tensors, arrays and plain values; notes in `left_out` which other classes were named."""

    def __init__(self, content: bytes, storage: Callable[[Any], Tensor] | None):
        super().__init__(io.BytesIO(content), encoding="latin1")
        self.storage, self.left_out = storage, set[str]()

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in KNOWN:
            return KNOWN[module, name]
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        self.left_out.add(f"{module}.{name}")
        return Inert

    def persistent_load(self, pid: Any) -> Any:
        if self.storage is None:
            raise pickle.UnpicklingError("the file refers to other files")
        return self.storage(pid)


def read_pickle(
    content: bytes, storage: Callable[[Any], Tensor] | None = None
) -> tuple[Any, set[str]]:
    """The value of a pickle, with arrays as numpy arrays, and the names of the classes left out.

    Args:
        storage: reads a tensor's numbers by torch's persistent id.

    Raises:
        pickle.UnpicklingError: cut, too long, or with declared sizes that its bytes do not have.
    """
    _check_operations(content)
    unpickler = _Unpickler(content, storage)
    try:
        value = unpickler.load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a stack that does not fit, a wrong kind of argument: many kinds
        raise pickle.UnpicklingError(f"damaged ({type(error).__name__}: {error})") from error
    return value, unpickler.left_out


def _check_operations(content: bytes) -> None:
    """Walk through the operations without running them: each must have the bytes that it declares."""
    try:
        for number, _ in enumerate(pickletools.genops(io.BytesIO(content))):
            if number > MAX_OPERATIONS:
                raise pickle.UnpicklingError(f"more than {MAX_OPERATIONS} operations")
    except (ValueError, UnicodeDecodeError, IndexError, OverflowError) as error:
        raise pickle.UnpicklingError(f"damaged ({error})") from error
