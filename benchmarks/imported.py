"""New categories on a detector that fsdet has not trained: forgetting and nAP50 of `beside` and of other heads.

  python benchmarks/imported_base.py DATA split1 WEIGHTS BASE.pth
  python benchmarks/imported.py DATA BASE.pth OUT [--heads beside,cosine,ridge,maml] [--seeds 10] [--study 20]

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
from fsdet.experiment.base_run import TrainedBase, prepare
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
    parser.add_argument("--heads", default="beside,cosine,ridge,maml")
    words = parser.parse_args()
    base = prepare(run_configuration(words))
    memories = {
        "none": nothing(base.features.memory),
        "studied": studied(base, words.data, words.study),
        "true": base.features.memory,
    }
    rows = []
    for word, head, memory in cases(base, memories, words.heads.split(",")):
        features = replace(base.features, memory=memories[memory])
        scored = score(f"{word}, {memory}", head.cpu(), features, base.problem, base.config)
        rows += scored.rows
        (words.out / "results.json").write_text(json.dumps(rows, indent=1, default=float))
        print(*table(scored.rows), sep="\n", flush=True)


def run_configuration(words: argparse.Namespace) -> cfg.Config:
    """The configuration of a run that starts from the imported detector, written to OUT/base.safetensors."""
    file = torch.load(words.base, weights_only=True)
    model = detector(1 + len(base_names(words.data, words.split)), file["size"])
    model.load_state_dict(file["model"])
    imported = fsdet.import_detector(model.eval(), names=file["names"])
    return cfg.Config(
        base=str(imported.save(words.out / "base.safetensors")),
        run=str(words.out / "run"),
        data=cfg.Data(root=str(words.data), split=words.split),
        meta=cfg.Meta(steps=words.meta, images=800, ways=[4, 8], learning_rate=5e-5, keep=0.5),
        evaluate=cfg.Evaluate(shots=SHOTS, seeds=words.seeds),
        precision="32-true",
    )


def nothing(memory: Regions) -> Regions:
    """A memory without a region."""
    none = torch.zeros(0, dtype=torch.int64)
    return Regions(memory.features[none], memory.labels[none], memory.deltas[none], memory.n_way)


def studied(base: TrainedBase, root: Path, number: int) -> Regions:
    """Regions that the detector labels itself in photographs that base training has not seen."""
    stems = np.random.default_rng(0).permutation(unseen(root))[:number]
    images = [read_image(next((root / "JPEGImages").glob(f"{stem}.*"))) for stem in stems]
    head = base.model.head
    start = fsdet.Detector(
        base.model, base.config.detector, base.config.head, {}, 0, base.problem.split.base
    )
    with torch.no_grad():
        regions = [certain_regions(head, start.task(), found) for found in start.candidates(images)]
    joined = Regions.cat(regions)
    return replace(joined, features=joined.features.to(torch.float32), n_way=head.n_kept)


def cases(
    base: TrainedBase, memories: dict[str, Regions], heads: list[str]
) -> Iterator[tuple[str, Head, str]]:
    """Word, head and memory of every row of the table."""
    for word in heads:
        for memory, regions in memories.items():
            if word == "beside":
                yield word, base.model.head, memory
            elif memory != "none":
                # Meta-training needs annotated base regions.
                trained = word == "maml" and memory == "true"
                spec = cfg.Head(word)
                head = base.trained_head(spec) if trained else base.new_head(spec).eval()
                objects = regions.labels > 0
                head.boxes.fit(regions.features[objects], regions.deltas[objects])
                yield word, head, memory


def table(rows: list[dict]) -> list[str]:
    """Lines of a Markdown table: bAP50 before, then nAP50 and bAP50 by shots."""
    before = [row["bAP50"] for row in rows if row["shots"] == 0]
    lines = [f"{rows[0]['method']}: bAP50 before {before[0]:.1f}" if before else ""]
    for k in SHOTS:
        some = [row for row in rows if row["shots"] == k and row["protocol"] == "all"]
        parts = []
        for metric in ("nAP50", "bAP50"):
            values = np.array([row[metric] for row in some])
            half = 2.262 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
            parts.append(f"{metric} {values.mean():.1f} ± {half:.1f}")
        lines.append(f"  {k} shots: {', '.join(parts)}")
    return lines


if __name__ == "__main__":
    main()
