"""Training in several processes, if torch.distributed is initialised; alone, nothing here has an effect."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from aaekit._files import parsed_json
from aaekit.errors import ProcessLostError

__all__ = [
    "all_gather",
    "all_reduce_mean",
    "alone",
    "broadcast_from_rank_zero",
    "broadcast_text",
    "from_rank_zero",
    "rank_and_world_size",
]

T = TypeVar("T")
_depth_alone = [0]


def rank_and_world_size() -> tuple[int, int]:
    """The rank of this process, and the number of processes."""
    if _depth_alone[0] or not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


@contextmanager
def alone() -> Iterator[None]:
    """In the block, this process works without the others, which may do something else meanwhile."""
    _depth_alone[0] += 1
    try:
        yield
    finally:
        _depth_alone[0] -= 1


@contextmanager
def _exchange() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessLostError(
            f"expected {dist.get_world_size()} processes that train together, got a lost connection to one of them: "
            "start all of them again"
        ) from error


@torch.no_grad()
def broadcast_from_rank_zero(tensors: Iterable[Tensor]) -> None:
    """Set tensors, in place, to their values in the first process."""
    if rank_and_world_size()[1] > 1:
        for t in tensors:
            with _exchange():
                dist.broadcast(t, 0)


def broadcast_text(text: str, source: int = 0) -> str:
    """The text of one of the processes."""
    rank, world_size = rank_and_world_size()
    if world_size == 1:
        return text
    content = torch.frombuffer(bytearray(text.encode() or b"\0"), dtype=torch.uint8)
    size = torch.tensor(len(text.encode()))
    with _exchange():
        dist.broadcast(size, source)
        content = content if rank == source else torch.zeros(max(1, int(size)), dtype=torch.uint8)
        dist.broadcast(content, source)
    return bytes(content[: int(size)].tolist()).decode()


def from_rank_zero(make: Callable[[], T]) -> T:
    """What `make()` returns in the first process, which works alone meanwhile; numbers, texts, lists and mappings."""
    rank, world_size = rank_and_world_size()
    if world_size == 1:
        return make()
    text = ""
    if rank == 0:
        with alone():
            text = json.dumps(make())
    return parsed_json(broadcast_text(text))


@torch.no_grad()
def all_gather(tensor: Tensor) -> Tensor:
    """The tensors of all processes, stacked by rank."""
    parts = [torch.empty_like(tensor) for _ in range(rank_and_world_size()[1])]
    with _exchange():
        dist.all_gather(parts, tensor)
    return torch.stack(parts)


@torch.no_grad()
def all_reduce_mean(tensors: Iterable[Tensor]) -> None:
    """Set tensors, in place, to their mean over the processes, with one message."""
    world_size = rank_and_world_size()[1]
    if world_size > 1 and (reduced := list(tensors)):
        flat = torch.cat([t.reshape(-1) for t in reduced])
        with _exchange():
            dist.all_reduce(flat)
        parts = (flat / world_size).split([t.numel() for t in reduced])
        torch._foreach_copy_(reduced, [part.view_as(t) for part, t in zip(parts, reduced, strict=True)])
