"""Malformed inputs: strategies that damage valid ones, and the limits within which each must be answered."""

import copy
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from fsdet.errors import InputError, one_line, printable

SECONDS, MEMORY = 10, 2 * 2**30  # of computation for each input; bytes
WAIT = 60  # seconds by the clock: a busy machine must not fail a test, a call that waits must
EXAMPLES = os.environ.get("FSDET_FUZZ")
"""Inputs of each test, drawn anew each time; without it a few, always the same."""

fuzzed = settings(
    max_examples=int(EXAMPLES or 20),
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

_NUMBERS = (
    st.integers()
    | st.floats()
    | st.sampled_from([2**31, 2**63, 2**64, -1, 0, 10**12, 10**400, 1e308, 5e-324, 0.1, True])
)
_TEXTS = st.text(max_size=30) | st.sampled_from(
    [
        "",
        "\ud800",
        "a\0b",
        "../x",
        "/etc/passwd",
        "x" * 300,
        "x" * 5000,
        "${oc.env:HOME}",
        "\x1b[31m",
        "1",
        "nan",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def damaged_tree(draw, tree):
    """A copy of a tree of dicts and lists in which some values are others, missing, or there many times."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        node, steps = tree, draw(st.integers(0, 5))
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if steps and isinstance(node[key], dict | list) and node[key]:
                node, steps = node[key], steps - 1
                continue
            change = draw(st.sampled_from(["replace", "replace", "remove", "repeat"]))
            if change == "remove":
                del node[key]
            elif change == "repeat" and isinstance(node, list):
                node.extend([node[key]] * draw(st.integers(1, 200)))
            else:
                node[key] = draw(JSON)
            break
    return tree


@st.composite
def damaged_bytes(draw, content):
    """Bytes of which some are others, missing, inserted or there many times."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        change = draw(st.sampled_from(["flip", "cut", "insert", "remove", "repeat"]))
        if change == "flip" and place < len(data):
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif change == "cut":
            del data[place:]
        elif change == "insert":
            data[place:place] = draw(st.binary(max_size=20) | _TEXTS.map(_encoded))
        elif change == "remove":
            del data[place : place + draw(st.integers(1, 100))]
        elif change == "repeat":
            part = bytes(data[place : place + draw(st.integers(1, 50))])
            data[place:place] = part * draw(st.sampled_from([1, 3, 2000]))
    return bytes(data)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@contextmanager
def limits() -> Iterator[None]:
    """Fail after `SECONDS` of computation or `WAIT`, and beyond `MEMORY` more than the process has."""

    def late(number: int, frame: object) -> None:
        raise AssertionError(f"not answered within {SECONDS} s of computation, or {WAIT} s")

    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    handlers = {kind: signal.signal(kind, late) for kind in (signal.SIGALRM, signal.SIGPROF)}
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, before[1]))
    signal.alarm(WAIT)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for kind, handler in handlers.items():
            signal.signal(kind, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def survives(*calls: Callable[[], object]) -> None:
    """Each call ends within the limits, with a result or with an `InputError` that fits a line."""
    for call in calls:
        try:
            with limits():
                call()
        except InputError as error:
            line = printable(one_line(error))
            assert line and line.encode() and "Traceback" not in line
