"""Context managers for the mode of modules, and the statistics of batch normalisation."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["batch_norms", "evaluating", "frozen_batch_norm_statistics", "update_batch_norm_statistics"]


def batch_norms(module: nn.Module) -> list[nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d]:
    """The batch normalisation layers of a module."""
    return [m for m in module.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d))]


@torch.no_grad()
def update_batch_norm_statistics(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running mean and variance of batch normalisation by those of the given minibatches.

    In training a module sees noise, augmented rows and adversarial shifts; it is used on clean rows. Afterwards the
    module is in evaluation mode; nothing else changes. (`torch.optim.swa_utils.update_bn` does the same, but leaves
    dropout on.)
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


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """In the block the module is in evaluation mode: no dropout, batch normalisation by running statistics."""
    training = [m for m in module.modules() if m.training]
    module.eval()
    try:
        yield
    finally:
        for m in training:
            m.training = True


@contextmanager
def frozen_batch_norm_statistics(module: nn.Module) -> Iterator[None]:
    """In the block batch normalisation uses the minibatch without updating its running statistics."""
    layers = [(m, m.momentum) for m in batch_norms(module)]
    for m, _ in layers:
        m.momentum = 0.0
    try:
        yield
    finally:
        for m, momentum in layers:
            m.momentum = momentum
