"""Validation of a configuration with pydantic; the first wrong value makes a message of one line."""

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from functools import cache
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from fsdet.config.schema import ATTENTION_SUFFIX, REQUIRED, Config, Section
from fsdet.errors import InputError, nearest

T = TypeVar("T", bound=Section)
Key = tuple[int | str, ...]

_adapter: Callable[[type], TypeAdapter[Any]] = cache(TypeAdapter)

_EXPECTED = {  # by the type of pydantic's error
    "int_type": "a whole number",
    "float_type": "a finite number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list in brackets",
    "too_short": "a list that is not empty",
    "too_long": "a list of at most {max_length}",
    "dict_type": "keys and values",
    "dataclass_type": "keys and values",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "below {lt:g}",
    "less_than_equal": "at most {le:g}",
}


class Source(NamedTuple):
    """Values of a configuration and their origin."""

    origin: str  # for messages: a quoted file or override, or the name of a section
    values: dict[Any, Any]

    def sets(self, key: Key) -> bool:
        """Whether the source sets the value at `key` or a part of it."""
        node: Any = self.values
        for name in key:
            if not isinstance(node, dict):
                return True
            if str(name) not in node:
                return False
            node = node[str(name)]
        return True


def validate(kind: type[T], values: Any, sources: list[Source], missing: str) -> T:
    """The dataclass with these values.

    Args:
        sources: origins of the values, later ones winning; a message names the last one that set the wrong value.
        missing: message for keys without a value, with `{keys}` for all of them and `{first}` for the first.

    Raises:
        InputError: an unknown key (with the nearest right one), a value of the wrong type or out of range, or a key
            that needs a value and has none.
    """
    required = set(_required(values))
    try:
        section = _adapter(kind).validate_python(values)
    except ValidationError as error:
        for details in error.errors():
            key = details["loc"]
            if details["type"] == "missing" or details["input"] == REQUIRED:
                required.add(_dotted(key))
                continue
            origin = next((f"{s.origin}: " for s in reversed(sources) if s.sets(key)), "")
            raise InputError(origin + _message(kind, details)) from None
    if required:
        keys = sorted(required)
        raise InputError(missing.format(keys=", ".join(keys), first=keys[0]))
    return section


def mismatch(details: ErrorDetails) -> str:
    """What one of pydantic's errors expected, and what came."""
    value, context = details["input"], details.get("ctx", {})
    if details["type"] == "value_error":
        return str(context["error"])
    if details["type"] == "literal_error":
        choices = re.split(", | or ", context["expected"].replace("'", ""))
        hint = nearest(value, choices).partition("; known")[0]
        return f"expected one of {', '.join(choices)}; got {value!r}{hint}"
    is_name = isinstance(value, str) and context.get("class_name") in (
        "Backbone",
        "Descriptor",
        "Head",
    )
    hint = f"; did you mean {{name: {value}}}?" if is_name else ""
    return f"expected {_EXPECTED[details['type']].format(**context)}, got {value!r:.200}{hint}"


def _required(values: Any, key: Key = ()) -> Iterator[str]:
    """Keys with the value `REQUIRED`."""
    if isinstance(values, dict | list):
        for name, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from _required(value, (*key, name))
    elif values == REQUIRED:
        yield _dotted(key)


def _message(kind: type, details: ErrorDetails) -> str:
    """The key, what was expected there and what came, and the nearest right answer."""
    key, value = details["loc"], details["input"]
    if details["type"] in ("unexpected_keyword_argument", "invalid_key"):
        while isinstance(value, dict) and value:  # pydantic reports `trian` for `trian.steps`
            name, value = next(iter(value.items()))
            key = (*key, name)
        return f"no key '{_dotted(key)}' in the configuration{_nearest_key(kind, _dotted(key))}"
    return f"{_dotted(key)}: {mismatch(details)}"


def _nearest_key(kind: type, key: str) -> str:
    """A hint at the nearest key; one with the same last part comes first."""
    index = re.search(r"\.(\d+)\.", key)
    keys = list(_keys(kind, index[1] if index else "0"))
    namesakes = [name for name in keys if name.rpartition(".")[2] == key.rpartition(".")[2]]
    if "." in key:
        namesakes = difflib.get_close_matches(key, namesakes, n=1, cutoff=0)
    return f"; did you mean '{namesakes[0]}'?" if namesakes else nearest(key, keys)


def _keys(kind: Any, index: str) -> Iterator[str]:
    """The keys of a dataclass, dotted; `index` stands for the entries of its lists."""
    for name, value in get_type_hints(kind).items():
        yield name
        entry, prefix = (
            (value, name)
            if get_origin(value) is not list
            else (get_args(value)[0], f"{name}.{index}")
        )
        entry = next((kind for kind in get_args(entry) if is_dataclass(kind)), entry)  # or none
        if is_dataclass(entry):
            yield from (f"{prefix}.{key}" for key in _keys(entry, index))


def _dotted(key: Key) -> str:
    return ".".join(map(str, key))


def check(config: Config) -> None:
    """Validate relations between heads, baselines and stages.

    Raises:
        InputError: two methods with one name in the results, or a stage that needs another base training.
    """
    if config.base and (config.stages or config.joint):
        raise InputError(
            f"base: '{config.base}' takes the place of base training, from which novel stages and joint"
            " training start; expected stages: [] and joint: false"
        )
    _check_given_boxes(config)
    by_label = {config.head.label: config.head}
    for head in config.baselines:
        if by_label.setdefault(head.label, head) != head:
            raise InputError(
                f"baselines: '{head.label}' is there with other args; give it a run of its own"
            )
    names = [*by_label, "joint"]
    if config.proposals.name == "attention":
        names.append(config.head.label + ATTENTION_SUFFIX)
    for n, stage in enumerate(config.stages):
        if stage.gradients and not config.detector.gradients:
            raise InputError(f"stages.{n}.gradients: needs detector.gradients in base training too")
        if stage.name in names:
            raise InputError(
                f"stages.{n}.name: another method's rows are called '{stage.name}'; give it a name of its own"
            )
        names.append(stage.name)


def _check_given_boxes(config: Config) -> None:
    if config.detector.boxes == "own":
        return
    if not config.data.proposals:
        raise InputError(
            "detector.boxes: given boxes need data.proposals=FILE, a list of COCO results"
        )
    if config.stages or config.joint or config.meta.end_to_end or config.proposals.name != "rpn":
        raise InputError(
            "detector.boxes: given boxes have no RPN and no layers to train; expected stages: [],"
            " joint: false, meta.end_to_end: 0 and proposals.name: rpn"
        )
