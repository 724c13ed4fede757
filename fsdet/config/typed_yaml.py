"""Dataclasses read from YAML and `key=value` words, every mistake named."""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

import yaml
from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fsdet.errors import InputError, nearest, one_line

T = TypeVar("T")


def read(schema: type[T], paths: Sequence[str | Path], words: Sequence[str] = ()) -> T:
    """A dataclass from YAML files and `key=value` words, later ones winning.

    Raises:
        InputError: no such file, not YAML, an unknown key (with the nearest right one), a value of the wrong
            type or out of range, a key that needs a value and has none, a word that is not `key=value`.
    """
    tree = OmegaConf.structured(schema)
    for path in paths:
        tree = _merge(tree, _read(Path(path)), f"'{path}'")
    for word in words:
        if "=" not in word or word.startswith("="):
            raise InputError(f"expected key=value, as in train.steps=600; got '{word}'")
        key, value = word.split("=", 1)
        if "[" in key:  # as messages say where a list is wrong
            key = re.sub(r"\[(\d+)\]", r".\1", key)
            word = f"{key}={value}"
        if key.startswith("-"):
            raise InputError(
                f"expected key=value without dashes; got '{word}'; try '{word.lstrip('-')}'"
            )
        try:
            more = OmegaConf.from_dotlist([word])
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            reason = one_line(error)
            raise InputError(f"'{word}': the value is not YAML: {reason}") from error
        _refuse_interpolation(OmegaConf.to_container(more), f"'{word}'")
        tree = _merge(tree, _with_whole_list(tree, key, more), f"'{word}'")
    try:
        missing = sorted(OmegaConf.missing_keys(tree))
        if missing:
            message = f"missing: {', '.join(missing)}; give --config FILE or {missing[0]}=..."
            raise InputError(message)
        return cast(T, OmegaConf.to_object(tree))
    except OmegaConfBaseException as error:
        raise InputError(f"{_key(error)}{str(error).splitlines()[0]}") from error


def save(config: Any, path: Path) -> None:
    """Write a dataclass that `read` reads back as it is."""
    path.write_text(OmegaConf.to_yaml(OmegaConf.structured(config)))


def as_dict(config: Any) -> dict[str, Any]:
    """A dataclass as plain values."""
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.structured(config)))


def part(kind: type, values: dict[str, Any]) -> Any:
    """A dataclass from plain values, as `as_dict` made them.

    Raises:
        InputError: values of another kind of part, or of another version.
    """
    if not isinstance(values, dict):
        raise InputError(f"{kind.__name__}: expected keys and values, got {values!r}")
    _refuse_interpolation(values, kind.__name__)
    return OmegaConf.to_object(
        _merge(OmegaConf.structured(kind), OmegaConf.create(values), kind.__name__)
    )


def _read(path: Path) -> DictConfig:
    if not path.is_file():
        beside = [str(file) for file in sorted(path.parent.glob("*.yaml"))]
        raise InputError(f"no configuration file '{path}'{nearest(str(path), beside)}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        tree = OmegaConf.create({} if values is None else values)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, OSError) as error:
        where = one_line(error)
        raise InputError(f"'{path}' is not YAML of keys and values: {where}") from error
    _refuse_interpolation(values, f"'{path}'")
    if not isinstance(tree, DictConfig):
        raise InputError(f"'{path}': expected keys and values, got a list")
    return tree


def _refuse_interpolation(value: Any, where: str) -> None:
    """Raise an InputError for `${...}` anywhere in a value.

    OmegaConf would resolve it, and so read the environment of whoever loads a file of others.
    """
    if isinstance(value, str) and "${" in value:
        raise InputError(
            f"{where}: '{value}': interpolations such as ${{...}} are not allowed;"
            " write the value itself"
        )
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):  # tuples are the pairs of !!omap and !!pairs
        for entry in value:
            _refuse_interpolation(entry, where)


def _with_whole_list(tree: DictConfig, key: str, more: DictConfig) -> DictConfig:
    """Of a word for a part of a list, as `stages.0.steps`, the list with that changed: lists are merged whole.

    Raises:
        InputError: the list has no such entry.
    """
    parts = re.fullmatch(r"(.+?)\.(\d+)((?:\..+)?)", key)
    if parts is None:
        return more
    try:
        before = OmegaConf.select(tree, parts[1])
    except OmegaConfBaseException:  # `_merge` says what is wrong with it
        return more
    if not isinstance(before, ListConfig):
        return more
    if int(parts[2]) >= len(before):
        raise InputError(f"'{key}': {parts[1]} has {len(before)} entries, the first is 0")
    value: Any = OmegaConf.to_container(more)
    for name in key.split("."):
        value = {str(k): v for k, v in value.items()}[name]
    whole = OmegaConf.create({"list": OmegaConf.to_container(before)})
    try:
        OmegaConf.update(whole, f"list.{parts[2]}{parts[3]}", value, force_add=True)
    except (OmegaConfBaseException, ValueError, TypeError, IndexError) as error:
        raise InputError(f"'{key}': {parts[1]} has no such entry") from error
    changed = OmegaConf.create({})
    OmegaConf.update(changed, parts[1], OmegaConf.to_container(whole)["list"])  # type: ignore[call-overload, index]
    return changed


