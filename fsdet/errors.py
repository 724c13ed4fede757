"""User errors: messages of one line with the expectation, the value and the nearest right value."""

import difflib
import re
from collections.abc import Iterable, Sequence
from importlib.util import find_spec


class InputError(ValueError):
    """A wrong value from a user; the message states the place, the expectation and the value.

    Commands print the message and exit with status 2; a program sees a `ValueError`.
    """


# Control characters, the ends of lines, the marks that turn the direction of text, and halves of characters.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, kept: str = "") -> str:
    r"""Text of others for a terminal: control characters but those of `kept` are escaped, as in \x1b."""

    def escaped(match: re.Match[str]) -> str:
        return match[0] if match[0] in kept else ascii(match[0])[1:-1]

    return _CONTROL.sub(escaped, text)


def one_line(error: object, most: int | None = None) -> str:
    """The text of an error on one line, at most `most` characters."""
    return " ".join(str(error).split())[:most]


def join_some(values: Sequence[object], limit: int = 8) -> str:
    """The first `limit` values, separated by commas, with the total number if it is larger; "nothing" for none."""
    text = ", ".join(str(value) for value in values[:limit])
    return text + f", ... ({len(values)})" if len(values) > limit else text or "nothing"


def nearest(word: str, choices: Iterable[str]) -> str:
    """A hint for a wrong word: `"; did you mean 'x'?"`, or the choices if they are few, or `""`."""
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
