"""Pictures that are sent to the page: files of fitted photographs, and of crops of boxes, made once."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from gradio.utils import get_upload_folder

from fsdet.apps.studio.boxes import Corners
from fsdet.apps.studio.studio import Studio
from fsdet.files import write_whole
from fsdet.report import crop
from fsdet.report.drawing import Colour

CACHE = get_upload_folder()  # Gradio sends files from this folder to the page
CUT_FROM, CROP_SIDE = (
    1024,
    220,
)  # pixels: longer side of a photograph that crops are cut from, and of a crop
UNNAMED: Colour = (150, 150, 150)  # of boxes without a category


def photo_file(studio: Studio, session: str, key: str, side: int) -> str:
    """The file of a photograph of a session, resized to `side` pixels along its longer side."""
    studio.store.file(session, key)  # raises if it is not the session's
    return _stored(f"{key}-{side}", lambda: studio.picture(session, key, side)[0])


def crop_file(studio: Studio, session: str, key: str, corners: Corners, colour: Colour) -> str:
    """The file of the square around a box of a photograph of a session, with the box drawn."""
    studio.store.file(session, key)

    def cut() -> np.ndarray:
        image, scale = studio.picture(session, key, CUT_FROM)
        return crop(image, np.array(corners) * scale, colour, side=CROP_SIDE)

    return _stored(f"{key}-{[round(value) for value in corners]}-{colour}", cut)


def sent(file: str) -> dict[str, Any]:
    """A file as a part of a component's value; Gradio adds its address."""
    return {"path": file, "meta": {"_type": "gradio.FileData"}}


def _stored(name: str, picture: Callable[[], np.ndarray]) -> str:
    """The file in `CACHE` of the picture of this name, which is made if it is not there."""
    path = Path(CACHE) / "studio" / re.sub(r"[^0-9a-f]+", "-", name) / "picture.jpg"
    if not path.is_file():
        image = cv2.cvtColor(picture(), cv2.COLOR_RGB2BGR)
        encoded = cv2.imencode(".jpg", image)[1].tobytes()
        write_whole(path, lambda to: to.write_bytes(encoded))
    return str(path)
