"""Addresses of Label Studio's machine learning protocol."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from fsdet.apps.serve.label_studio_backend import CREATED, DELETED, START, Backend, Event
from fsdet.apps.serve.limits import Refusal, first_error, printable_line
from fsdet.apps.serve.service import Service
from fsdet.apps.serve.source import Source
from fsdet.data.formats.label_studio import LabelConfig
from fsdet.errors import InputError

M = TypeVar("M", bound=BaseModel)
log = logging.getLogger(__name__)


class SetupRequest(BaseModel):
    """Sent when a project is connected; Label Studio's host and token in it are ignored."""

    labels: str = Field(alias="schema")


class PredictRequest(BaseModel):
    """Tasks to predict."""

    tasks: list[dict[str, Any]]
    label_config: str


def router(service: Service, source: Source) -> APIRouter:
    """Addresses of the protocol under /label-studio."""
    routes = APIRouter(prefix="/label-studio", tags=["Label Studio"])
    backend = Backend(service, source)

    @routes.get("/", include_in_schema=False)
    @routes.get("/health")
    async def health() -> dict[str, str]:
        """State of the backend."""
        return {"status": "UP", "model_class": "fsdet"}

    @routes.post("/setup")
    async def setup(request: Request) -> dict[str, str]:
        """Check a project's labelling configuration."""
        LabelConfig.parse((await _read(SetupRequest, request)).labels)
        return {"model_version": service.snapshot.version}

    @routes.post("/predict")
    async def predict(request: Request) -> dict[str, list[dict[str, Any]]]:
        """Predict rectangles in the images of tasks."""
        body = await _read(PredictRequest, request)
        most = service.limits.tasks
        if len(body.tasks) > most:
            raise Refusal(413, f"tasks: expected at most {most}, got {len(body.tasks)}")
        config = LabelConfig.parse(body.label_config)
        return {"results": await service.predicting.answer(backend.predict, body.tasks, config)}

    @routes.post("/webhook", status_code=201)
    async def webhook(request: Request) -> JSONResponse:
        """Learn from annotations after the answer: Label Studio waits one second. Errors are logged."""
        event = await _read(Event, request)
        if event.action not in (*CREATED, *DELETED, START):
            return JSONResponse({"status": "Unknown event"})
        if event.project is None:
            raise Refusal(422, f"{event.action}: expected a project")
        work = backend.work(event, event.project)
        service.learning.submit(_logged, work, event.action, event.project.id)
        return JSONResponse({"status": "ok"}, 201)

    return routes


async def _read(kind: type[M], request: Request) -> M:
    """The body, whatever its content type; parsed in a thread, as it may be long."""
    body = await request.body()
    try:
        return await run_in_threadpool(kind.model_validate_json, body)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        status = 400 if errors[0]["type"] == "json_invalid" else 422
        raise Refusal(status, first_error(errors, "body")) from None


def _logged(work: Callable[[], None], action: str, project: int) -> None:
    """Run work whose result no client awaits, and log its errors."""
    try:
        work()
    except InputError as error:
        log.warning("%s, project %d: %s", action, project, printable_line(error))
    except Exception:
        log.exception("%s, project %d", action, project)
