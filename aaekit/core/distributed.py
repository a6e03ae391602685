"""Training in several processes, if torch.distributed is initialised; alone, nothing here has an effect."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["all_reduce_mean", "broadcast_from_rank_zero", "rank_and_world_size"]


def rank_and_world_size() -> tuple[int, int]:
    """The rank of this process, and the number of processes."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


@torch.no_grad()
def broadcast_from_rank_zero(tensors: Iterable[Tensor]) -> None:
    """Set tensors, in place, to their values in the first process."""
    if rank_and_world_size()[1] > 1:
        for t in tensors:
            dist.broadcast(t, 0)


@torch.no_grad()
def all_reduce_mean(tensors: Iterable[Tensor]) -> None:
    """Set tensors, in place, to their mean over the processes, with one message."""
    world_size = rank_and_world_size()[1]
    if world_size > 1 and (reduced := list(tensors)):
        flat = torch.cat([t.reshape(-1) for t in reduced])
        dist.all_reduce(flat)
        parts = (flat / world_size).split([t.numel() for t in reduced])
        torch._foreach_copy_(reduced, [part.view_as(t) for part, t in zip(parts, reduced, strict=True)])
