"""Limits of the service, and the refusals of requests beyond them."""

from dataclasses import dataclass

from fsdet.errors import InputError


@dataclass(frozen=True)
class Limits:
    """Bounds of every request, and of all together."""

    body: int = 32 * 2**20  # bytes of a request
    pixels: int = 25_000_000  # of an image
    images: int = 32  # of a registration
    boxes: int = 200  # of an image
    name: int = 80  # characters
    regions: int = 20_000  # remembered of everything that was registered
    tasks: int = 100  # of Label Studio in a request
    export: int = 64 * 2**20  # bytes that Label Studio may answer
    requests: int = 32  # at once
    waiting: int = 64  # pieces of work in a queue
    seconds: float = 120.0  # until a body must be here, and until an answer must be there


class Refusal(InputError):
    """A mistake, or too much, with its HTTP status."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def line(message: str) -> str:
    """A message that may hold what a client sent, as one printable line."""
    clean = "".join(letter if letter.isprintable() else " " for letter in message[:1000])
    return " ".join(clean.split())


def check_name(name: str, limits: Limits) -> str:
    """The name of a category, if it can be one; no path, no control character.

    Raises:
        Refusal: 422.
    """
    shown = name[: limits.name].encode("ascii", "backslashreplace").decode()
    if not 1 <= len(name) <= limits.name:
        raise Refusal(422, f"name: expected 1 to {limits.name} characters, got {len(name)}")
    if (
        not name.isprintable()
        or name != name.strip()
        or name.startswith(".")
        or set(name) & {*"/\\"}
    ):
        raise Refusal(
            422,
            "name: expected printable characters without / and \\, no full stop in front, no space"
            f" around; got '{shown}'",
        )
    return name
