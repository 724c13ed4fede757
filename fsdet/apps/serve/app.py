"""The service's addresses."""

import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from starlette.background import BackgroundTask
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import fsdet
from fsdet.api.detector_file import FILE
from fsdet.apps.hosts import LOOPBACK
from fsdet.apps.serve import label_studio_backend
from fsdet.apps.serve.gate import Gate, refused
from fsdet.apps.serve.lessons import Snapshot
from fsdet.apps.serve.limits import Refusal, check_name
from fsdet.apps.serve.service import Service
from fsdet.apps.serve.source import Source
from fsdet.data.images import NotAnImage, TooManyPixels
from fsdet.errors import InputError

Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
Corners = tuple[Number, Number, Number, Number]
Boxes = TypeAdapter(list[Corners | list[Corners]])
"""For each image a list of boxes, or one box."""

BINARY = {"type": "string", "format": "binary"}


def _body(fields: dict[str, Any], required: list[str], **others: Any) -> dict[str, Any]:
    """How OpenAPI describes a form, and other kinds of content beside it."""
    form = {"type": "object", "required": required, "properties": fields}
    content = {"multipart/form-data": form} | others
    schemas = {kind: {"schema": schema} for kind, schema in content.items()}
    return {"requestBody": {"required": True, "content": schemas}}


FILE_OR_BYTES = _body({"file": BINARY}, ["file"], **{"image/*": BINARY})
IMAGES_AND_BOXES = _body(
    {
        "images": {"type": "array", "items": BINARY},
        "boxes": {
            "type": "string",
            "description": "JSON: for each image a list of boxes [x1, y1, x2, y2] in pixels",
            "example": "[[[40, 52, 96, 110]]]",
        },
        "others": {
            "type": "string",
            "description": "JSON as `boxes`: other things, which are not background",
        },
    },
    ["images", "boxes"],
)


class Found(BaseModel):
    """A detection; `box` is x1, y1, x2, y2 in pixels of the upright image."""

    name: str
    score: float
    box: tuple[float, float, float, float]


class Answer(BaseModel):
    """What is in an image, best first."""

    version: str
    width: int
    height: int
    detections: list[Found]


class Category(BaseModel):
    """A category; `registered`: through the service, so that it can be forgotten."""

    name: str
    registered: bool


class Categories(BaseModel):
    """Everything that the detector knows."""

    version: str
    categories: list[Category]


class Health(BaseModel):
    """That it answers, and who answers."""

    status: str
    version: str
    fsdet: str


class Problem(BaseModel):
    """What was expected, and what came."""

    error: str


def application(
    service: Service,
    password: str | None = None,
    hosts: Collection[str] = LOOPBACK,
    source: Source | None = None,
) -> FastAPI:
    """The ASGI application of a service.

    Args:
        password, hosts: see `Gate`.
        source: where images of Label Studio come from; None: from nowhere.
    """
    app = FastAPI(
        title="fsdet",
        version=fsdet.__version__,
        description="Few-shot object detection: new categories from a few annotated boxes.",
        responses={"4XX": {"model": Problem}, "503": {"model": Problem}},
    )
    app.add_middleware(Gate, limits=service.limits, password=password, hosts=hosts)
    app.include_router(label_studio_backend.router(service, source or Source(service.limits)))
    _answer_errors(app)

    @app.get("/health")
    async def health() -> Health:
        """Whether the service is up."""
        return Health(status="ok", version=service.snapshot.version, fsdet=fsdet.__version__)

    @app.post("/detect", openapi_extra=FILE_OR_BYTES)
    async def detect(
        request: Request, threshold: Annotated[float, Query(ge=0, le=1)] = 0.5
    ) -> Answer:
        """Find the categories in an image: a form with a `file`, or the bytes of the file as the body."""
        encoded = await _image(request)
        now, (height, width), found = await service.looking.answer(
            service.detect, encoded, threshold
        )
        detections = [Found(name=one.name, score=one.score, box=one.box) for one in found]
        return Answer(version=now.version, width=width, height=height, detections=detections)

    @app.get("/categories")
    async def categories() -> Categories:
        """What the detector knows."""
        return _categories(service.snapshot)

    @app.post("/categories/{name:path}", status_code=201, openapi_extra=IMAGES_AND_BOXES)
    async def register(name: str, request: Request) -> Categories:
        """Add a category, or shots of one that is there."""
        check_name(name, service.limits)
        files, boxes, others = await _shots(request, service)
        return _categories(
            await service.learning.answer(service.register, name, files, boxes, others)
        )

    @app.delete("/categories/{name:path}")
    async def forget(name: str) -> Categories:
        """Drop what was registered of a category; what the detector came with stays."""
        check_name(name, service.limits)
        return _categories(await service.learning.answer(service.forget, name))

    @app.get("/detector", response_class=FileResponse)
    async def download() -> FileResponse:
        """The detector with everything that it knows, as a file for `fsdet.load`."""
        folder = Path(tempfile.mkdtemp(prefix="fsdet-"))
        try:
            version = await service.looking.answer(service.write, folder / FILE)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return FileResponse(
            folder / FILE,
            filename=FILE,
            headers={"ETag": f'"{version}"'},
            background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True),
        )

    return app


