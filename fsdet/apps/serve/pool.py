"""Threads for work that would hold up a server, with a queue that ends and answers that do not wait for ever."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeVar

import torch

from fsdet.apps.serve.limits import Refusal

T = TypeVar("T")


class Pool:
    """Some threads, which share the cores; with one of them, work is done in the order that it came.

    Args:
        threads: how many.
        waiting: pieces of work that may wait for them.
        seconds: how long `answer` waits.
    """

    def __init__(self, threads: int, waiting: int, seconds: float):
        cores = max(1, torch.get_num_threads() // threads)
        self._executor = ThreadPoolExecutor(
            threads, initializer=torch.set_num_threads, initargs=(cores,)
        )
        self._places = BoundedSemaphore(threads + waiting)
        self._seconds = seconds

    def submit(self, work: Callable[..., T], *args) -> "Future[T]":
        """Begin `work(*args)` as soon as a thread is free.

        Raises:
            Refusal: 503, the queue is full.
        """
        if not self._places.acquire(blocking=False):
            raise Refusal(503, "too much is waiting already; try again later")
        future = self._executor.submit(work, *args)
        future.add_done_callback(lambda _: self._places.release())
        return future

    async def answer(self, work: Callable[..., T], *args) -> T:
        """What `work(*args)` returns or raises.

        Raises:
            Refusal: 503, the queue is full or it took too long; what has not begun then is not done.
        """
        future = asyncio.wrap_future(self.submit(work, *args))
        try:
            return await asyncio.wait_for(future, self._seconds)
        except asyncio.TimeoutError:
            raise Refusal(503, f"no answer within {self._seconds:g} s; try again later") from None
