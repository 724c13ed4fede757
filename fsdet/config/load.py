"""A configuration from files and overrides."""

import os
from collections.abc import Sequence
from pathlib import Path

from fsdet.config import typed_yaml
from fsdet.config.schema import Config, Head
from fsdet.config.validation import Source, check


def load(paths: str | Path | Sequence[str | Path], words: Sequence[str] = ()) -> Config:
    """A configuration from one or more YAML files and `key=value` overrides, later ones winning.

    Overrides that name another head than the files start from that head's defaults: they inherit none of the
    files' arguments for their head. If the head is one of the baselines, it takes the baseline's place and
    arguments.

    Raises:
        InputError: what `typed_yaml.read` and `check` refuse.
    """
    files = [typed_yaml.from_file(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    overrides = [typed_yaml.from_word(word, Config) for word in words]
    config = typed_yaml.build(Config, [*files, *overrides])
    if config.head.name != _head_name(files):
        others = [
            Source(f.origin, {k: v for k, v in f.values.items() if k != "head"}) for f in files
        ]
        config.head = typed_yaml.build(Config, [*others, *overrides]).head
        for baseline in [b for b in config.baselines if b.name == config.head.name]:
            config.head.args = baseline.args | config.head.args
            config.baselines.remove(baseline)
    # Shells replace ~ only at the start of a word.
    config.data.root = os.path.expanduser(config.data.root)
    config.run = os.path.expanduser(config.run)
    check(config)
    return config


def _head_name(files: Sequence[Source]) -> str:
    """The name of the head that the files ask for."""
    heads = [file.values["head"] for file in files if isinstance(file.values.get("head"), dict)]
    return next((head["name"] for head in reversed(heads) if "name" in head), Head().name)
