"""Progress bars on a terminal."""

from collections.abc import Callable, Iterable

from tqdm import tqdm

Progress = Callable[[Iterable, int], Iterable]
"""Wraps a loop over a number of items."""


def progress(label: str) -> Progress:
    """A progress bar with the time left around a loop, on a terminal only."""
    return lambda loop, total: tqdm(loop, label, total, disable=None, leave=False)


def silent(loop: Iterable, total: int) -> Iterable:
    """The loop without a progress bar."""
    return loop


def duration(seconds: float) -> str:
    """Seconds as text: "40 s", "3 min", "2 h 5 min"."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
