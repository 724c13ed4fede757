"""Bulk detection: a detector over any number of pictures, on the processes and machines of a Ray cluster."""

import json
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import ray
import ray.data
import torch
from torch import Tensor

from fsdet.api import detector_file
from fsdet.api.detector import Detector
from fsdet.api.inputs import as_tensor, check_sides
from fsdet.apps.detect import shards
from fsdet.apps.detect.remote import read_address
from fsdet.errors import InputError, one_line
from fsdet.files import sole_writer, write_whole
from fsdet.progress import Progress, silent

LOCAL = "local"
SETTINGS = "_settings.json"  # readers of a folder of Parquet files leave out what begins with _
OBJECTS = (
    200_000_000  # bytes for objects on the way between processes; Ray takes a third of the memory
)


def detect_all(
    detector: Detector,
    file_names: Sequence[str],
    out: Path,
    cluster: str = LOCAL,
    workers: int | None = None,
    threshold: float | None = None,
    names: Sequence[str] | None = None,
    bar: Progress = silent,
) -> tuple[int, int]:
    """Detect in all pictures that the shards in `out` do not hold yet, and write theirs (`shards.SCHEMA`).

    Only this process writes, one file at a time: a worker that is lost, or done twice, leaves no second row.

    Args:
        file_names: addresses of pictures (`remote.addresses_of`).
        cluster: `local` starts Ray on this machine; otherwise the address of a cluster, on whose machines fsdet is
            installed and the pictures have the same addresses.
        workers: detectors at a time; None: one a GPU of the cluster if it has any, else one a processor core.
        threshold, names: as of `Detector.predict`.
        bar: wraps the loop over the shards.

    Returns:
        The number of pictures in all shards of `out`, and of those that could not be read.

    Raises:
        InputError: shards of another detector or other arguments, a damaged shard, another run in `out`, or a
            cluster that does not answer.
    """
    identity = detector_file.identity(detector.parts())
    with sole_writer(out):
        _claim(out, {"detector": identity, "threshold": threshold, "names": names})
        if left := shards.missing(out, file_names):
            with _connected(cluster, workers):
                for done in bar(_detected(detector, left, workers, threshold, names), len(left)):
                    shards.write_shard(out, done["file_names"], done["parquet"])
        return shards.errors(out)


def rows_of(
    detector: Detector,
    file_names: Sequence[str],
    threshold: float | None = None,
    names: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """A row with the columns of `shards.SCHEMA` for each picture; for one that cannot be read, its error."""
    rows: list[dict[str, Any]] = [{"file_name": name, "error": None} for name in file_names]

    def readable() -> Iterator[Tensor]:
        for row in rows:
            try:
                image = as_tensor(read_address(row["file_name"]))
                height, width = image.shape[1:]
                check_sides(height, width, detector.settings)
            except InputError as error:
                row["error"] = one_line(error)
                continue
            row |= {"height": height, "width": width}
            yield image

    found = detector.predict_many(readable(), threshold, names)
    for row, detections in zip((r for r in rows if r["error"] is None), found, strict=True):
        corners = [detection.box for detection in detections]
        row["category"] = [detection.name for detection in detections]
        row["score"] = [detection.score for detection in detections]
        row["bbox"] = [(x1, y1, x2 - x1, y2 - y1) for x1, y1, x2, y2 in corners]
    return rows


class _Worker:
    """An actor of Ray Data: a detector that is loaded once."""

    def __init__(self, stored: "ray.ObjectRef[Detector]", *arguments: Any):
        torch.set_num_threads(1)  # a worker a core
        detector = ray.get(stored)
        self.detector = detector.to("cuda") if ray.get_gpu_ids() else detector
        self.arguments = arguments

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        file_names = list(row["file_names"])
        rows = rows_of(self.detector, file_names, *self.arguments)
        return {"file_names": file_names, "parquet": shards.encoded(rows)}


def _detected(
    detector: Detector,
    left: Sequence[Sequence[str]],
    workers: int | None,
    threshold: float | None,
    names: Sequence[str] | None,
) -> Iterator[dict[str, Any]]:
    """The names and the Parquet bytes of each shard, as they end; Ray repeats those of a lost worker."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    cores, cards = (int(ray.cluster_resources().get(kind, 0)) for kind in ("CPU", "GPU"))
    most = min(workers or cards or cores, len(left))
    items = [{"file_names": file_names} for file_names in left]
    yield from (
        ray.data.from_items(items, override_num_blocks=len(items))
        .map(
            cast(Any, _Worker),  # one an actor; Ray's types know functions only
            fn_constructor_args=(ray.put(detector), threshold, names),
            # A pool that may shrink gives its cores to the workers of a lost machine, which start again elsewhere.
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most, initial_size=most),
            num_cpus=1,
            num_gpus=1 if cards else 0,
        )
        .iter_rows()
    )


@contextmanager
def _connected(cluster: str, workers: int | None) -> Iterator[None]:
    """Ray, started on this machine or reached at an address, until the end of the block.

    Raises:
        InputError: no cluster answers at the address.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    with tempfile.TemporaryDirectory(prefix="fsdet-ray-") as folder:
        try:
            if cluster == LOCAL:
                ray.init(
                    address="local",
                    num_cpus=workers or os.cpu_count(),
                    include_dashboard=False,
                    object_store_memory=OBJECTS,
                    _temp_dir=folder,
                    **quiet,
                )
            else:
                ray.init(address=cluster, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InputError(
                f"--cluster: expected local, or the address of a running Ray cluster such as 10.0.0.5:6379;"
                f" '{cluster}' does not answer: {one_line(error, 200)}"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Bind the folder to a detector and its arguments.

    Raises:
        InputError: its shards are of others.
    """
    file = out / SETTINGS
    if not file.exists():
        write_whole(file, lambda path: path.write_text(json.dumps(settings)))
        return
    try:
        stored = json.loads(file.read_text())
        changed = [key for key, value in settings.items() if stored[key] != value]
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"'{file}' is damaged; use another --out") from error
    if changed:
        raise InputError(
            f"'{out}' holds detections with another {' and other '.join(changed)}; use another --out"
        )
