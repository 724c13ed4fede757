"""The service over HTTP: its addresses, and errors as JSON."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import fsdet
from fsdet.api.detector_file import FILE
from fsdet.apps.hosts import LOOPBACK
from fsdet.apps.serve import label_studio_routes, probes
from fsdet.apps.serve.answers import Categories, Detection, Detections, Problem
from fsdet.apps.serve.forms import FILE_OR_BYTES, IMAGES_AND_BOXES, read_image_file, read_shots
from fsdet.apps.serve.gate import Gate, refused
from fsdet.apps.serve.limits import Refusal, check_name, first_error
from fsdet.apps.serve.metrics import Metrics
from fsdet.apps.serve.observer import Answered, Observer
from fsdet.apps.serve.service import Service
from fsdet.apps.serve.source import Source
from fsdet.data.images import NotAnImage, TooManyPixels
from fsdet.errors import InputError


def application(
    service: Service,
    password: str | None = None,
    hosts: Collection[str] = LOOPBACK,
    source: Source | None = None,
    observers: Sequence[Callable[[Answered], None]] = (),
) -> FastAPI:
    """The ASGI application of a service.

    Args:
        password, hosts: see `Gate`.
        source: of Label Studio's images; None: no image can be fetched.
        observers: are told of each request, refused ones too.
    """
    metrics = Metrics(service)
    app = FastAPI(
        title="fsdet",
        version=fsdet.__version__,
        description="Few-shot object detection: new categories from a few annotated boxes.",
        responses={"4XX": {"model": Problem}, "503": {"model": Problem}},
    )
    app.add_middleware(Gate, limits=service.limits, password=password, hosts=hosts)
    app.add_middleware(Observer, observers=(metrics.observe, *observers))
    app.include_router(label_studio_routes.router(service, source or Source(service.limits)))
    app.include_router(router(service))
    app.include_router(probes.router(service, metrics))
    _answer_errors(app)
    return app


def router(service: Service) -> APIRouter:
    """Addresses of the service itself."""
    routes = APIRouter()
    downloads = asyncio.Semaphore(service.limits.downloads)

    @routes.post("/detect", openapi_extra=FILE_OR_BYTES)
    async def detect(
        request: Request, threshold: Annotated[float | None, Query(ge=0, le=1)] = None
    ) -> Detections:
        """Detect the categories in an image: the `file` of a form, or the body."""
        image_file = await read_image_file(request)
        snapshot, (height, width), detections = await service.predicting.answer(
            service.detect, image_file, threshold
        )
        return Detections(
            version=snapshot.version,
            width=width,
            height=height,
            detections=[Detection(**detection._asdict()) for detection in detections],
        )

    @routes.get("/categories")
    async def categories() -> Categories:
        """List the categories."""
        return Categories.of(service.snapshot)

    @routes.post("/categories/{name:path}", status_code=201, openapi_extra=IMAGES_AND_BOXES)
    async def register(name: str, request: Request) -> Categories:
        """Add a category, or more shots of an existing one."""
        check_name(name, service.limits)
        shots = await read_shots(request, service.limits)
        return Categories.of(await service.learning.answer(service.register, name, *shots))

    @routes.delete("/categories/{name:path}")
    async def forget(name: str) -> Categories:
        """Delete the registered shots of a category; shots that the detector was loaded with stay."""
        check_name(name, service.limits)
        return Categories.of(await service.learning.answer(service.forget, name))

    @routes.get("/detector", response_class=FileResponse)
    async def download() -> FileResponse:
        """The detector with all its categories, as a file for `fsdet.load`."""
        if downloads.locked():
            raise Refusal(503, f"{service.limits.downloads} downloads at once already")
        await downloads.acquire()
        folder = Path(tempfile.mkdtemp(prefix="fsdet-"))

        def end() -> None:
            downloads.release()
            shutil.rmtree(folder, ignore_errors=True)

        try:
            version = await service.predicting.answer(service.write, folder / FILE)
        except BaseException:
            end()
            raise
        return FileResponse(
            folder / FILE,
            filename=FILE,
            headers={"ETag": f'"{version}"'},
            background=BackgroundTask(end),
        )

    return routes


def _answer_errors(app: FastAPI) -> None:
    """Answer every error with `{"error": "..."}`, and none with a traceback."""

    @app.exception_handler(InputError)
    async def input_error(request: Request, error: InputError) -> JSONResponse:
        statuses = {TooManyPixels: 413, NotAnImage: 415}
        return refused(getattr(error, "status", statuses.get(type(error), 422)), str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return refused(422, first_error(error.errors()))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        message = str(error.detail)
        if error.status_code in (404, 405):
            message += f": {request.method} {request.url.path[:80]}; see /docs"
        return refused(error.status_code, message, dict(error.headers or {}))

    @app.exception_handler(ClientDisconnect)
    async def disconnected(request: Request, error: ClientDisconnect) -> JSONResponse:
        return refused(400, "the connection closed before the whole body arrived")

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return refused(500, "the service failed; see its log")
