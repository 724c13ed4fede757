"""The machine learning backend of Label Studio: it predicts rectangles, and learns from those that people draw."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from fsdet.api.inputs import as_boxes, as_tensor
from fsdet.apps.serve.lessons import Lesson, Snapshot
from fsdet.apps.serve.limits import Refusal, check_name, line
from fsdet.apps.serve.service import Service
from fsdet.apps.serve.source import Source
from fsdet.data.formats import label_studio as formats
from fsdet.data.formats.label_studio import Annotation, LabelConfig
from fsdet.errors import InputError
from fsdet.types import IGNORE, Target

THRESHOLD = 0.5  # where the configuration asks for none
CREATED = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")
DELETED = ("ANNOTATION_DELETED", "ANNOTATIONS_DELETED")
START = "START_TRAINING"
M = TypeVar("M", bound=BaseModel)
log = logging.getLogger(__name__)


class Setup(BaseModel):
    """What Label Studio says when a project is connected; its host and token are not used."""

    labels: str = Field(alias="schema")


class Question(BaseModel):
    """Tasks to predict."""

    tasks: list[dict[str, Any]]
    label_config: str


class Project(BaseModel):
    """What an event says of its project."""

    id: int
    label_config: str | None = None


class Numbered(BaseModel):
    """What is left of a deleted annotation."""

    id: int


class Event(BaseModel):
    """What a webhook says."""

    action: str
    project: Project | None = None
    task: dict[str, Any] | None = None
    annotation: dict[str, Any] | None = None
    annotations: list[Numbered] = []


def router(service: Service, source: Source) -> APIRouter:
    """The protocol's addresses under /label-studio."""
    routes = APIRouter(prefix="/label-studio", tags=["Label Studio"])

    @routes.get("/", include_in_schema=False)
    @routes.get("/health")
    async def health() -> dict[str, str]:
        """Whether the backend is up."""
        return {"status": "UP", "model_class": "fsdet"}

    @routes.post("/setup")
    async def setup(request: Request) -> dict[str, str]:
        """Look at a project's labelling configuration."""
        asked = await _read(Setup, request)
        LabelConfig.parse(asked.labels)
        return {"model_version": service.snapshot.version}

    @routes.post("/predict")
    async def predict(request: Request) -> dict[str, list[dict[str, Any]]]:
        """Rectangles in the images of tasks."""
        asked = await _read(Question, request)
        if len(asked.tasks) > service.limits.tasks:
            most = service.limits.tasks
            raise Refusal(413, f"tasks: expected at most {most}, got {len(asked.tasks)}")
        config = LabelConfig.parse(asked.label_config)
        return {
            "results": await service.looking.answer(_predict, service, source, asked.tasks, config)
        }

    @routes.post("/webhook", status_code=201)
    async def webhook(request: Request) -> JSONResponse:
        """Learn from annotations after the answer, for Label Studio waits a second; problems go to the log."""
        event = await _read(Event, request)
        if event.action not in (*CREATED, *DELETED, START):
            return JSONResponse({"status": "Unknown event"})
        if event.project is None:
            raise Refusal(422, f"{event.action}: expected a project")
        work = _work(service, source, event, event.project)
        service.learning.submit(_logged, work, event.action, event.project.id)
        return JSONResponse({"status": "ok"}, 201)

    return routes


