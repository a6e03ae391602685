"""Inputs made of good ones by a seeded mutator, and what reading them must come to."""

import copy
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aaekit.errors import InputError

SECONDS = 5.0  # of the processor that one input may take
MEMORY = 500 * 2**20  # bytes that one input may allocate
N_INPUTS = int(os.environ.get("AAE_HOSTILE_INPUTS", "100"))  # of each category
TOKENS = b'\0 \xff\xff\xff\xff \x7f\xff\xff\xff -1 1e999 NaN null [] {} " , : 9999 99999999 ../ =1+1'.split(b" ")


def mutated(data: bytes, seed: int) -> bytes:
    """Good bytes with one to four accidents: bits flipped, parts cut out, repeated, swapped or put in."""
    rng, changed = random.Random(seed), bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        n = len(changed)
        i = rng.randrange(n + 1)
        j = min(n, i + rng.choice((1, 1, 4, 16, 256)))
        kind = rng.randrange(7)
        if kind == 0 and i < n:
            changed[i] ^= 1 << rng.randrange(8)
        elif kind == 1 and i < n:
            changed[i] = rng.randrange(256)
        elif kind == 2:
            del changed[i:j]
        elif kind == 3:
            changed[i:i] = changed[i:j] * rng.choice((1, 2, 50))
        elif kind == 4:
            changed[i:j] = rng.choice(TOKENS)
        elif kind == 5:
            changed[i:i] = rng.randbytes(j - i)
        else:
            del changed[i:]
    return bytes(changed)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to everything in a value of JSON, but what is in long lists."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*at, key))


def replaced(header: Any, at: Sequence[Any], value: object) -> Any:
    """A copy of a value of JSON with another one in one place."""
    header = copy.deepcopy(header)
    if not at:
        return value
    inner = header
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    return header


def ends_well(read: Callable[[], object], seconds: float = SECONDS, memory: int = MEMORY) -> bool:
    """Whether reading succeeds, rather than with an InputError of a line for each problem; the test fails otherwise."""
    try:
        with limits(seconds, memory):
            read()
    except InputError as error:
        lines = str(error).split("\n")  # several parameters may be wrong
        assert all(line.strip() and len(line) < 2000 for line in lines), (
            f"{[len(n) for n in lines]}: {lines[0][:200]!r}"
        )
        return False
    return True


@contextmanager
def limits(seconds: float, memory: int) -> Iterator[None]:
    """Raise TimeoutError after so many seconds, and whatever a full memory raises after so many bytes more.

    Seconds are those of the processor, so that a busy machine does not matter.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        yield
        return
    import resource

    def late(*_: object) -> None:
        raise TimeoutError(f"expected an answer within {seconds} s, got none")

    before, old = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGPROF, late)
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    signal.setitimer(signal.ITIMER_PROF, seconds)
    resource.setrlimit(resource.RLIMIT_AS, (now + memory, before[1]))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGPROF, old)
