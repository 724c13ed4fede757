"""torchvision's own detectors by name: their weights files, downloaded to where torch keeps its files."""

import os
from pathlib import Path
from urllib.error import URLError

import torch
from torchvision.models import get_model_weights

from fsdet.errors import InputError, nearest
from fsdet.importers.presets import PRESETS

PREFIX = "torchvision/"


def weights_file(name: str) -> Path:
    """The file of torchvision's COCO weights of `torchvision/NAME`; it is downloaded if it is not there.

    Raises:
        InputError: no such detector, or it cannot be downloaded; then where to put the file.
    """
    known = [preset for preset in PRESETS if preset.startswith(PREFIX)]
    if name not in known:
        raise InputError(f"no detector '{name}'{nearest(name, known)}")
    url = get_model_weights(name.removeprefix(PREFIX)).DEFAULT.url
    file = Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(url)
    if file.is_file():
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    prefix = file.stem.rpartition("-")[2]  # torchvision names its files after their SHA-256
    try:
        torch.hub.download_url_to_file(url, str(file), prefix, progress=True)
    except (URLError, OSError, RuntimeError) as error:
        raise InputError(
            f"'{name}' could not be downloaded from {url} ({error}); download it elsewhere and put"
            f" it there: {file}"
        ) from error
    return file
