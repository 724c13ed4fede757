"""Files that `torch.save` writes: a zip of a pickle and the numbers of its tensors."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fsdet.importers.pickles import read_pickle


def read_torch_zip(path: Path) -> tuple[Any, set[str]]:
    """The value of a file that `torch.save` wrote (a zip since PyTorch 1.6); see `read_pickle`.

    Raises:
        pickle.UnpicklingError, zipfile.BadZipFile, OSError: cut, foreign, or larger unpacked than packed.
    """
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        # torch stores without compression: what unpacks to more than the file is a bomb.
        if sum(entry.file_size for entry in entries.values()) > path.stat().st_size:
            raise pickle.UnpicklingError("it unpacks to more bytes than it has")
        pickles = [name for name in entries if name.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            raise pickle.UnpicklingError("a zip file that torch.save did not write")
        root = pickles[0].removesuffix("data.pkl")
        storages: dict[str, Tensor] = {}

        def storage(pid: Any) -> Tensor:
            kind, dtype, key, _, count = pid
            if kind != "storage" or not isinstance(dtype, torch.dtype) or type(count) is not int:
                raise pickle.UnpicklingError(f"expected a storage, got {pid!r:.80}")
            if key not in storages:
                content = archive.read(f"{root}data/{key}")
                whole = len(content) // dtype.itemsize
                if not 0 <= count <= whole:
                    raise pickle.UnpicklingError(
                        f"storage '{key}' declares {count} numbers but has {whole}"
                    )
                empty = torch.empty(0, dtype=dtype)
                storages[key] = (
                    torch.frombuffer(bytearray(content), dtype=dtype, count=count)
                    if count
                    else empty
                )
            return storages[key]

        order = archive.read(f"{root}byteorder") if f"{root}byteorder" in entries else b"little"
        if order != b"little":
            raise pickle.UnpicklingError("written on a machine of the other byte order")
        return read_pickle(archive.read(pickles[0]), storage)
