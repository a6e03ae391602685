"""The training loop. It knows minibatches and phases, and nothing of autoencoders."""

import copy
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from aaekit.core.optim import Adam
from aaekit.core.phase import Phase, Step
from aaekit.core.threads import SharedCores
from aaekit.errors import InputError, TrainingError
from aaekit.nn.context import frozen

Schedule = Literal["joint", "alternating"]
LearningRateSchedule = Literal["constant", "cosine", "step"]
Optimizer = Literal["adam", "sgd"]
Precision = Literal["auto", "float32", "bfloat16"]
Updates = Adam | torch.optim.SGD


@dataclass(frozen=True)
class Settings:
    """How to train, whatever is trained."""

    n_steps: int
    schedule: Schedule = "joint"
    optimizer: Optimizer = "adam"
    learning_rate_schedule: LearningRateSchedule = "constant"
    warmup_steps: int = 0
    milestones: tuple[int, ...] = ()  # in steps
    ema_decay: float = 0.0  # decay of the moving average of the weights; 0 turns it off
    patience: int = 0  # epochs without a better score before stopping; 0 never stops early
    precision: Precision = "auto"
    device: str = "auto"
    random_state: int = 0

    def rate_at(self, step: int, steady: bool = False) -> float:
        """What the rates are multiplied by at a step; those that stay `steady` are warmed up only."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        if steady:
            return warm
        if self.learning_rate_schedule == "cosine":
            return warm * 0.5 * (1 + math.cos(math.pi * step / self.n_steps))
        if self.learning_rate_schedule == "step":
            return warm * 0.1 ** sum(step >= m for m in self.milestones)
        return warm


# --- several processes that train together, if torch.distributed was set up -----------------------------------------
def rank_and_world_size() -> tuple[int, int]:
    """The rank of this process, and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


@torch.no_grad()
def broadcast_from_rank_zero(tensors: Iterable[Tensor]) -> None:
    """Give tensors the values that they have in the first process."""
    if rank_and_world_size()[1] > 1:
        for t in tensors:
            dist.broadcast(t, 0)


@torch.no_grad()
def all_reduce_mean(tensors: Iterable[Tensor]) -> None:
    """Give tensors their mean over the processes, in one message."""
    n = rank_and_world_size()[1]
    if n > 1 and (every := list(tensors)):
        flat = torch.cat([t.reshape(-1) for t in every])
        dist.all_reduce(flat)
        parts = (flat / n).split([t.numel() for t in every])
        torch._foreach_copy_(every, [part.view_as(t) for part, t in zip(parts, every, strict=True)])


def derived_seed(*words: int) -> int:
    """A seed of its own for each tuple of whole numbers, the same on every machine."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)


class Rows:
    """Endless shuffled minibatches of aligned arrays; the batch at a step depends on the seed and the step alone.

    Of several processes each takes its share of every minibatch.
    """

    def __init__(self, arrays: Sequence[Tensor], batch_size: int, random_state: int) -> None:
        if batch_size < rank_and_world_size()[1]:
            raise InputError(
                f"expected a minibatch of at least one row for each process, {rank_and_world_size()[1]}, got {batch_size}"
            )
        self.arrays, self.batch_size, self.random_state = list(arrays), batch_size, random_state
        self.steps_per_epoch = len(arrays[0]) // batch_size  # what is left over comes in another epoch's order
        self._epoch, self._order = -1, torch.empty(0)

    def at(self, step: int) -> list[Tensor]:
        """The rows of each array at a step."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derived_seed(self.random_state, epoch))
            self._epoch, self._order = epoch, torch.randperm(len(self.arrays[0]), generator=generator)
        rank, n = rank_and_world_size()
        chosen = self._order[position * self.batch_size + rank : (position + 1) * self.batch_size : n]
        return [a.index_select(0, chosen.to(a.device)) for a in self.arrays]


