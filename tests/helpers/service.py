"""Requests to the service, and what it answers."""

import io
from dataclasses import replace

from PIL import Image

from fsdet.apps.serve.limits import Limits
from helpers.detectors import square

LIMITS = replace(Limits(), body=2**20, pixels=10**6, images=3, boxes=5, seconds=60)

GREEN = (40, 255, 40)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def green(seed):
    """A picture with a green square, and its box."""
    image, (x1, y1, x2, y2) = square("red", seed)
    image[y1:y2, x1:x2] = GREEN
    return image, [x1, y1, x2, y2]


def error_of(answer):
    """The message of a refusal, which is one line of JSON and shows nothing of the code."""
    assert 400 <= answer.status_code < 500, answer.text
    content = answer.json()
    assert list(content) == ["error"] and 10 < len(content["error"]) <= 1000, answer.text
    assert "Traceback" not in answer.text and "\\n" not in answer.text and ".py" not in answer.text
    return content["error"]
