"""Progress bars on a terminal."""

from collections.abc import Callable, Iterable

from tqdm import tqdm


def progress(what: str) -> Callable[[Iterable, int], Iterable]:
    """A progress bar with the time left around a loop of so many, on a terminal only."""
    return lambda loop, total: tqdm(loop, what, total, disable=None, leave=False)
