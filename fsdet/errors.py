"""Errors of users: one line with what was expected, what came and the nearest right value."""

import difflib
from collections.abc import Iterable, Sequence
from importlib.util import find_spec


class InputError(ValueError):
    """Something a user gave is wrong; the message says what was expected, what came and where.

    Tools print it in one line and exit with status 2; in a program it is an ordinary `ValueError`.
    """


def one_line(error: object, most: int | None = None) -> str:
    """The text of an error on one line, cut after `most` characters."""
    return " ".join(str(error).split())[:most]


def join_some(values: Sequence[object], limit: int = 8) -> str:
    """The first values, separated by commas, and how many there are if more; "nothing" for none."""
    text = ", ".join(str(value) for value in values[:limit])
    return text + f", ... ({len(values)})" if len(values) > limit else text or "nothing"


def nearest(word: str, choices: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the known word closest to `word`, or the few there are, or `""`."""
    names = sorted(map(str, choices))
    lowered = {name.lower(): name for name in names}
    close = difflib.get_close_matches(str(word).lower(), lowered, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{lowered[close[0]]}'?"
    if 0 < len(names) <= 12:
        return f"; known: {', '.join(names)}"
    return ""


def needs(feature: str, modules: Iterable[str], extra: str) -> None:
    """Raise an InputError that names the first missing module and the command that installs it."""
    for module in modules:
        if find_spec(module) is None:
            raise InputError(f"{feature} needs {module}: pip install 'fsdet[{extra}]'")
