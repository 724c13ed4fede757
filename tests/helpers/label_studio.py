"""Label Studio's rectangles, tasks, exports and labelling configuration."""

import json

UPLOAD = "/data/upload/1/4b3c-a%20b.png"
CONFIG = """
<View>
  <Image name="image" value="$picture" zoom="true"/>
  <RectangleLabels name="label" toName="image" model_score_threshold="0.05">
    <Label value="green" background="#0f0"/>
    <Label value="Warm" predicted_values="red, orange"/>
    <Label value="blue thing" alias="blue"/>
  </RectangleLabels>
</View>
"""


def rectangle(label, x, y, width, height, rotation=0, size=(200, 100), **fields):
    """A result as Label Studio exports it; percent of an image of `size`, width and height."""
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation}
    return {
        "id": "Dx_aB3kLmN", "type": "rectanglelabels", "from_name": "label", "to_name": "image",
        "original_width": size[0], "original_height": size[1], "image_rotation": 0,
        "origin": "manual", "value": value | {"rectanglelabels": [label] if label else []},
    } | fields  # fmt: skip


def task(number, *results, image=UPLOAD, **fields):
    """A task as Label Studio exports it, with one annotation."""
    annotation = {
        "id": 100 + number, "completed_by": 1, "result": list(results), "was_cancelled": False,
        "ground_truth": False, "created_at": "2024-05-01T10:00:00.000000Z",
        "updated_at": "2024-05-01T10:00:00.000000Z", "lead_time": 12.5, "task": number,
    } | fields  # fmt: skip
    return {
        "id": number, "annotations": [annotation], "file_upload": "4b3c-a b.png", "drafts": [],
        "predictions": [], "data": {"picture": image, "note": "x"}, "meta": {}, "inner_id": 1,
        "total_annotations": 1, "cancelled_annotations": 0, "project": 1,
    }  # fmt: skip


def export(*tasks):
    """The bytes of an export as JSON."""
    return json.dumps(list(tasks)).encode()
