"""Adam, for the first `torch.optim.Adam` of a process spends two seconds on importing a compiler."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Adam (Kingma & Ba, 2015) by torch's fused kernel: what `torch.optim.Adam(groups, fused=True)` does, bit for bit.

    Each group is a dict of `params`, `lr` and `betas`. Parameters without a gradient stay as they are.
    """

    EPS = 1e-8

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        self.param_groups = list(groups)
        self._slots: dict[Tensor, dict[str, Tensor]] = {}

    @property
    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if not moved:
                continue
            slots = [self._slots_of(p) for p in moved]
            means, squares, steps = ([s[k] for s in slots] for k in ("exp_avg", "exp_avg_sq", "step"))
            beta1, beta2 = group["betas"]
            adam(
                moved, [p.grad for p in moved], means, squares, [], steps, fused=True, amsgrad=False, maximize=False,
                beta1=beta1, beta2=beta2, lr=group["lr"], weight_decay=0.0, eps=self.EPS,
            )  # fmt: skip

    def _slots_of(self, p: Tensor) -> dict[str, Tensor]:
        if p not in self._slots:
            moments = {name: torch.zeros_like(p) for name in ("exp_avg", "exp_avg_sq")}
            self._slots[p] = {"step": torch.zeros((), device=p.device), **moments}
        return self._slots[p]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self._parameters:
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """The moments of each parameter, by its number."""
        return {"state": {j: self._slots[p] for j, p in enumerate(self._parameters) if p in self._slots}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the moments of a `state_dict`; the groups stay."""
        parameters = self._parameters
        self._slots = {
            parameters[j]: {name: _placed(value, parameters[j]) for name, value in slots.items()}
            for j, slots in state["state"].items()
        }


def _placed(value: Tensor, like: Tensor) -> Tensor:
    """A moment on the device of its parameter and in its order in memory, by which the fused update pairs them."""
    return torch.empty_like(like, dtype=value.dtype).copy_(value) if value.dim() else value.to(like.device)
