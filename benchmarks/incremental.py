"""Categories registered one after the other: what base categories, and those that came first, lose.

    python benchmarks/incremental.py runs/quickstart --shots 5 --seeds 5

A line for every number of novel categories: bAP50, nAP50 of all that are there, and AP50 of the first one;
means over seeds, and what was lost since before (bAP50) or since it came (the first one), with 95% intervals.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from fsdet import config as cfg
from fsdet.cli import program
from fsdet.evaluation.candidates import embed, find
from fsdet.evaluation.coco import CocoTruth, evaluate
from fsdet.evaluation.detections import DetectionArrays
from fsdet.evaluation.intervals import stratified
from fsdet.experiment.base_run import prepare
from fsdet.experiment.few_shot_data import novel_shots
from fsdet.experiment.support import EmbeddedSupport, select_shots
from fsdet.model.postprocess import DetectionTable, Selection
from fsdet.progress import progress


def main() -> None:
    parser = program.Parser("benchmarks/incremental.py", "RUN [options]", __doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder of tools/train.py")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    words = parser.parse_args()
    program.check_range(1, 10_000, shots=words.shots, seeds=words.seeds)
    config = replace(cfg.load(words.run / "config.yaml"), run=str(words.run))
    base_run = prepare(config)
    problem, features = base_run.problem, base_run.features
    base, novel = problem.split.base, problem.split.novel
    selection = Selection(score=config.evaluate.score)
    for spec in (config.head, *config.baselines):
        head = base_run.trained_head(spec).cpu()
        supports = EmbeddedSupport.embed(head, features)
        embedded = [(run, embed(head, run.features)) for run in features.test]
        scores = np.zeros((words.seeds, 1 + len(novel), 3))
        for seed in progress(spec.label)(range(words.seeds), words.seeds):
            shots = novel_shots(problem, config.data, words.shots, seed)
            for count in range(1 + len(novel)):
                known = {name: shots[name] for name in novel[:count]}
                support = supports.memory
                if known:
                    whole = supports.with_shots(select_shots(features, problem, known))
                    support = replace(whole, n_way=len(base) + count)
                task = head.learn(support)
                parts = [find(head, task, values, run, selection) for run, values in embedded]
                found = DetectionTable.cat(parts, features.test.offsets)
                truth = CocoTruth(problem.test, base + novel[:count])
                made = evaluate(truth, DetectionArrays.of(found))
                means = [
                    made.mean(names).AP50 for names in (base, novel[:count], novel[: count and 1])
                ]
                scores[seed, count] = [100 * value for value in means]
        print(
            f"{spec.label}: categories, bAP50 (against none), nAP50, AP50 of '{novel[0]}' (against when it came)"
        )
        for count in range(1 + len(novel)):
            now = scores[:, count]
            lost, first = now[:, 0] - scores[:, 0, 0], now[:, 2] - scores[:, min(count, 1), 2]
            print(
                f"{count:3}  {now[:, 0].mean():.1f} ({said(lost)})"
                + (
                    f"  {now[:, 1].mean():.1f}  {now[:, 2].mean():.1f} ({said(first)})"
                    if count
                    else ""
                )
            )


def said(differences: np.ndarray) -> str:
    mean, half = stratified([differences.tolist()], 0.95)
    return f"{mean:+.1f} ± {half:.1f}"


if __name__ == "__main__":
    program.exit_with(main)
