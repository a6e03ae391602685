"""Steps as graphs of a graphics card: launching hundreds of small kernels takes longer than computing them."""

import gc
import random as python_random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from aaekit.core import random
from aaekit.core.batches import use_own_noise
from aaekit.core.distributed import all_reduce_mean, rank_and_world_size
from aaekit.core.state import moving_tensors
from aaekit.errors import SpeedWarning

if TYPE_CHECKING:
    from aaekit.core.loop import Training

__all__ = ["Batch", "CudaGraph", "Kind", "Notes", "Steps"]

Batch = Mapping[str, Sequence[Tensor]]
Notes = dict[str, Tensor]

MIN_TIMED = 200  # steps of a training from which on its precision is chosen by timing
N_TIMED = 20  # steps that are timed in each precision
MARGIN = 1.1  # how many times as fast bfloat16 must be
TOLERANCE = 0.02  # relative difference of the losses of a recorded step from those of the step as it is written
_faster: dict[str, bool] = {}  # whether bfloat16 is, by what was timed, so that equal trainings have equal arithmetic
_abandoned: list[Any] = []  # recordings that failed: torch's allocator may still refer to them


class Kind(NamedTuple):
    """What a recorded step cannot change: the phases that are not over, and whether products are in bfloat16."""

    phases: tuple[str, ...]
    bfloat16: bool


class CudaGraph:
    """A recording by torch's CUDA graphs."""

    def __init__(self) -> None:
        self._graph, self._stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()

    def try_out(self, function: Callable[[], Notes]) -> tuple[Notes, str]:
        """Run the function, and say what keeps it from being recorded, if anything does."""
        random_states, sync_debug_mode = _random_states(), torch.cuda.get_sync_debug_mode()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                notes = function()
            finally:
                torch.cuda.set_sync_debug_mode(sync_debug_mode)
        torch.cuda.current_stream().wait_stream(self._stream)
        if waits := [w for w in caught if "called a synchronizing CUDA operation" in str(w.message)]:
            return notes, f"one that waits in {waits[0].filename}, line {waits[0].lineno}"
        return notes, "" if _random_states() == random_states else "one that draws random numbers on the processor"

    def record(self, function: Callable[[], Notes]) -> Notes:
        """Record the function; a RuntimeError if that is impossible."""
        torch.cuda.synchronize()
        gc.collect()  # nothing on the device may be released meanwhile
        with torch.cuda.stream(self._stream):
            self._graph.capture_begin(capture_error_mode="thread_local")
            try:
                notes = function()
                self._graph.capture_end()
            except BaseException:
                self._abandon()
                raise
        return notes

    def _abandon(self) -> None:
        """Let allocator and generator of the device leave a recording that failed, which torch does not do."""
        _abandoned.append(self._graph)
        device = torch.cuda.current_device()
        with suppress(RuntimeError):
            self._graph.capture_end()
        with suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(device, self._graph.pool())
        generator: Any = torch.cuda.default_generators[device]
        generator.graphsafe_set_state(torch.Generator(f"cuda:{device}"))

    def replay(self) -> None:
        """Run the recorded function."""
        self._graph.replay()