class Callback:
    """What can be told of a training: a progress bar, a run directory. Each method does nothing by itself."""

    def prepare(self, what: str) -> None:
        """Before something that takes long and has no steps, such as "finding neighbours"."""

    def restores(self) -> bool:
        """Whether `start` will put the training back to a state, so that how it begins does not matter."""
        return False

    def start(self, training: "Training") -> None:
        """Before the first step (of this process)."""

    def step(self, training: "Training") -> None:
        """After each step."""

    def epoch(self, training: "Training", row: Mapping[str, float]) -> None:
        """After each epoch, with its line of the history."""

    def stop(self, training: "Training", complete: bool) -> None:
        """At the end, or when it is interrupted."""


class Training:
    """One training in progress.

    `rows` are the minibatches by name; `make_step(batch, together)` turns those of one step into a `Step`. After
    `run`, `averaged` holds the networks to use: the moving average if there is one, in evaluation mode.
    """

    def __init__(
        self,
        networks: nn.ModuleDict,
        phases: Sequence[Phase],
        rows: Mapping[str, Rows],
        make_step: Callable[[dict[str, list[Tensor]], bool], Step],
        settings: Settings,
        evaluate: Callable[[nn.ModuleDict], dict[str, float]] | None = None,
    ) -> None:
        self.networks, self.phases, self.rows, self.make_step = networks, list(phases), rows, make_step
        self.settings, self.evaluate = settings, evaluate
        self.device, self.bfloat16 = _device(settings.device), settings.precision == "bfloat16"
        if settings.precision == "auto":
            self.bfloat16 = has_fast_bfloat16(self.device.type)
        networks.to(self.device).train()
        broadcast_from_rank_zero(networks.state_dict().values())
        for source in rows.values():
            source.arrays = [a.to(self.device) for a in source.arrays]
        self.averaged = copy.deepcopy(networks).eval() if settings.ema_decay else networks
        self.steps_per_epoch = next(iter(rows.values())).steps_per_epoch
        self.n_done, self.seconds = 0, 0.0
        self.history: list[dict[str, float]] = []
        self.best: tuple[float, dict[str, Tensor]] | None = None
        self._sums: dict[str, Tensor] = {}
        self._waited = self._counted = 0
        self._turns = (self._joint_turns if settings.schedule == "joint" else self._alternating_turns)()

    # --- the schedules: who moves together -------------------------------------------------------------------------
    def _joint_turns(self) -> list[tuple[list[Phase], Updates, frozen]]:
        """Discriminators on the codes as they are, then everything else in one backward and one optimiser step."""
        adversaries = [p for p in self.phases if p.is_critic]
        others = [p for p in self.phases if not p.is_critic]
        critics = frozen(*{m for p in adversaries for m in p.trains})
        turns = [(adversaries, self._optimizer(adversaries), frozen())] if adversaries else []
        first: dict[nn.Module, float] = {}
        for p in others:
            for module in p.trains:
                first.setdefault(module, p.rate)
        weighted = [replace(p, weight=p.weight * p.rate / first[p.trains[0]]) for p in others]
        return [*turns, (weighted, self._optimizer(others), critics)]

    def _alternating_turns(self) -> list[tuple[list[Phase], Updates, frozen]]:
        """Phase after phase, each with its own forward, backward and optimiser."""
        every = set(self.networks.values())
        return [([p], self._optimizer([p]), frozen(*(every - set(p.trains)))) for p in self.phases]

    def _optimizer(self, phases: Sequence[Phase]) -> Updates:
        """One optimiser for some phases; a network moves at the rate of the first phase that names it."""
        first: dict[nn.Module, Phase] = {}
        for phase in phases:
            for module in phase.trains:
                first.setdefault(module, phase)
        groups = [
            {"params": list(m.parameters()), "lr": p.rate, "top_rate": p.rate, "steady": p.steady}
            for m, p in first.items()
        ]
        if self.settings.optimizer == "sgd":
            for group, p in zip(groups, first.values(), strict=True):
                group["momentum"] = p.momentum
            return torch.optim.SGD(groups)
        for group, p in zip(groups, first.values(), strict=True):
            group["betas"] = (p.momentum, 0.999)
        return Adam(groups)

    # --- the loop --------------------------------------------------------------------------------------------------
    def run(self, callbacks: Sequence[Callback] = (), until: int | None = None) -> None:
        """Train to the end, or to an interruption (Ctrl-C), which is passed on after the callbacks were told.

        `until` so many steps are done: another call goes on from there.

        Raises
        ------
        TrainingError
            When a loss stops being finite.
        """
        rank, n = rank_and_world_size()
        if n > 1:  # noise of its own, and one that tells of it
            torch.manual_seed(derived_seed(self.settings.random_state, rank))
            callbacks = callbacks if rank == 0 else ()
        self.networks.train()
        for callback in callbacks:
            callback.start(self)
        complete, last = False, self.settings.n_steps if until is None else until
        try:
            with SharedCores() as cores:
                while self.n_done < last and not self._stopping():
                    began = time.perf_counter()
                    self._one_step()
                    at_epoch_end = self.n_done % self.steps_per_epoch == 0 or self.n_done == self.settings.n_steps
                    if at_epoch_end or self.n_done % 20 == 0 or self.device.type == "cpu":
                        self._check_finite()
                    row = self._close_epoch() if at_epoch_end else None
                    self.seconds += time.perf_counter() - began
                    if row is not None:
                        row["seconds"] = self.seconds
                    for callback in callbacks:
                        callback.step(self)
                        if row is not None:
                            callback.epoch(self, row)
                    cores.look()
            complete = True
        finally:
            for callback in callbacks:
                callback.stop(self, complete)
        if self.best is not None and until is None:
            self.averaged.load_state_dict(self.best[1])
        self.averaged.eval()

    def _one_step(self) -> None:
        batch = {name: rows.at(self.n_done) for name, rows in self.rows.items()}
        step = self.make_step(batch, self.settings.schedule == "joint")
        for phases, optimizer, others in self._turns:
            going = []
            for p in phases:
                if p.over(self.n_done):
                    step.note(p.name, torch.zeros((), device=self.device))
                else:
                    going.append(p)
            if not going:
                continue
            for group in optimizer.param_groups:
                group["lr"] = group["top_rate"] * self.settings.rate_at(self.n_done, group["steady"])
            with others:
                with torch.autocast(self.device.type, torch.bfloat16, self.bfloat16):
                    losses = [p.loss(step) for p in going]
                weights = [p.weight_at(self.n_done) for p in going]
                total = sum(x if w == 1 else w * x for w, x in zip(weights, losses, strict=True))
                assert isinstance(total, Tensor)
                total.backward()
            all_reduce_mean(p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None)
            optimizer.step()
            optimizer.zero_grad()
            if not phases[0].is_critic or self.settings.schedule == "alternating":
                step.forget()
            for p, loss in zip(going, losses, strict=True):
                step.note(p.name, loss)
        self.n_done += 1
        self._average()
        for name, value in step.noted.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._counted += 1

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights and buffers a little towards the present ones."""
        if self.averaged is self.networks:
            return
        keep = min(self.settings.ema_decay, self.n_done / (self.n_done + 10))
        pairs = zip(self.averaged.state_dict().values(), self.networks.state_dict().values(), strict=True)
        floats, counts = [], []
        for pair in pairs:
            (floats if pair[0].is_floating_point() else counts).append(pair)
        torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], 1 - keep)
        for a, b in counts:
            a.copy_(b)

    def _check_finite(self) -> None:
        bad = [name for name, value in self._sums.items() if not torch.isfinite(value).all()]
        if bad:
            name = next((p.name for p in self.phases if p.name in bad), bad[0])
            raise TrainingError(
                f"training stopped at step {self.n_done}: the loss '{name}' is not finite any more; "
                "try a lower rate or precision='float32'"
            )

    @property
    def losses(self) -> dict[str, float]:
        """Means of the epoch so far, by name, or of the last one when none has begun. Reading waits for the device."""
        if self._counted:
            return {name: float(total) / self._counted for name, total in self._sums.items()}
        return dict(self.history[-1]) if self.history else {}

    def _close_epoch(self) -> dict[str, float]:
        row = {"epoch": math.ceil(self.n_done / self.steps_per_epoch), "step": self.n_done}
        all_reduce_mean(self._sums[name] for name in sorted(self._sums))
        broadcast_from_rank_zero(
            chain(self.networks.buffers(), self.averaged.buffers())
        )  # or some might stop before the others
        row |= self.losses
        row["rate"] = self.settings.rate_at(self.n_done - 1)
        self._sums, self._counted = {}, 0
        if self.evaluate is not None:
            self.averaged.eval()
            row |= self.evaluate(self.averaged)
            self.networks.train()
            self._keep_best(row)
        self.history.append(row)
        return row

    def _keep_best(self, row: Mapping[str, float]) -> None:
        if not self.settings.patience:
            return
        score = row["validation/score"]
        if self.best is None or score < self.best[0]:
            self._waited = 0
            self.best = score, {k: v.clone() for k, v in self.averaged.state_dict().items()}
        else:
            self._waited += 1

    def _stopping(self) -> bool:
        return bool(self.settings.patience) and self._waited >= self.settings.patience

    # --- what a checkpoint holds -----------------------------------------------------------------------------------
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything needed to go on with exactly the next step: tensors, and what fits JSON."""
        tensors = {f"networks/{k}": v for k, v in self.networks.state_dict().items()}
        if self.averaged is not self.networks:
            tensors |= {f"averaged/{k}": v for k, v in self.averaged.state_dict().items()}
        for i, (_, optimizer, _) in enumerate(self._turns):
            for j, slots in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer/{i}/{j}/{k}": v for k, v in slots.items() if v is not None}
        tensors |= {f"sums/{k}": v for k, v in self._sums.items()}
        tensors["random/cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random/cuda"] = torch.cuda.get_rng_state(self.device)
        if self.best is not None:
            tensors |= {f"best/{k}": v for k, v in self.best[1].items()}
        facts: dict[str, Any] = {
            "n_done": self.n_done,
            "n_steps": self.settings.n_steps,
            "seconds": self.seconds,
            "history": [dict(row) for row in self.history],
            "waited": self._waited,
            "counted": self._counted,
            "best_score": None if self.best is None else self.best[0],
        }
        return {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, facts

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go back to a `state`.

        Raises
        ------
        KeyError, RuntimeError
            When the state is of other networks.
        """

        def below(prefix: str) -> dict[str, Tensor]:
            return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

        self.networks.load_state_dict(below("networks/"))
        if self.averaged is not self.networks:
            self.averaged.load_state_dict(below("averaged/"))
        for i, (_, optimizer, _) in enumerate(self._turns):
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in below(f"optimizer/{i}/").items():
                j, name = key.split("/")
                slots.setdefault(int(j), {})[name] = value.clone()
            optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
        self._sums = {k: v.to(self.device) for k, v in below("sums/").items()}
        torch.set_rng_state(tensors["random/cpu"])
        if "random/cuda" in tensors and self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random/cuda"], self.device)
        self.n_done, self.seconds = int(facts["n_done"]), float(facts["seconds"])
        self.history, self._waited = list(facts["history"]), int(facts["waited"])
        self._counted = int(facts["counted"])
        if facts["best_score"] is not None:
            self.best = float(facts["best_score"]), below("best/")


def best_start(trainings: Iterable[Training], n_steps: int, score: Callable[[nn.ModuleDict], float]) -> Training:
    """Of several trainings the one whose averaged networks score lowest after so many steps.

    The time that the others took counts as its own.
    """
    best, lowest, seconds = None, math.inf, 0.0
    for training in trainings:
        training.run(until=n_steps)
        seconds += training.seconds
        found = torch.tensor(score(training.averaged), device=training.device)
        broadcast_from_rank_zero([found])  # or some processes might go on with another one
        if best is None or found < lowest:
            best, lowest = training, float(found)
    assert best is not None
    best.seconds = seconds
    return best


def _device(wanted: str) -> torch.device:
    """The device of a name; "auto" is the fastest that this machine has."""
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        wanted = next(name for name, there in has.items() if there)
    if not has[wanted]:
        there = [name for name, there in has.items() if there]
        raise InputError(f"device={wanted!r} was asked for, but this machine has {', '.join(there)}")
    return torch.device("cuda", torch.cuda.current_device()) if wanted == "cuda" else torch.device(wanted)


def has_fast_bfloat16(device: str = "cpu") -> bool:
    """Whether this machine multiplies bfloat16 in hardware; where it is emulated it is slower than float32."""
    if device == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu":
        return False
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
