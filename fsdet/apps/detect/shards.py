"""Shards: Parquet files with a row a picture, written whole; what they hold need not be detected again."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fsdet.errors import InputError, one_line
from fsdet.files import write_whole

SIZE = 256  # pictures in a shard, at most: what a killed run has to do again, by worker
SCHEMA = pa.schema(
    {
        "file_name": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "error": pa.string(),  # null, or why the picture could not be read
        "category": pa.list_(pa.string()),
        "score": pa.list_(pa.float32()),
        "bbox": pa.list_(pa.list_(pa.float32(), 4)),  # x, y, width, height in pixels
    }
)


def encoded(rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows with the columns of `SCHEMA` as the bytes of a Parquet file."""
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), file, compression="zstd")
    return file.getvalue()


def write_shard(folder: Path, file_names: Sequence[str], parquet: bytes) -> None:
    """Write a shard; its name is a hash of its pictures' names, so that the same shard has one file."""
    digest = hashlib.sha256("\n".join(file_names).encode()).hexdigest()
    write_whole(folder / f"{digest[:20]}.parquet", lambda file: file.write_bytes(parquet))


def missing(folder: Path, file_names: Sequence[str]) -> list[list[str]]:
    """The pictures that no shard of the folder holds, in lists for one shard each.

    Raises:
        InputError: a shard is damaged.
    """
    stored = {name for names in _column(folder, "file_name") for name in names}
    left = [name for name in file_names if name not in stored]
    return [left[start : start + SIZE] for start in range(0, len(left), SIZE)]


def errors(folder: Path) -> tuple[int, int]:
    """The number of pictures in all shards of the folder, and of those that could not be read."""
    columns = [*_column(folder, "error")]
    return sum(map(len, columns)), sum(len(column) - column.count(None) for column in columns)


def _column(folder: Path, name: str) -> Iterator[list[Any]]:
    for file in sorted(folder.glob("*.parquet")):
        try:
            yield pq.read_table(file, columns=[name])[name].to_pylist()
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"'{file}' is damaged: {one_line(error, 200)}; delete it, and the same command detects in its"
                " pictures again"
            ) from error
