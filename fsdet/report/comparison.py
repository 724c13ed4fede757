"""Ground truth and detections side by side in one image."""

from collections.abc import Collection, Sequence

import cv2
import numpy as np

from fsdet.report.drawing import DARK, NOVEL, Colour, draw, palette
from fsdet.report.lettering import text_mask


def side_by_side(
    image: np.ndarray,
    ground_truth: tuple[np.ndarray, Sequence[str]],
    detections: tuple[np.ndarray, Sequence[str], Sequence[float]],
    novel: Collection[str] = (),
    colours: dict[str, Colour] | None = None,
    threshold: float = 0.5,
    side: int = 360,
) -> np.ndarray:
    """Ground truth (left) and detections (right) in one image; novel names carry a star.

    Args:
        image: uint8 [H, W, 3] RGB.
        ground_truth: boxes [G, 4] xyxy in pixels of the image, and their names.
        detections: boxes [R, 4], their names and scores in 0..1.
        novel: the names that carry a star.
        colours: of each name, from `palette` of all categories, so that images of a series agree.
        threshold: detections below this score are left out.
        side: the longer side of each half, in pixels; small images are enlarged.

    Returns:
        uint8 [H', W', 3] RGB.
    """
    scale = side / max(image.shape[:2])
    width, height = (max(1, round(length * scale)) for length in image.shape[1::-1])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(image, (width, height), interpolation=interpolation)
    factors = np.array([width / image.shape[1], height / image.shape[0]] * 2)
    true_boxes, true_names = ground_truth
    boxes, names, scores = detections
    shown = [n for n, score in enumerate(scores) if score >= threshold]
    shown.sort(key=lambda n: scores[n])  # the highest score is drawn last, on top
    shown_names = [names[n] for n in shown]
    colours = palette([*true_names, *shown_names]) | (colours or {})

    def half(
        title: str, boxes: np.ndarray, names: Sequence[str], texts: Sequence[str]
    ) -> np.ndarray:
        marked = [NOVEL * (name in novel) + text for name, text in zip(names, texts, strict=True)]
        drawn = draw(resized, boxes * factors, marked, [colours[name] for name in names])
        return np.concatenate([_title_strip(title, width, side), drawn])

    left = half("ground truth", _float_boxes(true_boxes), true_names, true_names)
    texts = [f"{names[n]} {scores[n]:.2f}" for n in shown]
    title = f"detections (score ≥ {threshold:g})"
    right = half(title, _float_boxes(boxes)[shown], shown_names, texts)
    gap = np.full((len(left), max(2, side // 80), 3), DARK, np.uint8)
    return np.concatenate([left, gap, right], 1)


def _float_boxes(boxes: np.ndarray) -> np.ndarray:
    return np.asarray(boxes, dtype=float).reshape(-1, 4)


def _title_strip(title: str, width: int, side: int) -> np.ndarray:
    """A title to put above an image: uint8 [h, width, 3]."""
    letters = text_mask(title, max(10, side // 28), width, side)
    strip = np.zeros((len(letters) + side // 60, width), np.uint8)
    top = (len(strip) - len(letters)) // 2
    strip[top : top + len(letters), : letters.shape[1]] = letters
    cover = strip[..., None] / 255
    return np.round(235 * cover + np.array(DARK) * (1 - cover)).astype(np.uint8)