def _check_shape(kind: Any, value: Any, key: str, where: str) -> None:
    """An InputError where a list, or keys and values, are expected and something else is there.

    Unknown keys are `_merge`'s affair, but those of a list's entries, of which it does not know where they are.
    """
    if value is None or (isinstance(value, str) and value.startswith(MISSING)):
        return
    if get_origin(kind) is list:
        if isinstance(value, dict) and "[" not in key:
            raise InputError(f"{where}: {key}: expected a list, or a part of it as in {key}.0=...")
        if not isinstance(value, list):
            entry = _named(get_args(kind)[0], value) or _yaml(value)
            raise InputError(f"{where}: {key}: expected a list, as in [{entry}]")
        for index, entry in enumerate(value):
            _check_shape(get_args(kind)[0], entry, f"{key}[{index}]", where)
    elif is_dataclass(kind):
        hints = get_type_hints(kind)
        if not isinstance(value, dict):
            named = _named(kind, value)
            meant = named if "[" in key else f"{key}.name={value}"
            hint = f"; did you mean {meant}?" if named else nearest("", hints)
            raise InputError(f"{where}: {key}: expected keys and values, got {_yaml(value)}{hint}")
        for name, entry in value.items():
            inside = f"{key}.{name}" if key else str(name)
            if name in hints:
                _check_shape(hints[name], entry, inside, where)
            elif "[" in key:
                raise InputError(f"{where}: no key '{inside}'{nearest(name, hints)}")
    elif kind in (int, float, str, bool) and isinstance(value, list | dict):
        raise InputError(f"{where}: {key}: expected one value, got {_yaml(value)}")


def _named(kind: Any, value: Any) -> str:
    """What has a name and was given by it alone, in full; empty if it is not that."""
    has_name = is_dataclass(kind) and "name" in get_type_hints(kind)
    return f"{{name: {value}}}" if has_name and isinstance(value, str) else ""


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).strip().removesuffix("...").strip()


def _merge(tree: DictConfig, more: DictConfig, where: str) -> DictConfig:
    _check_shape(OmegaConf.get_type(tree), OmegaConf.to_container(more), "", where)
    try:
        merged = cast(DictConfig, OmegaConf.merge(tree, more))
        for key in OmegaConf.missing_keys(more) - OmegaConf.missing_keys(merged):
            OmegaConf.update(merged, key, MISSING)  # `merge` would keep the default
        return merged
    except (OmegaConfBaseException, TypeError) as error:
        if re.search(r"Key .* not in|not in '", str(error)):
            key = _whole(str(getattr(error, "full_key", "")), more)
            raise InputError(
                f"{where}: no key '{key}' in the configuration{_meant(key, cast(type, OmegaConf.get_type(tree)))}"
            ) from error
        raise InputError(f"{where}: {_key(error)}{str(error).splitlines()[0]}") from error


def _key(error: Exception) -> str:
    key = getattr(error, "full_key", None)
    return f"{key}: " if key else ""


def _whole(key: str, more: DictConfig) -> str:
    """A key that is not known, down to its value: of `trian.steps=3` only `trian` is complained about."""
    node = OmegaConf.select(more, key)
    while isinstance(node, DictConfig) and len(node):
        name, node = next(iter(node.items()))
        key = f"{key}.{name!s}"
    return key


def _meant(key: str, schema: type) -> str:
    """The nearest key; one that ends alike comes first."""
    keys = list(_keys(schema))
    same = [name for name in keys if name.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]
    if "." in key and same:
        same = difflib.get_close_matches(key, same, n=1, cutoff=0)
    return f"; did you mean '{same[0]}'?" if same else nearest(key, keys)


def _keys(kind: Any, prefix: str = "") -> Iterator[str]:
    for entry in fields(kind):
        yield prefix + entry.name
        if is_dataclass(entry.type):
            yield from _keys(entry.type, f"{prefix}{entry.name}.")
