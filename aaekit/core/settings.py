"""How to train, whatever is trained."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aaekit.core.phase import Phase

__all__ = ["Optimizer", "Precision", "Schedule", "Settings", "named"]

Schedule = Literal["joint", "alternating"]
Optimizer = Literal["adam", "sgd"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Settings:
    """How to train, whatever is trained. `learning_rates` are those of single phases, by name."""

    n_steps: int
    learning_rate: float = 1e-3
    critic_learning_rate: float = 1e-3
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    schedule: Schedule = "joint"
    optimizer: Optimizer = "adam"
    momentum: float = 0.5
    cosine: bool = False  # learning rates fall as a cosine, after a warm-up
    warmup_steps: int = 0
    milestones: tuple[int, ...] = ()  # steps at which learning rates are divided by 10
    ema_decay: float = 0.0  # of the moving average of the weights; 0 turns it off
    patience: int = 0  # epochs without a better score before stopping; 0 never stops early
    precision: Precision = "auto"
    device: str = "auto"
    random_state: int = 0

    def rate_of(self, phase: Phase[Any]) -> float:
        """The learning rate of a phase, before the schedule."""
        default = self.critic_learning_rate if phase.is_critic else self.learning_rate
        return named(self.learning_rates, phase.name, default if phase.learning_rate is None else phase.learning_rate)

    def factor_at(self, n_done: int, scheduled: bool = True) -> float:
        """What learning rates are multiplied by after so many steps."""
        factor = min(1.0, (n_done + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        if scheduled and self.cosine:
            factor *= 0.5 * (1 + math.cos(math.pi * n_done / self.n_steps))
        return factor * 0.1 ** sum(n_done >= m for m in self.milestones) if scheduled else factor


def named(values: Mapping[str, float], name: str, default: float) -> float:
    """The value of a phase by its name, or by the last part of it (z/generator, generator); else the default."""
    return values.get(name, values.get(name.rsplit("/", 1)[-1], default))
