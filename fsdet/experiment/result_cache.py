"""Cells of an experiment that are finished: read, not run again, as long as they would be the same."""

import hashlib
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fsdet import build
from fsdet import config as cfg
from fsdet.config import typed_yaml
from fsdet.files import write_whole


def asked_of(config: cfg.Config, spec: cfg.Head) -> dict[str, Any]:
    """All that a cell's numbers hang on but the data, which the run folder's marks are of."""
    tree = typed_yaml.as_dict(config)
    for key in ("run", "device", "devices", "head", "baselines", "stages", "proposals", "joint"):
        del tree[key]
    modules = [inspect.getmodule(kind) for kind in build.HEADS[spec.name].__mro__]
    code = [inspect.getsource(m) for m in modules if m and m.__name__.startswith("fsdet.")]
    digest = hashlib.sha256("".join(code).encode()).hexdigest()
    return {"config": tree, "head": typed_yaml.as_dict(spec), "code": digest}


def kept(place: Path, asked: dict[str, Any], make: Callable[[], list[Any]]) -> list[Any]:
    """What a file holds if it was made for what is asked; else made and kept."""
    if (made := held(place, asked)) is None:
        made = make()
        text = json.dumps({"asked": asked, "made": made})
        write_whole(place, lambda to: to.write_text(text))
    return made


def held(place: Path, asked: dict[str, Any]) -> list[Any] | None:
    """What a file holds if it was made for what is asked."""
    try:
        there = json.loads(place.read_text()) if place.is_file() else {}
    except ValueError:
        there = {}
    same = isinstance(there, dict) and there.get("asked") == json.loads(json.dumps(asked))
    return there["made"] if same else None
