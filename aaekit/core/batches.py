"""Minibatches that depend on the seed and the number of the step alone."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from aaekit.core.distributed import rank_and_world_size
from aaekit.errors import InputError

__all__ = ["Minibatches", "derived_seed", "use_own_noise"]

MAX_SHARE = 0.5  # of the free memory of a graphics card that rows may take


def derived_seed(*words: int) -> int:
    """A seed for a tuple of whole numbers below 2**32, the same on every machine.

    Tuples of the same length have different seeds; zeros at the end of a tuple make no difference.
    """
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)


def use_own_noise(random_state: int, n_done: int) -> None:
    """Let each of several processes draw random numbers of its own, which depend on the number of the step alone."""
    rank, world_size = rank_and_world_size()
    if world_size > 1:
        torch.manual_seed(derived_seed(random_state, n_done, rank, 1))


class Minibatches:
    """Endless shuffled minibatches of aligned arrays; of several processes each takes its share of every minibatch.

    Parameters
    ----------
    arrays : sequence of Tensor of shape (n, ...)
        Aligned by row.
    batch_size : int
        Rows in a minibatch. What an epoch leaves over comes in the order of another epoch.
    random_state : int
        Seed of the order.

    Raises
    ------
    InputError
        When a minibatch has fewer rows than there are processes.
    """

    def __init__(self, arrays: Sequence[Tensor], batch_size: int, random_state: int) -> None:
        if batch_size < (world_size := rank_and_world_size()[1]):
            raise InputError(
                f"batch_size: expected at least {world_size}, a row for each process, got {batch_size}: "
                "choose a larger one, or start fewer processes"
            )
        self.arrays: list[Tensor] = list(arrays)
        self.batch_size: int = batch_size
        self.random_state: int = random_state
        self.steps_per_epoch: int = len(arrays[0]) // batch_size
        self._device: torch.device = self.arrays[0].device
        self._orders: dict[int, tuple[int, Tensor]] = {}

    def to(self, device: torch.device) -> None:
        """Let minibatches be on a device, and the rows, too, if it has room for them."""
        n_bytes = sum(a.nbytes for a in self.arrays if a.device != device)
        if device.type != "cuda" or n_bytes <= MAX_SHARE * torch.cuda.mem_get_info(device)[0]:
            self.arrays = [a.to(device) for a in self.arrays]
        self._device = device
        self._orders = {}

    def at(self, n_done: int, repeat: int = 0) -> list[Tensor]:
        """The rows of each array after so many steps; each `repeat` of a step has minibatches of its own."""
        epoch, position = divmod(n_done, self.steps_per_epoch)
        if self._orders.get(repeat, (-1,))[0] != epoch:
            words = (self.random_state, epoch, repeat) if repeat else (self.random_state, epoch)
            generator = torch.Generator().manual_seed(derived_seed(*words))
            order = torch.randperm(len(self.arrays[0]), generator=generator)
            self._orders[repeat] = epoch, order.to(self.arrays[0].device)
        rank, world_size = rank_and_world_size()
        first = position * self.batch_size
        chosen = self._orders[repeat][1][first + rank : first + self.batch_size : world_size]
        if self.arrays[0].device == self._device:
            return [a.index_select(0, chosen) for a in self.arrays]
        return [self._sent(a, chosen) for a in self.arrays]

    def _sent(self, array: Tensor, chosen: Tensor) -> Tensor:
        """Rows of the main memory, sent to the device while it computes an earlier step."""
        shape = (len(chosen), *array.shape[1:])
        rows = torch.empty(shape, dtype=array.dtype, pin_memory=self._device.type == "cuda")
        return torch.index_select(array, 0, chosen, out=rows).to(self._device, non_blocking=True)
