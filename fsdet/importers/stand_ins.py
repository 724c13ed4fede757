"""Stand-ins for the classes and functions that a pickle names: they build arrays and tensors, or do nothing."""

import math
import pickle
import re
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class Inert:
    """An object that a pickle builds from a class we do not load: it accepts everything and does nothing."""

    def __init__(self, *args: Any, **options: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        pass

    def extend(self, items: Any) -> None:
        pass

    def __call__(self, *args: Any, **options: Any) -> "Inert":
        return self


class _Dtype:
    """numpy's dtype of one number; of all others only the fact that they are none."""

    def __init__(self, code: Any = "", *flags: Any):
        self.code = code.decode("latin1") if isinstance(code, bytes) else code
        self.order: Literal["<", ">", "|", "="] = "<"

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    def numpy(self) -> np.dtype:
        if not isinstance(self.code, str) or not re.fullmatch(r"[biuf][1248]", self.code):
            raise pickle.UnpicklingError(f"expected arrays of numbers, got dtype {self.code!r}")
        return np.dtype(self.code).newbyteorder(self.order)


class PickledArray:
    """numpy's array: `value` once its bytes have been read."""

    value: np.ndarray | None = None

    def __init__(self, *args: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        self.value = _array(content, dtype, shape, "F" if fortran else "C")


def _array(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or not isinstance(content, bytes | bytearray):
        raise pickle.UnpicklingError("expected arrays of numbers, got an array of objects")
    flat, sides = np.frombuffer(content, dtype.numpy()), _sizes(shape)
    if math.prod(sides) != len(flat):
        raise pickle.UnpicklingError(
            f"an array declares shape {list(sides)} but has {len(flat)} numbers"
        )
    return flat.reshape(sides, order="F" if order == "F" else "C")


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any = "C") -> PickledArray:
    """numpy's `_frombuffer`, of protocol 5."""
    array = PickledArray()
    array.value = _array(content, dtype, shape, order)
    return array


def _scalar(dtype: Any, content: Any = b"") -> Any:
    if isinstance(dtype, _Dtype) and isinstance(content, bytes):
        return np.frombuffer(content, dtype.numpy())[0].item()
    return Inert()


def _encode(text: Any, codec: Any = "latin1") -> bytes:
    if not isinstance(text, str) or codec != "latin1":
        raise pickle.UnpicklingError("expected bytes kept as latin1 text")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Protocol 2 writes empty bytes as a call."""
    return b""


class _Dictionary(dict):
    """An OrderedDict; the versions of its modules, which torch hangs onto a state dict, are not needed."""

    def __setstate__(self, state: Any) -> None:
        pass


def _sizes(shape: Any) -> tuple[int, ...]:
    valid = isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)
    if not valid or len(shape) > 8:
        raise pickle.UnpicklingError(f"expected a shape of whole numbers, got {shape!r:.80}")
    return shape


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    """torch's `_rebuild_tensor_v2`, for tensors that lie within their storage and repeat none of it."""
    if not isinstance(storage, Tensor) or type(offset) is not int or offset < 0:
        raise pickle.UnpicklingError("a tensor without a storage")
    sides, steps = _sizes(size), _sizes(stride)
    if len(sides) != len(steps):
        raise pickle.UnpicklingError("a tensor whose shape and strides differ in length")
    count = math.prod(sides)
    last = offset + sum((side - 1) * step for side, step in zip(sides, steps, strict=True))
    if count and (count > len(storage) or last >= len(storage)):
        raise pickle.UnpicklingError(
            f"a tensor declares shape {list(sides)} but its storage has {len(storage)} numbers"
        )
    return storage.as_strided(sides, steps, offset)


def _parameter(tensor: Any, *rest: Any) -> Any:
    return tensor


KNOWN: dict[tuple[str, str], Any] = (
    {
        ("collections", "OrderedDict"): _Dictionary,
        ("_codecs", "encode"): _encode,
        ("__builtin__", "bytes"): _no_bytes,
        ("numpy", "ndarray"): PickledArray,
        ("numpy", "dtype"): _Dtype,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_parameter"): _parameter,
    }
    | {
        (f"numpy.{core}.multiarray", name): made
        for core in ("core", "_core")
        for name, made in (("_reconstruct", PickledArray), ("scalar", _scalar))
    }
    | {(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")}
)
