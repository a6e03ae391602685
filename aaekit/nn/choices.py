"""Values of a row that are choices: yes or no, or one of several categories, as the columns of tables are."""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["UNIT", "Groups", "expected_row", "mixed_error"]

Groups = tuple[tuple[int, int], ...]  # (first, behind the last) value of each choice; a yes or no has one value

UNIT = 2.0  # what a chosen value is in a scaled row; one that is not chosen is 0


def expected_row(out: Tensor, groups: Groups) -> Tensor:
    """Return the row that a decoder's output `(n, n_values)` means: probabilities of choices, numbers as they are."""
    at = _indices(groups, out.shape[1], out.device)
    row = out.clone()
    row[:, at.yes] = UNIT * out[:, at.yes].sigmoid()
    row[:, at.several] = UNIT * _log_softmax(out[:, at.several], at).exp()
    return row


def mixed_error(out: Tensor, x: Tensor, groups: Groups) -> Tensor:
    """Return half the squared error of numbers and the cross entropy of choices, summed over rows `(n, n_values)`.

    A cross entropy is divided by twice that of a uniform guess, so that each column counts like a standardised number,
    of which half the squared error of its mean is 1/2.
    """
    at = _indices(groups, out.shape[1], out.device)
    numbers = 0.5 * F.mse_loss(out[:, at.numbers], x[:, at.numbers], reduction="sum")
    target = (x / UNIT).clamp(0, 1)
    of_yes = F.binary_cross_entropy_with_logits(out[:, at.yes], target[:, at.yes], reduction="sum") / (2 * math.log(2))
    of_several = -(target[:, at.several] * _log_softmax(out[:, at.several], at) / (2 * at.sizes.log()[at.group])).sum()
    return numbers + of_yes + of_several


class _Indices(NamedTuple):
    """Values that are numbers, a yes or no, or of several; the number of the choice of each of these; their sizes."""

    numbers: Tensor
    yes: Tensor
    several: Tensor
    group: Tensor
    sizes: Tensor


@lru_cache(maxsize=32)  # asked for at each step
def _indices(groups: Groups, n_values: int, device: torch.device) -> _Indices:
    """The indices of a row's values by what they are."""
    several = [(first, last) for first, last in groups if last - first > 1]
    chosen = {value for first, last in groups for value in range(first, last)}
    lists = (
        [value for value in range(n_values) if value not in chosen],
        [first for first, last in groups if last - first == 1],
        [value for first, last in several for value in range(first, last)],
        [k for k, (first, last) in enumerate(several) for _ in range(first, last)],
    )
    sizes = torch.tensor([float(last - first) for first, last in several], device=device)
    numbers, yes, several_values, group = (torch.tensor(indices, dtype=torch.long, device=device) for indices in lists)
    return _Indices(numbers, yes, several_values, group, sizes)


def _log_softmax(x: Tensor, at: _Indices) -> Tensor:
    """The logarithms of probabilities within groups of values `(n, n_values)`."""
    n_groups, of_value = len(at.sizes), at.group.expand(len(x), -1)
    top = x.new_full((len(x), n_groups), -math.inf).scatter_reduce(1, of_value, x.detach(), "amax")
    total = x.new_zeros(len(x), n_groups).index_add(1, at.group, (x - top[:, at.group]).exp())
    return x - (total.log() + top)[:, at.group]
