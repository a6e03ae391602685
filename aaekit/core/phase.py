"""The idea of the whole package: a phase is a loss, the modules that it moves, and how fast.

Every variant of the adversarial autoencoder is a list of phases over shared networks. Nothing here knows autoencoders.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from aaekit.divergences import AdversarialDivergence, Divergence, SampleDivergence, mean_probability

__all__ = ["Phase", "Step", "match", "when"]

T = TypeVar("T")


class Step:
    """One minibatch, and the values that phases have computed from it.

    Parameters
    ----------
    batch : mapping from str to list of Tensor
        Aligned arrays by the name of their source.

    Attributes
    ----------
    notes : dict of str to Tensor
        Numbers for the history, beside the losses.
    """

    def __init__(self, batch: Mapping[str, Sequence[Tensor]] | None = None) -> None:
        self.batch: Mapping[str, Sequence[Tensor]] = batch or {}
        self.notes: dict[str, Tensor] = {}
        self._values: dict[bool, dict[Hashable, Any]] = {}  # by whether gradients are enabled
        self._inputs: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], T], *, is_input: bool = False) -> T:
        """The value of `make()`, computed at most once until parameters move; at most once a step if it `is_input`.

        A value that was computed while gradients were disabled is computed again for a phase that needs them.
        """
        values = self._inputs if is_input else self._values.setdefault(torch.is_grad_enabled(), {})
        if key not in values:
            values[key] = make()
        return values[key]

    def note(self, name: str, value: Tensor) -> None:
        """Put a number into the history beside the losses."""
        self.notes[name] = value.detach()

    def forget(self) -> None:
        """Drop what was computed from parameters that have moved."""
        self._values.clear()


S = TypeVar("S", bound=Step)


@dataclass(frozen=True)
class Phase(Generic[S]):
    """A loss and the modules that it moves; nothing else may move.

    Parameters
    ----------
    name : str
        As it stands in the history, in curves, in `loss_weights` and in `learning_rates`.
    loss : callable
        From the step to a scalar.
    moves : tuple of nn.Module
        What the optimiser updates.
    weight : float, default 1
        Factor of the loss.
    learning_rate : float, optional
        By default that of the settings: one for critics, one for all others.
    is_critic : bool, default False
        Whether it trains a critic, which takes codes as they are and makes no gradient for them.
    anneal_steps : int, default 0
        If above 0, the weight falls linearly to 0 over so many steps; then the phase is over.
    scheduled : bool, default True
        Whether its learning rate follows the schedule; if not, it is only warmed up.
    repeats : int, default 1
        Updates in each step, each on a minibatch of its own.
    """

    name: str
    loss: Callable[[S], Tensor]
    moves: tuple[nn.Module, ...]
    weight: float = 1.0
    learning_rate: float | None = None
    is_critic: bool = False
    anneal_steps: int = 0
    scheduled: bool = True
    repeats: int = 1

    def is_over(self, n_done: int) -> bool:
        """Whether its weight has reached 0 after so many steps."""
        return 0 < self.anneal_steps <= n_done

    def weight_at(self, n_done: int) -> float:
        """The weight after so many steps."""
        return self.weight * max(0.0, 1 - n_done / self.anneal_steps) if self.anneal_steps else self.weight


def when(condition: object, *phases: Phase[S]) -> tuple[Phase[S], ...]:
    """The phases if the condition holds, else the same without weight; phases without weight are not computed."""
    return phases if condition else tuple(replace(p, weight=0.0) for p in phases)


def match(
    name: str,
    fake: Callable[[S], Tensor],
    real: Callable[[S], Tensor],
    divergence: Divergence,
    critic: nn.Module | None,
    moves: Iterable[nn.Module],
    *,
    weight: float = 1.0,
    generator_rate: float | None = None,
    critic_rate: float | None = None,
    scheduled: bool = True,
) -> list[Phase[S]]:
    """The phases that pull the samples `fake` towards the samples `real`.

    An adversarial divergence gives two phases, NAME/discriminator and NAME/generator, and needs a `critic` unless the
    weight is 0; a sample divergence gives the second alone. `scheduled` is about the learning rate of the critic.
    """
    if isinstance(divergence, SampleDivergence):
        distance: Callable[[S], Tensor] = lambda step: divergence.distance(real(step), fake(step))
        return [Phase(f"{name}/generator", distance, tuple(moves), weight, generator_rate)]
    assert isinstance(divergence, AdversarialDivergence)
    assert critic is not None or not weight, f"{divergence!r} needs a critic"

    def discriminate(step: S) -> Tensor:
        assert critic is not None
        x = real(step).detach()
        with torch.no_grad():
            x_fake = fake(step)
        d_real, d_fake = critic(torch.cat([x, x_fake])).float().tensor_split([len(x)])  # one pass: two cost double
        for side, probability in zip(("real", "fake"), mean_probability(d_real, d_fake), strict=True):
            step.note(f"{name}/D({side})", probability)
        return divergence.critic_loss(d_real, d_fake) + divergence.penalty(critic, x, x_fake)

    def fool(step: S) -> Tensor:
        assert critic is not None
        real(step)  # so that random numbers do not depend on the kind of divergence
        return divergence.generator_loss(critic(fake(step)).float())

    return [
        Phase(
            f"{name}/discriminator",
            discriminate,
            (critic,) if critic is not None else (),
            weight=float(weight > 0),
            learning_rate=critic_rate,
            is_critic=True,
            scheduled=scheduled,
            repeats=divergence.critic_steps,
        ),
        Phase(f"{name}/generator", fool, tuple(moves), weight, generator_rate),
    ]