async def _read(kind: type[M], request: Request) -> M:
    body = await request.body()
    try:
        return await run_in_threadpool(kind.model_validate_json, body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        status = 400 if first["type"] == "json_invalid" else 422
        raise Refusal(status, f"{where}: {first['msg']}") from None


def _predict(
    service: Service, source: Source, tasks: list[dict[str, Any]], config: LabelConfig
) -> list[dict[str, Any]]:
    """A prediction for each task; one whose image is not to be had says so, all of them are an error."""
    now, results, problem = service.snapshot, [], None
    for task in tasks:
        answer: dict[str, Any] = {"result": [], "score": 0.0, "model_version": now.version}
        try:
            answer |= _regions(service, source, now, task, config)
        except InputError as error:
            problem = error
            answer["error"] = line(str(error))
            log.warning("task %s: %s", line(str(task.get("id"))), answer["error"])
        results.append(answer)
    if problem and all("error" in one for one in results):
        raise problem
    return results


def _regions(
    service: Service, source: Source, now: Snapshot, task: dict[str, Any], config: LabelConfig
) -> dict[str, Any]:
    """Rectangles in the image of a task, and their mean score."""
    image = service.read(source.image(formats.task_image(task, config.image_key)))
    if not now.detector.names:
        return {}
    threshold = THRESHOLD if config.threshold is None else config.threshold
    regions = [
        config.region(one.box, one.name, one.score, image.shape[:2])
        for one in now.detector.predict(image, threshold)
        if one.name in config.labels
    ]
    scores = [region["score"] for region in regions]
    return {"result": regions, "score": sum(scores) / max(len(scores), 1)}


def _work(service: Service, source: Source, event: Event, project: Project) -> Callable[[], None]:
    """What an event asks for, looked through as far as that goes without images."""
    config = LabelConfig.parse(project.label_config) if project.label_config else None
    key, from_name = (config.image_key, config.from_name) if config else (None, None)
    if event.action == START:
        if not source.url:
            raise Refusal(409, "START_TRAINING: expected a service with --label-studio URL")
        return lambda: _learn_all(service, source, project.id, key, from_name)
    if event.action in DELETED:
        deleted: list[object] = [annotation.id for annotation in event.annotations]
        deleted += [event.annotation.get("id")] if event.annotation else []
        return lambda: _unlearn(service, project.id, deleted)
    if event.task is None or event.annotation is None:
        raise Refusal(422, f"{event.action}: expected a task and an annotation")
    annotation = formats.parse_annotation(event.task, event.annotation, key, from_name)
    if annotation is None:  # skipped, or its rectangles were removed
        removed: list[object] = [event.annotation.get("id")]
        return lambda: _unlearn(service, project.id, removed)
    return lambda: _learn(service, source, project.id, annotation)


def _learn(service: Service, source: Source, project: int, made: Annotation) -> None:
    """The newest annotation of a task takes the place of those before it."""
    lesson = _lesson(service, source, project, made)
    others = [one for one in service.snapshot.lessons if one.source[:2] != (project, made.task)]
    service.become([*others, lesson])


def _learn_all(
    service: Service, source: Source, project: int, key: str | None, from_name: str | None
) -> None:
    """What the project has now takes the place of all that was learned from it."""
    lessons = [one for one in service.snapshot.lessons if one.source[:1] != (project,)]
    found = formats.parse_export(source.export(project), key, from_name)
    for n, made in enumerate(found):
        try:
            lessons.append(_lesson(service, source, project, made))
        except InputError as error:
            log.warning("project %d, task %d: %s", project, made.task, line(str(error)))
        if sum(map(len, lessons)) > service.limits.regions:
            log.warning("project %d: room for %d of %d annotations", project, n, len(found))
            lessons.pop()
            break
    service.become(lessons)


def _unlearn(service: Service, project: int, annotations: list[object]) -> None:
    before = service.snapshot.lessons
    after = [
        one for one in before if not (one.source[:1] == (project,) and one.source[2] in annotations)
    ]
    if len(after) < len(before):
        service.become(after)


def _lesson(service: Service, source: Source, project: int, made: Annotation) -> Lesson:
    """What an annotation teaches; rectangles without a label are neither objects nor background."""
    names = tuple(dict.fromkeys(label for label, _ in made.boxes if label))
    for name in names:
        check_name(name, service.limits)
    if not names or len(made.boxes) > service.limits.boxes:
        raise Refusal(422, f"expected 1 to {service.limits.boxes} rectangles with a label")
    image = as_tensor(service.read(source.image(made.image), made.size))
    labels = [names.index(label) + 1 if label else IGNORE for label, _ in made.boxes]
    target = Target(
        boxes=as_boxes([box for _, box in made.boxes], image), labels=torch.tensor(labels)
    )
    return service.study(image, target, names, (project, made.task, made.id))


def _logged(work: Callable[[], None], action: str, project: int) -> None:
    """Nobody waits for the end of this work, so that the log is told."""
    try:
        work()
    except InputError as error:
        log.warning("%s, project %d: %s", action, project, line(str(error)))
    except Exception:
        log.exception("%s, project %d", action, project)
