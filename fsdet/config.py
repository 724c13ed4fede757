"""The configuration: a tree of dataclasses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from fsdet import structured
from fsdet.errors import InputError, nearest

ASKED = "+attention-rpn"  # after a head's name, where its proposals are an attention RPN's
PARTS = ("body", "pyramid", "rpn", "layers", "boxes")  # of a detector that a novel stage may move


@dataclass
class Data:
    root: str = MISSING  # a folder (COCO, VOC or YOLO), or "shapes": the generated set
    train: str = "train"  # subset that training and shots come from
    test: str = "test"  # subset that is scored
    # voc1..3, coco, lvis, shapes1..3, FILE.yaml:NAME, or NAME in <root>/splits.yaml
    split: str = MISSING
    allow_missing: bool = False  # categories of the split that the data lacks are left out
    skip_bad: bool = False  # leave faulty annotations out, and say which
    # folder of published lists, or tfa: drawn as TFA draws its seeds; default: drawn by hash
    shots: str | None = None
    workers: int = 1  # processes that load training images


@dataclass
class Backbone:
    name: str = "resnet50"  # small, a torchvision network, or timm/NAME
    weights: str | None = None  # a local file, "download", or none
    levels: list[int] = field(default_factory=lambda: [0, 1, 2, 3])  # 0: stride 4 ... 3: stride 32
    channels: int = 256  # of the feature pyramid
    frozen_stages: int = 0  # stages that do not learn, from the image on; 4: all
    extra: bool = True  # a coarser level, pooled from the last


@dataclass
class Detector:
    backbone: Backbone = field(default_factory=Backbone)
    anchors: list[list[float]] = field(
        default_factory=lambda: [[32.0], [64.0], [128.0], [256.0], [512.0]]
    )  # sizes in pixels, a list for every pyramid level
    min_size: int = 800  # images are resized to this short side ...
    max_size: int = 1333  # ... and at most this long one
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])
    proposals: list[int] = field(default_factory=lambda: [1000, 300])  # in training, at test
    per_image: int = 256  # regions sampled of a training image
    pool: int = 7  # side of a pooled region
    width: int = 1024  # of a head's layers
    # shares of their gradient that proposals and regions send back, as DeFRCN's [0, 0.75]; empty: all of it
    gradients: list[float] = field(default_factory=list)


@dataclass
class Train:
    """Base training, on images of base categories."""

    steps: int = 18000
    batch: int = 16  # images a step, over all devices
    reference: int = 0  # batch that steps and rates are said for, if it is not this one (`scaled`)
    learning_rate: float = 1e-3  # of AdamW, for everything but the backbone
    backbone_rate: float = 0.2  # the backbone's rate as a share of it
    weight_decay: float = 0.01
    warmup: int = 100
    drops: list[int] = field(default_factory=list)  # steps of a ten-fold drop; empty: cosine
    clip: float = 10.0
    ema: float = 0.0  # decay of averaged weights; 0: none
    strength: float = 1.0  # of the image augmentation, 0..2
    flip: bool = True  # whether left and right may be exchanged
    # albumentations' {name, args}, in the place of strength and flip
    transforms: list[Any] = field(default_factory=list)
    save_every: int = 200


@dataclass
class Meta:
    """Episodic meta-training, on base categories: from stored regions, then, on demand, end to end."""

    steps: int = 600
    batch: int = 1  # episodes a step, over all devices
    learning_rate: float = 2e-4  # of AdamW, for layers that base training has made
    own_rate: float = 1e-3  # for layers that only the head has
    scalar_rate: float = 0.01  # for step sizes and scales
    weight_decay: float = 0.01
    ways: list[int] = field(default_factory=lambda: [3, 8])  # N is drawn from here to here
    shots: list[int] = field(default_factory=lambda: [1, 10])  # so is K
    known: int = 8  # categories beside the N that play the base ones, at most
    query: int = 4  # objects of each category in the query
    background: int = 64  # background regions in support and in query
    keep: float = 0.3  # how far layers go back to base training afterwards: 1 is all the way
    chimeras: float = 1.0  # share of the N that are two base categories spliced together
    images: int = 6000  # base images that the region bank holds, at most
    warmup: int = 50
    clip: float = 10.0
    end_to_end: int = 0  # steps of episodes of images after those of stored regions
    end_to_end_rate: float = 1e-4  # their learning rate
    save_every: int = 200


@dataclass
class Head:
    """A few-shot learner; `calibration` corrects its scores, as DeFRCN's prototypical calibration block does."""

    name: str = "maml"  # any of docs/how-it-works.md
    args: dict[str, Any] = field(default_factory=dict)  # of its constructor
    calibration: float = 0.0  # its share in the scores; 0: none

    @property
    def label(self) -> str:
        """What results call it."""
        return self.name + ("+pcb" if self.calibration else "")


