"""Minibatches that depend on the seed and the number of the step alone."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from aaekit.core.distributed import rank_and_world_size
from aaekit.errors import InputError

__all__ = ["Minibatches", "derived_seed"]


def derived_seed(*words: int) -> int:
    """A seed for a tuple of whole numbers below 2**32, the same on every machine.

    Tuples of the same length have different seeds; zeros at the end of a tuple make no difference.
    """
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)


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
        self.arrays, self.batch_size, self.random_state = list(arrays), batch_size, random_state
        self.steps_per_epoch = len(arrays[0]) // batch_size
        self._orders: dict[int, tuple[int, Tensor]] = {}

    def at(self, n_done: int, repeat: int = 0) -> list[Tensor]:
        """The rows of each array after so many steps; each `repeat` of a step has minibatches of its own."""
        epoch, position = divmod(n_done, self.steps_per_epoch)
        if self._orders.get(repeat, (-1,))[0] != epoch:
            words = (self.random_state, epoch, repeat) if repeat else (self.random_state, epoch)
            generator = torch.Generator().manual_seed(derived_seed(*words))
            self._orders[repeat] = epoch, torch.randperm(len(self.arrays[0]), generator=generator)
        rank, world_size = rank_and_world_size()
        first = position * self.batch_size
        chosen = self._orders[repeat][1][first + rank : first + self.batch_size : world_size]
        return [a.index_select(0, chosen.to(a.device)) for a in self.arrays]
