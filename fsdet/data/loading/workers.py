"""Processes that load images: whatever becomes of one, the main process does not wait without end."""

import os
import signal
import time
from multiprocessing.reduction import ForkingPickler
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.multiprocessing.reductions import reduce_tensor
from torch.utils.data import DataLoader

from fsdet.errors import InputError, one_line

SHARED_MEMORY = "/dev/shm"


class Loader(DataLoader):
    """Names the mistake of a worker, or its death, in one line.

    Raises:
        InputError: that of a worker, which arrives as a traceback in several lines; or a worker was killed; or
            there is too little shared memory for the queues.
    """

    def __iter__(self) -> Any:
        _check_shared_memory(self.num_workers)
        try:
            yield from super().__iter__()
        except InputError as error:
            raise InputError(str(error).rpartition("InputError: ")[2].strip()) from None
        except (RuntimeError, ConnectionError, EOFError) as error:
            reason = str(error)
            if not isinstance(error, RuntimeError):  # the worker had sent half of a batch
                reason = _reported_death() or reason
            elif not reason.startswith("DataLoader worker (pid"):
                raise
            raise InputError(
                f"a process that loads images died ({one_line(reason, 120)}), perhaps out of memory or of shared"
                f" memory ({SHARED_MEMORY}; docker run --shm-size): data.workers=0 needs neither"
            ) from None


def _reported_death() -> str:
    """What PyTorch's signal handler raises, soon after a worker died."""
    try:
        time.sleep(1)
    except RuntimeError as error:
        return str(error)
    return ""


def prepare_worker(worker: int) -> None:
    """Called in each worker before its first image."""
    # The workers use all cores; threads in each of them would compete for these.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    ForkingPickler.register(Tensor, _reduce)
    # Ctrl-C reaches all processes of a terminal; the training stops first, and then its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _reduce(tensor: Tensor) -> tuple[Any, ...]:
    """How a worker sends a tensor: in shared memory, or as bytes where there is too little of it.

    PyTorch's own way fails in a thread of the worker, whose main process then waits without end.
    """
    try:
        tensor.share_memory_()
    except (RuntimeError, OSError):
        return torch.from_numpy, (tensor.numpy(),)
    return reduce_tensor(tensor)


def _check_shared_memory(workers: int) -> None:
    """Raise an InputError if there is too little for the semaphores of PyTorch's queues, a page each."""
    needed = 2**15 + 2**14 * workers
    try:
        status = os.statvfs(SHARED_MEMORY)
    except (OSError, AttributeError):  # another system
        return
    free = status.f_bavail * status.f_frsize
    if workers and free < needed:
        raise InputError(
            f"{SHARED_MEMORY}: expected {needed} bytes free for {workers} processes that load images, got {free};"
            " give more (docker run --shm-size), or data.workers=0"
        )
