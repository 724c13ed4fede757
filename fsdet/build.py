"""Configuration -> objects; the only tables of names."""

from collections.abc import Sequence
from importlib import import_module
from typing import Literal

import torch
from pydantic import ValidationError
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.rpn import RPNHead

from fsdet import config as cfg
from fsdet.config.validation import mismatch
from fsdet.errors import InputError, nearest, one_line
from fsdet.heads.base import Head
from fsdet.heads.calibration import CalibratedHead
from fsdet.heads.finetuning.beside import Beside
from fsdet.heads.finetuning.cosine import Cosine
from fsdet.heads.finetuning.cosine_averages import CosineAverages
from fsdet.heads.finetuning.finetune import Finetune
from fsdet.heads.finetuning.fsce import Fsce
from fsdet.heads.finetuning.linear import Linear
from fsdet.heads.gradient.anil import Anil
from fsdet.heads.gradient.finn_maml import FinnMaml, Fomaml
from fsdet.heads.gradient.maml import Maml
from fsdet.heads.gradient.meta_lstm import MetaLstm
from fsdet.heads.gradient.meta_sgd import MetaSgd
from fsdet.heads.gradient.proto_maml import ProtoMaml
from fsdet.heads.gradient.reptile import Averaging, Reptile
from fsdet.heads.gradient.ridge_maml import RidgeMaml
from fsdet.heads.layers import RegionShape
from fsdet.heads.metric.matching import Matching
from fsdet.heads.metric.matching_fce import MatchingFce
from fsdet.heads.metric.prototype import Euclidean, Prototype
from fsdet.heads.metric.relation import Relation
from fsdet.heads.metric.siamese import Siamese
from fsdet.heads.model_based.film import Film
from fsdet.heads.model_based.mann import Mann
from fsdet.heads.model_based.recurrent import Recurrent
from fsdet.heads.model_based.reweighting import Reweighting
from fsdet.heads.solver.metaoptnet import MetaOptNet
from fsdet.heads.solver.ridge import Ridge
from fsdet.model.backbones import Pyramid, backbone, has_one_stride, pixel_statistics
from fsdet.model.descriptor import Descriptor
from fsdet.model.few_shot_rcnn import FewShotRCNN
from fsdet.model.given_boxes import NoBackbone, NoMaps, NoRPN
from fsdet.model.pooling import RegionPool
from fsdet.model.postprocess import Selection
from fsdet.model.resize import image_transform
from fsdet.model.rpn import RPN, ExactAnchors

HEADS: dict[str, type[Head]] = {
    "prototype": Prototype,
    "euclidean": Euclidean,
    "matching": Matching,
    "matching-fce": MatchingFce,
    "siamese": Siamese,
    "relation": Relation,
    "maml": Maml,
    "ridge-maml": RidgeMaml,
    "finn-maml": FinnMaml,
    "fomaml": Fomaml,
    "anil": Anil,
    "proto-maml": ProtoMaml,
    "meta-sgd": MetaSgd,
    "reptile": Reptile,
    "averaging": Averaging,
    "meta-lstm": MetaLstm,
    "cosine": Cosine,
    "cosine-averages": CosineAverages,
    "beside": Beside,
    "mann": Mann,
    "recurrent": Recurrent,
    "film": Film,
    "reweighting": Reweighting,
    "linear": Linear,
    "finetune": Finetune,
    "fsce": Fsce,
    "ridge": Ridge,
    "metaoptnet": MetaOptNet,
}


