"""A phase is a loss, the networks it moves, and how fast. Every variant is a list of phases over shared networks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from aaekit.divergences import Divergence, mean_probability
from aaekit.nn.encoder import Code


class Step:
    """One minibatch: its rows by view, and each forward value, computed at most once between parameter updates.

    A view is a named group of rows, for instance ``"unlabelled"``, ``"labelled"`` or ``"augmented"``; `labels` are
    those of a view, `beliefs` class probabilities of its rows. `corrupt` is applied to what the encoder sees; targets
    stay clean. `join` makes what the decoder sees of a code and the view's labels. With `together`, one pass of the
    encoder serves all views.
    """

    def __init__(
        self,
        rows: Mapping[str, Tensor],
        encoder: Callable[[Tensor], Code],
        decoder: nn.Module | None = None,
        *,
        labels: Mapping[str, Tensor] | None = None,
        beliefs: Mapping[str, Tensor] | None = None,
        corrupt: Callable[[Tensor], Tensor] = lambda x: x,
        join: Callable[[Code, Tensor | None], Tensor] = lambda code, labels: code.joined,
        together: bool = False,
    ) -> None:
        self.rows, self.labels, self.beliefs = rows, labels or {}, beliefs or {}
        self.encoder, self.decoder, self.together = encoder, decoder, together
        self.noted: dict[str, Tensor] = {}
        self._corrupt, self._join = corrupt, join
        self._inputs: dict[str, Tensor] = {}
        self._codes: dict[str, Code] = {}
        self._detached: dict[str, Code] = {}
        self._reconstructions: dict[str, Tensor] = {}

    def input(self, view: str) -> Tensor:
        """What the encoder sees of a view: its rows, corrupted."""
        if view not in self._inputs:
            self._inputs[view] = self._corrupt(self.rows[view])
        return self._inputs[view]

    def code(self, view: str = "unlabelled") -> Code:
        """The encoder's code of a view, with the graph behind it."""
        if view not in self._codes:
            views = list(self.rows) if self.together else [view]
            inputs = [self.input(v) for v in views]
            codes = self.encoder(torch.cat(inputs) if len(inputs) > 1 else inputs[0])
            self._codes.update(zip(views, codes.split([len(x) for x in inputs]), strict=True))
        return self._codes[view]

    def detached_code(self, view: str = "unlabelled") -> Code:
        """The same values for a phase that must not move the encoder; costs no graph."""
        if view in self._codes or self.together:
            return self.code(view).detach()
        if view not in self._detached:
            with torch.no_grad():
                self._detached[view] = self.encoder(self.input(view))
        return self._detached[view]

    def reconstruction(self, view: str = "unlabelled") -> Tensor:
        """The decoder's output for a view, before any sigmoid."""
        if view not in self._reconstructions:
            assert self.decoder is not None
            self._reconstructions[view] = self.decoder(self._join(self.code(view), self.labels.get(view)))
        return self._reconstructions[view]

    def note(self, name: str, value: Tensor) -> None:
        """Put a number into the history beside the losses."""
        self.noted[name] = value.detach()

    def forget(self) -> None:
        """Drop what was computed from parameters that have moved."""
        self._codes.clear()
        self._detached.clear()
        self._reconstructions.clear()


@dataclass(frozen=True)
class Phase:
    """A loss, the networks that it moves (nothing else may), and its optimiser's settings.

    `is_critic` marks the phase of a discriminator, which takes the codes as given. `weight` scales the loss; if it
    `anneal_steps`, the weight falls evenly to 0 in so many steps, and the phase is over. A `steady` rate is warmed up, and
    then does not follow the rate schedule. In the joint schedule every network moves at the rate of the first phase
    that names it, and the losses of the other phases are weighted by the ratio of the rates.
    """

    name: str
    loss: Callable[[Step], Tensor]
    trains: tuple[nn.Module, ...]
    rate: float
    momentum: float = 0.5
    weight: float = 1.0
    is_critic: bool = False
    anneal_steps: int = 0
    steady: bool = False

    def over(self, step: int) -> bool:
        """Whether it has faded away after so many steps."""
        return 0 < self.anneal_steps <= step

    def weight_at(self, step: int) -> float:
        """The weight after so many steps, until it is over."""
        return self.weight * (1 - step / self.anneal_steps) if self.anneal_steps else self.weight


def softened(listed: Iterable[Phase], factors: Mapping[str, float]) -> list[Phase]:
    """The same phases, of which those that `factors` names weigh so many times as much."""
    return [replace(p, weight=factors.get(p.name, 1.0) * p.weight) for p in listed]


def matching(
    name: str,
    fake: Callable[[Step, bool], Tensor],
    real: Callable[[Step], Tensor],
    divergence: Divergence,
    critic: nn.Module | None,
    moves: Iterable[nn.Module],
    *,
    discriminator_learning_rate: float,
    generator_rate: float,
    weight: float = 1.0,
    momentum: float = 0.5,
    steady: bool = False,
) -> list[Phase]:
    """The two phases that pull `fake` towards `real`; one, where the divergence needs no discriminator.

    `fake(step, gradient)` and `real(step)` give samples `(n, d)`; `gradient` tells whether the graph is wanted. The
    discriminator's rate may be `steady`.
    """
    together: list[bool] = []  # whether the divergence has both judged at once, the real ones first; seen at first

    def discriminate(step: Step) -> Tensor:
        assert critic is not None
        calls: list[tuple[Tensor, Tensor]] = []
        hook = critic.register_forward_hook(lambda _, inputs, out: calls.append((inputs[0], out.detach())))
        p, q = real(step), fake(step, False)
        try:
            loss = divergence.critic_loss(critic, p, q)
        finally:
            hook.remove()
        if not together:
            seen = calls[0][0] if calls else p
            together.append(len(seen) == len(p) + len(q) and bool((seen[: len(p)] == p).all()))
        if together[0]:
            judged = calls[0][1].tensor_split([len(p)])
        else:
            with torch.no_grad():
                judged = [critic(p), critic(q)]
        for side, chance in zip(("real", "fake"), mean_probability(*judged), strict=True):
            step.note(f"{name}/D({side})", chance)
        return loss

    def fool(step: Step) -> Tensor:
        return divergence.generator_loss(critic, real(step), fake(step, True))

    generate = Phase(f"{name}/generator", fool, tuple(moves), generator_rate, momentum, weight)
    if not divergence.has_critic:
        return [generate]
    assert critic is not None, f"{divergence!r} needs a discriminator"
    return [
        Phase(
            f"{name}/discriminator",
            discriminate,
            (critic,),
            discriminator_learning_rate,
            momentum,
            is_critic=True,
            steady=steady,
        ),
        generate,
    ]