@dataclass
class Stage:
    """A novel stage: gradient steps on images of the shots, as TFA, FSCE and DeFRCN take them."""

    name: str = MISSING  # of the method in the results
    head: Head = field(default_factory=lambda: Head("cosine"))  # cosine, linear, finetune or fsce
    # beside the classifier: some of body, pyramid, rpn, layers (fc6, fc7), boxes (the regressor)
    learns: list[str] = field(default_factory=lambda: ["boxes"])
    start: str = "means"  # of novel rows: of the shots' regions; random; novel: learned alone first
    categories: str = "all"  # or novel: base categories are given up
    gradients: list[float] = field(default_factory=list)  # in the place of detector.gradients
    steps: int = 200
    steps_a_shot: int = 0  # beside these, for each of k shots
    batch: int = 8  # images a step, over all devices
    learning_rate: float = 1e-3  # of the classifier, by AdamW
    layer_rate: float = 1e-4  # of all else that learns
    weight_decay: float = 0.0


@dataclass
class Proposals:
    """What proposes regions of novel categories: the detector's RPN, or one that is asked for them (Attention-RPN).

    Base categories have the RPN's either way. K is drawn as `meta.shots` says.
    """

    name: str = "rpn"  # attention: rows of <head>+attention-rpn beside the others
    steps: int = 1000  # of training on base images, the image side as it is
    batch: int = 4  # images a step, over all devices; of each, a category that it shows and one that it does not
    learning_rate: float = 1e-3  # of the correlation, by AdamW
    layer_rate: float = 1e-4  # of the RPN's layers, which base training has made
    regions: int = 100  # of a test image for each novel category


@dataclass
class Evaluate:
    shots: list[int] = field(default_factory=lambda: [1, 3, 5, 10])
    seeds: int = 10
    base_shots: int = 30  # objects of each base category that stay with the detector
    background: int = 512  # background regions that stay with it
    score: float = 0.01  # detections below are not scored
    overlays: int = 12  # pictures in the report


@dataclass
class Config:
    run: str = "runs/run"  # folder that everything is written to
    seed: int = 0
    device: str = "auto"  # auto, cpu or cuda
    devices: int = 1  # processes, one a device
    precision: str = "auto"  # auto, 32-true or bf16-mixed
    data: Data = field(default_factory=Data)
    detector: Detector = field(default_factory=Detector)
    train: Train = field(default_factory=Train)
    meta: Meta = field(default_factory=Meta)
    head: Head = field(default_factory=Head)
    baselines: list[Head] = field(default_factory=lambda: [Head("cosine"), Head("prototype")])
    stages: list[Stage] = field(default_factory=list)  # a detector for all shots and seeds of each
    proposals: Proposals = field(default_factory=Proposals)
    joint: bool = False  # also train on base boxes and shots together, once for all shots and seeds
    evaluate: Evaluate = field(default_factory=Evaluate)


@dataclass
class _Headed:
    head: Head = field(default_factory=Head)


