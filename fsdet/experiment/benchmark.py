"""Methods x base detectors x shots x seeds, from one plan: tuned alike, scored alike, each cell kept."""

import csv
import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from fsdet import build, structured
from fsdet import config as cfg
from fsdet.cli import progress
from fsdet.experiment.plan import Method, Plan, configs
from fsdet.experiment.prepared import prepare
from fsdet.experiment.problem import novel_shots, open_problem
from fsdet.experiment.score import Row, score
from fsdet.experiment.tune import Trial, best, tune
from fsdet.files import write_whole
from fsdet.heads.base import RegionShape


def benchmark(plan: Plan) -> list[Row]:
    """Train base detectors, tune every method once a data set, score every cell, write the tables.

    A cell (a method on a base detector) that is finished is read, not run again, unless its arguments or
    what is scored changed.

    Returns:
        Rows as of `results.json`, with the arguments that tuning chose, `args`, as JSON, and what the method
        costs: `meta_seconds`, `parameters`, `task_megabytes`.

    Raises:
        InputError: the plan names what is not there, or a run folder holds something else.
    """
    runs = configs(plan)
    for config in runs.values():
        _refused_early(plan, config)
    for config in runs.values():
        prepare(config)
    folder = Path(plan.run)
    structured.save(plan, folder / "plan.yaml")
    first = {config.data.root: name for name, config in reversed(runs.items())}
    with _pool(plan.processes) as pool:
        cells = {
            (name, method.spec({}).label): (config, method)
            for name, config in runs.items()
            for method in plan.methods
        }
        tuned: dict[tuple[str, str], list[Trial]] = {}
        wanted = {
            (root, method.spec({}).label): pool.submit(
                _tune, plan, runs[name], method, _place(folder, name, method, "trials")
            )
            for root, name in first.items()
            for method in plan.methods
        }
        for key, trials in _as_they_come(wanted, "tuning"):
            tuned[key] = trials
        scored = {
            (name, label): pool.submit(
                _cell,
                config,
                method.spec(best(tuned[config.data.root, label]).args),
                _place(folder, name, method, "cells"),
            )
            for (name, label), (config, method) in cells.items()
        }
        done = dict(_as_they_come(scored, "scoring"))
    rows = [row for key in cells for row in done[key]]
    write_tables(folder, rows)
    return rows


def write_tables(folder: Path, rows: list[Row]) -> None:
    """`benchmark.json`, and `benchmark.csv` without the categories; what was not measured is null or empty."""
    clean = [{k: None if v != v else v for k, v in row.items()} for row in rows]
    write_whole(folder / "benchmark.json", lambda to: to.write_text(json.dumps(clean, indent=1)))
    names = [name for name in clean[0] if name != "per_class"]

    def table(to: Path) -> None:
        with to.open("w", newline="") as file:
            writer = csv.DictWriter(file, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(clean)

    write_whole(folder / "benchmark.csv", table)


def _refused_early(plan: Plan, config: cfg.Config) -> None:
    """What could not be done after an hour of training is said now."""
    problem = open_problem(config.data)
    for method in plan.methods:
        for args in method.candidates(plan.trials, plan.seed):
            build.head(method.spec(args), RegionShape(1, 2, (1,)), 1, 1)
    for k in plan.shots:
        novel_shots(problem, config.data, k, 0)


def _place(folder: Path, name: str, method: Method, kind: str) -> Path:
    return folder / name / kind / f"{method.spec({}).label}.json"


def _tune(plan: Plan, config: cfg.Config, method: Method, place: Path) -> list[Trial]:
    """The trials of a method, from its file if it asked for the same."""
    arguments = method.candidates(plan.trials, plan.seed)
    asked = {"arguments": arguments, "share": plan.trial_share, "episodes": plan.episodes}
    asked["meta"] = structured.as_dict(config.meta)

    def make() -> list[dict[str, Any]]:
        ready = prepare(config)
        return list(map(asdict, tune(ready, method, arguments, plan.trial_share, plan.episodes)))

    return [Trial(**trial) for trial in _kept(place, asked, make)]


def _cell(config: cfg.Config, spec: cfg.Head, place: Path) -> list[Row]:
    """The rows of a method on a base detector, from its file if it asked for the same."""
    asked = {
        "head": structured.as_dict(spec),
        "meta": structured.as_dict(config.meta),
        "evaluate": structured.as_dict(config.evaluate),
    }

    def make() -> list[Row]:
        ready = prepare(config)
        head = ready.trained(spec).cpu()
        rows = score(spec.label, head, ready.seen, ready.problem, config)
        task = head.adapt(ready.seen.memory)
        known = {
            "args": json.dumps(spec.args),
            "meta_seconds": sum(
                taken for stage, taken in ready.clock.seconds.items() if "meta" in stage
            ),
            "parameters": sum(parameter.numel() for parameter in head.parameters()),
            "task_megabytes": sum(v.numel() * v.element_size() for v in task.values()) / 1e6,
        }
        return [{k: None if v != v else v for k, v in row.items()} | known for row in rows]

    return _kept(place, asked, make)


def _kept(place: Path, asked: dict[str, Any], make: Callable[[], list[Any]]) -> list[Any]:
    """What a file holds if it was made for what is asked; else made and kept."""
    if place.is_file():
        try:
            held = json.loads(place.read_text())
        except ValueError:
            held = {}
        if isinstance(held, dict) and held.get("asked") == json.loads(json.dumps(asked)):
            return held["made"]
    made = make()
    text = json.dumps({"asked": asked, "made": made})
    write_whole(place, lambda to: to.write_text(text))
    return made


def _pool(processes: int) -> ProcessPoolExecutor:
    threads = max(torch.get_num_threads() // processes, 1)
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, context, torch.set_num_threads, (threads,))


def _as_they_come(jobs: dict[Any, Future], what: str) -> Iterator[tuple[Any, Any]]:
    names: dict[Future, Any] = {job: key for key, job in jobs.items()}
    waiting: Iterable[Future] = progress(what)(as_completed(names), len(names))
    for job in waiting:
        yield names[job], job.result()
