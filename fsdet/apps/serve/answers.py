"""Answers of the service, as JSON."""

from pydantic import BaseModel

from fsdet.apps.serve.lessons import Snapshot


class Detection(BaseModel):
    """A detected object; `box` is x1, y1, x2, y2 in pixels of the upright image."""

    name: str
    score: float
    box: tuple[float, float, float, float]


class Detections(BaseModel):
    """Detections in an image, best first; `width` and `height` of the upright image."""

    version: str
    width: int
    height: int
    detections: list[Detection]


class Category(BaseModel):
    """A category; `registered`: it has shots from this service, which can be deleted."""

    name: str
    registered: bool


class Categories(BaseModel):
    """The categories that the detector detects."""

    version: str
    categories: list[Category]

    @staticmethod
    def of(snapshot: Snapshot) -> "Categories":
        registered = {name for lesson in snapshot.lessons for name in lesson.names}
        categories = [
            Category(name=name, registered=name in registered) for name in snapshot.detector.names
        ]
        return Categories(version=snapshot.version, categories=categories)


class Problem(BaseModel):
    """An error: what was expected, and what came."""

    error: str
