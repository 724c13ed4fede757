"""Limits of the service, and refusals of requests beyond them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fsdet.errors import InputError


@dataclass(frozen=True)
class Limits:
    """Limits of each request, and of the service as a whole."""

    body: int = 32 * 2**20  # bytes of a request
    pixels: int = 25_000_000  # of an image
    images: int = 32  # of a registration
    boxes: int = 200  # of an image
    name: int = 80  # characters of a category's name
    regions: int = 20_000  # stored in all lessons together
    tasks: int = 100  # Label Studio tasks of a request
    export: int = 64 * 2**20  # bytes of an export from Label Studio
    requests: int = 32  # at once, until their answers begin
    downloads: int = 8  # of the detector, at once, until they are read
    waiting: int = 64  # calls in the queue of a pool
    seconds: float = 120.0  # until a body has arrived, and until an answer is ready


class Refusal(InputError):
    """A wrong or too large request, with the HTTP status of the answer."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def printable_line(message: object) -> str:
    """A message that may quote a client, as one printable line of at most 1000 characters."""
    letters = str(message)[:1000]
    printable = "".join(letter if letter.isprintable() else " " for letter in letters)
    return " ".join(printable.split())


def first_error(errors: Sequence[Any], *path: str) -> str:
    """The first of pydantic's errors as "path: message; got input"; `path` is that of the validated value."""
    error = errors[0]
    location = ".".join(map(str, (*path, *error["loc"])))
    got = f"; got {str(error['input'])[:100]}" if "input" in error else ""
    return f"{location}: {error['msg']}{got}"


def check_name(name: str, limits: Limits) -> None:
    """Refuse the name of a category that is too long, looks like a path, or has control characters.

    Raises:
        Refusal: 422.
    """
    allowed = name.isprintable() and name == name.strip() and not set(name) & {*"/\\"}
    if not (1 <= len(name) <= limits.name and allowed and not name.startswith(".")):
        ascii_name = name[: limits.name].encode("ascii", "backslashreplace").decode()
        raise Refusal(
            422,
            f"name: expected 1 to {limits.name} printable characters without / and \\, no leading"
            f" full stop, no surrounding space; got {len(name)}: '{ascii_name}'",
        )
