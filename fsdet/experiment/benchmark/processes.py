"""Process pool: jobs in processes that end with the one that started them."""

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
def process_pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes that share the threads; an exception in the block terminates its processes.

    Raises:
        InputError: a process died.
    """
    threads = max(torch.get_num_threads() // processes, 1)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, _initialise, (threads,))
    try:
        yield pool
    except BaseException as error:
        for worker in multiprocessing.active_children():
            worker.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise InputError(
                "a process died, perhaps out of memory: processes=1 needs less; the same command resumes"
                " after the last finished cell"
            ) from error
        raise
    pool.shutdown()


def _initialise(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    torch.set_num_threads(threads)


def _exit_with_parent() -> None:
    """Exit when the parent was killed: a resumed benchmark must not meet processes that write its cells."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def results_as_completed(jobs: dict[Any, Future], label: str) -> Iterator[tuple[Any, Any]]:
    """(key, result) of every job as it ends, with a progress bar."""
    keys: dict[Future, Any] = {job: key for key, job in jobs.items()}
    completed: Iterable[Future] = progress(label)(as_completed(keys), len(keys))
    for job in completed:
        yield keys[job], job.result()
