"""Conversion of detections and annotations from and to `supervision`."""

import json
import sys

import numpy as np
import pytest
import supervision as sv
from helpers.detectors import empty, knowing, square
from hypothesis import given
from hypothesis import strategies as st

from fsdet import Detection
from fsdet.data import open_data
from fsdet.data.shapes.dataset import write_shapes
from fsdet.errors import InputError
from fsdet.interop import from_supervision, shots, to_supervision

NAMES = ("gear", "bolt", "key")
floats = st.floats(0, 1000, width=32)
detections = st.builds(
    Detection, st.tuples(floats, floats, floats, floats), st.sampled_from(NAMES), floats
)


@given(st.lists(detections, max_size=5))
def test_detections_survive_the_conversion_to_supervision_and_back(found):
    there = to_supervision(found, NAMES)
    assert from_supervision(there) == found
    assert [NAMES[n] for n in there.class_id] == [one.name for one in found]
    assert list(there.data["class_name"]) == [one.name for one in found]


def test_supervision_filters_and_writes_converted_detections(tmp_path):
    detector = knowing()
    found = detector.predict(square("red", 3)[0], 0.05)
    there = to_supervision(found, detector.names)
    assert len(found) > 1 and len(there) == len(found)
    sure = there[there.confidence > 0.2]
    assert from_supervision(sure) == [one for one in found if one.score > 0.2]
    with sv.CSVSink(str(tmp_path / "found.csv")) as sink:
        sink.append(there)
    lines = (tmp_path / "found.csv").read_text().splitlines()
    assert len(lines) == 1 + len(found) and found[0].name in lines[1]


def test_incomplete_detections_are_refused():
    with pytest.raises(InputError, match="no category 'gera'; did you mean 'gear'"):
        to_supervision([Detection((0, 0, 1, 1), "gera", 0.5)], NAMES)
    plain = sv.Detections(np.array([[0, 0, 1, 1.0]]), confidence=np.array([0.5]))
    with pytest.raises(InputError, match=r'with data\["class_name"\], .*got no data'):
        from_supervision(plain)
    named = sv.Detections(plain.xyxy, data={"class_name": np.array(["gear"])})
    with pytest.raises(InputError, match="confidence, got none: are they annotations"):
        from_supervision(named)
    assert from_supervision(sv.Detections.empty()) == []


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder of shapes as they are written, and what supervision reads of its annotations."""
    root = tmp_path_factory.mktemp("shapes")
    write_shapes(root, train=12, test=1)
    places = (root / "images" / "train", root / "annotations" / "instances_train.json")
    return root, sv.DetectionDataset.from_coco(*map(str, places))


def test_supervision_reads_written_data_sets(written):
    root, dataset = written
    ours = open_data(root, "train")
    assert dataset.classes == list(ours.classes) and len(dataset) == len(ours) == 12
    for i, (path, image, annotation) in enumerate(dataset):
        rows = ours.rows(i)
        assert path == str((root / ours.paths[i]).resolve())
        np.testing.assert_allclose(annotation.xyxy, ours.boxes[rows], atol=1e-3)
        np.testing.assert_array_equal(annotation.class_id + 1, ours.labels[rows])
        np.testing.assert_array_equal(image[..., ::-1], ours.image(i))


def test_annotations_register_a_category_as_boxes_by_hand_do(written):
    root, dataset = written
    ours = open_data(root, "train")
    label = int(ours.labels[0])
    name = ours.classes[label - 1]
    given, by_hand = empty("prototype"), empty("prototype")
    images, boxes, others = shots(name, dataset.annotations.items())
    given.register(name, images, boxes, others)
    mine = [i for i in range(len(ours)) if label in ours.labels[ours.rows(i)]]
    parts = [(ours.boxes[ours.rows(i)], ours.labels[ours.rows(i)] == label) for i in mine]
    by_hand.register(
        name,
        [root / ours.paths[i] for i in mine],
        [all_of[own] for all_of, own in parts],
        [all_of[~own] for all_of, own in parts],
    )
    assert 1 <= len(mine) < 12 and any(map(len, others))
    one, other = given.support(), by_hand.support()
    assert one.labels.equal(other.labels)
    np.testing.assert_allclose(one.features.means, other.features.means, atol=2e-3)


def test_crowds_are_not_shots(tmp_path):
    rows = [
        {"id": n, "image_id": 1, "category_id": 1, "bbox": [n, n, 9, 9], "area": 81, "iscrowd": c}
        for n, c in ((1, 0), (2, 1))
    ]
    image = {"id": 1, "file_name": "a.png", "width": 50, "height": 50}
    content = {"images": [image], "annotations": rows, "categories": [{"id": 1, "name": "gear"}]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    dataset = sv.DetectionDataset.from_coco(str(tmp_path), str(tmp_path / "a.json"))
    images, boxes, others = shots("gear", dataset.annotations.items())
    assert images == [str((tmp_path / "a.png").resolve())]
    np.testing.assert_array_equal(boxes, [[[1, 1, 10, 10]]])
    np.testing.assert_array_equal(others, [[[2, 2, 11, 11]]])


def test_an_unknown_category_is_refused(written):
    _, dataset = written
    with pytest.raises(InputError, match="no box of category 'gaer'; did you mean 'gear'"):
        shots("gaer", dataset.annotations.items())
    plain = sv.Detections(np.array([[0, 0, 1, 1.0]]), class_id=np.array([0]))
    with pytest.raises(InputError, match="the category of each box, got no data"):
        shots("gear", [("a.png", plain)])


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    monkeypatch.delitem(sys.modules, "fsdet.interop")
    with pytest.raises(InputError, match=r'pip install -e "\.\[supervision\]"'):
        import fsdet.interop  # noqa: F401