def load(paths: str | Path | Sequence[str | Path], words: Sequence[str] = ()) -> Config:
    """A configuration from a YAML file, or several, and `key=value` words, later ones winning.

    Words that name another head than the file does take nothing of what the file says of its own; one of
    the file's baselines goes to the head's place as it is.

    Raises:
        InputError: what `structured.read` and `check` refuse.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    config = structured.read(Config, paths, words)
    of_head = [word for word in words if word.startswith(("head.", "head="))]
    others = [word for word in words if word not in of_head]
    if of_head and structured.read(Config, paths, others).head.name != config.head.name:
        config.head = structured.read(_Headed, [], of_head).head
        for one in [one for one in config.baselines if one.name == config.head.name]:
            config.head.args = one.args | config.head.args
            config.baselines.remove(one)
    check(config)
    return config


def check(config: Config) -> None:
    """What types cannot say.

    Raises:
        InputError: a value out of range, or values that do not go together.
    """
    for least, keys in _AT_LEAST.items():
        for key in keys.split():
            if not (value := _value(config, key)) >= least:
                raise InputError(f"{key}: expected at least {least}, got {value}")
    for most, keys in _AT_MOST.items():
        for key in keys.split():
            if (value := _value(config, key)) > most:
                raise InputError(f"{key}: expected at most {most}, got {value}")
    for key, value, known in (
        ("precision", config.precision, ("auto", "32-true", "bf16-mixed")),
        ("device", config.device, ("auto", "cpu", "cuda")),
        ("proposals.name", config.proposals.name, ("rpn", "attention")),
    ):
        if value not in known:
            raise InputError(f"{key}: expected one of {', '.join(known)}; got '{value}'")
    for key, pair in (("meta.ways", config.meta.ways), ("meta.shots", config.meta.shots)):
        if len(pair) != 2 or not 1 <= pair[0] <= pair[1]:
            raise InputError(f"{key}: expected [least, most] with 1 <= least <= most, got {pair}")
    if not config.evaluate.shots or min(config.evaluate.shots) < 1:
        raise InputError(f"evaluate.shots: expected numbers from 1 on, got {config.evaluate.shots}")
    body, levels = config.detector, config.detector.backbone.levels
    if not levels or levels != sorted(set(levels) & {0, 1, 2, 3}):
        raise InputError(f"detector.backbone.levels: expected some of 0, 1, 2, 3, got {levels}")
    count = len(levels) + body.backbone.extra
    if len(body.anchors) != count:
        raise InputError(
            f"detector.anchors: expected a list of sizes for each of the {count} pyramid levels,"
            f" got {len(body.anchors)}"
        )
    sizes = [size for level in body.anchors for size in level]
    if not sizes or min(sizes) <= 0 or len(set(map(len, body.anchors))) > 1:
        raise InputError(
            f"detector.anchors: expected as many sizes for every level, got {body.anchors}"
        )
    if len(body.proposals) != 2 or min(body.proposals) < 1:
        raise InputError(
            f"detector.proposals: expected [in training, at test] from 1 on, got {body.proposals}"
        )
    if len(body.mean) != 3 or len(body.std) != 3 or min(body.std) <= 0:
        raise InputError(
            "detector.mean, detector.std: expected three numbers, those of std above 0"
        )
    if body.gradients and not _are_shares(body.gradients):
        raise InputError(
            f"detector.gradients: expected two numbers from 0 to 1, or none, got {body.gradients}"
        )
    asked = {config.head.label: config.head}
    for head in (config.head, *config.baselines):
        check_head(head)
        if asked.setdefault(head.label, head) != head:
            raise InputError(
                f"baselines: '{head.label}' is there with other args; give it a run of its own"
            )
    taken = [*asked, "joint"]
    if config.proposals.name == "attention":
        taken.append(config.head.label + ASKED)
    for stage in config.stages:
        _check_stage(stage, bool(body.gradients), taken)
        taken.append(stage.name)


def _check_stage(stage: Stage, decoupled: bool, taken: Iterable[str]) -> None:
    where = f"stages, '{stage.name}'"
    check_head(stage.head)
    if unknown := [part for part in stage.learns if part not in PARTS]:
        raise InputError(
            f"{where}: learns: expected some of {', '.join(PARTS)}, got '{unknown[0]}'{nearest(unknown[0], PARTS)}"
        )
    for key, value, known in (
        ("start", stage.start, ("means", "random", "novel")),
        ("categories", stage.categories, ("all", "novel")),
    ):
        if value not in known:
            raise InputError(f"{where}: {key}: expected one of {', '.join(known)}; got '{value}'")
    if stage.start == "novel" and stage.categories == "novel":
        raise InputError(f"{where}: start: 'novel' is for a stage of all categories")
    if stage.gradients and not decoupled:
        raise InputError(f"{where}: gradients: needs detector.gradients in base training too")
    if stage.gradients and not _are_shares(stage.gradients):
        raise InputError(
            f"{where}: gradients: expected two numbers from 0 to 1, got {stage.gradients}"
        )
    for key, count in (("steps", stage.steps + stage.steps_a_shot), ("batch", stage.batch)):
        if count < 1:
            raise InputError(f"{where}: {key}: expected at least 1, got {count}")
    for key in ("steps", "steps_a_shot", "learning_rate", "layer_rate", "weight_decay"):
        if not getattr(stage, key) >= 0:
            raise InputError(f"{where}: {key}: expected at least 0, got {getattr(stage, key)}")
    if stage.name in taken:
        raise InputError(f"stages: '{stage.name}' is there twice")


def _are_shares(values: Sequence[float]) -> bool:
    return len(values) == 2 and all(0 <= value <= 1 for value in values)


def scaled(train: Train) -> Train:
    """The same training in steps of `batch` where `reference` is what steps and rates were said for.

    As many images are seen: steps, warm-up, drops and how often it is saved follow; the rate goes with the square
    root of the batch, as AdamW's noise does (Malladi et al. 2022, "On the SDEs and Scaling Rules for Adaptive
    Gradient Algorithms"). An average over weights reaches as many images back.
    """
    if train.reference in (0, train.batch):
        return replace(train, reference=0)
    times = train.reference / train.batch
    return replace(
        train,
        reference=0,
        steps=round(train.steps * times),
        warmup=round(train.warmup * times),
        drops=[round(step * times) for step in train.drops],
        save_every=max(round(train.save_every * times), 1),
        learning_rate=train.learning_rate / times**0.5,
        ema=train.ema ** (1 / times) if train.ema else 0.0,
    )


def check_head(head: Head) -> None:
    """What types cannot say of a head.

    Raises:
        InputError: a value out of range.
    """
    if not 0 <= head.calibration <= 1:
        raise InputError(f"head.calibration: expected 0 to 1, got {head.calibration}")


def _value(config: Config, key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


_AT_LEAST = {
    0: "seed train.reference data.workers detector.backbone.frozen_stages"
    " train.steps train.learning_rate train.backbone_rate train.weight_decay train.warmup train.clip"
    " train.ema train.strength"
    " meta.steps meta.learning_rate meta.own_rate meta.scalar_rate meta.weight_decay meta.known meta.background"
    " meta.chimeras meta.keep meta.warmup meta.clip meta.end_to_end meta.end_to_end_rate"
    " proposals.learning_rate proposals.layer_rate"
    " evaluate.background evaluate.score evaluate.overlays",
    1: "devices detector.backbone.channels detector.per_image detector.pool detector.width"
    " train.batch train.save_every meta.batch meta.query meta.images meta.save_every"
    " proposals.steps proposals.batch proposals.regions"
    " evaluate.seeds evaluate.base_shots",
    32: "detector.min_size detector.max_size",
}
_AT_MOST = {
    1: "train.ema meta.chimeras meta.keep evaluate.score",
    2: "train.strength",
    4: "detector.backbone.frozen_stages",
}
