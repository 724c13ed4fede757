"""The detector of `base`: a run starts from it in the place of base training."""

from collections.abc import Collection
from dataclasses import replace
from typing import cast

from fsdet import config as cfg
from fsdet.api.detector import Detector
from fsdet.api.load import on_device, read
from fsdet.data.shots.splits import FewShotSplit
from fsdet.errors import InputError, join_some, nearest
from fsdet.heads.base import Head
from fsdet.heads.finetuning.beside import Beside


def starting_detector(
    file: str, split: FewShotSplit, descriptor: cfg.Descriptor | None = None
) -> Detector:
    """Load a detector to start from; of an imported one, keep the split's base categories, in their order.

    Args:
        file: as of `fsdet.load`.
        descriptor: a second body for it; None: its own, if it has one.

    Raises:
        InputError: it was trained on a novel category, lacks a base category, or cannot have another descriptor
            (`Detector.with_descriptor`).
    """
    detector = on_device(read(file), "cpu")
    if descriptor and descriptor != detector.settings.descriptor:
        detector = detector.with_descriptor(descriptor)
    trained_on = detector.names[: detector.n_base] if not detector.kept else detector.kept
    if learned := [name for name in split.novel if name in trained_on]:
        raise InputError(
            f"base: '{file}' was trained on {join_some(learned)}, which is novel in split '{split.name}'"
        )
    if detector.kept:
        _check_known(file, split.base, detector.kept)
        order = [detector.kept.index(name) for name in split.base]
        detector.use(cast(Beside, detector.model.head).only(order))
        detector.kept = split.base
    return detector


def _check_known(file: str, names: Collection[str], kept: Collection[str]) -> None:
    unknown = [name for name in names if name not in kept]
    if unknown:
        raise InputError(
            f"base: '{file}' does not know {join_some(unknown)}; `fsdet import` takes other names for"
            f" its categories with --names{nearest(unknown[0], kept)}"
        )


def spec_for(spec: cfg.Head, base: Head) -> cfg.Head:
    """The configuration of a head for a detector; `beside` gets the form of the detector's imported rows."""
    if spec.name == "beside" and isinstance(base, Beside):
        form = {"cosine": base.options.cosine, "class_boxes": base.options.class_boxes}
        return replace(spec, args=spec.args | form)
    return spec
