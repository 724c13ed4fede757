"""The detector that a user imports: load it, register categories, look at images."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fsdet import build
from fsdet import config as cfg
from fsdet.data.images import read_image
from fsdet.detector import FewShotRCNN, join
from fsdet.engine.checkpoint import write_whole
from fsdet.errors import InputError, nearest
from fsdet.types import Features, Regions, Shots, Task

FORMAT = 1


class Detection(NamedTuple):
    """One thing found: `box` is (x1, y1, x2, y2) in pixels of the image as it was given."""

    box: tuple[float, float, float, float]
    name: str
    score: float


@dataclass(frozen=True)
class Memory:
    """Regions that a detector keeps of a category, or, under the name "", of background."""

    features: Features  # of S regions, float16
    deltas: Tensor  # [S, 4]


class Detector:
    """A few-shot detector: base categories from training, new ones from a few boxes.

    It remembers regions, not images. Registering adds regions; the next prediction adapts the head to all
    of them at once, so that categories learned earlier stay.

    Args:
        model: the trained network.
        settings, head: what it was built from, for `save`.
        memory: regions of every category and, under "", of background.
        n_base: how many of the categories come from base training.
    """

    def __init__(
        self,
        model: FewShotRCNN,
        settings: cfg.Detector,
        head: cfg.Head,
        memory: dict[str, Memory],
        n_base: int,
    ):
        self.model, self.settings, self.head, self.n_base = model.eval(), settings, head, n_base
        self._memory = dict(memory)
        self._task: Task | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The categories that `predict` can find."""
        return tuple(name for name in self._memory if name)

    def register(self, name: str, images: Sequence, boxes: Sequence) -> None:
        """Add a category, or more shots of one that is there, from a few annotated images.

        Args:
            name: of the category.
            images: paths, RGB arrays [H, W, 3], PIL images, or tensors [3, H, W] (uint8, or floats in 0..1).
            boxes: for each image the boxes of the category in it: [G, 4] (x1, y1, x2, y2) pixels, or one
                box of four numbers.

        Raises:
            InputError: no name, no box, a box outside its image, as many boxes as images not given.
        """
        if not name or not isinstance(name, str):
            raise InputError(f"register: expected a category name, got {name!r}")
        if len(images) != len(boxes):
            raise InputError(
                f"register '{name}': expected boxes for each image, got {len(images)} images and"
                f" {len(boxes)} sets of boxes"
            )
        if len(images) == 0:
            raise InputError(f"register '{name}': expected at least one image with a box, got none")
        tensors = [as_tensor(image) for image in images]
        targets = [
            {"boxes": _boxes(one, image, f"register '{name}', image {i}"), "labels": None}
            for i, (one, image) in enumerate(zip(boxes, tensors, strict=True))
        ]
        for target in targets:
            target["labels"] = torch.ones(len(target["boxes"]), dtype=torch.int64)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            shots = Shots(tensors, targets, (name,))
            regions = join(self.model.regions(shots, generator))
        self._remember(name, regions, regions.labels > 0)
        self._remember("", regions, regions.labels == 0)

    def _remember(self, name: str, regions: Regions, of: Tensor) -> None:
        new = Memory(regions.features[of].to(torch.float16), regions.deltas[of])
        old = self._memory.get(name)
        if old is not None:
            new = Memory(
                Features.cat([old.features, new.features]), torch.cat([old.deltas, new.deltas])
            )
        self._memory[name], self._task = new, None

    def forget(self, name: str) -> None:
        """Remove a category.

        Raises:
            InputError: it is not registered.
        """
        if name not in self.names:
            raise InputError(f"forget: no category '{name}'{nearest(name, self.names)}")
        del self._memory[name]
        self._task = None

    def support(self) -> Regions:
        """Everything remembered, label n meaning `names[n - 1]`."""
        if not self.names:
            raise InputError("the detector has no category yet; register one first")
        labelled = [(self._memory[""], 0)] if "" in self._memory else []
        labelled += [(self._memory[name], n) for n, name in enumerate(self.names, 1)]
        return Regions(
            Features.cat(memory.features.to(torch.float32) for memory, _ in labelled),
            torch.cat([torch.full((len(memory.deltas),), n) for memory, n in labelled]),
            torch.cat([memory.deltas for memory, _ in labelled]),
            len(self.names),
        )

    def task(self) -> Task:
        """The head adapted to everything remembered; computed when it is first asked for."""
        if self._task is None:
            with torch.no_grad():
                self._task = self.model.head.adapt(self.support())
        return self._task

    def predict(self, image, threshold: float = 0.5) -> list[Detection]:
        """Find the registered categories in an image, best first.

        Args:
            image: a path, an RGB array [H, W, 3], a PIL image, or a tensor [3, H, W].
            threshold: scores below are left out.
        """
        found = self.model.detect([as_tensor(image)], self.task())[0]
        return [
            Detection(tuple(box), self.names[label - 1], score)
            for box, label, score in zip(
                found["boxes"].tolist(),
                found["labels"].tolist(),
                found["scores"].tolist(),
                strict=True,
            )
            if score >= threshold
        ]

    def save(self, path: str | Path) -> Path:
        """Write the detector with everything it remembers; a folder gets `detector.safetensors`."""
        path = Path(path)
        path = path if path.suffix == ".safetensors" else path / "detector.safetensors"
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for n, memory in enumerate(self._memory.values()):
            tensors |= {
                f"memory.{n}.maps": memory.features.maps,
                f"memory.{n}.means": memory.features.means,
                f"memory.{n}.deltas": memory.deltas,
            }
        about = {
            "format": FORMAT,
            "detector": cfg.as_dict(self.settings),
            "head": cfg.as_dict(self.head),
            "memory": list(self._memory),
            "n_base": self.n_base,
        }
        whole = {name: value.contiguous() for name, value in tensors.items()}
        write_whole(path, lambda to: save_file(whole, to, {"fsdet": json.dumps(about)}))
        return path

    def __repr__(self) -> str:
        return f"Detector({self.head.name}, {len(self.names)} categories: {', '.join(self.names)})"


