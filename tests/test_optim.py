"""Adam, equal to that of torch."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from aaekit.core.optim import Adam


def networks():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)), nn.Linear(4, 2)


def groups(nets):
    one, other = nets
    return [
        {"params": list(one.parameters()), "lr": 0.03, "betas": (0.5, 0.999)},
        {"params": list(other.parameters()), "lr": 0.002, "betas": (0.9, 0.999)},
    ]


def steps(nets, optimizer, at):
    """A step each; the second network and a bias have a gradient in some of them only."""
    one, other = nets
    for k in at:
        x = torch.randn(16, 5, generator=torch.Generator().manual_seed(k))
        loss = one(x).square().sum()
        if k % 3 == 1:
            loss = loss + other(x[:, :4]).sum()
        loss.backward()
        if k % 2:
            one[0].bias.grad = None
        optimizer.param_groups[0]["lr"] = 0.03 / (k + 1)
        optimizer.step()
        optimizer.zero_grad()
        assert all(p.grad is None for net in nets for p in net.parameters())


def weights(nets):
    return torch.cat([p.detach().flatten() for net in nets for p in net.parameters()])


def test_weights_are_those_of_torchs_adam_bit_for_bit():
    nets, torchs_nets = networks(), networks()
    steps(nets, Adam(groups(nets)), range(8))
    steps(torchs_nets, torch.optim.Adam(groups(torchs_nets), fused=True), range(8))
    assert torch.equal(weights(nets), weights(torchs_nets)) and not torch.equal(weights(nets), weights(networks()))


@pytest.mark.parametrize("after", [0, 1, 5])
def test_its_state_can_be_loaded_by_another_one(after):
    whole, first = networks(), networks()
    steps(whole, Adam(groups(whole)), range(8))
    first_part = Adam(groups(first))
    steps(first, first_part, range(after))
    again = Adam(groups(first))
    again.load_state_dict(first_part.state_dict())
    steps(first, again, range(after, 8))
    assert torch.equal(weights(first), weights(whole))


def test_its_state_can_be_loaded_by_torchs_adam():
    nets, torchs_nets = networks(), networks()
    first_part = Adam(groups(nets))
    steps(nets, first_part, range(3))
    for a, b in zip(torchs_nets, nets, strict=True):
        a.load_state_dict(b.state_dict())
    torchs = torch.optim.Adam(groups(torchs_nets), fused=True)
    torchs.load_state_dict({**torchs.state_dict(), **copy.deepcopy(first_part.state_dict())})
    steps(nets, first_part, range(3, 6))
    steps(torchs_nets, torchs, range(3, 6))
    assert torch.equal(weights(nets), weights(torchs_nets))


def test_training_loads_no_compiler():
    code = (
        "import sys, numpy as np; from aaekit import SemiSupervisedAAE;"
        "y = np.arange(60) % 3; X = np.random.default_rng(0).random((60, 16));"
        "SemiSupervisedAAE(max_steps=2, hidden=(8,)).fit(X, y);"
        "print([m for m in ('torch._dynamo', 'torch._inductor', 'lightning_fabric') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
