"""Jobs in processes of their own, which none of them outlives its reason for."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import torch

from fsdet.errors import InputError
from fsdet.progress import progress


@contextmanager
def pool_of(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that share the threads; what stops this one stops them, whatever they have left to do."""
    threads = max(torch.get_num_threads() // processes, 1)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, _begin, (threads,))
    try:
        yield pool
    except BaseException as error:
        for worker in multiprocessing.active_children():
            worker.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise InputError(
                "a process died, perhaps for want of memory: processes=1 needs less; the same command goes on"
                " from the last finished cell"
            ) from error
        raise
    pool.shutdown()


def _begin(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that waits says what is to be done
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    """One that was killed stops nobody, and what is begun again shall not find its cells half made."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def as_they_come(jobs: dict[Any, Future], what: str) -> Iterator[tuple[Any, Any]]:
    """Results by the key of their job, as jobs end; a progress bar says `what` they are."""
    names: dict[Future, Any] = {job: key for key, job in jobs.items()}
    waiting: Iterable[Future] = progress(what)(as_completed(names), len(names))
    for job in waiting:
        yield names[job], job.result()