def load(path: str | Path, device: str = "cpu") -> Detector:
    """A saved detector, from its file or from the run folder that holds it.

    Raises:
        InputError: there is none, it is cut, or it is not a detector.
    """
    path = Path(path)
    path = path / "detector.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise InputError(
            f"no detector at '{path}'; expected a run folder or a detector.safetensors"
        )
    try:
        with safe_open(path, "pt", device=device) as file:
            about = json.loads((file.metadata() or {}).get("fsdet", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"'{path}' is not a whole safetensors file: {error}") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise InputError(f"'{path}' holds tensors but no detector of format {FORMAT}")
    try:
        settings, head = (
            cfg.part(cfg.Detector, about["detector"]),
            cfg.part(cfg.Head, about["head"]),
        )
        model = build.detector(settings, head, about["n_base"], pretrained=False)
        state = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
        model.load_state_dict(state)
        memory = {
            name: Memory(
                Features(tensors[f"memory.{n}.maps"], tensors[f"memory.{n}.means"]),
                tensors[f"memory.{n}.deltas"],
            )
            for n, name in enumerate(about["memory"])
        }
    except (KeyError, RuntimeError, TypeError) as error:
        raise InputError(
            f"'{path}' is a detector of another version or is incomplete: {error}"
        ) from error
    return Detector(model.to(device), settings, head, memory, about["n_base"])


def as_tensor(image) -> Tensor:
    """A path, RGB array, PIL image or tensor -> float32 [3, H, W] in 0..1.

    Raises:
        InputError: none of these, or a shape that is no image.
    """
    if isinstance(image, str | Path):
        image = read_image(Path(image))
    elif not isinstance(image, np.ndarray | Tensor) and hasattr(image, "convert"):
        image = np.asarray(image.convert("RGB"))
    if isinstance(image, np.ndarray):
        image = np.repeat(image[:, :, None], 3, 2) if image.ndim == 2 else image
        if image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f"expected an RGB array [H, W, 3], got shape {list(image.shape)}")
        image = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    if not isinstance(image, Tensor):
        raise InputError(f"expected a path, array, PIL image or tensor, got {type(image).__name__}")
    if image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0:
        raise InputError(f"expected an image tensor [3, H, W], got shape {list(image.shape)}")
    return image.float() / 255 if not image.is_floating_point() else image.float()


def _boxes(boxes, image: Tensor, where: str) -> Tensor:
    boxes = torch.as_tensor(np.asarray(boxes, dtype=np.float32)).reshape(-1, 4)
    height, width = image.shape[-2:]
    if len(boxes) == 0:
        raise InputError(f"{where}: expected at least one box, got none")
    for box in boxes:
        x1, y1, x2, y2 = box.tolist()
        if not (-1 <= x1 < x2 <= width + 1 and -1 <= y1 < y2 <= height + 1):
            raise InputError(
                f"{where}: box {[round(v, 1) for v in box.tolist()]} is not (x1, y1, x2, y2) with area"
                f" inside the image of {width} x {height}"
            )
    return boxes
