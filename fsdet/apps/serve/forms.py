"""Forms of the service's requests: images and boxes, read within the limits, and their OpenAPI schemas."""

from typing import Annotated, Any

from fastapi import Request
from pydantic import Field, TypeAdapter, ValidationError
from starlette.datastructures import UploadFile

from fsdet.apps.serve.limits import Limits, Refusal, first_error

Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]
Corners = tuple[Number, Number, Number, Number]
Boxes = TypeAdapter(list[Corners | list[Corners]])
"""For each image a list of boxes, or one box."""


def _request_body(
    fields: dict[str, Any], required: list[str], **others: dict[str, str]
) -> dict[str, Any]:
    """OpenAPI's description of a form, and of other content types accepted instead."""
    form = {"type": "object", "required": required, "properties": fields}
    content = {"multipart/form-data": form} | others
    schemas = {content_type: {"schema": schema} for content_type, schema in content.items()}
    return {"requestBody": {"required": True, "content": schemas}}


BINARY = {"type": "string", "format": "binary"}
FILE_OR_BYTES = _request_body({"file": BINARY}, ["file"], **{"image/*": BINARY})
IMAGES_AND_BOXES = _request_body(
    {
        "images": {"type": "array", "items": BINARY},
        "boxes": {
            "type": "string",
            "description": "JSON: for each image a list of boxes [x1, y1, x2, y2] in pixels",
            "example": "[[[40, 52, 96, 110]]]",
        },
        "others": {
            "type": "string",
            "description": "JSON as `boxes`: other objects, which do not count as background",
        },
    },
    ["images", "boxes"],
)


async def read_image_file(request: Request) -> bytes:
    """The image file of a request: the field `file` of a form, or the body.

    Raises:
        Refusal: 415, the body is text or JSON; 422, a form without `file`.
    """
    content_type = _content_type(request)
    if content_type == "multipart/form-data":
        async with request.form(max_files=1, max_fields=8) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                fields = ", ".join(map(str, form)) or "none"
                raise Refusal(422, f"expected an image in the form's field 'file', got: {fields}")
            return await file.read()
    if content_type.startswith("text/") or content_type == "application/json":
        raise Refusal(
            415, f"expected a form with a 'file', or an image as the body; got {content_type}"
        )
    return await request.body()


async def read_shots(request: Request, limits: Limits) -> tuple[list[bytes], list, list]:
    """The form of a registration: image files, and for each its boxes and the boxes of other objects.

    Raises:
        Refusal: 415, no form; 413 or 422, images or boxes beyond the limits, missing or malformed.
    """
    content_type = _content_type(request) or "no content type"
    if content_type != "multipart/form-data":
        raise Refusal(
            415, f"expected a multipart form with 'images' and 'boxes', got {content_type}"
        )
    async with request.form(max_files=limits.images, max_fields=8) as form:
        images = form.getlist("images")
        files = [await image.read() for image in images if isinstance(image, UploadFile)]
        texts = {field: form.get(field) for field in ("boxes", "others")}
    if not files or len(files) < len(images):
        raise Refusal(422, "expected image files in the form's field 'images'")
    boxes = _boxes("boxes", texts["boxes"], len(files), limits.boxes)
    if texts["others"] is None:
        return files, boxes, [()] * len(files)
    return files, boxes, _boxes("others", texts["others"], len(files), limits.boxes)


def _boxes(field: str, text: object, num_images: int, max_boxes: int) -> list:
    if not isinstance(text, str):
        raise Refusal(
            422, f"expected JSON in the form's field '{field}': [[[x1, y1, x2, y2]], ...]"
        )
    try:
        boxes = Boxes.validate_json(text)
    except ValidationError as error:
        raise Refusal(422, first_error(error.errors(include_url=False), field)) from None
    if len(boxes) != num_images:
        raise Refusal(
            422,
            f"{field}: expected a list for each of {num_images} images,"
            f" [[[x1, y1, x2, y2]], ...]; got {len(boxes)}",
        )
    longest = max(map(len, boxes))
    if longest > max_boxes:
        raise Refusal(
            413, f"{field}: expected at most {max_boxes} boxes in an image, got {longest}"
        )
    return boxes


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
