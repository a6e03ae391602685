"""The moving average of the weights, and what a checkpoint holds."""

import copy
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aaekit.core import random
from aaekit.core.distributed import broadcast_from_rank_zero, from_rank_zero, rank_and_world_size
from aaekit.errors import TrainingError

if TYPE_CHECKING:
    from aaekit.core.loop import Training

__all__ = ["MovingAverage", "Sums", "capture", "digest", "moving_tensors", "restore", "share_state"]


class MovingAverage:
    """An exponential moving average of weights and buffers; the first steps are forgotten fast.

    After n steps it forgets 1 - min(decay, n / (n + 10)) of what it was. With a decay of 0 it is the networks
    themselves.
    """

    def __init__(self, networks: nn.Module, decay: float) -> None:
        self.decay: float = decay
        self._source = networks
        self.networks: nn.Module = copy.deepcopy(networks).eval() if decay else networks

    def share_at(self, n_done: int) -> float:
        """What `update` forgets after so many steps."""
        return 1 - min(self.decay, n_done / (n_done + 10))

    @torch.no_grad()
    def update(self, share: float | Tensor) -> None:
        """Move by a share of the distance towards the present weights and buffers."""
        if not self.decay:
            return
        pairs = list(zip(self.networks.state_dict().values(), self._source.state_dict().values(), strict=True))
        means, values = zip(*[pair for pair in pairs if pair[0].is_floating_point()], strict=True)
        if isinstance(share, Tensor):  # which torch's lerp would wait for
            steps = torch._foreach_sub(values, means)
            torch._foreach_mul_(steps, share)
            torch._foreach_add_(means, steps)
        else:
            torch._foreach_lerp_(means, values, share)
        for a, b in pairs:
            if not a.is_floating_point():
                a.copy_(b)


class Sums(dict[str, Tensor]):
    """Sums of the losses and notes of steps, by name, and those of each step that was not checked yet."""

    def __init__(self, sums: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(sums or {})
        self._unchecked: list[tuple[list[str], Tensor]] = []

    def add(self, notes: Mapping[str, Tensor]) -> None:
        """Add those of a step."""
        self._unchecked.append((list(notes), torch.stack([value.reshape(()) for value in notes.values()])))
        if names := [name for name in notes if name in self]:
            torch._foreach_add_([self[name] for name in names], [notes[name] for name in names])
        self.update({name: value.clone() for name, value in notes.items() if name not in self})

    def read(self) -> dict[str, float]:
        """The sums as numbers; this waits for the device, once."""
        values = torch.stack([value.reshape(()) for value in self.values()]).tolist() if self else []
        return dict(zip(self, values, strict=True))

    def check(self, n_done: int, phases: Sequence[str]) -> None:
        """Refuse the first loss that is not finite, of phases before notes, among the steps since the last call.

        This waits for the device, once.

        Raises
        ------
        TrainingError
            If there is one.
        """
        steps, self._unchecked = self._unchecked, []
        values = iter(torch.cat([values for _, values in steps]).tolist() if steps else [])
        for n, (names, _) in enumerate(steps, n_done - len(steps) + 1):
            row = {name: next(values) for name in names}
            if bad := [name for name, value in row.items() if not math.isfinite(value)]:
                name = next((name for name in phases if name in bad), bad[0])
                raise TrainingError(
                    f"step {n}: expected a finite loss, got {row[name]:g} in {name!r}: "
                    "lower learning_rate or set precision='float32'"
                )


def digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of a text and of tensors: names, types, shapes and values."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def moving_tensors(training: "Training") -> dict[str, Tensor]:
    """What a step changes, itself and no copies: weights, buffers, their averages and the states of optimisers."""
    tensors = {f"networks/{k}": v for k, v in training.networks.state_dict().items()}
    if training.averaged is not training.networks:
        tensors |= {f"averaged/{k}": v for k, v in training.averaged.state_dict().items()}
    for i, turn in enumerate(training.turns):
        for j, slots in turn.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{i}/{j}/{k}": v for k, v in slots.items() if v is not None}
    return tensors


def capture(training: "Training") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that is needed to go on with exactly the next step: tensors, and what fits JSON."""
    tensors = moving_tensors(training) | {f"sums/{k}": v for k, v in training.sums.items()}
    tensors |= {f"random/{k}": v for k, v in random.state().items() if k in ("cpu", training.device.type)}
    if training.best is not None:
        tensors |= {f"best/{k}": v for k, v in training.best[1].items()}
    facts: dict[str, Any] = {
        "n_done": training.n_done,
        "n_steps": training.settings.n_steps,
        "seconds": training.seconds,
        "history": [dict(row) for row in training.history],
        "n_waited": training.n_waited,
        "n_summed": training.n_summed,
        "bfloat16": training.bfloat16,
        "best_score": None if training.best is None else training.best[0],
    }
    return {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, facts


def restore(training: "Training", tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Go back to what `capture` gave.

    Raises
    ------
    KeyError, RuntimeError
        When it is of other networks.
    """

    def below(prefix: str) -> dict[str, Tensor]:
        return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

    training.networks.load_state_dict(below("networks/"))
    if training.averaged is not training.networks:
        training.averaged.load_state_dict(below("averaged/"))
    for i, turn in enumerate(training.turns):
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in below(f"optimizer/{i}/").items():
            j, name = key.split("/")
            slots.setdefault(int(j), {})[name] = value.clone()
        turn.optimizer.load_state_dict({**turn.optimizer.state_dict(), "state": slots})
    training.sums = Sums({k: v.to(training.device, copy=True) for k, v in below("sums/").items()})
    random.use_state({k: v for k, v in below("random/").items() if k in ("cpu", training.device.type)})
    training.n_done, training.seconds = int(facts["n_done"]), float(facts["seconds"])
    training.history, training.n_waited = list(facts["history"]), int(facts["n_waited"])
    training.n_summed, training.bfloat16 = int(facts["n_summed"]), bool(facts["bfloat16"])
    training.steps.forget()
    training.best = None if facts["best_score"] is None else (float(facts["best_score"]), below("best/"))


def share_state(training: "Training") -> None:
    """Let all processes go on from the state of the first one."""
    rank, world_size = rank_and_world_size()
    if world_size == 1:
        return
    tensors, facts = capture(training)
    kinds, facts = from_rank_zero(
        lambda: [{k: [str(v.dtype).removeprefix("torch."), *v.shape] for k, v in tensors.items()}, facts]
    )
    if rank:
        tensors = {k: torch.empty(shape, dtype=getattr(torch, dtype)) for k, (dtype, *shape) in kinds.items()}
    broadcast_from_rank_zero(tensors[k] for k in kinds)
    if rank:
        restore(training, tensors, facts)
