"""Run log: losses of trainings, seconds of stages, and the environment of a run."""

import json
import logging
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

import fsdet
from fsdet.files import write_whole
from fsdet.progress import duration

logger = logging.getLogger("fsdet")

Log = Callable[[int, dict[str, float]], None]
"""Called with the losses after every step."""

RECORD_EVERY = 5  # steps
MESSAGE_EVERY = 60.0  # seconds between messages about a training where there is no progress bar
FILE = "log.txt"


def log_to(folder: Path) -> None:
    """Write all further messages to `FILE` of a run folder too; they stop going to that of an earlier run."""
    for handler in [h for h in logger.handlers if isinstance(h, _RunFile)]:
        logger.removeHandler(handler)
        handler.close()
    handler = _RunFile(folder / FILE, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)


class _RunFile(logging.FileHandler):
    """The handler of a run folder's file, known by its type."""


class LossLog:
    """Losses of all trainings, in `losses.jsonl` and for TensorBoard; one process writes.

    When a training resumes, records of the steps that are repeated are dropped.
    """

    def __init__(self, folder: Path, writes: bool = True):
        self.file, self.folder, self.writes = folder / "losses.jsonl", folder, writes
        self.records = _load_records(self.file)

    @contextmanager
    def record(self, stage: str, steps: int) -> Iterator[Log]:
        """A `log` for `train`, with a progress bar on a terminal and messages elsewhere."""
        if not self.writes:
            yield lambda step, values: None
            return
        events: list[SummaryWriter] = []
        with tqdm(total=steps, desc=stage, disable=None, leave=False) as bar:
            messages = _Messages(stage, steps)

            def log(step: int, values: dict[str, float]) -> None:
                if not events:  # the first step of this process, perhaps a resumed one
                    folder = str(self.folder / "events" / stage)
                    events.append(SummaryWriter(folder, purge_step=step))
                    bar.update(step)
                    self._drop(stage, step)
                bar.update(1)
                if bar.disable:
                    messages.step(step, values["loss"])
                if step % RECORD_EVERY and step + 1 != steps:
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
        """Drop the records of a stage from a step on, and a line that was cut off by a kill."""
        self.records = [r for r in self.records if r["stage"] != stage or r["step"] < step]
        text = "".join(json.dumps(record) + "\n" for record in self.records)
        write_whole(self.file, lambda file: file.write_text(text))


class _Messages:
    """Logs how far a training is and how long the rest takes, from time to time."""

    def __init__(self, stage: str, steps: int):
        self.stage, self.steps = stage, steps
        self.first, self.start, self.last = -1, 0.0, 0.0

    def step(self, step: int, loss: float) -> None:
        """Count a finished step. The first one is not timed: it includes the start of the loaders."""
        now = time.perf_counter()
        if self.first < 0:
            self.first, self.start, self.last = step, now, now
        elif now - self.last >= MESSAGE_EVERY:
            self.last = now
            each, remaining = (now - self.start) / (step - self.first), self.steps - step - 1
            logger.info(
                "%s: step %d of %d, loss %.3f, about %s left",
                self.stage, step + 1, self.steps, loss, duration(each * remaining),
            )  # fmt: skip


def _load_records(file: Path) -> list[dict[str, Any]]:
    """The records of a file, without a line that was cut off by a kill."""
    records = []
    for line in file.read_text(errors="replace").splitlines() if file.is_file() else []:
        with suppress(ValueError):
            records.append(json.loads(line))
    return records


class Clock:
    """Seconds of every stage, for the report.

    Args:
        writes: log each stage when it ends; one process does.
    """

    def __init__(self, writes: bool = True) -> None:
        self.seconds: dict[str, float] = {}
        self.writes = writes

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add the seconds of the block to a stage."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        if self.writes:
            logger.info("%s: %s", stage, duration(seconds))


def command_line() -> str:
    """The running command as a user would type it again, without the folder of the executable."""
    program = Path(sys.argv[0])
    start = ["python", sys.argv[0]] if program.suffix == ".py" else [program.name]
    return " ".join([*start, *sys.argv[1:]])


def environment(device: torch.device, precision: str, clock: Clock) -> dict[str, str]:
    """Versions, hardware and seconds, for the report."""
    processor = platform.processor() or platform.machine()
    cores = f"{torch.get_num_threads()} threads"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{processor}, {cores}"
    times = {f"seconds: {stage}": f"{seconds:.1f}" for stage, seconds in clock.seconds.items()}
    return {
        "fsdet": fsdet.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "device": name,
        "precision": precision,
    } | times
