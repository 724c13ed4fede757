"""Lessons: regions that a served detector has learned from requests, separate from its own memory."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from fsdet.api import detector_file
from fsdet.api.detector import Detector
from fsdet.api.memory import Memory, merged
from fsdet.errors import InputError


@dataclass(frozen=True)
class Lesson:
    """Regions of one registration, or of one annotation in Label Studio."""

    memory: dict[str, Memory]  # by category and, under "", of background
    source: tuple[int, ...] = ()  # project, task and annotation in Label Studio

    @property
    def names(self) -> set[str]:
        return {name for name in self.memory if name}

    def __len__(self) -> int:
        return sum(map(len, self.memory.values()))


@dataclass(frozen=True)
class Snapshot:
    """A detector that no longer changes: any number of threads may predict with it."""

    detector: Detector
    lessons: tuple[Lesson, ...]
    version: str  # digest of weights and memory

    @staticmethod
    def of(base: Detector, lessons: Sequence[Lesson]) -> "Snapshot":
        """The base detector with the lessons added to its memory; it shares the network of `base`."""
        parts = base.parts()
        memory = merged([parts.memory, *(lesson.memory for lesson in lessons)])
        detector = Detector(*parts._replace(memory=memory))
        if detector.names:
            detector.task()
        return Snapshot(detector, tuple(lessons), detector_file.identity(detector.parts())[:12])


def without(lessons: Sequence[Lesson], name: str) -> list[Lesson]:
    """The lessons without a category; a lesson of no other category goes, with its background."""
    shorter = [
        replace(lesson, memory={n: memory for n, memory in lesson.memory.items() if n != name})
        for lesson in lessons
    ]
    return [lesson for lesson in shorter if lesson.names]


def write(path: Path, snapshot: Snapshot) -> None:
    """Write the whole detector to a file for `fsdet.load` and `restore`.

    Raises:
        InputError: it cannot be written there.
    """
    notes = [{"source": lesson.source, "rows": _rows(lesson.memory)} for lesson in snapshot.lessons]
    detector_file.write(path, snapshot.detector.parts(), notes)


def restore(path: Path, base: Detector) -> tuple[Lesson, ...]:
    """The lessons in a file of `write`; none if there is no file.

    Raises:
        InputError: another kind of file, or lessons of another detector than `base`.
    """
    file = detector_file.save_path(path)
    if not file.exists():
        return ()
    saved, parts = detector_file.read(file), base.parts()
    try:
        notes = TypeAdapter(list[_Note]).validate_python(detector_file.notes_of(file))
    except (ValidationError, ValueError):
        raise InputError(f"'{file}' is a detector, but no service wrote it") from None
    starts = _rows(parts.memory)
    expected_rows = Counter(starts)
    for note in notes:
        expected_rows.update(note.rows)
    if not (
        detector_file.digest(saved.model.state_dict())
        == detector_file.digest(parts.model.state_dict())
        and _rows(saved.memory) == dict(expected_rows)
        and all(
            memory.deltas.cpu().equal(saved.memory[name].deltas[: len(memory)])
            for name, memory in parts.memory.items()
        )
    ):
        raise InputError(f"'{file}' was learned over another detector; remove it, or name another")
    lessons = []
    for note in notes:
        lesson = Lesson({}, note.source)
        for name, count in note.rows.items():
            start = starts.get(name, 0)
            rows, starts[name] = slice(start, start + count), start + count
            memory = saved.memory[name]
            lesson.memory[name] = Memory(memory.features[rows], memory.deltas[rows]).to(base.device)
        lessons.append(lesson)
    return tuple(lessons)


def _rows(memory: dict[str, Memory]) -> dict[str, int]:
    """The number of regions under each name."""
    return {name: len(regions) for name, regions in memory.items()}


class _Note(BaseModel):
    source: tuple[int, ...]
    rows: dict[str, int]
