"""Rows of CSV files, one at a time: those of OpenImages have gigabytes."""

import csv
from collections.abc import Iterator
from pathlib import Path

from fsdet.data.paths import resolve_inside


def read_rows(root: Path, file: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The number of the line, from 1, and the values by the names of the first line, both without outer blanks.

    Raises:
        ValueError: outside the root, or no CSV.
        OSError: it cannot be read.
    """
    with open(
        resolve_inside(root, file), encoding="utf-8-sig", errors="replace", newline=""
    ) as text:
        rows = csv.reader(text)
        try:
            names = [name.strip() for name in next(rows, [])]
            for row in rows:
                if any(row):
                    # A row that is too short lacks its last values, and says so where they are needed.
                    values = (value.strip() for value in row)
                    yield rows.line_num, dict(zip(names, values, strict=False))
        except csv.Error as error:
            raise ValueError(f"line {rows.line_num}: {error}") from None
