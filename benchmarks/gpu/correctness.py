"""Correctness on a card: a CPU computes the same, within stated tolerances."""

import copy
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from fsdet import build
from fsdet import config as cfg
from fsdet.api.predict_dataset import detections
from fsdet.data.loading.stream import Stream, loader
from fsdet.data.loading.transforms import training as augmentation
from fsdet.evaluation.coco import CocoTruth, evaluate
from fsdet.experiment.extraction import extract_bank
from fsdet.experiment.fabric import allow_tf32
from fsdet.experiment.stages.training import base_optimizer
from fsdet.training.episodes import EpisodeSampler
from fsdet.training.loop import Loop, Schedule, train
from fsdet.training.objectives import Supervised
from fsdet.types import Regions
from gpu.episodes import bank_of
from gpu.learner import (
    CPU,
    NOVEL,
    STEPS,
    Learner,
    batches_of,
    labels_of,
    new_model,
    registered,
    relabelled,
    trained,
)
from gpu.setting import Setting, Stored, until

# Detections above the score are looked for among those above it less the margin.
SCORE, MARGIN = 0.3, 0.01


def correctness(setting: Setting, data: Stored, seconds: float) -> dict[str, Any]:
    """Each check with its difference, its tolerance and whether it passed, or with its error."""
    allow_tf32(False)
    learner = trained(setting, seconds)
    checks = (losses, found, derivative, resume, bank, gathered, precision)
    results = {check.__name__: attempt(partial(check, setting, learner)) for check in checks}
    allow_tf32(True)
    return results


