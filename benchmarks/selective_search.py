"""Boxes of selective search in the images that `foreign_boxes.py` uses, as a COCO result file.

Needs OpenCV's contributed modules: `pip install --no-deps --target FOLDER opencv-contrib-python-headless`.

    PYTHONPATH=FOLDER:. python benchmarks/selective_search.py voc2012-animals boxes.json
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
from foreign_boxes import Images

SIDE = 200  # pixels of the long side that selective search sees; it takes four times as long at 400
MOST = 100  # boxes of an image


def boxes_of(image: np.ndarray) -> np.ndarray:
    """[R, 4] (x, y, width, height) in pixels of an RGB image, the largest segments of the hierarchy first."""
    scale = max(image.shape[:2]) / SIDE
    size = (round(image.shape[1] / scale), round(image.shape[0] / scale))
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(cv2.cvtColor(cv2.resize(image, size), cv2.COLOR_RGB2BGR))
    search.switchToSelectiveSearchFast()
    boxes = np.unique(search.process(), axis=0, return_index=True)
    boxes = boxes[0][np.argsort(boxes[1])]  # in the order of the search
    large = boxes[(boxes[:, 2:] >= 10).all(1)]
    return large[:MOST] * scale


def main(root: str, file: str) -> None:
    cv2.setRNGSeed(0)
    cv2.setNumThreads(1)
    results = []
    for data, index in Images.of(root).all():
        boxes = boxes_of(data.image(index))
        for rank, box in enumerate(boxes.round(1).tolist()):
            about = {"file_name": data.paths[index], "category_id": 1, "bbox": box}
            results.append(about | {"score": round(1 - rank / MOST, 4)})
    Path(file).write_text(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
