"""Forgetting: novel categories are registered one by one, and base and earlier novel categories lose AP50.

    python benchmarks/incremental.py runs/shapes --shots 5 --seeds 5

A line for every number of novel categories: bAP50, nAP50 of the categories registered so far, and AP50 of the
first one. Numbers are means over seeds. In parentheses, with 95% intervals: the change of bAP50 since before any
registration, and of the first category since its registration.
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
    arguments = parser.parse_args()
    program.check_range(1, 10_000, shots=arguments.shots, seeds=arguments.seeds)
    config = replace(cfg.load(arguments.run / "config.yaml"), run=str(arguments.run))
    base_run = prepare(config)
    problem, features = base_run.problem, base_run.features
    base, novel = problem.split.base, problem.split.novel
    selection = Selection(score=config.evaluate.score)
    for spec in (config.head, *config.baselines):
        head = base_run.trained_head(spec).cpu()
        supports = EmbeddedSupport.embed(head, features)
        embedded = [(run, embed(head, run.features)) for run in features.test]
        scores = np.zeros((arguments.seeds, 1 + len(novel), 3))
        for seed in progress(spec.label)(range(arguments.seeds), arguments.seeds):
            shots = novel_shots(problem, config.data, arguments.shots, seed)
            for count in range(1 + len(novel)):
                ids = {name: shots[name] for name in novel[:count]}
                support = supports.memory
                if ids:
                    all_novel = supports.with_shots(select_shots(features, problem, ids))
                    support = replace(all_novel, n_way=len(base) + count)
                task = head.learn(support)
                parts = [find(head, task, values, run, selection) for run, values in embedded]
                detections = DetectionArrays.of(DetectionTable.cat(parts, features.test.offsets))
                truth = CocoTruth(problem.test, base + novel[:count])
                result = evaluate(truth, detections)
                subsets = (base, novel[:count], novel[: count and 1])
                scores[seed, count] = [100 * result.mean(names).AP50 for names in subsets]
        print(
            f"{spec.label}: novel categories, bAP50 (change), nAP50, AP50 of '{novel[0]}' (change)"
        )
        for count in range(1 + len(novel)):
            bap50, nap50, first = scores[:, count].T
            line = f"{count:3}  {bap50.mean():.1f} ({interval(bap50 - scores[:, 0, 0])})"
            if count:
                change = interval(first - scores[:, 1, 2])
                line += f"  {nap50.mean():.1f}  {first.mean():.1f} ({change})"
            print(line)


def interval(differences: np.ndarray) -> str:
    mean, half = stratified([differences.tolist()], 0.95)
    return f"{mean:+.1f} ± {half:.1f}"


if __name__ == "__main__":
    program.exit_with(main)
