"""Configuration -> objects; the only tables of names."""

import inspect
import math
from typing import Any

import torch

from fsdet import config as cfg
from fsdet.errors import InputError, nearest
from fsdet.heads.base import Head
from fsdet.heads.calibration import CalibratedHead
from fsdet.heads.finetuning.cosine import Cosine
from fsdet.heads.finetuning.cosine_averages import CosineAverages
from fsdet.heads.finetuning.finetune import FineTune
from fsdet.heads.finetuning.fsce import Fsce
from fsdet.heads.finetuning.linear import Linear
from fsdet.heads.gradient.anil import Anil
from fsdet.heads.gradient.finn_maml import FinnMaml, Fomaml
from fsdet.heads.gradient.maml import Maml
from fsdet.heads.gradient.meta_lstm import MetaLstm
from fsdet.heads.gradient.meta_sgd import MetaSgd
from fsdet.heads.gradient.proto_maml import ProtoMaml
from fsdet.heads.gradient.reptile import Averaging, Reptile
from fsdet.heads.layers import RegionShape
from fsdet.heads.metric.matching import Matching
from fsdet.heads.metric.matching_fce import MatchingFCE
from fsdet.heads.metric.prototype import Euclidean, Prototype
from fsdet.heads.metric.relation import Relation
from fsdet.heads.metric.siamese import Siamese
from fsdet.heads.model_based.film import Film
from fsdet.heads.model_based.mann import Mann
from fsdet.heads.model_based.recurrent import Recurrent
from fsdet.heads.model_based.reweighting import Reweighting
from fsdet.heads.solver.metaoptnet import MetaOptNet
from fsdet.heads.solver.ridge import Ridge
from fsdet.model.backbones import backbone
from fsdet.model.few_shot_rcnn import FewShotRCNN

HEADS: dict[str, type[Head]] = {
    "prototype": Prototype,
    "euclidean": Euclidean,
    "matching": Matching,
    "matching-fce": MatchingFCE,
    "siamese": Siamese,
    "relation": Relation,
    "maml": Maml,
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
    "mann": Mann,
    "recurrent": Recurrent,
    "film": Film,
    "reweighting": Reweighting,
    "linear": Linear,
    "finetune": FineTune,
    "fsce": Fsce,
    "ridge": Ridge,
    "metaoptnet": MetaOptNet,
}


_KINDS = {int: "a whole number", float: "a finite number", bool: "true or false"}


def head(spec: cfg.Head, shape: RegionShape, width: int, n_base: int) -> Head:
    """A head by name, its `args` checked against its constructor.

    Raises:
        InputError: no such head, no such argument, or a value of another kind or out of range.
    """
    if spec.name not in HEADS:
        raise InputError(f"head.name: no head '{spec.name}'{nearest(spec.name, HEADS)}")
    kind = HEADS[spec.name]
    given: dict[str, Any] = {"shape": shape, "width": width, "n_base": n_base}
    known = inspect.signature(kind).parameters
    for name, value in spec.args.items():
        if name not in known or name in given:
            raise InputError(
                f"head.args.{name}: '{spec.name}' has no such argument"
                f"{nearest(name, set(known) - set(given))}"
            )
        _check(name, value, known[name].annotation)
    try:
        made = kind(**{name: value for name, value in given.items() if name in known}, **spec.args)
    except InputError as error:
        raise InputError(f"head.args.{error}") from error
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"head.args of '{spec.name}': {error}") from error
    return CalibratedHead(made, shape, spec.calibration) if spec.calibration else made


def _check(name: str, value: Any, kind: type) -> None:
    """An InputError unless a head's argument is of its kind and, being a number, not negative."""
    if not _fits(value, kind):
        raise InputError(f"head.args.{name}: expected {_KINDS[kind]}, got {value!r}")
    if value < 0:
        raise InputError(f"head.args.{name}: expected at least 0, got {value}")


def _fits(value: Any, kind: type) -> bool:
    """Whether a value is of a kind; a whole number is a float too, true is no number."""
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float) and -math.inf < value < math.inf
    return isinstance(value, kind)


def detector(settings: cfg.Detector, spec: cfg.Head, n_base: int, pretrained: bool) -> FewShotRCNN:
    """A detector with a head; `pretrained` reads `backbone.weights`, else they come from elsewhere later."""
    body = settings.backbone
    image_side = backbone(
        body.name,
        body.weights,
        body.levels,
        body.channels,
        body.frozen_stages,
        body.extra,
        pretrained,
    )
    shape = RegionShape(body.channels, settings.pool, image_side.body_channels)
    return FewShotRCNN(
        image_side,
        head(spec, shape, settings.width, n_base),
        settings.anchors,
        settings.min_size,
        settings.max_size,
        settings.other_sizes,
        settings.mean,
        settings.std,
        tuple(settings.proposals),
        settings.per_image,
        pool=settings.pool,
        gradients=(settings.gradients[0], settings.gradients[1]) if settings.gradients else None,
    ).to(memory_format=torch.channels_last)
