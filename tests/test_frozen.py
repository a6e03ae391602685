"""Modules that are fixed for a block."""

import pytest
import torch
from torch import nn

from aaekit.core.frozen import frozen


def test_frozen_gives_back_what_was_trainable_even_after_an_error():
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    other.bias.requires_grad_(False)
    with pytest.raises(RuntimeError, match="oops"), frozen(one, other):
        assert not one(torch.rand(2, 3)).requires_grad and not other(torch.rand(2, 3)).requires_grad
        raise RuntimeError("oops")
    assert all(p.requires_grad for p in one.parameters())
    assert other.weight.requires_grad and not other.bias.requires_grad
