"""Label Studio exports: boxes in pixels, one annotation per task, invalid exports."""

import json
import math
from functools import partial

import pytest
from helpers.detectors import INKS, empty, knowing, square
from helpers.label_studio import UPLOAD, export, rectangle, task
from helpers.service import encoded

from fsdet.data.formats.label_studio import find_image, parse_export, read_export, registrations
from fsdet.errors import InputError


def boxes_of(content):
    return [(annotation.image, annotation.boxes) for annotation in parse_export(content)]


def test_percent_of_the_image_are_converted_to_pixels():
    content = export(task(7, rectangle("gear", 10, 20, 30, 40), rectangle("bolt", 0, 0, 100, 100)))
    (annotation,) = parse_export(content)
    assert (annotation.task, annotation.id, annotation.image, annotation.size) == (
        7,
        107,
        UPLOAD,
        (100, 200),
    )
    assert annotation.boxes == (("gear", (20, 20, 80, 60)), ("bolt", (0, 0, 200, 100)))


def test_a_rotated_rectangle_becomes_the_upright_box_around_it():
    def box(rotation):
        ((_, ((_, corners),)),) = boxes_of(
            export(task(1, rectangle("a", 50, 50, 10, 20, rotation)))
        )
        return tuple(round(value, 6) for value in corners)

    # 20 x 20 pixels, rotated clockwise about the corner at (100, 50)
    assert box(0) == (100, 50, 120, 70)
    assert box(90) == (80, 50, 100, 70)
    assert box(180) == (80, 30, 100, 50)
    assert box(-90) == box(270) == (100, 30, 120, 50)
    half = 20 * math.sqrt(0.5)
    assert box(45) == pytest.approx((100 - half, 50, 100 + half, 50 + 2 * half))
    ((_, ((_, clipped),)),) = boxes_of(export(task(1, rectangle("a", 90, 0, 10, 50, 45))))
    assert 0 <= clipped[0] < clipped[2] <= 200 and 0 <= clipped[1] < clipped[3] <= 100


def test_ground_truth_or_else_the_latest_annotation_of_a_task_is_used():
    labelled = task(1, rectangle("first", 0, 0, 10, 10))
    for number, fields in enumerate(({"updated_at": "2024-06-01"}, {"updated_at": "2024-05-02"})):
        labelled["annotations"] += task(number, rectangle(f"n{number}", 0, 0, 9, 9), **fields)[
            "annotations"
        ]
    assert [label for _, ((label, _),) in boxes_of(export(labelled))] == ["n0"]
    labelled["annotations"][0]["ground_truth"] = True
    assert [label for _, ((label, _),) in boxes_of(export(labelled))] == ["first"]


def test_skipped_tasks_and_other_result_types_are_left_out():
    brush = {"type": "brushlabels", "value": {"format": "rle", "rle": [0, 1]}, "from_name": "b"}
    mixed = task(3, brush, rectangle("gear", 0, 0, 10, 10), {"type": "choices", "value": {}})
    content = export(
        task(1, rectangle("gear", 0, 0, 1, 1), was_cancelled=True), task(2), task(4, brush), mixed,
        {**task(5), "annotations": []},
    )  # fmt: skip
    assert [annotation.task for annotation in parse_export(content)] == [3]
    assert parse_export(content, from_name="other") == []


def test_json_min_gives_the_same_annotations_as_json():
    flat = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}
    flat |= {"rectanglelabels": ["gear"], "original_width": 200, "original_height": 100}
    rows = [
        {
            "picture": UPLOAD, "id": 7, "label": [flat], "annotator": 1, "annotation_id": 107,
            "created_at": "2024-05-01", "updated_at": "2024-05-01", "lead_time": 3.2,
        },
        {"picture": UPLOAD, "id": 8, "annotator": 1, "annotation_id": 108, "lead_time": 3.2},
    ]  # fmt: skip
    full = parse_export(export(task(7, rectangle("gear", 10, 20, 30, 40))))
    assert parse_export(json.dumps(rows).encode()) == full


def export_of_one(**fields):
    return export(task(1, rectangle("a", 10, 10, 10, 10, **fields)))


