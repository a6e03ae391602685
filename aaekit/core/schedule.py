"""When phases run: all of them in one update, or one after the other, each with its optimiser."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from aaekit.core.optim import Adam
from aaekit.core.phase import Phase
from aaekit.core.settings import Settings

__all__ = ["Turn", "turns"]

Updates = Adam | torch.optim.SGD


@dataclass(frozen=True)
class Turn:
    """Phases that are summed into one update, its optimiser, and the modules that must not be differentiated."""

    phases: tuple[Phase[Any], ...]
    optimizer: Updates
    fixed: tuple[nn.Module, ...] = ()

    @property
    def repeats(self) -> int:
        """Updates in each step."""
        return max(p.repeats for p in self.phases)


def turns(phases: Sequence[Phase[Any]], networks: nn.Module, settings: Settings) -> list[Turn]:
    """The turns of a step.

    Alternating, as in the papers: phase after phase, each with its own forward and backward pass and optimiser.
    Joint: the critics on the codes as they are, then all other phases in one backward pass and one update, in which a
    module moves at the learning rate of the first phase that names it and other rates become weights.
    """
    if settings.schedule == "alternating":
        modules = set(networks.children())
        return [Turn((p,), _optimizer([p], settings), tuple(modules - set(p.moves))) for p in phases]
    critics = [p for p in phases if p.is_critic]
    others = [p for p in phases if not p.is_critic]
    first: dict[nn.Module, float] = {}
    for p in others:
        for module in p.moves:
            first.setdefault(module, settings.rate_of(p))
    weighted = [replace(p, weight=p.weight * settings.rate_of(p) / first[p.moves[0]]) for p in others]
    fixed = tuple({m for p in critics for m in p.moves})
    both = [Turn(tuple(critics), _optimizer(critics, settings))] if critics else []
    return [*both, Turn(tuple(weighted), _optimizer(others, settings), fixed)]


def _optimizer(phases: Sequence[Phase[Any]], settings: Settings) -> Updates:
    """One optimiser for some phases; a module moves at the learning rate of the first phase that names it."""
    first: dict[nn.Module, Phase[Any]] = {}
    for phase in phases:
        for module in phase.moves:
            first.setdefault(module, phase)
    groups: list[dict[str, Any]] = []
    for module, phase in first.items():
        rate = settings.rate_of(phase)
        groups.append({"params": list(module.parameters()), "lr": rate, "full": rate, "scheduled": phase.scheduled})
        if settings.optimizer == "sgd":
            groups[-1]["momentum"] = settings.momentum
        else:
            groups[-1]["betas"] = (settings.momentum, 0.999)
    return torch.optim.SGD(groups) if settings.optimizer == "sgd" else Adam(groups)
