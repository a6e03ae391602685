"""Random numbers of one's own: torch has one generator for all threads of a process, which here take turns with it."""

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor

__all__ = ["RandomStream", "paused", "seed_of", "state", "use_state"]


class _Turns:
    """A lock that goes round in the order of arrival; the thread that has it may take it again."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[int] = deque()  # of threads; the first one has it
        self._depth = 0

    def take(self) -> None:
        """Wait for one's turn."""
        me = threading.get_ident()
        with self._changed:
            if not self._depth or self._queue[0] != me:
                self._queue.append(me)
                try:
                    self._changed.wait_for(lambda: self._queue[0] == me)
                except BaseException:  # Ctrl-C
                    self._queue.remove(me)
                    self._changed.notify_all()
                    raise
            self._depth += 1

    def give(self) -> None:
        """End one's turn, if it was taken once."""
        with self._changed:
            self._depth -= 1
            if not self._depth:
                self._queue.popleft()
                self._changed.notify_all()


_turns = _Turns()
_of_thread = threading.local()


def _forget_turns() -> None:
    """In a forked process no other thread goes on that had the lock."""
    global _turns
    _turns = _Turns()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_turns)


class RandomStream:
    """While the block lasts, torch's global generators are in a state of its own; other threads' streams wait.

    Afterwards they go on from where they were before. What is drawn depends on the seed alone, whatever other threads
    draw from streams of their own.

    Parameters
    ----------
    seed : int, optional
        Default: a new one.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seed: int | None = seed
        self.state: dict[str, Tensor] = {}
        self._outside: dict[str, Tensor] = {}
        self._turns = _turns

    def __enter__(self) -> Self:
        self.resume()
        if not self.state:
            torch.manual_seed(new_seed() if self._seed is None else self._seed)
        _stack().append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _stack().remove(self)
        self.pause()

    def resume(self) -> None:
        """Take one's turn."""
        self._turns = _turns
        self._turns.take()
        self._outside = _torch_state()
        _set_torch_state(self.state)

    def pause(self) -> None:
        """Let others have their turn."""
        self.state = _torch_state()
        _set_torch_state(self._outside)
        self._turns.give()


@contextmanager
def paused() -> Iterator[None]:
    """Within a stream: let other threads draw from theirs while the block lasts, and draw from torch's own here."""
    stream, before = (_stack() or [None])[-1], getattr(_of_thread, "paused", None)
    if stream is None or stream is before:
        yield
        return
    stream.pause()
    _of_thread.paused = stream
    try:
        yield
    finally:
        _of_thread.paused = before
        stream.resume()


def state() -> dict[str, Tensor]:
    """The state that this thread's stream goes on from, or torch's own outside of a stream."""
    stream = getattr(_of_thread, "paused", None)
    return _torch_state() if stream is None else dict(stream.state)


def use_state(state: dict[str, Tensor]) -> None:
    """Go on from a state that `state` returned."""
    stream = getattr(_of_thread, "paused", None)
    if stream is None:
        _set_torch_state(state)
    else:
        stream.state = stream.state | state


def new_seed() -> int:
    """A seed from the operating system."""
    return int(np.random.SeedSequence().generate_state(1)[0] >> 1)


def seed_of(random_state: "int | np.random.RandomState | None") -> int:
    """A seed below 2**31 - 1: a new one for None, else by scikit-learn's rules; NumPy's global state stays as it is."""
    return (
        new_seed() % (2**31 - 1) if random_state is None else int(check_random_state(random_state).randint(2**31 - 1))
    )


def _stack() -> list[RandomStream]:
    if not hasattr(_of_thread, "stack"):
        _of_thread.stack = []
    return _of_thread.stack


def _torch_state() -> dict[str, Tensor]:
    """By device: the processor, and the present graphics card where it is used."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_torch_state(states: dict[str, Tensor]) -> None:
    if "cpu" in states:
        torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