def head_class(name: str) -> type[Head]:
    """The class of a head: one of `HEADS`, or that of an import path, as in `my_package.my_head:Gaussian`.

    An import path runs the code of its module. Names from files of others are checked before (`detector_file`).

    Raises:
        InputError: no such head.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon:
        if name not in HEADS:
            raise InputError(f"head.name: no head '{name}'{nearest(name, HEADS)}")
        return HEADS[name]
    try:
        kind = getattr(import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"head.name: '{name}' cannot be imported: {one_line(error, 200)}"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Head)):
        raise InputError(f"head.name: expected a class of fsdet.heads.base.Head, got {kind!r:.80}")
    return kind


def head(spec: cfg.Head, shape: RegionShape, width: int, n_base: int) -> Head:
    """Create a head by name, with its `args` validated by the head's `Options`.

    Raises:
        InputError: unknown head or argument, or a value of the wrong type or out of range.
    """
    kind = head_class(spec.name)
    try:
        options = kind.Options.model_validate(spec.args)
    except ValidationError as error:
        raise InputError(f"head.args.{_first_error(error, spec.name, kind)}") from error
    try:
        created = kind.create(shape, width, n_base, options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"head.args of '{spec.name}': {error}") from error
    return CalibratedHead(created, shape, spec.calibration) if spec.calibration else created


def _first_error(error: ValidationError, name: str, kind: type[Head]) -> str:
    """One line about the first invalid argument of the head with this name."""
    details = error.errors()[0]
    argument = ".".join(map(str, details["loc"]))
    if details["type"] == "extra_forbidden":
        arguments = kind.Options.model_fields
        return f"{argument}: '{name}' has no such argument{nearest(argument, arguments)}"
    return f"{argument}: {mismatch(details)}"


def detector(settings: cfg.Detector, spec: cfg.Head, n_base: int, pretrained: bool) -> FewShotRCNN:
    """A detector with a head; `pretrained` reads the weights of networks, else they come from elsewhere later.

    Raises:
        InputError: an unknown network or head, a missing file, or a width below that of given boxes' averages.
    """
    body, own = settings.backbone, settings.boxes == "own"
    image_side = _pyramid(body, pretrained) if own else NoBackbone()
    mean, std = pixel_statistics(body.name, body.weights)
    mean, std = settings.mean or mean, settings.std or std
    second = settings.descriptor
    describing = descriptor(second, mean, std, pretrained) if second else None
    shape = RegionShape(
        image_side.out_channels,
        settings.pool if own else 1,
        image_side.body_channels if describing is None else describing.channels,
        settings.layers if own else "averages",
    )
    task_side = head(spec, shape, settings.width, n_base)
    return FewShotRCNN(
        image_transform(
            settings.resize,
            (*settings.other_sizes, settings.min_size),
            settings.max_size,
            mean,
            std,
        ),
        image_side,
        _rpn(settings) if own else NoRPN(settings.proposals[1]),
        _region_pool(settings) if own else NoMaps(),
        task_side,
        shape,
        settings.per_image,
        gradients=(settings.gradients[0], settings.gradients[1]) if settings.gradients else None,
        selection=Selection(voting=voting(settings)),
        descriptor=describing,
    ).to(memory_format=torch.channels_last)


def voting(settings: cfg.Detector) -> float:
    """`Selection.voting`; boxes of another detector stay as they are."""
    return settings.voting if settings.boxes == "own" else 1.0


def _region_pool(settings: cfg.Detector) -> RegionPool:
    """torchvision's pooling, or with `aligned` the one of detectron2 and mmdetection."""
    return RegionPool(settings.pool, 0 if settings.aligned else 2, settings.aligned)


def _pyramid(body: cfg.Backbone, pretrained: bool) -> Pyramid:
    return backbone(
        body.name,
        body.weights,
        body.levels,
        body.channels,
        body.frozen_stages,
        body.extra,
        pretrained,
        body.nodes,
        body.stride_in_1x1,
        body.pyramid,
    )


def descriptor(
    spec: cfg.Descriptor, mean: Sequence[float], std: Sequence[float], pretrained: bool
) -> Descriptor:
    """A second body.

    Args:
        mean, std: that images are normalised with.
        pretrained: read the weights.

    Raises:
        InputError: an unknown network, or a missing or wrong file.
    """
    try:
        pyramid: Literal["fpn", "simple"] = "simple" if has_one_stride(spec.name) else "fpn"
        network = backbone(spec.name, spec.weights, spec.levels, read=pretrained, pyramid=pyramid)
    except InputError as error:
        raise InputError(str(error).replace("backbone.", "descriptor.")) from error
    own_mean, own_std = pixel_statistics(spec.name, spec.weights)
    statistics = (spec.mean or own_mean, spec.std or own_std)
    return Descriptor(network.body, network.body_channels, statistics, (mean, std))


def description_length(settings: cfg.Detector) -> int:
    """Length of the descriptor's averages: the least `width` of a detector of given boxes."""
    assert settings.descriptor
    with torch.device("meta"):
        return sum(descriptor(settings.descriptor, [0.0] * 3, [1.0] * 3, False).channels)


def _rpn(settings: cfg.Detector) -> RPN:
    kind = ExactAnchors if settings.exact_anchors else AnchorGenerator
    sizes = tuple(tuple(level) for level in settings.anchors)
    anchors = kind(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    layers = RPNHead(
        settings.backbone.channels,
        anchors.num_anchors_per_location()[0],
        settings.rpn.convolutions,
    )
    before = (settings.rpn.before[0], settings.rpn.before[1]) if settings.rpn.before else None
    training, most = settings.proposals
    return RPN(anchors, layers, training, most, before, settings.rpn.score)
