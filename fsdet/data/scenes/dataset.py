"""The generated data set of scenes: objects of 22 categories, as varied in place and look as those of photographs.

Images are a pure function of (seed, subset, index). None is stored: an image is drawn on access.
"""

from dataclasses import dataclass, field

import numpy as np

from fsdet.data.dataset import DetectionData
from fsdet.data.scenes.drawing import scene
from fsdet.data.scenes.layout import SHAPES, layout
from fsdet.data.shapes.dataset import SHAPES_SPLITS, checked, generated_fields, random_of

SCENES_SPLITS = {name.replace("shapes", "scenes"): novel for name, novel in SHAPES_SPLITS.items()}


@dataclass(frozen=True, eq=False)
class Scenes(DetectionData):
    """Drawn scenes with the boxes of what is visible; image n does not depend on the number of images."""

    subset_name: str = field(kw_only=True)
    seed: int = field(kw_only=True)

    def image(self, i: int) -> np.ndarray:
        """Draw image `i`: uint8 `[size, size, 3]` RGB."""
        i = self._index(i)
        index, size = int(self.image_ids[i]) - 1, int(self.sizes[i, 0])
        objects = layout(random_of(self.seed, self.subset_name, index, 0), size)
        return scene(random_of(self.seed, self.subset_name, index, 1), objects, size)


def open_scenes(subset: str, seed: int = 0, images: int | None = None, size: int = 256) -> Scenes:
    """Open the generated data set.

    Args:
        subset: "train" or "test".
        images: number of images; None: 2000 for training, 500 for testing.
        size: side of an image in pixels; objects scale with it.

    Raises:
        InputError: another subset, a size below 64, or no image.
    """
    images = checked("scenes", subset, images, size)
    layouts = [layout(random_of(seed, subset, index, 0), size) for index in range(images)]
    labels = [np.array([placed.label for placed in objects], np.int32) for objects in layouts]
    boxes = [np.stack([placed.box() for placed in objects]) for objects in layouts]
    fields = generated_fields("scenes", SHAPES, subset, size, labels, boxes)
    return Scenes(**fields, subset_name=subset, seed=seed)
