"""Result cache: finished results of an experiment, reused while their inputs are the same."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fsdet import build, checksum
from fsdet import config as cfg
from fsdet.files import write_whole

logger = logging.getLogger("fsdet")
VERSION = 1  # of training and scoring; raise it when a change alters the results


def cache_key(config: cfg.Config, spec: cfg.Head) -> dict[str, Any]:
    """Everything that a result depends on, except the data, which `run_folder.claim` checks.

    Code is represented by `VERSION` and by the `version` of the head and of its base classes.
    """
    tree = asdict(config)
    for key in ("run", "device", "devices", "head", "baselines", "stages", "proposals", "joint"):
        del tree[key]
    classes = [kind for kind in build.head_class(spec.name).__mro__ if "version" in vars(kind)]
    versions = {kind.__name__: vars(kind)["version"] for kind in classes}
    head = asdict(spec)
    return {"config": tree, "head": head, "version": VERSION, "head versions": versions}


def cached(path: Path, key: dict[str, Any], compute: Callable[[], list[Any]]) -> list[Any]:
    """The result in a file if it was stored under `key`; otherwise compute and store it."""
    if (result := read_cached(path, key)) is None:
        result = compute()
        text = json.dumps({"checksum": checksum.BLANK, "key": key, "result": result})

        def write(file: Path) -> None:
            file.write_text(text)
            checksum.seal(file)

        write_whole(path, write)
    return result


def read_cached(path: Path, key: dict[str, Any]) -> list[Any] | None:
    """The result in a file if it was stored under `key`; a damaged file is logged and counts as none."""
    if not path.is_file():
        return None
    try:
        checksum.verify(path)
        content = json.loads(path.read_text())
    except ValueError as error:
        logger.warning("'%s' is damaged (%s): its results are computed again", path, error)
        return None
    return content["result"] if content["key"] == json.loads(json.dumps(key)) else None