WRONG = [
    (b"{", "expected an export as JSON"),
    (b"[" * 10**5, "expected an export as JSON"),
    (b'{"id": 1}', "a list of tasks"),
    (b"[1]", "a list of tasks"),
    (b'[{"annotations": 3}]', "task 0: expected a list of annotations"),
    (b'[{"annotations": [3]}]', "task 0: expected an annotation"),
    (b'[{"annotations": [{"result": [3]}]}]', "task 0: expected an annotation"),
    (export_of_one(original_width=0), "original_width: Input should be greater than 0, got 0"),
    (export_of_one(original_height=None), "original_height: Input should be a valid integer"),
    (export_of_one(value={"x": 1}), "value.y: Field required"),
    (export_of_one(rotation=float("nan")), "value.rotation: Input should be a finite number"),
    (export(task(1, rectangle("a", float("inf"), 0, 1, 1))), "value.x: Input should be a finite"),
    (export(task(1, rectangle("a", 1, 1, 0, 5))), "rectangle without area"),
    (export(task(1, rectangle("a", 150, 1, 5, 5))), "rectangle without area"),
    (export(task(1, rectangle("a", 1, 1, 5, 5), rectangle("a", 1, 1, 5, 5, size=(9, 9)))),
     "images of several sizes"),
    (export_of_one(value={"x": 1, "y": 1, "width": 1, "height": 1, "rectanglelabels": ["a", "b"]}),
     "expected one label, got a, b"),
    (export({**task(1, rectangle("a", 1, 1, 5, 5)), "id": "one"}), "whole numbers as ids"),
    (export({**task(1, rectangle("a", 1, 1, 5, 5)), "data": {"text": "x"}}), "expected one image"),
    (export({**task(1, rectangle("a", 1, 1, 5, 5)), "data": {"a": "a.png", "b": "b.jpg"}}),
     "expected one image in the task's data, found 2"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), WRONG)
def test_an_invalid_export_is_reported_with_its_reason(content, message, tmp_path):
    with pytest.raises(InputError) as error:
        parse_export(content)
    assert message in str(error.value)
    (tmp_path / "export.json").write_bytes(content)
    with pytest.raises(InputError, match=r"export.json: "):
        read_export(tmp_path / "export.json")


def test_an_export_registers_its_categories(tmp_path):
    """End to end: files as Label Studio stores them, to a detector that finds the labelled objects."""
    (tmp_path / "upload" / "1").mkdir(parents=True)
    tasks = []
    for n in range(6):
        ink = ("red", "blue")[n % 2]
        image, (x1, y1, x2, y2) = square(ink, n)
        (tmp_path / "upload" / "1" / f"{n} a.png").write_bytes(encoded(image))
        share = [100 * v / 96 for v in (x1, y1, x2 - x1, y2 - y1)]
        results = [rectangle(ink, *share, size=(96, 96)), rectangle("", 0, 0, 5, 5, size=(96, 96))]
        tasks.append(task(n, *results, image=f"/data/upload/1/{n}%20a.png"))
    (tmp_path / "export.json").write_bytes(export(*tasks))
    detector, expected = empty(), knowing()
    annotations = read_export(tmp_path / "export.json")
    for name, images, boxes, others in registrations(annotations, partial(find_image, tmp_path)):
        assert [len(boxes_of_image) for boxes_of_image in boxes] == [1, 1, 1]
        assert others == [[(0, 0, pytest.approx(4.8), pytest.approx(4.8))]] * 3
        detector.register(name, images, boxes, others)
    assert detector.names == ("red", "blue") == expected.names
    for ink in INKS:
        assert detector.predict(square(ink, 99)[0], 0.05)[0].name == ink


def region(kind, place, key=None, **more):
    """A result of an annotation of an image of 200 x 100."""
    size = {"original_width": 200, "original_height": 100, "image_rotation": 0}
    value = place | ({key: ["gear"]} if key else {})
    return size | {"id": "r", "type": kind, "from_name": "label", "value": value} | more


def export_of(*results, task=1):
    data = {"image": f"/data/upload/1/{task}.jpg"}
    return {"id": task, "data": data, "annotations": [{"id": task, "result": list(results)}]}


UPRIGHT = {"x": 10, "y": 40, "width": 30, "height": 40}


@pytest.mark.parametrize(
    "results",
    [
        [
            region(
                "rectanglelabels", {"x": 10, "y": 80, "width": 30, "height": -40}, "rectanglelabels"
            )
        ],
        [
            region(
                "rectanglelabels", {"x": 40, "y": 40, "width": -30, "height": 40}, "rectanglelabels"
            )
        ],
        [region("rectangle", UPRIGHT), region("labels", UPRIGHT, "labels")],
        [
            region(
                "ellipselabels", {"x": 25, "y": 60, "radiusX": 15, "radiusY": 20}, "ellipselabels"
            )
        ],
        [region("polygonlabels", {"points": [[10, 40], [40, 50], [20, 80]]}, "polygonlabels")],
        [
            region("rectanglelabels", UPRIGHT, "rectanglelabels"),
            {"id": "c", "type": "choices", "value": {}},
        ],
    ],
)
def test_regions_of_every_shape_give_the_box_around_them(results):
    (annotation,) = parse_export(json.dumps([export_of(*results)]).encode())
    assert annotation.boxes == (("gear", (20.0, 40.0, 80.0, 80.0)),)


def test_a_turned_image_is_left_out_with_a_warning(caplog):
    turned = region("rectanglelabels", UPRIGHT, "rectanglelabels", image_rotation=90)
    upright = region("rectanglelabels", UPRIGHT, "rectanglelabels")
    tasks = [export_of(turned), export_of(upright, task=2)]
    assert [a.task for a in parse_export(json.dumps(tasks).encode())] == [2]
    assert "task 0 is left out: the image was rotated by 90 degrees" in caplog.text
