"""One thread for all of torch's work: what people wait for comes before what is computed ahead."""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import PriorityQueue
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["AHEAD", "NOW", "Ahead", "Batched", "Worker"]

T = TypeVar("T")

NOW, AHEAD = 0, 1  # priorities of jobs
MAX_WAITING = 5000  # jobs; more are refused
CHUNK_SECONDS = 0.03  # of computing ahead, between two looks at what people wait for
MAX_CHUNK = 20_000  # items that are computed ahead in this time


class Worker:
    """A thread that runs jobs, the urgent ones first, in the order in which they were submitted."""

    def __init__(self) -> None:
        self._jobs: PriorityQueue[tuple[int, int, Callable[[], Any], Future[Any]]] = PriorityQueue(MAX_WAITING)
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._work, name="torch", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], T], priority: int = NOW) -> "Future[T]":
        """Run a job when its turn comes; its result or exception is that of the future."""
        future: Future[T] = Future()
        self._jobs.put((priority, next(self._numbers), job, future))
        return future

    def stop(self) -> None:
        """End the thread after the job that it works on; jobs that wait are forgotten."""
        self._jobs.put((NOW - 1, 0, _stop, Future()))
        self._thread.join()

    async def run(self, job: Callable[[], T]) -> T:
        """Run a job now, and wait for its result."""
        return await asyncio.wrap_future(self.submit(job))

    def _work(self) -> None:
        torch.set_num_threads(1)
        with torch.inference_mode():
            while True:
                _, _, job, future = self._jobs.get()
                if job is _stop:
                    return
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    result = job()
                except BaseException as error:  # passed to the caller, who waits for it
                    future.set_exception(error)
                else:
                    future.set_result(result)


def _stop() -> None:
    """The job that ends a worker."""


class Ahead:
    """Something that is computed for all items, a few at a time, while nobody waits for anything else."""

    def __init__(self, worker: Worker, order: NDArray[Any], compute: Callable[[NDArray[Any]], None]) -> None:
        self._worker, self._order, self._compute = worker, order, compute
        self._n_done, self._n_next = 0, 16
        self.problem: Exception | None = None

    def start(self) -> None:
        """Begin, or go on."""
        self._worker.submit(self._compute_next, AHEAD)

    def _compute_next(self) -> None:
        began = time.perf_counter()
        index = np.sort(self._order[self._n_done : self._n_done + self._n_next]).astype(np.int64)
        if not len(index):
            return
        try:
            self._compute(index)
        except Exception as error:
            self.problem = error
            raise
        self._n_done += len(index)
        seconds = time.perf_counter() - began
        self._n_next = int(np.clip(self._n_next * CHUNK_SECONDS / max(seconds, 1e-4), self._n_next / 2, MAX_CHUNK)) or 1
        self.start()


class Batched:
    """A function of rows, which is called once for all requests that wait.

    Parameters
    ----------
    worker : Worker
        Where it is called.
    function : callable
        From rows `(n, ...)` to as many rows.
    """

    def __init__(self, worker: Worker, function: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        self._worker, self._function = worker, function
        self._lock = threading.Lock()
        self._waiting: list[tuple[NDArray[Any], Future[NDArray[Any]]]] = []

    async def __call__(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The results of some rows."""
        future: Future[NDArray[Any]] = Future()
        with self._lock:
            self._waiting.append((rows, future))
            is_first = len(self._waiting) == 1
        if is_first:
            self._worker.submit(self._call)
        return await asyncio.wrap_future(future)

    def _call(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        waiting = [(rows, future) for rows, future in waiting if future.set_running_or_notify_cancel()]
        if not waiting:
            return
        try:
            results = self._function(np.concatenate([rows for rows, _ in waiting]))
        except Exception as error:  # passed to the callers, who wait for it
            for _, future in waiting:
                future.set_exception(error)
            return
        ends = np.cumsum([len(rows) for rows, _ in waiting])
        for (_, future), part in zip(waiting, np.split(results, ends[:-1]), strict=True):
            future.set_result(part)
