"""Batch normalisation by the rows of all processes that train together, on every device."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from aaekit.core.distributed import all_gather, all_reduce_mean, rank_and_world_size

__all__ = ["synchronise_batch_norm"]


class _Normalise(torch.autograd.Function):
    """x normalised by mean and variance over all processes; also both of them, and the number of values in each."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        n_channels = x.shape[1]
        variance, mean = torch.var_mean(_wide(x), _all_but_channels(x), correction=0)
        count = mean.new_full((1,), x.numel() // n_channels)
        means, variances, counts = all_gather(torch.cat([mean, variance, count])).split([n_channels, n_channels, 1], 1)
        n = counts.sum()
        mean = (counts * means).sum(0) / n
        variance = (counts * (variances + (means - mean).square())).sum(0) / n
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt(), n)
        ctx.mark_non_differentiable(mean, variance, n)
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps), mean, variance, n

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        """The gradient of the sum of all processes' losses; those of weight and bias are of the own rows."""
        x, weight, mean, scale, n = ctx.saved_tensors
        shape = (1, -1, *[1] * (x.ndim - 2))
        dy, normalised = _wide(gradients[0]), (_wide(x) - mean.view(shape)) * scale.view(shape)
        d_bias = dy.sum(_all_but_channels(x))
        d_weight = (dy * normalised).sum(_all_but_channels(x))
        means = torch.stack([d_bias, d_weight]) * rank_and_world_size()[1] / n
        all_reduce_mean([means])
        d_mean, d_scale = (m.view(shape) for m in means)
        dx = (dy - d_mean - normalised * d_scale) * (scale if weight is None else scale * weight).view(shape)
        return dx.to(x.dtype), None if weight is None else d_weight, None if weight is None else d_bias, None


class _Synchronised(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation whose statistics in training mode are those of all processes' rows."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or rank_and_world_size()[1] == 1:
            return super().forward(x)
        self._check_input_dim(x)
        y, mean, variance, n = _Normalise.apply(x, self.weight, self.bias, self.eps)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                share = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(variance * n / (n - 1), share)
        return y


class _Synchronised1d(_Synchronised, nn.BatchNorm1d):
    pass


class _Synchronised2d(_Synchronised, nn.BatchNorm2d):
    pass


class _Synchronised3d(_Synchronised, nn.BatchNorm3d):
    pass


SYNCHRONISED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _Synchronised1d,
    nn.BatchNorm2d: _Synchronised2d,
    nn.BatchNorm3d: _Synchronised3d,
}


def synchronise_batch_norm(module: nn.Module) -> None:
    """Let the batch normalisation layers of a module use the rows of all processes, if there are several.

    Each layer is changed in place, so that phases still refer to it. (torch's `SyncBatchNorm` does not work on the
    processor, and takes the place of the layer.) Source: Ioffe & Szegedy, *Batch Normalization*, arXiv:1502.03167.
    """
    if rank_and_world_size()[1] > 1:
        for layer in module.modules():
            layer.__class__ = SYNCHRONISED.get(type(layer), type(layer))


def _all_but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.ndim)]


def _wide(x: Tensor) -> Tensor:
    """Return x in the precision of sums."""
    return x if x.dtype == torch.float64 else x.float()
