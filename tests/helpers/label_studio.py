"""Label Studio's tasks and rectangles."""

UPLOAD = "/data/upload/1/4b3c-a%20b.png"


def rectangle(label, x, y, width, height, rotation=0, size=(200, 100), **more):
    """A result as Label Studio exports it; percent of an image of `size`, width and height."""
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation}
    return {
        "id": "Dx_aB3kLmN", "type": "rectanglelabels", "from_name": "label", "to_name": "image",
        "original_width": size[0], "original_height": size[1], "image_rotation": 0,
        "origin": "manual", "value": value | {"rectanglelabels": [label] if label else []},
    } | more  # fmt: skip


def task(number, *results, image=UPLOAD, **more):
    """A task as Label Studio exports it, with one annotation."""
    made = {
        "id": 100 + number, "completed_by": 1, "result": list(results), "was_cancelled": False,
        "ground_truth": False, "created_at": "2024-05-01T10:00:00.000000Z",
        "updated_at": "2024-05-01T10:00:00.000000Z", "lead_time": 12.5, "task": number,
    } | more  # fmt: skip
    return {
        "id": number, "annotations": [made], "file_upload": "4b3c-a b.png", "drafts": [],
        "predictions": [], "data": {"picture": image, "note": "x"}, "meta": {}, "inner_id": 1,
        "total_annotations": 1, "cancelled_annotations": 0, "project": 1,
    }  # fmt: skip
