"""What a benchmark compares: a tree of dataclasses."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import MISSING

from fsdet import config as cfg
from fsdet.config import typed_yaml
from fsdet.errors import InputError


@dataclass
class Base:
    """A base detector that all methods share: a configuration, and what is different in it."""

    config: str = MISSING  # a file of configs/
    words: list[str] = field(default_factory=list)  # key=value


@dataclass
class Method:
    """A head, and what its tuning may try."""

    name: str = MISSING
    family: str = "methods"  # whose panel it is drawn in
    args: dict[str, Any] = field(default_factory=dict)
    calibration: float = 0.0
    search: dict[str, Any] = field(default_factory=dict)  # argument: [values], beside `args`

    def spec(self, args: dict[str, Any]) -> cfg.Head:
        return cfg.Head(self.name, args, self.calibration)

    def candidates(self, count: int, seed: int) -> list[dict[str, Any]]:
        """At most `count` of the grid of `search`, drawn without putting back; `args` of one or no grid."""
        if count == 1 or not self.search:
            return [self.args]
        grid = [
            self.args | dict(zip(self.search, values, strict=True))
            for values in product(*self.search.values())
        ]
        order = np.random.Generator(np.random.PCG64(seed)).permutation(len(grid))
        return [grid[i] for i in order[:count]]


@dataclass
class Plan:
    """Methods x base detectors x shots x seeds."""

    run: str = "runs/benchmark"  # folder that everything is written to
    detectors: list[Base] = field(default_factory=list)
    words: list[str] = field(default_factory=list)  # key=value, for all of them
    methods: list[Method] = field(default_factory=list)
    baseline: str = "cosine"  # the method that others are compared with
    shots: list[int] = field(default_factory=lambda: [1, 2, 3, 5, 10])
    seeds: int = 30
    trials: int = 4  # arguments that tuning tries of every method; 1: none but `args`
    trial_share: float = 0.3  # of the steps of meta-training, in a trial
    episodes: int = 40  # that a trial is judged by
    seed: int = 0
    processes: int = 1


def load(paths: Sequence[str | Path], words: Sequence[str] = ()) -> Plan:
    """A plan from YAML files, of detectors and of methods, and `key=value` words.

    Raises:
        InputError: what `structured.read` refuses; nothing to compare; a method twice; numbers out of range.
    """
    plan = typed_yaml.read(Plan, paths, words)
    for what, count in (("detectors", len(plan.detectors)), ("methods", len(plan.methods))):
        if not count:
            raise InputError(f"{what}: expected at least one")
    for key in ("seeds", "trials", "episodes", "processes"):
        if getattr(plan, key) < 1:
            raise InputError(f"{key}: expected at least 1, got {getattr(plan, key)}")
    if not 0 < plan.trial_share <= 1:
        raise InputError(f"trial_share: expected above 0 and at most 1, got {plan.trial_share}")
    labels = [method.spec({}).label for method in plan.methods]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"methods: '{label}' is there {labels.count(label)} times")
    if plan.baseline not in labels:
        raise InputError(f"baseline: '{plan.baseline}' is none of the methods {', '.join(labels)}")
    for method in plan.methods:
        cfg.check_head(method.spec({}))
        for name, values in method.search.items():
            if not isinstance(values, list) or not values:
                raise InputError(
                    f"methods, '{method.name}', search.{name}: expected a list of values, got {values!r}"
                )
    return plan


def configs(plan: Plan) -> dict[str, cfg.Config]:
    """The configuration of every base detector, by the name of its folder.

    Raises:
        InputError: what `config.load` refuses, two detectors of one name, or shots or seeds of one alone.
    """
    found: dict[str, cfg.Config] = {}
    shots = "[" + ",".join(map(str, plan.shots)) + "]"
    for base in plan.detectors:
        for word in [*base.words, *plan.words]:
            if word.startswith(("evaluate.shots=", "evaluate.seeds=")):
                said = word.removeprefix("evaluate.")
                raise InputError(f"words: '{word}' is what the plan itself says: {said}")
        scored = [f"evaluate.shots={shots}", f"evaluate.seeds={plan.seeds}"]
        try:
            config = cfg.load(base.config, [*base.words, *plan.words, *scored])
        except InputError as error:
            raise InputError(
                f"detectors, '{base.config}': {error} (for all detectors: words=[key=value,...])"
            ) from error
        split = config.data.split.replace("/", "-").replace(":", "-")
        name = f"{Path(base.config).stem}-{split}"
        if name in found:
            raise InputError(f"detectors: two are of '{base.config}' and split '{split}'")
        config.run = str(Path(plan.run) / name)
        found[name] = config
    return found
