"""New categories on a detector that fsdet has not trained: forgetting and nAP50 of `beside` and of other heads.

  python benchmarks/imported_base.py DATA split1 WEIGHTS BASE.pth
  python benchmarks/imported.py DATA BASE.pth OUT [--seeds 10] [--study 20] [--meta 300]

The base detector is torchvision's, trained by torchvision's loop (`imported_base.py`), and imported. Heads learn
each draw of shots beside one of three memories of base categories: none (only the shots and their background);
`studied`, regions that the detector labels itself in --study photographs that base training has not seen; `true`,
annotated regions of base training images. OUT receives results.json and a table.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from imported_base import base_names, detector, unseen

import fsdet
from fsdet import config as cfg
from fsdet.api.self_labels import certain_regions
from fsdet.data.images import read_image
from fsdet.experiment.base_run import TrainedBase
from fsdet.experiment.context import claim
from fsdet.experiment.features import extract_features
from fsdet.experiment.few_shot_data import open_problem
from fsdet.experiment.scoring import score
from fsdet.heads.base import Head
from fsdet.types import Regions

SHOTS = [1, 5, 10]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", default="split1")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--study", type=int, default=20)
    parser.add_argument("--meta", type=int, default=300, help="steps of meta-training of maml")
    words = parser.parse_args()
    file = torch.load(words.base, weights_only=True)
    names = base_names(words.data, words.split)
    model = detector(1 + len(names), file["size"])
    model.load_state_dict(file["model"])
    imported = fsdet.import_detector(model.eval(), names=file["names"])
    base = prepare(imported, words)
    memories = {
        "none": nothing(base.features.memory),
        "studied": studied(imported, words.data, words.study, base.problem.split.base),
        "true": base.features.memory,
    }
    rows = []
    for word, head, memory in cases(base, memories):
        features = replace(base.features, memory=memories[memory])
        scored = score(f"{word}, {memory}", head.cpu(), features, base.problem, base.config)
        rows += scored.rows
        words.out.mkdir(parents=True, exist_ok=True)
        (words.out / "results.json").write_text(json.dumps(rows, indent=1, default=float))
        print(*table(scored.rows), sep="\n", flush=True)


def prepare(imported: fsdet.Detector, words: argparse.Namespace) -> TrainedBase:
    """Cached features of the imported detector on the data set."""
    config = cfg.Config(
        run=str(words.out / "run"),
        data=cfg.Data(root=str(words.data), split=words.split),
        detector=imported.settings,
        head=imported.head,
        meta=cfg.Meta(steps=words.meta, images=800, ways=[4, 8], learning_rate=5e-5, keep=0.5),
        evaluate=cfg.Evaluate(shots=SHOTS, seeds=words.seeds),
        precision="32-true",
    )
    problem = open_problem(config.data)
    assert set(problem.split.base) == set(imported.names)
    context = claim(config, problem, {}, str(words.base))
    order = [imported.names.index(name) for name in problem.split.base]
    in_order(imported.model.head.kept, order)
    imported.kept = tuple(problem.split.base)
    bank, features = extract_features(context, imported.model, context.folder)
    return TrainedBase(**vars(context), model=imported.model, features=features, bank=bank)


def in_order(kept, order: list[int]) -> None:
    """Bring the kept rows into the order of the split's base categories."""
    rows = torch.tensor([0, *(n + 1 for n in order)])
    boxes = (4 * torch.tensor(order)[:, None] + torch.arange(4)).flatten()
    for name, index in (
        ("weight", rows),
        ("bias", rows),
        ("box_weight", boxes),
        ("box_bias", boxes),
    ):
        getattr(kept, name).copy_(getattr(kept, name)[index].clone())


def nothing(memory: Regions) -> Regions:
    """A memory without a region."""
    none = torch.zeros(0, dtype=torch.int64)
    return Regions(memory.features[none], memory.labels[none], memory.deltas[none], memory.n_way)


def studied(imported: fsdet.Detector, root: Path, number: int, base: tuple[str, ...]) -> Regions:
    """Regions that the detector labels itself in photographs that base training has not seen."""
    stems = np.random.default_rng(0).permutation(unseen(root))[:number]
    images = [read_image(next((root / "JPEGImages").glob(f"{stem}.*"))) for stem in stems]
    head, task = imported.model.head, imported.task()
    with torch.no_grad():
        regions = [certain_regions(head, task, found) for found in imported.candidates(images)]
    joined = Regions.cat(regions)
    return replace(joined, features=joined.features.to(torch.float32), n_way=len(base))


def cases(base: TrainedBase, memories: dict[str, Regions]) -> Iterator[tuple[str, Head, str]]:
    """Word, head and memory of every row of the table."""
    for memory in memories:
        yield "beside", base.model.head, memory
    for word in ("cosine", "ridge", "maml"):
        for memory in ("studied", "true"):
            # Meta-training needs annotated base regions.
            trained = word == "maml" and memory == "true"
            spec = cfg.Head(word)
            head = base.trained_head(spec) if trained else base.new_head(spec).eval()
            fit_boxes(head, memories[memory])
            yield word, head, memory


@torch.no_grad()
def fit_boxes(head: Head, regions: Regions, decay: float = 10.0) -> None:
    """The class-agnostic box regressor of a new head, by ridge regression on regions of base categories."""
    objects = regions.labels > 0
    inputs = head.boxes(regions.features[objects]).double()
    inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1)
    gram = inputs.T @ inputs
    gram.diagonal().add_(decay)
    solved = torch.linalg.solve(gram, inputs.T @ regions.deltas[objects].double()).float()
    head.boxes.regressor.weight.copy_(solved[:-1].T)
    head.boxes.regressor.bias.copy_(solved[-1])


def table(rows: list[dict]) -> list[str]:
    """Lines of a Markdown table: bAP50 before, then nAP50 and bAP50 by shots."""
    before = [row["bAP50"] for row in rows if row["shots"] == 0]
    lines = [f"{rows[0]['method']}: bAP50 before {100 * before[0]:.1f}" if before else ""]
    for k in SHOTS:
        some = [row for row in rows if row["shots"] == k and row["protocol"] == "all"]
        parts = []
        for metric in ("nAP50", "bAP50"):
            values = 100 * np.array([row[metric] for row in some])
            half = 2.262 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
            parts.append(f"{metric} {values.mean():.1f} ± {half:.1f}")
        lines.append(f"  {k} shots: {', '.join(parts)}")
    return lines


if __name__ == "__main__":
    main()
