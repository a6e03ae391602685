"""What holds for a module while a block lasts, and what its batch normalisation has seen."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def batch_norms(module: nn.Module) -> list[nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d]:
    """The layers of batch normalisation in a module."""
    return [m for m in module.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d))]


@torch.no_grad()
def update_batch_norm_statistics(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give batch normalisation the mean and variance of given minibatches, in place of those of training.

    What the module sees while it is trained (noise, augmented rows, adversarial shifts) is not what it is used on, and
    its statistics are not either. The module is in evaluation mode afterwards; nothing else about it changes.
    """
    layers = batch_norms(module)
    module.eval()
    if not layers:
        return
    momenta = [m.momentum for m in layers]
    for m in layers:
        m.train().reset_running_stats()
        m.momentum = None  # the mean over all minibatches
    for x in batches:
        module(x)
    for m, momentum in zip(layers, momenta, strict=True):
        m.eval().momentum = momentum


class frozen:
    """While it lasts, nothing is differentiated with respect to the parameters of `modules`."""

    def __init__(self, *modules: nn.Module) -> None:
        self.parameters = [p for m in modules for p in m.parameters() if p.requires_grad]

    def __enter__(self) -> None:
        for p in self.parameters:
            p.requires_grad_(False)

    def __exit__(self, *_: object) -> None:
        for p in self.parameters:
            p.requires_grad_(True)


class evaluating:
    """While it lasts, a module is in evaluation mode: no dropout, batch normalisation by what it has seen so far."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.training = module, [m for m in module.modules() if m.training]

    def __enter__(self) -> None:
        self.module.eval()

    def __exit__(self, *_: object) -> None:
        for m in self.training:
            m.training = True


class frozen_batch_norm_statistics:
    """While it lasts, batch normalisation uses a minibatch without keeping its mean and variance for later."""

    def __init__(self, module: nn.Module) -> None:
        self.layers = [(m, m.momentum) for m in batch_norms(module)]

    def __enter__(self) -> None:
        for m, _ in self.layers:
            m.momentum = 0.0

    def __exit__(self, *_: object) -> None:
        for m, momentum in self.layers:
            m.momentum = momentum
