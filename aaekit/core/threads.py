"""Threads that make room for other work on the same cores."""

import time
from typing import Self

import torch

WAITING = "/proc/thread-self/schedstat"  # Linux: nanoseconds that a thread ran, and that it waited for a core
LOOK, CROWDED, LASTING, PAUSE = 0.5, 0.1, 1.5, 30.0  # seconds, but the second is a share


class SharedCores:
    """As many threads as have a core, in a `with` block that calls `look` every step.

    Threads of one operation wait for each other at its end. If one of them gets no core, for other work has it, all
    stand still, and two threads may be twenty times slower than one. So when the thread that trains had to wait for a
    core for a tenth of the time, for a second and a half, half of the threads go. After half a minute they come back,
    and each time that this was too early, twice as late. Where the system does not tell (it is Linux that does), and
    at the end of the block, there are as many threads as before.
    """

    def __enter__(self) -> Self:
        self._most = self._n = torch.get_num_threads()
        self._crowded, self._pause = 0.0, PAUSE
        self._mark()
        return self

    def __exit__(self, *_: object) -> None:
        self._set(self._most)

    def look(self) -> None:
        """Change the number of threads, if it is time to look and there is reason to."""
        passed = time.monotonic() - self._since
        if self._most == 1 or self._waited is None or passed < LOOK:
            return
        before = self._waited
        self._mark()
        if ((self._waited or before) - before) / passed > CROWDED:
            self._crowded += passed
            if self._crowded >= LASTING and self._n > 1:
                self._set(self._n // 2)
                self._again, self._crowded, self._pause = self._since + self._pause, 0.0, 2 * self._pause
        else:
            self._crowded = 0.0
            if self._n < self._most and self._since >= self._again:
                self._set(min(2 * self._n, self._most))

    def _mark(self) -> None:
        self._since, self._waited = time.monotonic(), _seconds_waited()

    def _set(self, n: int) -> None:
        if n != self._n:
            torch.set_num_threads(n)
            self._n = n


def _seconds_waited() -> float | None:
    """How long this thread was ready to run and had no core, or None if the system does not tell."""
    try:
        with open(WAITING) as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return None
