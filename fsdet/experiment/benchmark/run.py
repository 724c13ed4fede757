"""Methods x base detectors x shots x seeds, from one plan: tuned alike, scored alike, each cell kept."""

import csv
import json
import shutil
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fsdet import config as cfg
from fsdet.config import typed_yaml
from fsdet.errors import InputError
from fsdet.experiment.benchmark.plan import Method, Plan, configs
from fsdet.experiment.benchmark.processes import as_they_come, pool_of
from fsdet.experiment.benchmark.search import Trial, best, tune
from fsdet.experiment.few_shot_data import Problem, open_problem
from fsdet.experiment.result_cache import cache_key, cached
from fsdet.experiment.run_folder import measured
from fsdet.experiment.scoring import Row, score
from fsdet.experiment.setup import prepare, refused_early
from fsdet.files import write_whole

ROWS, TRIALS = "rows.json", "trials.json"
EVALUATION_ONLY_KEYS = (
    "shots",
    "seeds",
    "score",
    "overlays",
)  # keys of `evaluate` that trials know nothing of


def benchmark(plan: Plan) -> list[Row]:
    """Train base detectors, tune every method once a data set, score every cell, write the tables.

    A cell (a method on a base detector) that is finished is read, not run again, unless its configuration,
    its arguments or the code of its head changed.

    Returns:
        Rows as of `results.json`, with the arguments that tuning chose, `args`, as JSON, and what the method
        costs: `meta_seconds`, `parameters`, `task_megabytes`.

    Raises:
        InputError: the plan names what is not there, a run folder holds something else, all trials of a method
            diverged, or a process of several died.
    """
    runs = configs(plan)
    problems = {name: open_problem(config.data) for name, config in runs.items()}
    for name, config in runs.items():
        refused_early(problems[name], config, _specs(plan))
    known = _judged_classes(plan, runs, problems)
    for name, config in runs.items():
        prepare(config, problems[name])
    folder = Path(plan.run)
    typed_yaml.save(plan, folder / "plan.yaml")
    first = {config.data.root: name for name, config in reversed(runs.items())}
    methods = {method.spec({}).label: method for method in plan.methods}
    with pool_of(plan.processes) as pool:
        wanted = {
            (root, label): pool.submit(
                _tune, plan, runs[name], method, known[root], folder / name / "cells" / label
            )
            for root, name in first.items()
            for label, method in methods.items()
        }
        chosen = dict(as_they_come(wanted, "tuning"))
        cells = {
            (name, label): pool.submit(
                _cell,
                config,
                method.spec(chosen[config.data.root, label]),
                folder / name / "cells" / label,
            )
            for name, config in runs.items()
            for label, method in methods.items()
        }
        done = dict(as_they_come(cells, "scoring"))
    rows = [row for key in cells for row in done[key]]
    write_tables(folder, rows)
    return rows


def write_tables(folder: Path, rows: list[Row]) -> None:
    """`benchmark.json`, and `benchmark.csv` without the categories; what was not measured is null or empty."""
    write_whole(folder / "benchmark.json", lambda to: to.write_text(json.dumps(rows, indent=1)))
    # Data sets may have numbers of their own.
    names = dict.fromkeys(name for row in rows for name in row if name != "per_class")

    def table(to: Path) -> None:
        with to.open("w", newline="") as file:
            writer = csv.DictWriter(file, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)

    write_whole(folder / "benchmark.csv", table)


def _specs(plan: Plan) -> list[cfg.Head]:
    """All that tuning may try."""
    return [
        method.spec(args)
        for method in plan.methods
        for args in method.candidates(plan.trials, plan.seed)
    ]


def _judged_classes(
    plan: Plan, runs: dict[str, cfg.Config], problems: dict[str, Problem]
) -> dict[str, set[str]]:
    """Of every data set the categories that are novel in none of the plan's splits: trials are judged by them."""
    base: dict[str, set[str]] = {}
    for name, config in runs.items():
        here = set(problems[name].split.base)
        base[config.data.root] = base.get(config.data.root, here) & here
    for root, names in base.items():
        if len(names) < 2 and plan.trials > 1:
            raise InputError(
                f"'{root}': only {len(names)} categories are novel in no split; tuning needs two: take trials=1"
            )
    return base


def _tune(
    plan: Plan, config: cfg.Config, method: Method, classes: Collection[str], cell: Path
) -> dict[str, Any]:
    """The best arguments of a method; its trials are in a file, and run again if something else was asked."""
    arguments = method.candidates(plan.trials, plan.seed)
    if len(arguments) == 1:
        return arguments[0]
    key = cache_key(config, method.spec({}))
    for name in EVALUATION_ONLY_KEYS:
        del key["config"]["evaluate"][name]
    key |= {
        "arguments": arguments,
        "share": plan.trial_share,
        "episodes": plan.episodes,
        "classes": sorted(classes),
    }

    def make() -> list[dict[str, Any]]:
        ready = prepare(config)
        trials = tune(ready, method, arguments, plan.trial_share, plan.episodes, classes)
        return list(map(asdict, trials))

    return best([Trial(**trial) for trial in cached(cell / TRIALS, key, make)]).args


def _cell(config: cfg.Config, spec: cfg.Head, cell: Path) -> list[Row]:
    """The rows of a method on a base detector, from its file if it asked for the same."""

    def make() -> list[Row]:
        ready, training = prepare(config), cell / "meta"
        if training.exists():  # of something else, or cut: then its seconds would be too few
            shutil.rmtree(training)
        training.mkdir(parents=True)
        head = ready.trained(spec, training).cpu()
        rows = score(spec.label, head, ready.seen, ready.problem, config).rows
        task = head.adapt(ready.seen.memory)
        more = {
            "args": json.dumps(spec.args),
            "meta_seconds": ready.clock.seconds.get(f"meta-training: {spec.label}", 0.0),
            "parameters": sum(parameter.numel() for parameter in head.parameters()),
            "task_megabytes": sum(v.numel() * v.element_size() for v in task.values()) / 1e6,
        }
        return [measured(row) | more for row in rows]

    return cached(cell / ROWS, cache_key(config, spec), make)
