"""Pool of threads with a bounded queue and a time limit, for work that would block the server."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeVar

import torch

from fsdet.apps.serve.limits import Refusal

T = TypeVar("T")


class Pool:
    """Threads that share the cores; a single thread works in the order of the calls.

    Args:
        threads: number of threads.
        waiting: number of calls that may wait for a thread.
        seconds: time limit of `answer`.
    """

    def __init__(self, threads: int, waiting: int, seconds: float):
        cores = max(1, torch.get_num_threads() // threads)
        self._executor = ThreadPoolExecutor(
            threads, initializer=torch.set_num_threads, initargs=(cores,)
        )
        self._slots = BoundedSemaphore(threads + waiting)
        self._unfinished: set[Future] = set()
        self._most, self._seconds = threads + waiting, seconds

    @property
    def calls(self) -> int:
        """Number of calls that run or wait."""
        return len(self._unfinished)

    @property
    def is_full(self) -> bool:
        """Whether `submit` refuses now."""
        return self.calls >= self._most

    def submit(self, work: Callable[..., T], *args) -> "Future[T]":
        """Start `work(*args)` as soon as a thread is free.

        Raises:
            Refusal: 503, the queue is full.
        """
        if not self._slots.acquire(blocking=False):
            raise Refusal(503, "too much is waiting already; try again later")
        future = self._executor.submit(work, *args)
        self._unfinished.add(future)
        future.add_done_callback(self._end)
        return future

    def _end(self, future: Future) -> None:
        self._unfinished.discard(future)
        self._slots.release()

    async def answer(self, work: Callable[..., T], *args) -> T:
        """The result of `work(*args)`; its exceptions are raised here.

        Raises:
            Refusal: 503, the queue is full or the time is over; work that has not started is cancelled.
        """
        future = asyncio.wrap_future(self.submit(work, *args))
        try:
            return await asyncio.wait_for(future, self._seconds)
        except asyncio.TimeoutError:
            raise Refusal(503, f"no answer within {self._seconds:g} s; try again later") from None
