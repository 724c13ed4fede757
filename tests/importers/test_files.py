"""Reading detector files of others: values come out right, nothing runs, and damage is one line."""

import io
import os
import pickle
import random
import resource
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fsdet.errors import InputError
from fsdet.importers.state import read_state

TENSORS = {
    "float": torch.randn(3, 4),
    "half": torch.randn(5).half(),
    "bfloat": torch.randn(5).bfloat16(),
    "whole": torch.arange(6).reshape(2, 3),
    "view": torch.randn(6, 6)[::2, 1:3],
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 4),
}


class Call:
    """Pickled, it makes an unpickler call a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class History:
    """A class of the project that wrote the file; ours has never heard of it."""


def arrays():
    return {name: value.float().numpy() for name, value in TENSORS.items()}


def as_bytes(value, **options):
    to = io.BytesIO()
    torch.save(value, to, **options)
    return to.getvalue()


def equal(tensors):
    assert tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert torch.equal(tensors[name].float(), value.float()), name


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("key", ["model", "state_dict", None])
def test_files_of_torch_save(tmp_path, zipped, key):
    content = {key: TENSORS, "iteration": 7} if key else TENSORS
    path = tmp_path / "file.pth"
    path.write_bytes(as_bytes(content, _use_new_zipfile_serialization=zipped))
    equal(read_state(path).tensors)


def test_state_dict_of_a_module_carries_metadata(tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    torch.save(module.state_dict(), tmp_path / "file.pth")
    tensors = read_state(tmp_path / "file.pth").tensors
    assert tensors.keys() == module.state_dict().keys()


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("order", ["C", "F"])
def test_pickles_of_numpy_arrays(tmp_path, protocol, order):
    content = {name: np.asarray(value, order=order) for name, value in arrays().items()}
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps({"model": content, "__author__": "x"}, protocol))
    equal(read_state(path).tensors)


def test_safetensors(tmp_path):
    save_file(
        {name: value.contiguous() for name, value in TENSORS.items()}, tmp_path / "f.safetensors"
    )
    equal(read_state(tmp_path / "f.safetensors").tensors)


def test_names_style_and_foreign_classes_of_mmdetection(tmp_path):
    meta = {"dataset_meta": {"classes": ("cat", "dog")}, "cfg": "backbone=dict(style='caffe')"}
    content = {"meta": meta, "state_dict": TENSORS, "message_hub": {"loss": [History()]}}
    torch.save(content, tmp_path / "file.pth")
    state = read_state(tmp_path / "file.pth")
    equal(state.tensors)
    assert (state.names, state.style) == (("cat", "dog"), "caffe")
    assert len(state.left_out) == 1 and state.left_out[0].endswith("History")


def hostile(marker):
    """Contents that run something in an unpickler that trusts them, and contents of false sizes."""
    touch = f"open({str(marker)!r}, 'w').close()"
    calls = [
        Call(os.system, f"touch {marker}"),
        Call(eval, touch),
        Call(exec, touch),
        Call(Call, os.system, f"touch {marker}"),
        [Call(os.system, f"touch {marker}")] * 3,
        {"deep": {"deeper": (Call(eval, touch),)}},
    ]
    for call in calls:
        for content in ({"model": TENSORS, "x": call}, {"model": call}, call):
            yield ".pth", as_bytes(content)
            yield ".pth", as_bytes(content, _use_new_zipfile_serialization=False)
            yield (
                ".pkl",
                pickle.dumps(content if content is call else {**content, "model": arrays()}),
            )
    protocol, reconstruct = b"\x80\x02", b"cnumpy.core.multiarray\n_reconstruct\n"
    huge = b"(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"
    yield (
        ".pkl",
        protocol + reconstruct + huge + b"cnumpy\ndtype\n(U\x02f4K\x00K\x01tR\x89U\x04abcdtb.",
    )
    yield ".pkl", protocol + b"cnumpy\nndarray\n((J\xff\xff\xff\x7fJ\xff\xff\xff\x7ftU\x02f8tR."
    yield ".pkl", b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"short."  # BINBYTES8
    yield ".pkl", b"\x80\x04X" + struct.pack("<I", (1 << 31) - 1) + b"short."
    yield ".pkl", b"\x80\x02" + b"(" * 100_000 + b"."
    yield ".pkl", b"\x80\x02]" + b"2a" * 50_000 + b"."
    yield ".pkl", pickle.dumps({"model": {"x": np.array([History()], dtype=object)}}, 2)
    yield ".pkl", b"\x80\x02cos\nsystem\n(U\x05touch" + b"o."
    yield ".pkl", b"\x80\x02(cos\nsystem\nU\x04true" + b"o."
    yield ".pkl", b"\x80\x02\x82\x01."  # EXT1
    yield ".pth", _expanded_tensor()
    yield ".pth", _zip_bomb()


def _expanded_tensor():
    """A tensor of 2**40 numbers that all are the same stored one."""
    return as_bytes({"model": {"x": torch.zeros(1).as_strided((1 << 20, 1 << 20), (0, 0))}})


def _zip_bomb():
    to = io.BytesIO()
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(300_000_000))
    return to.getvalue()


def broken():
    """Files cut at random places, and files with random bytes changed."""
    draw = random.Random(0)
    whole = [
        (".pth", as_bytes({"model": TENSORS})),
        (".pth", as_bytes(TENSORS, _use_new_zipfile_serialization=False)),
        (".pkl", pickle.dumps({"model": arrays()}, 2)),
        (".pkl", pickle.dumps({"model": arrays()}, 4)),
    ]
    for number in range(240):
        suffix, content = whole[number % len(whole)]
        if number % 2:
            yield suffix, content[: draw.randrange(len(content))]
        else:
            changed = bytearray(content)
            for _ in range(draw.randrange(1, 6)):
                changed[draw.randrange(len(changed))] = draw.randrange(256)
            yield suffix, bytes(changed)


def test_hostile_and_broken_files_run_nothing_and_fail_in_one_line(tmp_path):
    marker, number = tmp_path / "ran", 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for suffix, content in [*hostile(marker), *broken()]:
        path = tmp_path / f"file{suffix}"
        path.write_bytes(content)
        number += 1
        try:
            tensors = read_state(path).tensors
        except InputError as error:
            assert "\n" not in str(error)[:400] and str(path) in str(error)
        else:
            assert all(isinstance(value, torch.Tensor) for value in tensors.values())
        assert not marker.exists(), content[:80]
    assert number > 300
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 1_000_000  # KB


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"blobs": arrays()}, "Caffe2"),
        ({"model": {}}, "got none"),
        ([1, 2], "expected tensors by name, got list"),
        ({"model": {"x": np.array([np.nan])}}, "not finite"),
    ],
)
def test_files_without_tensors_say_what_came(tmp_path, content, said):
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(content, 2))
    with pytest.raises(InputError, match=said):
        read_state(path)
    with pytest.raises(InputError, match="no file"):
        read_state(tmp_path / "other.pth")
