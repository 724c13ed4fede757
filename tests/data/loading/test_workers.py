"""Processes that load images: too little shared memory, deaths; the other tests of loaders are of streams."""

import os
import signal
from collections import namedtuple

import pytest
import torch
from torch.utils.data import Dataset

from fsdet.data.loading import workers
from fsdet.data.loading.stream import loader
from fsdet.errors import InputError


class Numbers(Dataset):
    """Eight images of 20 pixels a side, each of one number; `fail` is called in the worker for the fifth."""

    def __init__(self, fail=lambda: None):
        self.fail = fail

    def __len__(self):
        return 8

    def __getitem__(self, item):
        if item == 4:
            self.fail()
        return torch.full((3, 20, 20), item, dtype=torch.uint8), {"boxes": torch.rand(1, 4)}


def test_without_shared_memory_images_arrive_all_the_same(monkeypatch):
    def full(tensor):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)  # inherited by the worker
    images = [image for batch, _ in loader(Numbers(), 2, 1) for image in batch]
    assert [image.unique().tolist() for image in images] == [[n] for n in range(8)]
    assert not any(image.is_shared() for image in images)


def test_with_shared_memory_images_are_shared():
    images = [image for batch, _ in loader(Numbers(), 2, 1) for image in batch]
    assert len(images) == 8 and all(image.is_shared() for image in images)


def test_shared_memory_too_small_for_queues_is_named(monkeypatch):
    status = namedtuple("status", "f_bavail f_frsize")
    monkeypatch.setattr(workers.os, "statvfs", lambda path: status(2, 4096))
    said = "/dev/shm: expected 49152 bytes free for 1 processes .*--shm-size.*data.workers=0"
    with pytest.raises(InputError, match=said):
        next(iter(loader(Numbers(), 2, 1)))
    assert len(list(loader(Numbers(), 2, 0))) == 4


def test_death_of_a_worker_is_named():
    killed = Numbers(lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(InputError, match=r"a process that loads images died .*data\.workers=0"):
        list(loader(killed, 2, 1))
