"""Benchmark: methods x base detectors x shots x seeds, tuned alike and scored alike, every cell cached."""

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
from fsdet.experiment import preflight, run_folder
from fsdet.experiment.base_run import prepare
from fsdet.experiment.benchmark.plan import Method, Plan, configs
from fsdet.experiment.benchmark.processes import process_pool, results_as_completed
from fsdet.experiment.benchmark.search import Trial, best_trial, tune
from fsdet.experiment.few_shot_data import Problem, open_problem
from fsdet.experiment.result_cache import cache_key, cached
from fsdet.experiment.scoring import Row, nan_to_none, score
from fsdet.files import write_whole

ROWS, TRIALS = "rows.json", "trials.json"
EVALUATION_ONLY_KEYS = (
    "shots",
    "seeds",
    "score",
    "overlays",
)  # of `evaluate`: trials do not use them


def benchmark(plan: Plan) -> list[Row]:
    """Train base detectors, tune every method once per data set, score every cell, write the tables.

    A cell is a method on a base detector. A finished cell is computed again only if its configuration, its
    arguments or the version of its head changed.

    Returns:
        Rows as in `results.json`, with the tuned arguments `args` as JSON, and the costs of the method:
        `meta_seconds`, `parameters`, `task_megabytes`.

    Raises:
        InputError: a wrong plan, a run folder with another run, all trials of a method diverged, or a process
            died.
    """
    runs = configs(plan)
    problems = {name: open_problem(config.data) for name, config in runs.items()}
    for name, config in runs.items():
        preflight.check(problems[name], config, _all_specs(plan))
    classes = _validation_classes(plan, runs, problems)
    with run_folder.hold(Path(plan.run)):
        return _run(plan, runs, problems, classes)


def _run(
    plan: Plan,
    runs: dict[str, cfg.Config],
    problems: dict[str, Problem],
    classes: dict[str, set[str]],
) -> list[Row]:
    for name, config in runs.items():
        prepare(config, problems[name])
    folder = Path(plan.run)
    typed_yaml.save(plan, folder / "plan.yaml")
    first_of_data = {config.data.root: name for name, config in reversed(runs.items())}
    methods = {method.spec({}).label: method for method in plan.methods}
    with process_pool(plan.processes) as pool:
        trials = {
            (root, label): pool.submit(
                _tuned_args,
                plan,
                runs[name],
                method,
                classes[root],
                folder / name / "cells" / label,
            )
            for root, name in first_of_data.items()
            for label, method in methods.items()
        }
        args = dict(results_as_completed(trials, "tuning"))
        cells = {
            (name, label): pool.submit(
                _cell_rows,
                config,
                method.spec(args[config.data.root, label]),
                folder / name / "cells" / label,
            )
            for name, config in runs.items()
            for label, method in methods.items()
        }
        rows_of_cells = dict(results_as_completed(cells, "scoring"))
    rows = [row for cell in cells for row in rows_of_cells[cell]]
    write_tables(folder, rows)
    return rows


def write_tables(folder: Path, rows: list[Row]) -> None:
    """Write `benchmark.json`, and `benchmark.csv` without AP per category; missing numbers are null or empty."""
    write_whole(folder / "benchmark.json", lambda file: file.write_text(json.dumps(rows, indent=1)))
    # Data sets may have metrics of their own.
    names = dict.fromkeys(name for row in rows for name in row if name != "per_class")

    def write_csv(path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)

    write_whole(folder / "benchmark.csv", write_csv)


def _all_specs(plan: Plan) -> list[cfg.Head]:
    """The heads of all trials."""
    return [
        method.spec(args)
        for method in plan.methods
        for args in method.candidates(plan.trials, plan.seed)
    ]


def _validation_classes(
    plan: Plan, runs: dict[str, cfg.Config], problems: dict[str, Problem]
) -> dict[str, set[str]]:
    """Data root -> categories that are novel in no split of the plan; trials are scored on them."""
    classes: dict[str, set[str]] = {}
    for name, config in runs.items():
        base = set(problems[name].split.base)
        classes[config.data.root] = classes.get(config.data.root, base) & base
    for root, names in classes.items():
        if len(names) < 2 and plan.trials > 1:
            raise InputError(
                f"'{root}': only {len(names)} categories are novel in no split, tuning needs two; use trials=1"
            )
    return classes


def _tuned_args(
    plan: Plan, config: cfg.Config, method: Method, classes: Collection[str], cell: Path
) -> dict[str, Any]:
    """The best arguments of a method; its trials are cached."""
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

    def compute() -> list[dict[str, Any]]:
        base = prepare(config)
        trials = tune(base, method, arguments, plan.trial_share, plan.episodes, classes)
        return list(map(asdict, trials))

    return best_trial([Trial(**trial) for trial in cached(cell / TRIALS, key, compute)]).args


def _cell_rows(config: cfg.Config, spec: cfg.Head, cell: Path) -> list[Row]:
    """The rows of a method on a base detector; they are cached."""

    def compute() -> list[Row]:
        base, training = prepare(config), cell / "meta"
        if training.exists():  # a resumed training would report too few seconds
            shutil.rmtree(training)
        training.mkdir(parents=True)
        head = base.trained_head(spec, training).cpu()
        rows = score(spec.label, head, base.features, base.problem, config).rows
        task = head.adapt(base.features.memory)
        costs = {
            "args": json.dumps(spec.args),
            "meta_seconds": base.clock.seconds.get(f"meta-training: {spec.label}", 0.0),
            "parameters": sum(parameter.numel() for parameter in head.parameters()),
            "task_megabytes": sum(v.numel() * v.element_size() for v in task.values()) / 1e6,
        }
        return [nan_to_none(row) | costs for row in rows]

    return cached(cell / ROWS, cache_key(config, spec), compute)
