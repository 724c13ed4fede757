"""Malformed inputs of every kind: each ends in time, within memory, with a result or a one-line refusal.

A few inputs, always the same, run with all tests. `FSDET_FUZZ=2000 pytest tests/fuzz` draws 2000 new ones of each
kind; what fails becomes an `@example` or a test of its own.
"""

import io
import json
import pickle
import struct
import tarfile
import zipfile
from urllib.parse import quote

import numpy as np
import pytest
import torch
import yaml
from helpers import folders, tiny
from helpers.detectors import knowing, square
from helpers.fuzzing import JSON, damaged_bytes, damaged_tree, fuzzed, limits, survives
from helpers.service import LIMITS, encoded
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

import fsdet
from fsdet import checksum, safe_yaml
from fsdet import config as cfg
from fsdet.apps.serve.app import application
from fsdet.apps.serve.service import Service
from fsdet.apps.studio.exchange import read_labels
from fsdet.config import typed_yaml
from fsdet.data.check import check
from fsdet.data.download.unpack import unpack
from fsdet.data.images import image_size, read_image
from fsdet.data.open import open_data
from fsdet.data.shots.splits import find
from fsdet.errors import InputError
from fsdet.model.weights import _tensors
from fsdet.training.checkpoint import load_state, save_state

PHOTOGRAPH, BOX = square("red", 0)
SPLITS = {"first": {"novel": ["cat"], "base": ["dog", "ant"]}}
WORDS = [
    "train.steps",
    "detector.anchors",
    "head.args",
    "head.name",
    "data.root",
    "stages.0.batch",
    "seed",
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def write_anew(root, name, write):
    folder = root / name
    if not folder.exists():
        write(folder)
    return folder


def read_all(folder):
    survives(
        lambda: check(folder, "train"),
        lambda: open_data(folder, "train", skip_bad=True, cache=False),
    )


@fuzzed
@given(content=damaged_tree(folders.coco_content()))
def test_coco(root, content):
    folder = write_anew(root, "coco", folders.write_coco)
    (folder / "annotations" / "instances_train.json").write_text(json.dumps(content))
    read_all(folder)


@fuzzed
@given(content=damaged_bytes(json.dumps(folders.coco_content()).encode()))
def test_coco_bytes(root, content):
    folder = write_anew(root, "coco", folders.write_coco)
    (folder / "annotations" / "instances_train.json").write_bytes(content)
    read_all(folder)


@fuzzed
@given(
    xml=damaged_bytes(folders.voc_xml(*folders.SCENE["c"]).encode()),
    names=damaged_bytes(b"a\nb\nc\n"),
)
def test_voc(root, xml, names):
    folder = write_anew(root, "voc", folders.write_voc)
    (folder / "Annotations" / "c.xml").write_bytes(xml)
    (folder / "ImageSets" / "Main" / "train.txt").write_bytes(names)
    read_all(folder)


@fuzzed
@given(
    labels=damaged_bytes(folders.yolo_lines(*folders.SCENE["c"]).encode()),
    content=damaged_tree(
        {"path": ".", "train": "images/train", "names": ["ant", "cat", "dog"], "nc": 3}
    ),
)
def test_yolo(root, labels, content):
    folder = write_anew(root, "yolo", folders.write_yolo)
    (folder / "labels" / "train" / "c.txt").write_bytes(labels)
    (folder / "data.yaml").write_text(yaml.safe_dump(content), encoding="utf-8", errors="replace")
    read_all(folder)


@fuzzed
@given(content=damaged_tree(SPLITS), raw=damaged_bytes(yaml.safe_dump(SPLITS).encode()))
def test_splits(root, content, raw):
    file = root / "splits.yaml"
    for text in (yaml.safe_dump(content).encode("utf-8", "replace"), raw):
        file.write_bytes(text)
        survives(lambda: find(f"{file}:first", folders.CLASSES))


@fuzzed
@given(
    content=damaged_tree(safe_yaml.load(tiny.SETTINGS, typed_yaml._Loader)),
    raw=damaged_bytes(tiny.SETTINGS.encode()),
    key=st.sampled_from(WORDS) | st.text(max_size=10),
    value=JSON,
)
def test_configurations(root, content, raw, key, value):
    file = root / "config.yaml"
    for text in (yaml.safe_dump(content).encode("utf-8", "replace"), raw):
        file.write_bytes(text)
        survives(lambda: cfg.load(file))
    file.write_text(tiny.SETTINGS)
    survives(lambda: cfg.load(file, [f"{key}={json.dumps(value)}"]))


@fuzzed
@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM"]))
def test_images(root, data, kind):
    content = data.draw(damaged_bytes(encoded(PHOTOGRAPH[:20, :30], kind)))
    file = root / "image"
    file.write_bytes(content)
    survives(lambda: read_image(content), lambda: read_image(file), lambda: image_size(file))


@pytest.fixture(scope="module")
def detector_file(root):
    return knowing(shots=1).save(root / "sound.safetensors").read_bytes()


def with_header(content, change, tensors=None):
    """A detector file with another description, and with the right checksum of that."""
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    about = json.loads(header["__metadata__"]["fsdet"])
    about = {"checksum": checksum.BLANK} | change(
        {k: v for k, v in about.items() if k != "checksum"}
    )
    header["__metadata__"]["fsdet"] = json.dumps(about)
    text = json.dumps(header).encode()
    body = content[8 + length :] if tensors is None else tensors
    return struct.pack("<Q", len(text)) + text + body


@fuzzed
@given(data=st.data())
def test_detector_files(root, detector_file, data):
    length = struct.unpack("<Q", detector_file[:8])[0]
    about = json.loads(json.loads(detector_file[8 : 8 + length])["__metadata__"]["fsdet"])
    del about["checksum"]
    changed = data.draw(damaged_tree(about))
    file = root / "detector.safetensors"
    file.write_bytes(with_header(detector_file, lambda _: changed))
    checksum.seal(file)
    survives(lambda: fsdet.load(file).predict(PHOTOGRAPH, 0.0))
    file.write_bytes(data.draw(damaged_bytes(detector_file)))
    survives(lambda: fsdet.load(file).predict(PHOTOGRAPH, 0.0))


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about["head"]["args"].update(test_steps=10**12),
        lambda about: about["detector"].update(anchors=[[1.0] * 100_000] * 3),
        lambda about: about["detector"].update(min_size=10**6, max_size=10**6),
        lambda about: about["detector"].update(mean=[float("nan"), 0.0, 0.0]),
        lambda about: about["detector"].update(std=[1e-300, 1.0, 1.0]),
        lambda about: about["detector"].update(width=10**7, proposals=[10**9, 10**9]),
        lambda about: about.update(n_base=10**12),
        lambda about: about["head"]["args"].update(scale=1e300),
    ],
)
def test_numbers_of_a_detector_file_are_bounded(root, detector_file, change):
    def changed(about):
        change(about)
        return about

    file = root / "detector.safetensors"
    file.write_bytes(with_header(detector_file, changed))
    checksum.seal(file)
    with limits(), pytest.raises(InputError, match="expected"):
        fsdet.load(file)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_of_a_detector_file_are_finite(root, detector_file, value):
    length = struct.unpack("<Q", detector_file[:8])[0]
    body = bytearray(detector_file[8 + length :])
    body[:4] = np.float32(value).tobytes()
    file = root / "detector.safetensors"
    file.write_bytes(with_header(detector_file, lambda about: about, bytes(body)))
    checksum.seal(file)
    with pytest.raises(InputError, match=r"tensor '[\w.]+': expected finite numbers"):
        fsdet.load(file)


