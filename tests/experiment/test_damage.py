"""Damaged files of a run folder: every flipped bit of every kind of stored file is named."""

import json
import logging

import pytest
import torch
from helpers import tiny
from helpers.detectors import knowing

import fsdet
from fsdet.errors import InputError
from fsdet.evaluation.candidates import CandidateSet
from fsdet.experiment.feature_store import CandidateShards, load_bank, store
from fsdet.experiment.result_cache import cached, read_cached
from fsdet.training.checkpoint import load_state, save_state
from fsdet.types import Features

FLIPS = 100  # of each kind of file
KEY, ROWS = {"seed": 0}, [{"method": "maml", "AP": 12.5, "per_class": {"gear": 1.0}}]


def _checkpoint(path):
    part = torch.nn.Linear(20, 20)
    save_state(path, 3, {"model": part})
    return lambda: load_state(path, {"model": part})


def _bank(path):
    bank = tiny.bank()
    store(tiny.fabric(), path, lambda: bank)
    return lambda: load_bank(path, bank.classes, bank.levels)


def _candidates(path):
    features = Features(torch.randn(6, 4, 2, 2), torch.randn(6, 5))
    images, sizes = torch.tensor([0, 0, 1, 1, 1, 1]), torch.tensor([[64, 64], [64, 48]])
    candidates = CandidateSet(features, torch.rand(6, 4), images, sizes)
    store(tiny.fabric(), path, lambda: candidates)
    return lambda: list(CandidateShards((path,), (2,)))


def _detector(path):
    knowing(shots=1).save(path)
    return lambda: fsdet.load(path)


@pytest.mark.parametrize(
    ("name", "write", "named"),
    [
        ("base.state", _checkpoint, "is damaged.*; delete it, and the same command"),
        ("base.bank.safetensors", _bank, "is damaged: .*; delete it, and the same command"),
        ("test-0.safetensors", _candidates, "is damaged: .*; delete it, and the same command"),
        ("detector.safetensors", _detector, "is not a whole safetensors file: .*; copy or train"),
    ],
)
def test_every_flipped_bit_is_named(tmp_path, name, write, named):
    path = tmp_path / name
    read = write(path)
    read()
    whole = path.read_bytes()
    for damaged in flipped(whole):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=f"{name}' {named}"):
            read()


def test_a_damaged_result_is_named_and_computed_again(tmp_path, caplog):
    path = tmp_path / "rows.json"
    assert cached(path, KEY, lambda: ROWS) == ROWS == read_cached(path, KEY)
    assert read_cached(path, {"seed": 1}) is None
    whole = path.read_bytes()
    for damaged in flipped(whole):
        path.write_bytes(damaged)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert cached(path, KEY, lambda: ROWS) == ROWS
        assert "rows.json' is damaged" in caplog.text
        assert path.read_bytes() == whole


def test_a_result_without_a_checksum_is_computed_again(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"key": KEY, "result": ["old"]}))
    assert cached(path, KEY, lambda: ROWS) == ROWS


def test_equal_detectors_are_equal_files(tmp_path):
    detector = knowing(shots=1)
    files = {detector.save(tmp_path / f"{n}.safetensors").read_bytes() for n in range(5)}
    files.add(fsdet.load(tmp_path / "0.safetensors").save(tmp_path / "again").read_bytes())
    assert len(files) == 1


def flipped(whole):
    """Copies of a file with one bit flipped: in all parts of the file, and often in its first and last bytes."""
    generator = torch.Generator().manual_seed(0)
    for n in range(FLIPS):
        ends = [len(whole), min(len(whole), 300), len(whole)]
        place = int(torch.randint(ends[n % 3], (), generator=generator))
        place = len(whole) - 1 - place % 300 if n % 3 == 2 else place
        copy = bytearray(whole)
        copy[place] ^= 1 << int(torch.randint(8, (), generator=generator))
        yield bytes(copy)
