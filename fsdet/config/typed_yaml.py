"""Dataclasses from YAML files and `key=value` overrides."""

import re
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml

from fsdet import safe_yaml
from fsdet.config.schema import Section
from fsdet.config.validation import Source, validate
from fsdet.errors import InputError, nearest, one_line

T = TypeVar("T", bound=Section)


class _Loader(yaml.SafeLoader):
    """YAML where 1e-4 is a number, and a date is text."""


class _Dumper(yaml.SafeDumper):
    """YAML that `_Loader` reads back: it quotes text that looks like a number."""


_Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)
for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
        list("-+.0123456789"),
    )


def read(schema: type[T], paths: Sequence[str | Path], words: Sequence[str] = ()) -> T:
    """A dataclass from YAML files and `key=value` overrides.

    Later values win. Keys are merged at every level; a list is replaced, and its entries are changed by their index
    (`stages.0.batch=4`).

    Raises:
        InputError: what `from_file`, `from_word` and `build` refuse.
    """
    return build(schema, [*map(from_file, paths), *(from_word(word, schema) for word in words)])


def build(schema: type[T], sources: list[Source]) -> T:
    """A dataclass from its defaults and the sources, later ones winning.

    Raises:
        InputError: an unknown key (with the nearest right one), a value of the wrong type or out of range, or a key
            that needs a value and has none.
    """
    values: Any = asdict(schema())
    for source in sources:
        try:
            values = _merged(values, source.values)
        except IndexError as error:
            raise InputError(f"{source.origin}: {error}") from None
    return validate(schema, values, sources, "missing: {keys}; give --config FILE or {first}=...")


def part(kind: type[T], values: Any) -> T:
    """A dataclass from plain values, as `asdict` makes them; absent keys have their defaults.

    Raises:
        InputError: values of another kind of part, or of another version.
    """
    source = _source(kind.__name__, values)
    return validate(kind, values, [source], kind.__name__ + ": missing: {keys}")


def save(config: Section, path: Path) -> None:
    """Write a dataclass as YAML; `read` returns an equal one."""
    with open(path, "w", encoding="utf-8") as file:
        yaml.dump(asdict(config), file, _Dumper, sort_keys=False, allow_unicode=True)


def from_file(path: str | Path) -> Source:
    """The values of a YAML file.

    Raises:
        InputError: no such file, no YAML of keys and values, or an interpolation.
    """
    path = Path(path)
    if not path.is_file():
        files = [str(file) for file in sorted(path.parent.glob("*.yaml"))]
        raise InputError(f"no configuration file '{path}'{nearest(str(path), files)}")
    try:
        values = safe_yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (ValueError, OSError) as error:
        raise InputError(f"'{path}' is not YAML of keys and values: {one_line(error)}") from error
    return _source(f"'{path}'", {} if values is None else values)


def from_word(word: str, schema: type[Section]) -> Source:
    """The value of a `key=value` override; the key is dotted, with the index of a list's entry as in `stages.0`.

    Where the schema has text, the value is the text as it stands, unless it is in quotes: YAML would read
    2024_05_01 as a number, and a # as a comment.

    Raises:
        InputError: not `key=value`, a value that is not YAML, or an interpolation.
    """
    key, equals, text = word.partition("=")
    if not key or not equals:
        raise InputError(f"expected key=value, as in train.steps=600; got '{word}'")
    if key.startswith("-"):
        raise InputError(
            f"expected key=value without dashes; got '{word}'; try '{word.lstrip('-')}'"
        )
    try:
        values = safe_yaml.load(text, _Loader)
    except ValueError as error:
        raise InputError(f"'{word}': the value is not YAML: {one_line(error)}") from error
    names = re.sub(r"\[(\d+)\]", r".\1", key).split(".")
    if text[:1] not in ("", "'", '"') and _is_text(schema, names, text):
        values = text
    for name in reversed(names):
        values = {name: values}
    return _source(f"'{word}'", values)


def _is_text(schema: type, names: list[str], value: str) -> bool:
    """Whether the field of a schema is text; a field that may be null is not for the word null."""
    kind: Any = schema
    for name in names:
        kind = get_type_hints(kind).get(name) if is_dataclass(kind) else None
    return kind is str or (set(get_args(kind)) == {str, type(None)} and value not in ("null", "~"))


def _source(origin: str, values: Any) -> Source:
    if not isinstance(values, dict):
        raise InputError(f"{origin}: expected keys and values, got {values!r:.100}")
    _check_plain(values, origin)
    return Source(origin, values)


def _check_plain(value: Any, origin: str) -> None:
    """Refuse values that JSON has no type for, and `${...}`, which other tools replace by variables."""
    if isinstance(value, dict | list | tuple):  # tuples: the pairs of !!omap and !!pairs
        for entry in [*value, *value.values()] if isinstance(value, dict) else value:
            _check_plain(entry, origin)
    elif isinstance(value, str) and "${" in value:
        raise InputError(
            f"{origin}: '{value}': interpolations such as ${{...}} are not allowed;"
            " write the value itself"
        )
    elif isinstance(value, int) and value.bit_length() > 63:
        raise InputError(
            f"{origin}: expected whole numbers of 64 bits, got one of {value.bit_length()}"
        )
    elif not isinstance(value, str | float | int | None):
        raise InputError(f"{origin}: expected text, numbers, true, false or null, got {value!r}")


def _merged(old: Any, new: Any, key: str = "") -> Any:
    """Old values with new ones in their place.

    Raises:
        IndexError: the list at the key has no such entry.
    """
    if not isinstance(new, dict):
        return new
    if isinstance(old, dict):
        return old | {
            name: _merged(old.get(name), value, f"{key}.{name}".lstrip("."))
            for name, value in new.items()
        }
    if not isinstance(old, list) or not new or not all(str(index).isdecimal() for index in new):
        return new
    entries = list(old)
    for index, value in new.items():
        if int(index) >= len(entries):
            raise IndexError(f"{key} has {len(entries)} entries, the first is 0")
        entries[int(index)] = _merged(entries[int(index)], value, f"{key}.{index}")
    return entries
