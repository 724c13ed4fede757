"""Bulk detection in this process, where a test has no time for Ray to start."""

from contextlib import nullcontext

import pytest

from fsdet.apps.detect import bulk, shards


def without_ray(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(bulk, "_connected", lambda *_: nullcontext())
    patch.setattr(bulk, "_detected", detected)


def detected(detector, left, workers, *arguments):
    for names in left:
        rows = bulk.rows_of(detector, names, *arguments)
        yield {"file_names": names, "parquet": shards.encoded(rows)}