class Steps:
    """Makes the steps of a training: replays of a recorded one on a graphics card, elsewhere as they are written.

    Minibatches and numbers (learning rates, weights that fall, the share of the moving average) are copied into tensors
    from which the recorded step reads them. A step is recorded when it is the first of its `Kind`. Before, it is made
    twice, for much is prepared at the first time; then all that it changed is put back, random states, too.

    Where a step cannot be recorded, because it waits for the device or draws random numbers on the processor, or gives
    other losses when it is replayed, steps are made as they are written, and a SpeedWarning says so once. Nor is a step
    recorded while networks have hooks, which a replay would not call.

    Attributes
    ----------
    recording : callable or None
        Makes an empty recording; None if steps are not recorded.
    """

    def __init__(self, device: torch.device) -> None:
        is_possible = device.type == "cuda" and rank_and_world_size()[1] == 1
        self.recording: Callable[[], CudaGraph] | None = CudaGraph if is_possible else None
        self.forget()

    def forget(self) -> None:
        """Record the next step anew, for other tensors are to be changed."""
        self._kind: Kind | None = None
        self._graph: CudaGraph | None = None
        self._notes: Notes = {}
        self._batches: list[Batch] = []
        self._numbers: Tensor = torch.empty(0)

    def make(self, training: "Training") -> Notes:
        """Make the next step of a training, and return its losses and notes, means over all processes."""
        use_own_noise(training.settings.random_state, training.n_done)
        notes = self._make(training, *training.upcoming())
        all_reduce_mean(notes[name] for name in sorted(notes))
        return notes

    def prefer_bfloat16(self, training: "Training") -> bool:
        """Whether products should be in bfloat16: for "auto" by timing some steps in both precisions, without a trace.

        They are timed before the first step on a graphics card, once in a process for equal trainings.
        """
        settings, is_new = training.settings, training.n_done == 0 and training.settings.n_steps >= MIN_TIMED
        is_free = settings.precision == "auto" and not torch.are_deterministic_algorithms_enabled()
        if self.recording is None or not (is_new and is_free):
            return training.bfloat16
        kind, batches, numbers = training.upcoming()
        shapes = [a.shape for batch in batches for arrays in batch.values() for a in arrays]
        key = str((kind.phases, shapes, [(k, v.shape) for k, v in moving_tensors(training).items()]))
        if key not in _faster:
            seconds: list[float] = []
            with _untouched(training):
                for bfloat16 in (False, True):
                    for _ in range(2):  # the second time counts
                        start = time.perf_counter()
                        for _ in range(N_TIMED):
                            self._make(training, kind._replace(bfloat16=bfloat16), batches, numbers)
                        torch.cuda.synchronize()
                    seconds.append(time.perf_counter() - start)
            _faster[key] = seconds[0] > MARGIN * seconds[1]
        return _faster[key]

    def _make(self, training: "Training", kind: Kind, batches: list[Batch], numbers: list[float]) -> Notes:
        if self.recording is None or _has_hooks(training.networks):
            return training.compute(kind, batches, numbers)
        is_new = kind != self._kind
        self._fill(batches, numbers)
        expected = self._record(training, kind) if is_new else {}
        if self._graph is None:
            return training.compute(kind, batches, numbers)
        self._graph.replay()
        notes = dict(self._notes)
        if is_new and not _are_close(expected, notes):
            self._give_up("one that differs when it is repeated")
        return notes

    def _fill(self, batches: list[Batch], numbers: list[float]) -> None:
        """Copy minibatches and numbers to where the recorded step reads them."""
        if not self._batches:
            self._batches = [{name: [a.clone() for a in arrays] for name, arrays in b.items()} for b in batches]
            self._numbers = torch.empty(len(numbers), device=next(iter(batches[0].values()))[0].device)
        for to, batch in zip(self._batches, batches, strict=True):
            for name, arrays in batch.items():
                for a, b in zip(to[name], arrays, strict=True):
                    a.copy_(b)
        self._numbers.copy_(torch.tensor(numbers), non_blocking=True)

    def _record(self, training: "Training", kind: Kind) -> Notes:
        """Record a step, or say why that is impossible; return what it noted when it was made as it is written."""
        assert self.recording is not None
        self._kind, graph = kind, self.recording()

        def step() -> Notes:
            return training.compute(kind, self._batches, list(self._numbers.unbind()))

        with _untouched(training):
            expected = {name: value.clone() for name, value in graph.try_out(step)[0].items()}
            _, problem = graph.try_out(step)
            try:
                if not problem:
                    self._notes = graph.record(step)
                    self._graph = graph
            except RuntimeError as error:
                problem = f"one that cannot ({str(error).splitlines()[0]})"
        if problem:
            self._give_up(problem)
        return expected

    def _give_up(self, problem: str) -> None:
        self.forget()
        self.recording = None
        warnings.warn(
            f"expected a step that a graphics card can make without the processor, got {problem}: training goes on, "
            "but more slowly",
            SpeedWarning,
            stacklevel=6,
        )


@contextmanager
def _untouched(training: "Training") -> Iterator[None]:
    """Put back all that steps change in the block."""
    before, random_state = {k: v.clone() for k, v in moving_tensors(training).items()}, random.state()
    try:
        yield
    finally:
        for name, tensor in moving_tensors(training).items():
            if name in before:
                tensor.copy_(before[name])
            else:  # moments, which begin at 0
                tensor.zero_()
        random.use_state(random_state)


def _random_states() -> list[str]:
    """The states of the processor's generators, to be compared."""
    return [str(torch.get_rng_state().tolist()), str(np.random.get_state()), str(python_random.getstate())]


def _has_hooks(networks: nn.Module) -> bool:
    return any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in networks.modules())


def _are_close(a: Notes, b: Notes) -> bool:
    """Whether two steps noted the same, but for rounding; what is not finite is for the training to report."""
    x, y = (torch.stack([n[k].float().reshape(()) for k in sorted(n)]) for n in (a, b))
    return not bool(((x - y).abs() > TOLERANCE * (1 + x.abs())).any())
