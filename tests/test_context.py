"""The mode of modules, and the statistics of batch normalisation."""

import pytest
import torch
from torch import nn

from aaekit.nn.context import (
    batch_norms,
    evaluating,
    frozen_batch_norm_statistics,
    update_batch_norm_statistics,
)


@pytest.mark.parametrize("was_training", [True, False])
def test_evaluating_and_frozen_statistics_restore_the_modules(was_training):
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, momentum=0.3), nn.Dropout(0.5))
    net.train(was_training)[2].eval()
    before = [m.training for m in net.modules()]
    with pytest.raises(RuntimeError, match="oops"), evaluating(net), frozen_batch_norm_statistics(net):
        assert not any(m.training for m in net.modules()) and net[1].momentum == 0.0
        raise RuntimeError("oops")
    assert [m.training for m in net.modules()] == before and net[1].momentum == 0.3


def test_batch_norms_are_those_of_all_depths():
    one, two = nn.BatchNorm1d(2), nn.BatchNorm2d(3)
    assert batch_norms(nn.Sequential(one, nn.Sequential(nn.ReLU(), two), nn.LayerNorm(2))) == [one, two]


@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_become_those_of_the_given_batches(momentum):
    torch.manual_seed(0)
    first, second = nn.BatchNorm1d(3, momentum=momentum), nn.BatchNorm1d(4, momentum=momentum)
    net = nn.Sequential(first, nn.Dropout(0.5), nn.Linear(3, 4), second).train()
    net(torch.randn(50, 3) * 7 - 2)  # what training saw
    batches = [torch.randn(40, 3) * (k + 1) + k for k in range(3)]
    update_batch_norm_statistics(net, iter(batches))
    assert torch.allclose(first.running_mean, torch.stack([b.mean(0) for b in batches]).mean(0), atol=1e-5)
    assert torch.allclose(first.running_var, torch.stack([b.var(0) for b in batches]).mean(0), atol=1e-4)
    seen = [net[2]((b - b.mean(0)) / (b.var(0, correction=0) + 1e-5).sqrt()) for b in batches]  # without dropout
    assert torch.allclose(second.running_mean, torch.stack([h.mean(0) for h in seen]).mean(0), atol=1e-4)
    assert not any(m.training for m in net.modules()) and first.momentum == second.momentum == momentum


def test_without_batch_normalisation_there_are_no_statistics_to_update():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU()).train()
    update_batch_norm_statistics(net, iter(()))
    assert not net.training
