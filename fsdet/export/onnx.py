"""Export of a detector as an ONNX file, and inputs for other categories."""

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
from fsdet.export.parity import DetectionTable, Find, Parity, Variant, compare, generated
from fsdet.files import write_whole
from fsdet.model.backbones import has_one_stride
from fsdet.types import Features, Regions, Task

LOW = 0.05  # detections are compared down to this score, or to the threshold if it is lower


def export(
    detector: Detector,
    path: str | Path,
    threshold: float = 0.5,
    images: Iterable[np.ndarray] | None = None,
) -> Parity:
    """Write a detector as an ONNX file, after onnxruntime and PyTorch have detected the same on test images.

    | input or output | type | meaning |
    | --- | --- | --- |
    | `image` | uint8 [H, W, 3] | RGB image of any size |
    | `threshold` | float32 [] | lowest score; default: the argument `threshold` |
    | `task.NAME` | tensor | the categories; default: those of the detector; see `task_inputs` |
    | -> `boxes` | float32 [R, 4] | (x1, y1, x2, y2) in pixels of the image, best first, as `predict` |
    | -> `scores` | float32 [R] | 0..1 |
    | -> `labels` | int64 [R] | n: the n-th of `names` in the file's metadata (JSON) |

    Args:
        path: the file; it is written whole or not at all.
        threshold: default of the input `threshold`.
        images: test images, uint8 [H, W, 3]; default: generated images of several sizes.

    Returns:
        The differences on the test images.

    Raises:
        InputError: onnx or onnxruntime is missing, the detector has no category or is not on the CPU, its head
            or its backbone cannot be exported, or the file's detections differ from the detector's.
    """
    if detector.settings.resize != "torch":
        raise InputError(
            f"export: the detector resizes images as {detector.settings.resize} does; ONNX has no such"
            " operation"
        )
    if detector.settings.boxes == "given":
        raise InputError(
            "export: the boxes come from another detector, which is no part of the file; expected a"
            " detector with boxes of its own"
        )
    if name := _transformer(detector):
        raise InputError(
            f"export: '{name}' fits its positions to the size of each image; PyTorch's exporter has no such"
            " operation; expected another network, such as a ConvNeXt or a Swin"
        )
    onnx, onnxruntime = _library("onnx"), _library("onnxruntime")
    if detector.device.type != "cpu":
        raise InputError(f"export: expected a detector on the CPU, got one on '{detector.device}'")
    detector.predict_many([], threshold)  # validates the threshold and that there is a category
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
        Variant("with the default inputs", task, threshold, {}),
        Variant("with a low threshold", task, low, feed),
        Variant("with one more category", more, low, feed | _arrays(more)),
    ]
    if images is None:
        images = generated(detector.settings.min_size, detector.settings.max_size)
    parity = compare(detector.model, _finder(onnxruntime, content), variants, images)
    write_whole(Path(path), lambda to: to.write_bytes(content))
    return parity


def _transformer(detector: Detector) -> str | None:
    """Name of a vision transformer of one stride in the detector, if there is one."""
    if detector.settings.backbone.pyramid == "simple":
        return detector.settings.backbone.name
    second = detector.settings.descriptor
    return second.name if second and has_one_stride(second.name) else None


def task_inputs(detector: Detector, session: Any) -> dict[str, np.ndarray]:
    """Inputs `task.NAME` with which an exported file detects the present categories of a detector.

    Label n of the file's output then means the n-th of the detector's `names`.

    Args:
        session: `onnxruntime.InferenceSession` of a file exported from this detector, or one of equal weights.

    Raises:
        InputError: the file was exported from a detector with other weights.
    """
    weights = session.get_modelmeta().custom_metadata_map.get("weights")
    if weights != detector_file.digest(detector.model.state_dict()):
        raise InputError(
            "task_inputs: the file was exported from a detector with other weights; export it again"
        )
    return _arrays(detector.task())


def _traced(detector: Detector, task: Task, more: Task, threshold: float) -> bytes:
    try:
        # Imported here because PyTorch has deprecated this exporter: a later version may lack parts of it.
        from fsdet.export.graph import traced

        if detector.names == detector.kept:  # a graph of no category lacks what others need
            task, more = more, task
        return traced(detector.model, task, more, threshold)
    except (ImportError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"export: PyTorch {torch.__version__} cannot trace a detector with the head"
            f" '{detector.head.name}' (torch.onnx.export, dynamo=False): {_line(error)}"
        ) from error


def _with_one_more(detector: Detector) -> Task:
    """The task of the detector's categories and one more, a copy of the first one that has regions."""
    support = detector.support()
    if len(support) == 0:  # an imported detector with nothing registered: any region will do
        shape = detector.model.shape
        maps = torch.ones((1, shape.channels, shape.side, shape.side))
        features = Features(maps, torch.ones((1, sum(shape.means))))
        label = torch.ones(1, dtype=torch.int64)
        support = Regions(features, label, torch.zeros(1, 4), support.n_way)
    n_way = 1 + support.n_way
    objects = support.labels[support.labels > 0]
    first = support.labels == objects.min() if len(objects) else support.labels == 0
    copied = replace(
        support,
        features=support.features[first],
        labels=torch.full_like(support.labels[first], n_way),
        deltas=support.deltas[first],
    )
    both = replace(Regions.cat([support, copied]), n_way=n_way)
    with torch.no_grad():
        return detector.model.head.adapt(both)


def _finder(onnxruntime: ModuleType, content: bytes) -> Find:
    """The exported detector in onnxruntime, on as many threads as PyTorch uses."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # hides warnings about inputs with defaults; errors are raised

    def detect(image: np.ndarray, inputs: dict[str, np.ndarray]) -> DetectionTable:
        return DetectionTable(*session.run(list(DetectionTable._fields), {"image": image} | inputs))

    try:
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base class
        raise InputError(f"export: onnxruntime cannot load the file: {_line(error)}") from error
    return detect


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
