"""nAP50 of a finished run on the test images that have a novel object, for comparison with papers that do so.

Other test images are left out, so false detections on them do not count: numbers are higher than under the usual
protocol. Two columns: a task of base and novel categories, and a task of novel categories alone.

    python benchmarks/novel_images.py runs/fod-split1
"""

from pathlib import Path

import numpy as np

from fsdet import config as cfg
from fsdet.cli import program
from fsdet.evaluation.candidates import embed, find
from fsdet.evaluation.coco import CocoTruth, evaluate
from fsdet.evaluation.detections import DetectionArrays
from fsdet.evaluation.intervals import mean_interval
from fsdet.experiment.base_run import prepare
from fsdet.experiment.few_shot_data import novel_shots
from fsdet.experiment.support import EmbeddedSupport, select_shots
from fsdet.model.postprocess import DetectionTable, Selection
from fsdet.types import Support


def main() -> None:
    parser = program.Parser("benchmarks/novel_images.py", "RUN", __doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a finished run")
    folder = parser.parse_args().run
    base_run = prepare(cfg.load(folder / "config.yaml", [f"run={folder}"]))
    config, problem, features = base_run.config, base_run.problem, base_run.features
    base, novel, test = problem.split.base, problem.split.novel, problem.test
    labels = [test.classes.index(name) + 1 for name in novel]
    shown = np.zeros(len(test), bool)
    shown[test.image_of(np.flatnonzero(np.isin(test.labels, labels)))] = True
    print(f"{shown.sum()} of {len(test)} test images have a novel object")
    selection = Selection(config.evaluate.score)
    for spec in (config.head, *config.baselines):
        head = base_run.trained_head(spec).cpu()
        supports = EmbeddedSupport.embed(head, features)
        runs = [(embed(head, run.features), run) for run in features.test]

        def nap50(support: Support, truth: CocoTruth, head=head, runs=runs) -> float:
            task = head.learn(support)
            parts = [find(head, task, embeddings, run, selection) for embeddings, run in runs]
            detections = DetectionArrays.of(DetectionTable.cat(parts, features.test.offsets))
            detections = detections[shown[detections.image_index]]
            return 100 * evaluate(truth, detections).mean(novel).AP50

        for k in config.evaluate.shots:
            tasks = [
                supports.with_shots(
                    select_shots(features, problem, novel_shots(problem, config.data, k, seed))
                )
                for seed in range(config.evaluate.seeds)
            ]
            joint = [nap50(task, CocoTruth(test, base + novel)) for task in tasks]
            alone = [nap50(_novel_only(task, len(base)), CocoTruth(test, novel)) for task in tasks]
            print(
                f"{spec.label:>10} {k:2} shots: nAP50 {_interval(joint)} beside base categories,"
                f" {_interval(alone)} without them",
                flush=True,
            )


def _novel_only(support: Support, n_base: int) -> Support:
    """The same support set without its base categories."""
    keep = (support.labels == 0) | (support.labels > n_base)
    labels = (support.labels[keep] - n_base).clamp(min=0)
    return Support(support.embeddings[keep], labels, support.deltas[keep], support.n_way - n_base)


def _interval(values: list[float]) -> str:
    mean, half = mean_interval(values)
    return f"{mean:.1f} ± {half:.1f}"


if __name__ == "__main__":
    program.exit_with(main)
