"""The configuration: a tree of dataclasses."""

from dataclasses import dataclass, field, replace
from typing import Any

from omegaconf import MISSING

ATTENTION_SUFFIX = (
    "+attention-rpn"  # after a head's name, where its proposals are an attention RPN's
)
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
    nodes: list[str] = field(
        default_factory=list
    )  # modules that end the levels, in place of `levels`
    stride_in_1x1: bool = False  # of a ResNet's blocks, in place of the 3x3 (detectron2, Caffe)


@dataclass
class Rpn:
    convolutions: int = 1  # before its outputs
    # boxes of a level before suppression, in training and at test; default: twice `proposals`
    before: list[int] = field(default_factory=list)
    score: float = 0.0  # least objectness of a proposal at test


@dataclass
class Detector:
    backbone: Backbone = field(default_factory=Backbone)
    anchors: list[list[float]] = field(
        default_factory=lambda: [[32.0], [64.0], [128.0], [256.0], [512.0]]
    )  # sizes in pixels, a list for every pyramid level
    exact_anchors: bool = False  # not rounded, spaced by powers of two (detectron2, mmdetection)
    min_size: int = 800  # images are resized to this short side ...
    max_size: int = 1333  # ... and at most this long one
    other_sizes: list[int] = field(
        default_factory=list
    )  # short sides of training images too, drawn
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])
    resize: str = "torch"  # or pillow, opencv: of 8-bit pixels, as detectron2 and mmdetection do
    proposals: list[int] = field(default_factory=lambda: [1000, 300])  # in training, at test
    rpn: Rpn = field(default_factory=Rpn)
    per_image: int = 256  # regions sampled of a training image
    pool: int = 7  # side of a pooled region
    aligned: bool = False  # pooled with half-pixel offset (detectron2, mmdetection)
    layers: str = "fsdet"  # of a head after pooling: fsdet, or 2fc, 4conv1fc of published detectors
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
    alone: int = 200  # steps of the novel rows alone, before these, where `start` is novel
    batch: int = 8  # images a step, over all devices
    learning_rate: float = 1e-3  # of the classifier, by AdamW
    layer_rate: float = 1e-4  # of all else that learns
    weight_decay: float = 0.0
    reference: int = (
        0  # batch that steps and rates are said for, if it is not this one (`scaled_stage`)
    )


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
    seeds: int = 30
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
        steps=_at_least_one(train.steps, times),
        warmup=round(train.warmup * times),
        drops=[round(step * times) for step in train.drops],
        save_every=max(round(train.save_every * times), 1),
        learning_rate=train.learning_rate / times**0.5,
        ema=train.ema ** (1 / times) if train.ema else 0.0,
    )


def scaled_stage(stage: Stage) -> Stage:
    """The same novel stage in steps of `batch`, as `scaled` of base training."""
    if stage.reference in (0, stage.batch):
        return replace(stage, reference=0)
    times = stage.reference / stage.batch
    return replace(
        stage,
        reference=0,
        steps=_at_least_one(stage.steps, times),
        steps_a_shot=_at_least_one(stage.steps_a_shot, times),
        alone=_at_least_one(stage.alone, times),
        learning_rate=stage.learning_rate / times**0.5,
        layer_rate=stage.layer_rate / times**0.5,
    )


def _at_least_one(steps: int, times: float) -> int:
    """So many times the steps; one at least, if there are some."""
    return max(round(steps * times), 1) if steps else 0