@fuzzed
@given(data=st.data())
def test_checkpoints_and_weights(root, data):
    part, file = torch.nn.Linear(3, 3), root / "x.state"
    save_state(file, 1, {"model": part})
    file.write_bytes(data.draw(damaged_bytes(file.read_bytes())))
    survives(lambda: load_state(file, {"model": part}))
    for name, content in {
        "w.pth": pickle.dumps(part.state_dict()),
        "w.safetensors": save(part.state_dict()),
    }.items():
        weights = root / name
        weights.write_bytes(data.draw(damaged_bytes(content)))
        survives(lambda weights=weights: _tensors(str(weights)))


NAMES = st.sampled_from(["a", "a/b", "images", "../x", "/x", "x" * 300, "annotations", "a\\b", "é"])


@fuzzed
@given(
    names=st.lists(NAMES, max_size=4), labels=damaged_tree(folders.coco_content()), data=st.data()
)
def test_archives(tmp_path_factory, names, labels, data):
    folder = tmp_path_factory.mktemp("archive")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("annotations/instances_train.json", json.dumps(labels))
        for name in names:
            archive.writestr(name, "x")
    rolled = io.BytesIO()
    with tarfile.open(fileobj=rolled, mode="w:gz") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    photograph = folder / "a.png"
    photograph.write_bytes(encoded(folders.picture((40, 60))))
    for content in (packed.getvalue(), rolled.getvalue()):
        for given_bytes in (content, data.draw(damaged_bytes(content))):
            (folder / "archive").write_bytes(given_bytes)
            survives(
                lambda: unpack(folder / "archive", folder / "to"),
                lambda given_bytes=given_bytes: read_labels(
                    given_bytes, "x.zip", {"a.png": photograph}
                ),
            )


@pytest.fixture(scope="module")
def client():
    testclient = pytest.importorskip("fastapi.testclient")
    service = Service(knowing(shots=1), LIMITS, threads=1)
    with testclient.TestClient(application(service), base_url="http://127.0.0.1") as client:
        yield client


ADDRESSES = (
    "/detect",
    "/categories/x",
    "/label-studio/predict",
    "/label-studio/webhook",
    "/health",
)


@fuzzed
@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT"]),
    address=st.sampled_from(ADDRESSES)
    | st.binary(max_size=20).map(lambda name: f"/categories/{quote(name)}"),
    query=st.dictionaries(st.sampled_from(["threshold", "x"]), st.text(max_size=8), max_size=2),
    body=damaged_bytes(encoded(PHOTOGRAPH[:20, :30])) | JSON.map(json.dumps).map(str.encode),
    kind=st.sampled_from(["image/png", "application/json", "multipart/form-data; boundary=b", "x"]),
)
def test_requests(client, method, address, query, body, kind):
    with limits():
        answer = client.request(
            method, address, params=query, content=body, headers={"Content-Type": kind}
        )
    assert answer.status_code < 500
    if answer.status_code >= 400:
        assert list(answer.json()) == ["error"] and "\n" not in answer.json()["error"]


@fuzzed
@given(image=st.one_of(JSON, st.binary(max_size=50)), boxes=JSON, name=JSON, threshold=JSON)
def test_api(image, boxes, name, threshold):
    detector = knowing(shots=1)
    survives(
        lambda: detector.predict(image, 0.5),
        lambda: detector.predict(PHOTOGRAPH, threshold),
        lambda: detector.predict_many(image),
        lambda: detector.register(name, [PHOTOGRAPH], [boxes]),
        lambda: detector.register("new", image, boxes),
        lambda: fsdet.load(name),
    )


def test_a_cut_pil_image_is_refused():
    content = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    with pytest.raises(InputError, match="a PIL image that cannot be decoded"):
        knowing(shots=1).predict(Image.open(io.BytesIO(content[:3000])))
