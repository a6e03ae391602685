"""Values of a row that are choices: yes or no, or one of several categories, as the columns of tables are."""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["UNIT", "Groups", "expected_row", "mixed_error"]

Groups = tuple[tuple[int, int], ...]  # (first, behind the last) value of each choice; a yes or no has one value

UNIT = 2.0  # what a chosen value is in a scaled row; one that is not chosen is 0


def expected_row(out: Tensor, groups: Groups) -> Tensor:
    """Return the row that a decoder's output `(n, n_values)` means: probabilities of choices, numbers as they are."""
    yes, several, group = _indices(groups, out.device)
    row = out.clone()
    row[:, yes] = UNIT * out[:, yes].sigmoid()
    row[:, several] = UNIT * _log_softmax(out[:, several], group).exp()
    return row


def mixed_error(out: Tensor, x: Tensor, groups: Groups) -> Tensor:
    """Return half the squared error of numbers and the cross entropy of choices, summed over rows `(n, n_values)`.

    A cross entropy is divided by twice that of a uniform guess, so that each column counts like a standardised number,
    of which half the squared error of its mean is 1/2.
    """
    yes, several, group = _indices(groups, out.device)
    is_number: Tensor = torch.ones(out.shape[1], dtype=torch.bool, device=out.device)
    is_number[torch.cat([yes, several])] = False
    numbers = 0.5 * F.mse_loss(out[:, is_number], x[:, is_number], reduction="sum")
    target = (x / UNIT).clamp(0, 1)
    of_yes = F.binary_cross_entropy_with_logits(out[:, yes], target[:, yes], reduction="sum") / (2 * math.log(2))
    sizes = torch.bincount(group).float() if len(group) else out.new_ones(0)
    of_several = -(target[:, several] * _log_softmax(out[:, several], group) / (2 * sizes.log()[group])).sum()
    return numbers + of_yes + of_several


@lru_cache(maxsize=32)  # asked for at each step
def _indices(groups: Groups, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The values that are a yes or no; those of several, and the number of the choice of each."""
    several = [(first, last) for first, last in groups if last - first > 1]
    lists = (
        [first for first, last in groups if last - first == 1],
        [value for first, last in several for value in range(first, last)],
        [k for k, (first, last) in enumerate(several) for _ in range(first, last)],
    )
    yes, values, group = (torch.tensor(indices, dtype=torch.long, device=device) for indices in lists)
    return yes, values, group


def _log_softmax(x: Tensor, group: Tensor) -> Tensor:
    """The logarithms of probabilities within groups of values `(n, n_values)`."""
    n_groups = int(group.max()) + 1 if len(group) else 0
    of_value = group.expand(len(x), -1)
    top = x.new_full((len(x), n_groups), -math.inf).scatter_reduce(1, of_value, x.detach(), "amax")
    total = x.new_zeros(len(x), n_groups).index_add(1, group, (x - top[:, group]).exp())
    return x - (total.log() + top)[:, group]
