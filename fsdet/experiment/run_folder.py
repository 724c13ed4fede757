"""The run folder: what goes into it while an experiment runs, and what it says about itself."""

import hashlib
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

import fsdet
from fsdet import config as cfg
from fsdet.config import typed_yaml
from fsdet.data import DetectionData
from fsdet.errors import InputError
from fsdet.files import write_whole

DETECTOR = "<detector>"  # the name of its mark beside those of subsets
Log = Callable[[int, dict[str, float]], None]
"""Is told the losses after every step."""

EVERY = 5  # steps between two records of the losses
MUTABLE_KEYS = (  # may change between runs in one folder: what is stored depends on it by rounding at most
    "run",
    "device",
    "devices",
    "baselines",
    "stages",
    "joint",
    "data.workers",
    "evaluate.shots",
    "evaluate.seeds",
    "evaluate.background",
    "evaluate.score",
    "evaluate.overlays",
    *(f"proposals.{part.name}" for part in fields(cfg.Proposals)),
)


def claim(folder: Path, config: cfg.Config, marks: Mapping[str, str]) -> None:
    """Make the run folder this configuration's, and that of what it starts from, by name.

    Args:
        marks: what is different when a data set (`marks_of`), or a detector, is another.

    Raises:
        InputError: it holds a run of another configuration (devices and what is scored may differ), or on
            data that have changed since: what is stored names images and boxes by their place.
    """
    place, kept = folder / "config.yaml", folder / "data.json"
    made = [*folder.glob("*.state"), *folder.glob("*.safetensors")]
    for name, mark in (_read_marks(kept) if made and kept.is_file() else {}).items():
        if marks.get(name, mark) != mark:
            raise InputError(
                f"'{folder}' holds a run on something else: {_told(name)} changed since; give this one another"
                " folder with run=..."
            )
    if place.is_file() and made:  # a run that ended before it made anything holds nothing back
        here, there = _flat(config), _flat(cfg.load(place))
        for key, value in here.items():
            if key not in MUTABLE_KEYS and there.get(key) != value:
                raise InputError(
                    f"'{folder}' holds a run with {key}={there.get(key)}, not {value};"
                    " give this one another folder with run=..."
                )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(place, lambda to: typed_yaml.save(config, to))
    write_whole(kept, lambda to: to.write_text(json.dumps(dict(marks))))


def marks_of(data: Mapping[str, DetectionData]) -> dict[str, str]:
    """What tells data sets, by the name of their subset, from what they were before they changed."""
    return {name: _fingerprint(one) for name, one in data.items()}


def _told(name: str) -> str:
    return "the detector has" if name == DETECTOR else f"images or boxes of '{name}' have"


def _read_marks(file: Path) -> dict[str, str]:
    try:
        marks = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"'{file}' cannot be read: {error}; give this run another folder with run=..."
        ) from error
    if not isinstance(marks, dict):
        raise InputError(f"'{file}': expected the marks of the data by name, got {marks!r:.80}")
    return marks


def _fingerprint(data: DetectionData) -> str:
    """SHA-256 of which images there are, and of every box."""
    digest = hashlib.sha256("\n".join(data.classes).encode())
    images = (data.paths.text, data.paths.ends, data.sizes, data.starts)
    for array in (*images, data.boxes, data.labels, data.ids, data.ignore):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not is_dataclass(node):
        return {prefix: node}
    found = {}
    for part in fields(node):
        found |= _flat(getattr(node, part.name), f"{prefix}.{part.name}".lstrip("."))
    return found


class Losses:
    """Losses of all stages, in `losses.jsonl` and for TensorBoard, as they come; one process writes.

    A resumed stage goes on where it was: what was recorded of steps that are done again is dropped.
    """

    def __init__(self, folder: Path, writes: bool = True):
        self.file, self.folder, self.writes = folder / "losses.jsonl", folder, writes
        self.records = _whole_lines(self.file)

    @contextmanager
    def of(self, stage: str, steps: int) -> Iterator[Log]:
        """A `log` for `train`, with a progress bar on a terminal."""
        if not self.writes:
            yield lambda step, values: None
            return
        events: list[SummaryWriter] = []
        with tqdm(total=steps, desc=stage, disable=None, leave=False) as bar:

            def log(step: int, values: dict[str, float]) -> None:
                if not events:  # the first step of this process, which may be a resumed one
                    place = str(self.folder / "events" / stage)
                    events.append(SummaryWriter(place, purge_step=step))
                    bar.update(step)
                    self._drop(stage, step)
                bar.update(1)
                if step % EVERY and step + 1 != steps:
                    return
                bar.set_postfix(loss=f"{values['loss']:.3f}")
                self.records.append({"step": step, "stage": stage} | values)
                with self.file.open("a") as file:
                    file.write(json.dumps(self.records[-1]) + "\n")
                for name, value in values.items():
                    events[0].add_scalar(name, value, step)

            try:
                yield log
            finally:
                for writer in events:
                    writer.close()

    def _drop(self, stage: str, step: int) -> None:
        """Forget a stage from a step on, and a line that a kill cut."""
        self.records = [r for r in self.records if r["stage"] != stage or r["step"] < step]
        text = "".join(json.dumps(record) + "\n" for record in self.records)
        write_whole(self.file, lambda to: to.write_text(text))


def _whole_lines(file: Path) -> list[dict[str, Any]]:
    """The records of a file; a line that a kill cut is none."""
    found = []
    for line in file.read_text(errors="replace").splitlines() if file.is_file() else []:
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


class Clock:
    """Seconds of every stage, for the report."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def command_line() -> str:
    """The running command as a user would type it again, without the folder of the executable."""
    program = Path(sys.argv[0])
    start = ["python", sys.argv[0]] if program.suffix == ".py" else [program.name]
    return " ".join([*start, *sys.argv[1:]])


def environment(device: torch.device, precision: str, clock: Clock) -> dict[str, str]:
    """Versions, hardware and times, as a report shows them."""
    processor = platform.processor() or platform.machine()
    cores = f"{torch.get_num_threads()} threads"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{processor}, {cores}"
    times = {f"seconds: {stage}": f"{taken:.1f}" for stage, taken in clock.seconds.items()}
    return {
        "fsdet": fsdet.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "device": name,
        "precision": precision,
    } | times


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    """`results.json`: numbers that are not measured are null."""
    text = json.dumps([measured(row) for row in rows], indent=1)
    write_whole(folder / "results.json", lambda to: to.write_text(text))


def measured(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose NaN are None, as JSON has no NaN."""
    return {key: None if value != value else value for key, value in row.items()}
