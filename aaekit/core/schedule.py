"""When phases run: all of them in one update, or one after the other, each with its optimiser."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from aaekit.core.optim import Updates, optimizer_of
from aaekit.core.phase import Phase
from aaekit.core.settings import Settings

__all__ = ["Turn", "turns"]


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

    def numbers_at(self, n_done: int, settings: Settings) -> list[float]:
        """Learning rates, and weights of phases that end, after so many steps."""
        rates = [g["full"] * settings.factor_at(n_done, g["scheduled"]) for g in self.optimizer.param_groups]
        return rates + [p.weight_at(n_done) for p in self.phases if p.anneal_steps]

    def use(self, numbers: Iterator[Any]) -> dict[str, Any]:
        """Take what `numbers_at` returned: set the learning rates, and return the weights of all phases by name."""
        for group in self.optimizer.param_groups:
            group["lr"] = next(numbers)
        return {p.name: next(numbers) if p.anneal_steps else p.weight for p in self.phases}


def turns(phases: Sequence[Phase[Any]], networks: nn.Module, settings: Settings) -> list[Turn]:
    """The turns of a step.

    Alternating, as in the papers: phase after phase, each with its own forward and backward pass and optimiser.
    Joint: the critics on the codes as they are, then all other phases in one backward pass and one update, in which a
    module moves at the learning rate of the first phase that names it and other rates become weights.
    """
    if settings.schedule == "alternating":
        modules = set(networks.children())
        return [Turn((p,), optimizer_of([p], settings), tuple(modules - set(p.moves))) for p in phases]
    critics = [p for p in phases if p.is_critic]
    others = [p for p in phases if not p.is_critic]
    first: dict[nn.Module, float] = {}
    for p in others:
        for module in p.moves:
            first.setdefault(module, settings.rate_of(p))
    weighted = [replace(p, weight=p.weight * settings.rate_of(p) / first[p.moves[0]]) for p in others]
    fixed = tuple({m for p in critics for m in p.moves})
    both = [Turn(tuple(critics), optimizer_of(critics, settings))] if critics else []
    return [*both, Turn(tuple(weighted), optimizer_of(others, settings), fixed)]
