"""Progress bars on a terminal."""

from collections.abc import Callable, Iterable

from tqdm import tqdm


def progress(what: str) -> Callable[[Iterable, int], Iterable]:
    """A wrapper of loops with a progress bar and the time left, on a terminal only."""
    return lambda loop, total: tqdm(loop, what, total, disable=None, leave=False)
