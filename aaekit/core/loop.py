"""The training loop. It knows minibatches, phases and turns, and nothing of autoencoders."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from aaekit.core.batch_norm import synchronise_batch_norm
from aaekit.core.batches import Minibatches
from aaekit.core.callbacks import Callback
from aaekit.core.device import find_device, has_fast_bfloat16, reproducible
from aaekit.core.distributed import all_reduce_mean, broadcast_from_rank_zero, from_rank_zero, rank_and_world_size
from aaekit.core.frozen import frozen
from aaekit.core.graphs import Batch, Kind, Notes, Steps
from aaekit.core.phase import Phase, Step
from aaekit.core.random import paused
from aaekit.core.schedule import Turn, turns
from aaekit.core.settings import Settings
from aaekit.core.state import MovingAverage, Sums, share_state
from aaekit.core.threads import SharedThreads

__all__ = ["Training"]

MAX_UNCHECKED = 20  # steps on a graphics card, which a look at losses would make wait


class Training:
    """One training in progress.

    Parameters
    ----------
    networks : nn.Module
        Its children are the networks that phases move.
    phases : sequence of Phase
        The variant.
    minibatches : mapping from str to Minibatches
        By source; the first one counts the epochs.
    make_step : callable
        From the batch of a step, tensors by source, to its `Step`.
    settings : Settings
        How to train.
    evaluate : callable, optional
        From the averaged networks to numbers for the history, called each epoch; "validation/score" stops early.

    Attributes
    ----------
    listed, phases, turns : lists of Phase and Turn
        All phases of the variant, those with a weight above 0, which are computed, and what happens in a step.
    averaged : nn.Module
        The networks to use: the moving average if there is one.
    history : list of dict
        A row of mean losses and other numbers for each epoch.
    n_done : int
        Steps so far.
    check_interval : int
        Steps after which it is checked whether losses are finite.
    """

    def __init__(
        self,
        networks: nn.Module,
        phases: Sequence[Phase[Any]],
        minibatches: Mapping[str, Minibatches],
        make_step: Callable[[Batch], Step],
        settings: Settings,
        evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    ) -> None:
        self.networks: nn.Module = networks
        self.minibatches: Mapping[str, Minibatches] = minibatches
        self.make_step: Callable[[Batch], Step] = make_step
        self.listed: list[Phase[Any]] = list(phases)
        self.phases: list[Phase[Any]] = [p for p in self.listed if p.weight]
        self.settings: Settings = settings
        self.evaluate: Callable[[nn.Module], dict[str, float]] | None = evaluate
        self.device: torch.device = find_device(settings.device)
        self.check_interval: int = 1 if self.device.type == "cpu" else MAX_UNCHECKED
        auto = settings.precision == "auto"
        self.bfloat16: bool = has_fast_bfloat16(self.device.type) if auto else settings.precision == "bfloat16"
        networks.to(self.device).train()
        synchronise_batch_norm(networks)
        for source in minibatches.values():
            source.to(self.device)
        self._average = MovingAverage(networks, settings.ema_decay)
        self.averaged: nn.Module = self._average.networks
        self.steps_per_epoch: int = next(iter(minibatches.values())).steps_per_epoch
        self.n_done: int = 0
        self.n_summed: int = 0
        self.n_waited: int = 0
        self.seconds: float = 0.0
        self.history: list[dict[str, float]] = []
        self.best: tuple[float, dict[str, Tensor]] | None = None
        self.sums: Sums = Sums()  # of losses and notes in the epoch so far
        self.turns: list[Turn] = turns(self.phases, networks, settings)
        self.steps: Steps = Steps(self.device)

    @reproducible()
    def run(self, callbacks: Sequence[Callback] = (), until: int | None = None) -> None:
        """Train to the end, or to an interruption (Ctrl-C), which is passed on after the callbacks' `stop`.

        With `until`, train until so many steps are done; another call continues from there.

        Raises
        ------
        TrainingError
            When a loss is no longer finite.
        """
        callbacks = callbacks if rank_and_world_size()[0] == 0 else ()
        self.networks.train()
        self.bfloat16 = self.steps.prefer_bfloat16(self)
        with paused():
            for callback in callbacks:
                callback.start(self)
            share_state(self)
        complete, last = False, self.settings.n_steps if until is None else until
        try:
            with SharedThreads() as threads:
                while self.n_done < last and not 0 < self.settings.patience <= self.n_waited:
                    start = time.perf_counter()
                    self.advance()
                    epoch_ends = self.n_done % self.steps_per_epoch == 0 or self.n_done == self.settings.n_steps
                    if epoch_ends or self.n_done % self.check_interval == 0:
                        self.sums.check(self.n_done, [p.name for p in self.phases])
                    row = self.close_epoch() if epoch_ends else None
                    self.seconds += time.perf_counter() - start
                    if row is not None:
                        row["seconds"] = self.seconds
                    with paused():
                        for callback in callbacks:
                            callback.step(self)
                            if row is not None:
                                callback.epoch(self, row)
                    threads.adjust()
            complete = True
        finally:
            with paused():
                for callback in callbacks:
                    callback.stop(self, complete)
        if self.best is not None and until is None:
            self.averaged.load_state_dict(self.best[1])
        self.averaged.eval()

    def step_at(self, n_done: int, repeat: int = 0) -> Step:
        """The step on the minibatches after so many steps."""
        return self.make_step(self._batch_at(n_done, repeat))

    def _batch_at(self, n_done: int, repeat: int) -> Batch:
        return {name: source.at(n_done, repeat) for name, source in self.minibatches.items()}

    def advance(self) -> None:
        """Make one step: each turn in its order, as often as it repeats."""
        self.sums.add(self.steps.make(self))
        self.n_done, self.n_summed = self.n_done + 1, self.n_summed + 1

    def upcoming(self) -> tuple[Kind, list[Batch], list[float]]:
        """The next step: its kind, its minibatches by repeat, and what else changes from step to step."""
        n, n_repeats = self.n_done, max(turn.repeats for turn in self.turns)
        batches = [self._batch_at(n, repeat) for repeat in range(n_repeats)]
        numbers = [self._average.share_at(n + 1), *(x for t in self.turns for x in t.numbers_at(n, self.settings))]
        return Kind(tuple(p.name for p in self.phases if not p.is_over(n)), self.bfloat16), batches, numbers

    def compute(self, kind: Kind, batches: Sequence[Batch], numbers: Sequence[Any]) -> Notes:
        """Make an `upcoming` step, whose numbers may be on the device, and return its losses and notes."""
        step, rest = self.make_step(batches[0]), iter(numbers[1:])
        for turn in self.turns:
            weights = turn.use(rest)
            for repeat in range(turn.repeats):
                self._update(turn, self.make_step(batches[repeat]) if repeat else step, repeat, kind, weights)
        self._average.update(numbers[0])
        return {name: value.to(self.device) for name, value in step.notes.items()}

    def _update(self, turn: Turn, step: Step, repeat: int, kind: Kind, weights: Mapping[str, Any]) -> None:
        """One forward and backward pass of a turn's phases, and one update."""
        phases = [p for p in turn.phases if p.repeats > repeat and p.name in kind.phases]
        for p in turn.phases:
            if p.name not in kind.phases:
                step.note(p.name, torch.zeros((), device=self.device))
        if not phases:
            return
        with frozen(*turn.fixed):
            with torch.autocast(self.device.type, torch.bfloat16, kind.bfloat16):
                losses = [p.loss(step) for p in phases]
            weighted = [weights[p.name] * x for p, x in zip(phases, losses, strict=True)]
            torch.as_tensor(sum(weighted)).backward()
        all_reduce_mean(p.grad for g in turn.optimizer.param_groups for p in g["params"] if p.grad is not None)
        turn.optimizer.step()
        turn.optimizer.zero_grad()
        if not phases[0].is_critic or self.settings.schedule == "alternating":
            step.forget()
        for p, loss in zip(phases, losses, strict=True):
            step.note(p.name, loss)

    @property
    def losses(self) -> dict[str, float]:
        """Means of the epoch so far, by name, or of the last one when none has begun. Reading waits for the device."""
        means = {name: total / self.n_summed for name, total in self.sums.read().items()}
        return means or (dict(self.history[-1]) if self.history else {})

    def close_epoch(self) -> dict[str, float]:
        """Add the row of the epoch so far to the history, with what `evaluate` gives."""
        row = {"epoch": math.ceil(self.n_done / self.steps_per_epoch), "step": self.n_done}
        row |= self.losses
        row["learning_rate"] = self.settings.factor_at(self.n_done - 1)
        self.sums, self.n_summed = Sums(), 0
        if self.evaluate is not None:
            self.averaged.eval()
            row |= from_rank_zero(partial(self.evaluate, self.averaged))
            broadcast_from_rank_zero(chain(self.networks.buffers(), self.averaged.buffers()))
            self.networks.train()
            if self.settings.patience:
                self._keep_best(row)
        self.history.append(row)
        return row

    def _keep_best(self, row: Mapping[str, float]) -> None:
        score = row["validation/score"]
        if self.best is None or score < self.best[0]:
            self.n_waited = 0
            self.best = score, {k: v.clone() for k, v in self.averaged.state_dict().items()}
        else:
            self.n_waited += 1
