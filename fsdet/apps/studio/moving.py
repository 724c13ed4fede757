"""Moving: a base detector trained on the complete photographs of a session."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fsdet.api.detector import Detector
from fsdet.api.moving import Moving, move
from fsdet.apps.studio.exchange import as_data, exported
from fsdet.apps.studio.project import Project
from fsdet.data.paths import PackedNames
from fsdet.data.shots.images import choose
from fsdet.errors import InputError


def moved(
    detector: Detector, project: Project, photos: Path, watch: Callable[[int], None]
) -> Detector:
    """The detector with pyramid, proposals and box head trained on the boxes of complete photographs.

    It knows the categories that it knew before; those of the project are taught anew, as to any other detector.

    Args:
        photos: the folder of the project's photographs, named by their keys.
        watch: called after every training step with the number of steps done.

    Raises:
        InputError: no complete photograph with a box, or see `fsdet.api.moving.move`.
    """
    complete = tuple(photo for photo in project.photos if project.of(photo.key).complete)
    project = replace(project, photos=complete)
    if not project.categories:
        raise InputError(
            "moving trains on complete photographs, and none with a box is; mark some complete first"
        )
    data = as_data(project, photos)
    keys = PackedNames.pack([photo.key for photo in exported(project)])
    shots = choose(replace(data, paths=keys), project.categories, None, 0)
    result = move(detector, shots, Moving(), lambda done, _: watch(done))
    for name in project.categories:
        if name not in detector.names:
            result.forget(name)
    return result
