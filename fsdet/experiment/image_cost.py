"""Cost of one image in a vision transformer, which compares all tokens of an image with each other."""

import logging
import time

import numpy as np
import torch

from fsdet.data.dataset import DetectionData
from fsdet.model.few_shot_rcnn import FewShotRCNN

logger = logging.getLogger("fsdet")


@torch.no_grad()
def log_image_cost(
    model: FewShotRCNN, name: str, data: DetectionData, device: torch.device
) -> None:
    """Log the tokens and the measured seconds of an image of median size, through backbone and pyramid.

    Args:
        model: on `device`; one with a vision transformer.
        name: of the transformer.
    """
    height, width = map(int, np.median(data.sizes, axis=0))
    image = torch.zeros((3, height, width), dtype=torch.uint8, device=device)
    training = model.training
    model.eval()
    if device.type == "cuda":  # the first pass loads kernels
        model.extract([image])
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    features, _ = model.extract([image])
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - start
    model.train(training)
    logger.info(
        "%s: an image of %d x %d pixels has %d tokens; backbone and pyramid take about %.2g s on %s",
        name, width, height, features.body[0].shape[-2:].numel(), seconds, device,
    )  # fmt: skip
