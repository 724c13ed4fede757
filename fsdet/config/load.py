"""A configuration from files and words."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fsdet.config import typed_yaml
from fsdet.config.schema import Config, Head
from fsdet.config.validation import check


@dataclass
class _Headed:
    head: Head = field(default_factory=Head)


def load(paths: str | Path | Sequence[str | Path], words: Sequence[str] = ()) -> Config:
    """A configuration from a YAML file, or several, and `key=value` words, later ones winning.

    Words that name another head than the file does take nothing of what the file says of its own; one of
    the file's baselines goes to the head's place as it is.

    Raises:
        InputError: what `typed_yaml.read` and `check` refuse.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    config = typed_yaml.read(Config, paths, words)
    of_head = [word for word in words if word.startswith(("head.", "head="))]
    others = [word for word in words if word not in of_head]
    if of_head and typed_yaml.read(Config, paths, others).head.name != config.head.name:
        config.head = typed_yaml.read(_Headed, [], of_head).head
        for baseline in [
            baseline for baseline in config.baselines if baseline.name == config.head.name
        ]:
            config.head.args = baseline.args | config.head.args
            config.baselines.remove(baseline)
    check(config)
    return config
