"""Benchmark plan: methods, base detectors, shots and seeds, as a tree of dataclasses."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fsdet import config as cfg
from fsdet.config import typed_yaml
from fsdet.config.schema import Few, Section, Seed, Share, ShotCounts, Size
from fsdet.errors import InputError


@dataclass
class BaseDetector(Section):
    """A base detector that all methods share: a configuration and overrides."""

    config: str  # a file of configs/
    words: list[str] = field(default_factory=list)  # key=value


@dataclass
class Method(Section):
    """A head and its search space."""

    name: str
    family: str = "methods"  # panel of the report
    args: dict[str, Any] = field(default_factory=dict)
    calibration: Share = 0.0
    # argument -> values, in addition to `args`
    search: dict[str, Annotated[list[Any], Field(min_length=1)]] = field(default_factory=dict)

    def spec(self, args: dict[str, Any]) -> cfg.Head:
        """The head with these arguments."""
        return cfg.Head(self.name, args, self.calibration)

    def candidates(self, count: int, seed: int) -> list[dict[str, Any]]:
        """Up to `count` points of the search grid, drawn without replacement; `args` alone for one or no grid."""
        if count == 1 or not self.search:
            return [self.args]
        grid = [
            self.args | dict(zip(self.search, values, strict=True))
            for values in product(*self.search.values())
        ]
        order = np.random.Generator(np.random.PCG64(seed)).permutation(len(grid))
        return [grid[i] for i in order[:count]]


@dataclass
class Plan(Section):
    """Methods x base detectors x shots x seeds."""

    run: str = "runs/benchmark"  # output folder
    detectors: list[BaseDetector] = field(default_factory=list)
    words: list[str] = field(default_factory=list)  # key=value, for all detectors
    methods: list[Method] = field(default_factory=list)
    baseline: str = "cosine"  # reference method of the comparisons
    shots: ShotCounts = field(default_factory=lambda: [1, 2, 3, 5, 10])
    seeds: Few = 30
    trials: Few = 4  # points of the search grid per method; 1: no tuning
    trial_share: Annotated[Size, Field(le=1)] = 0.3  # share of the meta-training steps in a trial
    episodes: Few = 40  # that a trial is scored on
    seed: Seed = 0
    processes: Few = 1


def load(paths: Sequence[str | Path], overrides: Sequence[str] = ()) -> Plan:
    """Load a plan from YAML files, of detectors and of methods, and `key=value` overrides.

    Raises:
        InputError: wrong files or overrides (`typed_yaml.read`), no method or detector, a repeated method, or a
            number out of range.
    """
    plan = typed_yaml.read(Plan, paths, overrides)
    for key in ("detectors", "methods"):
        if not getattr(plan, key):
            raise InputError(f"{key}: expected at least one")
    labels = [method.spec({}).label for method in plan.methods]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"methods: '{label}' is listed {labels.count(label)} times")
    if plan.baseline not in labels:
        raise InputError(
            f"baseline: '{plan.baseline}' is not one of the methods {', '.join(labels)}"
        )
    return plan


def configs(plan: Plan) -> dict[str, cfg.Config]:
    """The configuration of every base detector, by the name of its folder.

    Raises:
        InputError: a wrong configuration, two detectors with the same name, or overrides of shots or seeds.
    """
    by_name: dict[str, cfg.Config] = {}
    shots = "[" + ",".join(map(str, plan.shots)) + "]"
    for base in plan.detectors:
        for word in [*base.words, *plan.words]:
            if word.startswith(("evaluate.shots=", "evaluate.seeds=")):
                key = word.removeprefix("evaluate.")
                raise InputError(f"words: '{word}' belongs to the plan itself: {key}")
        evaluate = [f"evaluate.shots={shots}", f"evaluate.seeds={plan.seeds}"]
        try:
            config = cfg.load(base.config, [*base.words, *plan.words, *evaluate])
        except InputError as error:
            raise InputError(
                f"detectors, '{base.config}': {error} (for all detectors: words=[key=value,...])"
            ) from error
        split = config.data.split.replace("/", "-").replace(":", "-")
        name = f"{Path(base.config).stem}-{split}"
        if name in by_name:
            raise InputError(
                f"detectors: two have the file name '{base.config}' and split '{split}'"
            )
        config.run = str(Path(plan.run) / name)
        by_name[name] = config
    return by_name