def _answer_errors(app: FastAPI) -> None:
    """Every error is `{"error": "..."}`; none shows where in the code it came from."""

    @app.exception_handler(InputError)
    async def mistake(request: Request, error: InputError) -> JSONResponse:
        kinds = {TooManyPixels: 413, NotAnImage: 415}
        return refused(getattr(error, "status", kinds.get(type(error), 422)), str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return refused(422, _first(error.errors()))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        said = str(error.detail)
        if error.status_code in (404, 405):
            said = f"{said}: {request.method} {request.url.path[:80]}; see /docs"
        headers = dict(error.headers) if error.headers else None
        return refused(error.status_code, said, headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> JSONResponse:
        return refused(400, "the connection ended before the body")

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return refused(500, "the service failed; its log says why")


async def _image(request: Request) -> bytes:
    """The one image of a request."""
    kind = _kind(request)
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=8) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                fields = ", ".join(map(str, form)) or "none"
                raise Refusal(422, f"expected an image in the form's field 'file', got: {fields}")
            return await file.read()
    if kind.startswith("text/") or kind == "application/json":
        raise Refusal(415, f"expected a form with a 'file', or an image as the body; got {kind}")
    return await request.body()


async def _shots(request: Request, service: Service) -> tuple[list[bytes], list, list]:
    """Images, their boxes and boxes of other things in a form; of each as many as images."""
    kind = _kind(request)
    if kind != "multipart/form-data":
        raise Refusal(
            415, f"expected a multipart form with 'images' and 'boxes', got {kind or 'no type'}"
        )
    async with request.form(max_files=service.limits.images, max_fields=8) as form:
        images = form.getlist("images")
        files = [await one.read() for one in images if isinstance(one, UploadFile)]
        texts = {key: form.get(key) for key in ("boxes", "others")}
    if not files or len(files) < len(images):
        raise Refusal(422, "expected image files in the form's field 'images'")
    boxes = _boxes("boxes", texts["boxes"], len(files), service.limits.boxes)
    if texts["others"] is None:
        return files, boxes, [()] * len(files)
    return files, boxes, _boxes("others", texts["others"], len(files), service.limits.boxes)


def _boxes(field: str, text: Any, images: int, most: int) -> list:
    if not isinstance(text, str):
        raise Refusal(
            422, f"expected JSON in the form's field '{field}': [[[x1, y1, x2, y2]], ...]"
        )
    try:
        found = Boxes.validate_json(text)
    except ValidationError as error:
        raise Refusal(422, f"{field}: {_first(error.errors(include_url=False))}") from None
    if len(found) != images:
        raise Refusal(
            422,
            f"{field}: expected a list for each of {images} images, [[[x1, y1, x2, y2]], ...];"
            f" got {len(found)}",
        )
    longest = max(len(one) for one in found)
    if longest > most:
        raise Refusal(413, f"{field}: expected at most {most} boxes in an image, got {longest}")
    return found


def _first(errors: Any) -> str:
    """The first of pydantic's errors in a line."""
    error = next(iter(errors))
    where = ".".join(str(part) for part in error["loc"])
    return f"{where}: {error['msg']}; got {str(error.get('input'))[:100]}"


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _categories(now: Snapshot) -> Categories:
    taught = {name for lesson in now.lessons for name in lesson.names}
    return Categories(
        version=now.version,
        categories=[Category(name=name, registered=name in taught) for name in now.detector.names],
    )
