"""A detector as an ONNX file: an image in, boxes, scores and labels out; its task can be exchanged."""

import json
from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

import fsdet
from fsdet.api import detector_file
from fsdet.api.detector import Detector
from fsdet.errors import InputError, one_line
from fsdet.export.parity import Find, Found, Parity, Variant, compare, generated
from fsdet.files import write_whole
from fsdet.types import Regions, Task

LOW = 0.05  # detections from this score on are compared, whatever the threshold


def export(
    detector: Detector,
    path: str | Path,
    threshold: float = 0.5,
    images: Iterable[np.ndarray] | None = None,
) -> Parity:
    """Write a detector as an ONNX file, if onnxruntime finds with it what PyTorch finds with the detector.

    The graph's input `image` is uint8 [H, W, 3], RGB, of any size. Its outputs are what `predict` returns, best
    first: `boxes` [R, 4] (x1, y1, x2, y2) in pixels of that image, `scores` [R], and `labels` [R] int64, n
    meaning the n-th of `names` in the file's metadata (JSON). Inputs with a default are `threshold`, float32 [],
    and the tensors of the task, `task.NAME`; with those of `task_inputs` the same file finds what was
    registered later.

    Args:
        path: of the file, which is written whole or not at all.
        threshold: scores below are left out, unless the input says another.
        images: to compare on, uint8 [H, W, 3]; drawn ones of several sizes if not given.

    Returns:
        How far the file is from the detector.

    Raises:
        InputError: onnx or onnxruntime is missing, the detector knows no category or is not on the CPU, its
            head cannot be exported, or the file finds something else than the detector.
    """
    onnx, onnxruntime = _library("onnx"), _library("onnxruntime")
    if detector.device.type != "cpu":
        raise InputError(f"export: expected a detector on the CPU, got one on '{detector.device}'")
    detector.predict_many([], threshold)  # a wrong threshold, or no category
    task, more = detector.task(), _with_one_more(detector)
    defaults = {"threshold": np.array(threshold, np.float32)} | _arrays(task)
    model = onnx.load_from_string(_traced(detector, task, more, threshold))
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name) for name, value in defaults.items()
    )
    about = {
        "names": json.dumps(detector.names),
        "weights": detector_file.digest(detector.model.state_dict()),
        "made_by": f"fsdet {fsdet.__version__}",
    }
    onnx.helper.set_model_props(model, about)
    content = model.SerializeToString()
    low = min(threshold, LOW)
    feed = {"threshold": np.array(low, np.float32)}
    variants = [
        Variant("as it is", task, threshold, {}),
        Variant("with a low threshold", task, low, feed),
        Variant("with a category more", more, low, feed | _arrays(more)),
    ]
    if images is None:
        images = generated(detector.settings.min_size, detector.settings.max_size)
    parity = compare(detector.model, _finder(onnxruntime, content), variants, images)
    write_whole(Path(path), lambda to: to.write_bytes(content))
    return parity


def task_inputs(detector: Detector, session: Any) -> dict[str, np.ndarray]:
    """Inputs with which an exported file finds the categories that a detector knows now, as its `names` count them.

    Args:
        session: `onnxruntime.InferenceSession` of a file that was exported from this detector, or from one with
            the same weights.

    Raises:
        InputError: the file is of another detector, or its head has been trained since.
    """
    weights = session.get_modelmeta().custom_metadata_map.get("weights")
    if weights != detector_file.digest(detector.model.state_dict()):
        raise InputError(
            "task_inputs: the file was exported from a detector with other weights; export it again"
        )
    return _arrays(detector.task())


def _traced(detector: Detector, task: Task, more: Task, threshold: float) -> bytes:
    try:
        # PyTorch calls the exporter that this is made with deprecated: parts of it may be gone.
        from fsdet.export.graph import traced

        return traced(detector.model, task, more, threshold)
    except (ImportError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"export: PyTorch {torch.__version__} cannot trace a detector with the head"
            f" '{detector.head.name}' (torch.onnx.export, dynamo=False): {_line(error)}"
        ) from error


def _with_one_more(detector: Detector) -> Task:
    """The task of one more category, which has the regions of the first."""
    support = detector.support()
    first = support.labels == 1
    copied = replace(
        support,
        features=support.features[first],
        labels=torch.full_like(support.labels[first], 1 + support.n_way),
        deltas=support.deltas[first],
    )
    both = replace(Regions.cat([support, copied]), n_way=1 + support.n_way)
    with torch.no_grad():
        return detector.model.head.adapt(both)


def _finder(onnxruntime: ModuleType, content: bytes) -> Find:
    """What the file finds in an image, on as many threads as PyTorch has."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors are raised; of inputs with defaults it warns

    def found(image: np.ndarray, inputs: dict[str, np.ndarray]) -> Found:
        return Found(*session.run(list(Found._fields), {"image": image} | inputs))

    try:
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's have no base of their own
        raise InputError(f"export: onnxruntime cannot load the file: {_line(error)}") from error
    return found


def _arrays(task: Task) -> dict[str, np.ndarray]:
    return {f"task.{name}": value.detach().cpu().numpy() for name, value in task.items()}


def _library(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(
            f"export: {name} is not installed; pip install 'onnx>=1.17' 'onnxruntime>=1.20'"
        ) from error


def _line(error: Exception) -> str:
    return one_line(error, 300)
