"""A number of threads that adapts to other work on the same cores."""

import time
from typing import Self

import torch

__all__ = ["SharedThreads"]

SCHEDSTAT = "/proc/thread-self/schedstat"  # Linux: nanoseconds that a thread ran, and that it waited for a core
INTERVAL = 0.5  # seconds between two measurements
MAX_WAIT = 0.1  # share of the time that the training thread may wait for a core
PATIENCE = 1.5  # seconds of waiting more than that until threads are given up
PAUSE = 30.0  # seconds until the threads come back, the first time


class SharedThreads:
    """Use as many threads as have a core, in a `with` block that calls `adjust` every step.

    The threads of one operation wait for each other at its end. If other work takes the core of one of them, all of
    them stand still, and two threads may be twenty times slower than one. So when the training thread waits for a core
    for a tenth of the time, for 1.5 seconds, half of the threads are given up. After 30 seconds they come back; each
    time that this was too early, the pause is doubled. At the end of the block the number of threads is restored. It
    never changes on systems that do not report waiting times (all but Linux), nor after
    `torch.use_deterministic_algorithms(True)`: with another number of threads sums are rounded differently.
    """

    def __enter__(self) -> Self:
        self._max = self._n = torch.get_num_threads()
        self._crowded_for, self._pause = 0.0, PAUSE
        self._measure()
        return self

    def __exit__(self, *_: object) -> None:
        self._set(self._max)

    def adjust(self) -> None:
        """Change the number of threads, if it is time to measure and there is reason to."""
        elapsed = time.monotonic() - self._measured_at
        if self._max == 1 or self._waited is None or elapsed < INTERVAL or torch.are_deterministic_algorithms_enabled():
            return
        before = self._waited
        self._measure()
        if ((self._waited or before) - before) / elapsed > MAX_WAIT:
            self._crowded_for += elapsed
            if self._crowded_for >= PATIENCE and self._n > 1:
                self._set(self._n // 2)
                self._return_at, self._crowded_for = self._measured_at + self._pause, 0.0
                self._pause *= 2
        else:
            self._crowded_for = 0.0
            if self._n < self._max and self._measured_at >= self._return_at:
                self._set(min(2 * self._n, self._max))

    def _measure(self) -> None:
        self._measured_at, self._waited = time.monotonic(), _seconds_waited()

    def _set(self, n: int) -> None:
        if n != self._n:
            torch.set_num_threads(n)
            self._n = n


def _seconds_waited() -> float | None:
    """How long this thread was ready to run and had no core, or None if the system does not report it."""
    try:
        with open(SCHEDSTAT) as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return None
