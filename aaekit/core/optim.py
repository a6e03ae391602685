"""Optimisers: Adam without the two seconds in which the first `torch.optim.Adam` of a process imports a compiler."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from aaekit.core.phase import Phase
from aaekit.core.settings import Settings

__all__ = ["Adam", "Updates", "optimizer_of"]


class Adam:
    """Adam (Kingma & Ba, 2015) by torch's fused kernel, equal to `torch.optim.Adam(groups, fused=True)` bit for bit.

    Parameters without a gradient are not changed.

    Parameters
    ----------
    groups : iterable of dict
        Each with `params`, `lr` and `betas`.
    """

    EPS = 1e-8

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        self.param_groups: list[dict[str, Any]] = list(groups)
        self._slots: dict[Tensor, dict[str, Tensor]] = {}

    @property
    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            updated = [p for p in group["params"] if p.grad is not None]
            if not updated:
                continue
            slots = [self._slots_of(p) for p in updated]
            means, squares, steps = ([s[k] for s in slots] for k in ("exp_avg", "exp_avg_sq", "step"))
            beta1, beta2 = group["betas"]
            adam(
                updated, [p.grad for p in updated], means, squares, [], steps, fused=True, amsgrad=False,
                maximize=False, beta1=beta1, beta2=beta2, lr=group["lr"], weight_decay=0.0, eps=self.EPS,
            )  # fmt: skip

    def _slots_of(self, p: Tensor) -> dict[str, Tensor]:
        if p not in self._slots:
            moments = {name: torch.zeros_like(p) for name in ("exp_avg", "exp_avg_sq")}
            self._slots[p] = {"step": torch.zeros((), device=p.device), **moments}
        return self._slots[p]

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for p in self._parameters:
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """The moments of each parameter, by the index of the parameter."""
        return {"state": {j: self._slots[p] for j, p in enumerate(self._parameters) if p in self._slots}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the moments of a `state_dict`; the groups are not changed."""
        parameters = self._parameters
        self._slots = {
            parameters[j]: {name: _like(value, parameters[j]) for name, value in slots.items()}
            for j, slots in state["state"].items()
        }


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """A moment with the device and memory layout of its parameter: the fused update pairs values by their layout."""
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value) if value.dim() else value.to(parameter.device)


Updates = Adam | torch.optim.SGD


def optimizer_of(phases: Sequence[Phase[Any]], settings: Settings) -> Updates:
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
    if settings.optimizer == "adam":
        return Adam(groups)
    return torch.optim.SGD(groups, fused=True)
