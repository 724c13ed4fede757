"""Backend of Label Studio: predicts rectangles in tasks and learns from annotations."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pydantic import BaseModel

from fsdet.api.inputs import as_boxes, as_tensor
from fsdet.apps.serve.lessons import Lesson, Snapshot
from fsdet.apps.serve.limits import Refusal, check_name, printable_line
from fsdet.apps.serve.service import Service
from fsdet.apps.serve.source import Source
from fsdet.data.formats import label_studio as formats
from fsdet.data.formats.label_studio import Annotation, LabelConfig
from fsdet.errors import InputError
from fsdet.types import IGNORE, Shots, Target

THRESHOLD = 0.5  # for labelling configurations without one
CREATED = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")
DELETED = ("ANNOTATION_DELETED", "ANNOTATIONS_DELETED")
START = "START_TRAINING"
log = logging.getLogger(__name__)


class Project(BaseModel):
    """The project of an event."""

    id: int
    label_config: str | None = None


class DeletedAnnotation(BaseModel):
    """The id of a deleted annotation."""

    id: int


class Event(BaseModel):
    """The body of a webhook."""

    action: str
    project: Project | None = None
    task: dict[str, Any] | None = None
    annotation: dict[str, Any] | None = None
    annotations: list[DeletedAnnotation] = []


@dataclass(frozen=True)
class Backend:
    """Predictions for tasks, and lessons of annotations whose images come from `source`."""

    service: Service
    source: Source

    def predict(self, tasks: list[dict[str, Any]], config: LabelConfig) -> list[dict[str, Any]]:
        """A prediction for each task; a task without a readable image gets an error instead.

        Raises:
            InputError: no task has a readable image.
        """
        snapshot = self.service.snapshot
        empty = {"result": [], "score": 0.0, "model_version": snapshot.version}
        results: list[dict[str, Any]] = []
        errors = []
        for task in tasks:
            try:
                results.append(empty | self._rectangles(snapshot, task, config))
            except InputError as error:
                errors.append(error)
                results.append(empty | {"error": printable_line(error)})
                log.warning("task %s: %s", printable_line(task.get("id")), printable_line(error))
        if tasks and len(errors) == len(tasks):
            raise errors[-1]
        return results

    def _rectangles(
        self, snapshot: Snapshot, task: dict[str, Any], config: LabelConfig
    ) -> dict[str, Any]:
        """Rectangles in the image of a task, and their mean score."""
        image_file = self.source.image(formats.task_image(task, config.image_key))
        image = self.service.read(image_file)
        if not snapshot.detector.names:
            return {}
        threshold = THRESHOLD if config.threshold is None else config.threshold
        regions = [
            config.region(detection.box, detection.name, detection.score, image.shape[:2])
            for detection in snapshot.detector.predict(image, threshold)
            if detection.name in config.labels
        ]
        scores = [region["score"] for region in regions]
        return {"result": regions, "score": sum(scores) / max(len(scores), 1)}

    def work(self, event: Event, project: Project) -> Callable[[], None]:
        """The change of the lessons for an event.

        Raises:
            InputError: the event lacks something; its image is not fetched yet.
        """
        config = LabelConfig.parse(project.label_config) if project.label_config else None
        key, from_name = (config.image_key, config.from_name) if config else (None, None)
        if event.action == START:
            if not self.source.url:
                raise Refusal(409, f"{START}: expected a service with --label-studio URL")
            return partial(self.learn_export, project.id, key, from_name)
        deleted: list[object] = [annotation.id for annotation in event.annotations]
        deleted += [event.annotation.get("id")] if event.annotation else []
        if event.action in DELETED:
            return partial(self.unlearn, project.id, deleted)
        if event.task is None or event.annotation is None:
            raise Refusal(422, f"{event.action}: expected a task and an annotation")
        annotation = formats.parse_annotation(event.task, event.annotation, key, from_name)
        if annotation is None:  # skipped, or its rectangles were removed
            return partial(self.unlearn, project.id, deleted)
        return partial(self.learn, project.id, annotation)

    def learn(self, project: int, annotation: Annotation) -> None:
        """Add the lesson of an annotation, in place of earlier ones of its task."""
        lesson, task = self._lesson(project, annotation), (project, annotation.task)
        self.service.replace_lessons([*self._lessons(lambda source: source[:2] != task), lesson])

    def learn_export(self, project: int, key: str | None, from_name: str | None) -> None:
        """Replace all lessons of a project by those of its export."""
        lessons = self._lessons(lambda source: source[:1] != (project,))
        annotations = formats.parse_export(self.source.export(project), key, from_name)
        for n, annotation in enumerate(annotations):
            try:
                lesson = self._lesson(project, annotation)
            except InputError as error:
                log.warning(
                    "project %d, task %d: %s", project, annotation.task, printable_line(error)
                )
                continue
            if sum(map(len, [*lessons, lesson])) > self.service.limits.regions:
                log.warning(
                    "project %d: room for %d of %d annotations", project, n, len(annotations)
                )
                break
            lessons.append(lesson)
        self.service.replace_lessons(lessons)

    def unlearn(self, project: int, annotations: list[object]) -> None:
        """Remove the lessons of annotations, given by their ids."""
        lessons = self._lessons(
            lambda source: source[:1] != (project,) or source[2] not in annotations
        )
        if len(lessons) < len(self.service.snapshot.lessons):
            self.service.replace_lessons(lessons)

    def _lessons(self, keep: Callable[[tuple[int, ...]], bool]) -> list[Lesson]:
        """Current lessons whose source `keep` accepts."""
        return [lesson for lesson in self.service.snapshot.lessons if keep(lesson.source)]

    def _lesson(self, project: int, annotation: Annotation) -> Lesson:
        """The lesson of an annotation; a rectangle without label is neither object nor background."""
        limits = self.service.limits
        names = tuple(dict.fromkeys(label for label, _ in annotation.boxes if label))
        for name in names:
            check_name(name, limits)
        if not names or len(annotation.boxes) > limits.boxes:
            raise Refusal(422, f"expected 1 to {limits.boxes} rectangles with a label")
        image_file = self.source.image(annotation.image)
        image = as_tensor(self.service.read(image_file, annotation.size))
        labels = [names.index(label) + 1 if label else IGNORE for label, _ in annotation.boxes]
        boxes = as_boxes([box for _, box in annotation.boxes], image)
        target = Target(boxes=boxes, labels=torch.tensor(labels))
        ids = (project, annotation.task, annotation.id)
        return self.service.lesson([Shots([image], [target], names)], ids)
