"""Lessons: regions that a served detector has learned from requests, apart from those it came with."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from fsdet.api import detector_file
from fsdet.api.detector import Detector
from fsdet.api.memory import Memory, merged
from fsdet.errors import InputError


@dataclass(frozen=True)
class Lesson:
    """What one registration, or one annotation of Label Studio, taught."""

    memory: dict[str, Memory]  # by category and, under "", of background
    source: tuple[int, ...] = ()  # project, task and annotation in Label Studio

    @property
    def names(self) -> set[str]:
        return {name for name in self.memory if name}

    def __len__(self) -> int:
        return sum(map(len, self.memory.values()))


@dataclass(frozen=True)
class Snapshot:
    """A detector that nobody changes any more: any number of threads may predict with it."""

    detector: Detector
    lessons: tuple[Lesson, ...]
    version: str  # the same for the same weights and memory

    @staticmethod
    def of(given: Detector, lessons: Sequence[Lesson]) -> "Snapshot":
        """A detector that knows the lessons too, adapted to them; it shares the network of `given`."""
        parts = given.parts()
        memory = merged([parts.memory, *(lesson.memory for lesson in lessons)])
        detector = Detector(*parts._replace(memory=memory))
        if detector.names:
            detector.task()
        return Snapshot(detector, tuple(lessons), detector_file.identity(detector.parts())[:12])


def without(lessons: Sequence[Lesson], name: str) -> list[Lesson]:
    """The lessons without a category; those that taught nothing else go, with their background."""
    rest = [
        Lesson({n: kept for n, kept in one.memory.items() if n != name}, one.source)
        for one in lessons
    ]
    return [one for one in rest if one.names]


def write(path: Path, snapshot: Snapshot) -> None:
    """Write the whole detector to a file that `fsdet.load` and `restore` read.

    Raises:
        InputError: it cannot be written there.
    """
    notes = [
        {"source": one.source, "rows": {name: len(kept) for name, kept in one.memory.items()}}
        for one in snapshot.lessons
    ]
    detector_file.write(path, snapshot.detector.parts(), notes)


def restore(path: Path, given: Detector) -> tuple[Lesson, ...]:
    """The lessons in a file of `write`; none where there is no file.

    Raises:
        InputError: it is not such a file, or of another detector than `given`.
    """
    file = detector_file.place(path)
    if not file.exists():
        return ()
    there, here = detector_file.read(file), given.parts()
    try:
        notes = TypeAdapter(list[_Note]).validate_python(detector_file.notes_of(file))
    except (ValidationError, ValueError):
        raise InputError(f"'{file}' is a detector, but no service wrote it") from None
    model, memory = here.model.state_dict(), here.memory
    same = model.keys() == there.model.state_dict().keys() and all(
        value.cpu().equal(model[name].cpu()) for name, value in there.model.state_dict().items()
    )
    begins = {name: len(kept) for name, kept in memory.items()}
    rows: Counter[str] = Counter(begins)
    for note in notes:
        rows.update(note.rows)
    same = same and {name: len(kept) for name, kept in there.memory.items()} == dict(rows)
    if not same or not all(
        kept.deltas.cpu().equal(there.memory[name].deltas[: len(kept)])
        for name, kept in memory.items()
    ):
        raise InputError(f"'{file}' was learned over another detector; remove it, or name another")
    lessons = []
    for note in notes:
        lessons.append(Lesson({}, note.source))
        for name, count in note.rows.items():
            start = begins.get(name, 0)
            part, begins[name] = slice(start, start + count), start + count
            kept = there.memory[name]
            mine = Memory(kept.features[part], kept.deltas[part])
            lessons[-1].memory[name] = mine.to(given.device)
    return tuple(lessons)


class _Note(BaseModel):
    source: tuple[int, ...]
    rows: dict[str, int]
