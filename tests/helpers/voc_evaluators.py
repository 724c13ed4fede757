"""VOC's average precision at IoU 0.5 by two public packages, each from its own input format.

Neither leaves difficult boxes out, and neither keeps the order of equal scores.
"""

import numpy as np
from map_boxes import mean_average_precision_for_boxes
from mean_average_precision import MetricBuilder


def by_mean_average_precision(data, detections, points):
    """AP of each category at eleven points or under the curve ("area"); boxes include their last pixel,
    as in VOC."""
    inclusive = [0, 0, 1, 1]
    run = MetricBuilder.build_evaluation_metric("map_2d", num_classes=len(data.classes))
    for image in range(len(data)):
        rows, in_image = data.rows(image), detections[detections.image_index == image]
        boxes, difficult = data.boxes[rows] - inclusive, np.zeros((rows.stop - rows.start, 2))
        run.add(
            np.column_stack([in_image.boxes - inclusive, in_image.labels - 1, in_image.scores]),
            np.column_stack([boxes, data.labels[rows] - 1, difficult]),
        )
    ap = run.value(0.5, np.arange(0.0, 1.1, 0.1) if points == "11" else None)[0.5]
    return [ap[label]["ap"] for label in range(len(data.classes))]


def by_map_boxes(data, detections):
    """AP of each category under the curve, in the order of labels with ground truth."""
    detections = detections[np.argsort(-detections.scores)]  # the package expects this order
    image = np.repeat(np.arange(len(data)), np.diff(data.starts))
    sides = [0, 2, 1, 3]  # x1, x2, y1, y2
    _, ap = mean_average_precision_for_boxes(
        np.column_stack([image, data.labels, data.boxes[:, sides]]).astype(object),
        np.column_stack(
            [
                detections.image_index,
                detections.labels,
                detections.scores,
                detections.boxes[:, sides],
            ]
        ).astype(object),
        verbose=False,
    )
    return [ap[label][0] for label in sorted(ap, key=float)]