def attempt(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result, or the error in one line; no part stops the others."""
    try:
        return work()
    except Exception as error:
        torch.cuda.empty_cache()
        line = " ".join(str(error).split())[:300]
        return {"error": f"{type(error).__name__}: {line}"}


def within(difference: float, tolerance: float, **more: float) -> dict[str, Any]:
    return more | {
        "difference": difference,
        "tolerance": tolerance,
        "passed": bool(difference <= tolerance),
    }


def relative(value: Tensor, expected: Tensor) -> float:
    """Length of the difference, of the length of the expected one."""
    return float((value.cpu() - expected.cpu()).norm() / expected.norm())


def losses(setting: Setting, learner: Learner) -> dict[str, Any]:
    """The four losses of a batch, of all anchors and regions: which ones are drawn depends on the device."""
    source = relabelled(learner.data, learner.base)
    images, targets = next(iter(loader(Stream(source, augmentation(192, 0.0), 0, 4), 4)))
    values = []
    for model, device in ((learner.on_cpu, CPU), (learner.on_card, setting.device)):
        model = copy.deepcopy(model).train()
        for sampler in (model.rpn.fg_bg_sampler, model.sampler.fg_bg_sampler):
            sampler.batch_size_per_image = 10**6
        batch = (
            [i.to(device) for i in images],
            [{k: v.to(device) for k, v in t.items()} for t in targets],
        )
        values.append({n: v.item() for n, v in Supervised(model, learner.base)(batch).items()})
    cpu, card = values
    return within(max(abs(card[n] - cpu[n]) / abs(cpu[n]) for n in cpu), 0.01, **card)


def found(setting: Setting, learner: Learner) -> dict[str, Any]:
    """Share of detections that only one device finds: same category, IoU above 0.98, score within 0.005."""
    detectors = [registered(model, learner) for model in (learner.on_cpu, learner.on_card)]
    missing = total = 0
    for i in range(min(8, len(learner.test))):
        image = learner.test.image(i)
        sides = [detector.predict(image, SCORE - MARGIN) for detector in detectors]
        for one, other in (sides, sides[::-1]):
            for detection in one:
                if detection.score >= SCORE:
                    total += 1
                    missing += not any(_same(detection, candidate) for candidate in other)
    return within(missing / max(total, 1), 0.02, detections=total)


def _same(one, other) -> bool:
    overlap = box_iou(torch.tensor([one.box]), torch.tensor([other.box])).item()
    return one.name == other.name and overlap > 0.98 and abs(one.score - other.score) < 0.005


def derivative(setting: Setting, learner: Learner) -> dict[str, Any]:
    """Second-order derivative of an episode's losses by all meta-learned tensors of MAML."""
    shape = learner.on_cpu.shape
    head = build.head(cfg.Head("maml"), shape, learner.config.detector.width, 20).train()
    support, query = EpisodeSampler(bank_of(shape, 20), (5, 5), (5, 5), known=0)(0)
    gradients = []
    for device in (CPU, setting.device):
        own = copy.deepcopy(head).to(device)
        sum(own.episode(support.to(device), query.to(device)).values()).backward()
        found = [p.grad.flatten().cpu() for p in own.parameters() if p.grad is not None]
        gradients.append(torch.cat(found))
    return within(relative(gradients[1], gradients[0]), 1e-3, length=float(gradients[0].norm()))


def resume(setting: Setting, learner: Learner) -> dict[str, Any]:
    """Change of the weights in a training, resumed half-way against not interrupted; a CPU gives the same bits."""
    fabric = setting.fabric("32-true")
    batches = batches_of(learner.config, fabric, relabelled(learner.data, learner.base))
    settings = replace(learner.config.train, learning_rate=1e-4)
    loop = Loop(Schedule(STEPS), save_every=STEPS // 2)

    def weights(runs: tuple[int, ...], state: Path | None) -> Tensor:
        for steps in runs:
            model = new_model(learner.config, len(learner.base))
            train(
                fabric,
                Supervised(model, learner.base),
                lambda first, steps=steps: until(batches(first), 0, steps),
                base_optimizer(model, settings),
                loop,
                state,
            )
        return torch.cat([p.detach().flatten().cpu() for p in model.parameters()])

    start = torch.cat(
        [p.detach().flatten() for p in new_model(learner.config, len(learner.base)).parameters()]
    )
    with tempfile.TemporaryDirectory() as folder:
        resumed = weights((STEPS // 2, STEPS // 2), Path(folder) / "base.state")
    whole = weights((STEPS,), None)
    tolerance = 0.0 if setting.device == CPU else 0.1
    return within(relative(resumed - start, whole - start), tolerance)


def bank(setting: Setting, learner: Learner) -> dict[str, Any]:
    """Stored features of the annotated boxes of 16 images."""
    extract = partial(
        extract_bank,
        data=learner.data,
        images=np.arange(16),
        classes=labels_of(learner.data, learner.base),
        names=learner.base,
    )
    fabrics = replace(setting, device=CPU).fabric("32-true"), setting.fabric("32-true")
    banks = [
        extract(*pair) for pair in zip(fabrics, (learner.on_cpu, learner.on_card), strict=True)
    ]
    objects = sorted(set(banks[0].objects[banks[0].objects >= 0].tolist()))
    rows = [regions.of_objects(objects, most=1) for regions in banks]
    cpu, card = (
        regions.features[index].to(torch.float32)
        for regions, index in zip(banks, rows, strict=True)
    )
    differences = [relative(card.maps, cpu.maps), relative(card.means, cpu.means)]
    return within(max(differences), 0.005, objects=len(objects))


def gathered(setting: Setting, learner: Learner) -> dict[str, Any]:
    """Largest difference of episodes whose regions are gathered on the card."""
    regions = bank_of(learner.on_cpu.shape, 20)
    samplers = [
        EpisodeSampler(where, (3, 3), (2, 2), known=2, chimeras=0.5)
        for where in (regions, regions.gathered_on(setting.device))
    ]
    differences = [
        _largest(one.to(CPU), other.to(CPU))
        for i in range(3)
        for one, other in zip(*(sampler(i) for sampler in samplers), strict=True)
    ]
    return within(max(differences), 1e-6)


def _largest(one: Regions, other: Regions) -> float:
    assert torch.equal(one.labels, other.labels)
    pairs = [(one.features.maps, other.features.maps), (one.features.means, other.features.means)]
    return max(float((a - b).abs().max()) for a, b in [*pairs, (one.deltas, other.deltas)])


def precision(setting: Setting, learner: Learner) -> dict[str, Any]:
    """nAP50 of the five novel categories after five shots, of images in bf16 against fp32, in points."""
    detector = registered(learner.on_card, learner)
    truth, scores = CocoTruth(learner.test, NOVEL), {}
    for name in ("32-true", "bf16-mixed"):
        with setting.autocast(name):
            arrays = detections(detector, learner.test, NOVEL)
        scores[name] = 100 * evaluate(truth, arrays).mean(NOVEL).AP50
    return within(abs(scores["bf16-mixed"] - scores["32-true"]), 2.0, **scores)
