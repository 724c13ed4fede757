"""A detector file of another project -> a network of ours, under a preset."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from torch import Tensor
from torchvision.models.detection import FasterRCNN

from fsdet import config as cfg
from fsdet.errors import InputError, nearest
from fsdet.importers.layouts import Project, project_of, renamed
from fsdet.importers.names import category_names
from fsdet.importers.network import body_name, network, number_of_categories
from fsdet.importers.presets import PRESETS, Preset
from fsdet.importers.state import State, read_state
from fsdet.importers.torchvision_model import preset_of
from fsdet.importers.torchvision_weights import weights_file
from fsdet.model.few_shot_rcnn import FewShotRCNN


class Imported(NamedTuple):
    """A detector of another project."""

    model: FewShotRCNN
    settings: cfg.Detector
    head: cfg.Head
    rows: tuple[str | None, ...]  # names of the classifier's rows; None: the row means no category
    word: str  # of the preset
    preset: Preset
    origin: str  # file, preset and licence, for people
    left_out: tuple[str, ...]  # classes that the file names, not loaded

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the categories."""
        return tuple(name for name in self.rows if name is not None)


def read_torchvision(name: str) -> Imported:
    """`torchvision/NAME` with torchvision's COCO weights.

    Raises:
        InputError: no such name, or no file and no network.
    """
    return read_detector(weights_file(name), name)


def read_detector(
    path: str | Path,
    preset: str | None = None,
    names: str | Sequence[str] | None = None,
    eps: float | None = None,
) -> Imported:
    """Read a detector file of another project; nothing in it is run.

    Args:
        preset: a word of `PRESETS`; None: the one preset that fits.
        names: of the categories in the order of the classifier's rows, or a word of `names.LISTS`.
        eps: of the frozen batch normalisation, where it is not the preset's.

    Raises:
        InputError: not a whole file, no detector that we know, a preset that does not fit, or names that do not.
    """
    return from_state(read_state(Path(path)), Path(path), preset, names, eps)


def from_state(
    state: State,
    path: Path,
    preset: str | None = None,
    names: str | Sequence[str] | None = None,
    eps: float | None = None,
) -> Imported:
    """`read_detector` from what has been read of the file."""
    project = project_of(state.tensors, path)
    tensors = renamed(state.tensors, project)
    word = _preset_word(preset, project, tensors, state, path)
    chosen = PRESETS[word] if eps is None else replace(PRESETS[word], eps=eps)
    rows = category_names(names, state.names, number_of_categories(tensors), str(path))
    model, settings, head = network(tensors, chosen, rows, str(path))
    origin = f"{path.name}, preset {word}; {_LICENCES[project]}"
    return Imported(model, settings, head, rows, word, chosen, origin, state.left_out)


def read_model(model: FasterRCNN, names: str | Sequence[str] | None = None) -> Imported:
    """A Faster R-CNN of torchvision that has been built and trained; all settings are read from it.

    Args:
        names: as of `read_detector`.

    Raises:
        InputError: a part of it is not one of torchvision's pyramids, heads or thresholds.
    """
    origin = type(model).__name__
    tensors = renamed(model.state_dict(), "torchvision")
    preset = preset_of(model)
    rows = category_names(names, (), number_of_categories(tensors), origin)
    network_, settings, head = network(tensors, preset, rows, origin)
    return Imported(
        network_,
        settings,
        head,
        rows,
        preset.summary,
        preset,
        "a model of torchvision in memory",
        (),
    )


_LICENCES: Mapping[Project, str] = {
    "torchvision": "torchvision's weights are BSD-3-Clause",
    "detectron2": "weights of detectron2's model zoo are CC BY-SA 3.0",
    "mmdetection": "weights of OpenMMLab's model zoos are Apache-2.0",
}


def _preset_word(
    given: str | None, project: Project, tensors: Mapping[str, Tensor], state: State, path: Path
) -> str:
    """The preset of this name, or the only one that fits.

    Raises:
        InputError: it is another project's, or of another network; several fit and none is given.
    """
    if given is not None and given not in PRESETS:
        raise InputError(f"import: no preset '{given}'{nearest(given, PRESETS)}")
    fitting = _fitting(project, body_name(tensors, str(path)), tensors, state.style, path)
    listed = " or ".join(fitting)
    if given is None:
        if len(fitting) > 1:
            raise InputError(
                f"import: '{path}' does not say which preset it needs: {listed}; give --preset"
            )
        return fitting[0]
    if PRESETS[given].project != project:
        raise InputError(
            f"import: '{path}' has the names of {project}; preset '{given}' is of"
            f" {PRESETS[given].project}. Fitting: {listed}"
        )
    if given not in fitting:
        raise InputError(
            f"import: preset '{given}' does not fit the shapes in '{path}'. Fitting: {listed}"
        )
    return given


def _fitting(
    project: Project, body: str, tensors: Mapping[str, Tensor], style: str | None, path: Path
) -> list[str]:
    """The presets that the shapes of a file, and what it says of itself, allow."""
    if project == "detectron2":
        return ["detectron2-x101" if body.startswith("resnext") else "detectron2"]
    if project == "mmdetection":
        styles = {"pytorch": ["mmdetection"], "caffe": ["mmdetection-caffe"]}
        both = ["mmdetection", "mmdetection-caffe"]
        return ["mmdetection"] if body.startswith("resnext") else styles.get(style or "", both)
    if body == "mobilenet_v3_large":
        return [word for word in PRESETS if "mobilenet" in word]
    if body != "resnet50":
        raise InputError(
            f"import: '{path}' has the backbone {body}, of which torchvision publishes no detector, and a file"
            " does not tell its settings; build the FasterRCNN, load the file into it, and give it to"
            " fsdet.import_detector"
        )
    version = "_v2" if "trunk.conv.0.weight" in tensors else ""
    return [f"torchvision/fasterrcnn_resnet50_fpn{version}"]
