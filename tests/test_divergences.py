"""Contracts of every divergence, and the properties of each."""

import math
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from aaekit import divergences
from aaekit.divergences import (
    GAN,
    MMD,
    AdversarialDivergence,
    Divergence,
    LeastSquares,
    SampleDivergence,
    SlicedWasserstein,
    Wasserstein,
    mean_probability,
)
from aaekit.errors import InputError

ADVERSARIAL = [name for name, cls in divergences.DIVERGENCES.items() if issubclass(cls, AdversarialDivergence)]
SAMPLE = [name for name in divergences.DIVERGENCES if name not in ADVERSARIAL]


@pytest.fixture(params=divergences.DIVERGENCES)
def divergence(request: pytest.FixtureRequest) -> Divergence:
    torch.manual_seed(0)
    return divergences.make(request.param)


def critic_for(divergence: Divergence, d: int = 2) -> nn.Module | None:
    if isinstance(divergence, SampleDivergence):
        return None
    return nn.Sequential(nn.Linear(d, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))


def critic_loss(divergence: Divergence, critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """What a critic minimises on samples: the loss on its scores, and the penalty."""
    assert isinstance(divergence, AdversarialDivergence)
    d_real, d_fake = critic(real.detach()).float(), critic(fake.detach()).float()
    return divergence.critic_loss(d_real, d_fake) + divergence.penalty(critic, real, fake)


def generator_loss(divergence: Divergence, critic: nn.Module | None, real: Tensor, fake: Tensor) -> Tensor:
    """What a generator minimises on samples."""
    if isinstance(divergence, SampleDivergence):
        return divergence.distance(real, fake)
    assert isinstance(divergence, AdversarialDivergence) and critic is not None
    return divergence.generator_loss(critic(fake).float())


class Zero(nn.Module):
    """A critic at chance."""

    def forward(self, x: Tensor) -> Tensor:
        return 0 * x.flatten(1).sum(1, keepdim=True)


class Perfect(nn.Module):
    """A critic for samples whose side is the sign of the first column."""

    def forward(self, x: Tensor) -> Tensor:
        return 100 * x[:, :1].sign()


# every divergence


def test_losses_are_float32_scalars_and_gradients_reach_the_fake_samples(divergence: Divergence) -> None:
    critic = critic_for(divergence)
    real, fake = torch.randn(16, 2), torch.randn(16, 2).requires_grad_()
    loss = generator_loss(divergence, critic, real, fake)
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    loss.backward()
    assert fake.grad is not None
    assert fake.grad.isfinite().all()
    assert fake.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_critics_loss_moves_the_critic_alone(name: str) -> None:
    divergence = divergences.make(name)
    critic = critic_for(divergence)
    assert critic is not None
    real, fake = torch.randn(16, 2).requires_grad_(), torch.randn(16, 2).requires_grad_()
    loss = critic_loss(divergence, critic, real, fake)
    assert loss.shape == ()
    loss.backward()
    assert real.grad is None
    assert fake.grad is None
    weights = [p for p in critic.parameters() if p.ndim == 2]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in weights)


def test_critics_make_as_many_steps_as_the_divergence_says() -> None:
    steps = {name: cast(AdversarialDivergence, divergences.make(name)).critic_steps for name in ADVERSARIAL}
    assert steps == {"gan": 1, "least_squares": 1, "wasserstein": 5}
    assert Wasserstein(critic_steps=2).critic_steps == 2


def test_sides_of_different_sizes(divergence: Divergence) -> None:
    critic = critic_for(divergence)
    for n, m in ((8, 13), (13, 8)):
        real, fake = torch.randn(n, 2), torch.randn(m, 2)
        assert generator_loss(divergence, critic, real, fake).isfinite()
        if critic is not None:
            assert critic_loss(divergence, critic, real, fake).isfinite()


def test_images_will_do(divergence: Divergence) -> None:
    critic = nn.Sequential(nn.Conv2d(1, 4, 3), nn.LeakyReLU(), nn.Flatten(), nn.Linear(16, 1))
    real, fake = torch.rand(6, 1, 4, 4), torch.rand(6, 1, 4, 4)
    assert generator_loss(divergence, critic, real, fake).shape == ()
    if isinstance(divergence, AdversarialDivergence):
        assert critic_loss(divergence, critic, real, fake).shape == ()


def test_losses_can_be_computed_without_gradients(divergence: Divergence) -> None:
    critic = critic_for(divergence)
    real, fake = torch.randn(8, 2), torch.randn(8, 2)
    with torch.no_grad():
        assert generator_loss(divergence, critic, real, fake).isfinite()
        if critic is not None:
            assert critic_loss(divergence, critic, real, fake).isfinite()


def test_bfloat16_changes_little(divergence: Divergence) -> None:
    critic = critic_for(divergence)
    real, fake = torch.randn(64, 2), (torch.randn(64, 2) + 1).requires_grad_()

    def losses() -> list[Tensor]:
        torch.manual_seed(1)
        each = [generator_loss(divergence, critic, real, fake)]
        return each if critic is None else [*each, critic_loss(divergence, critic, real, fake)]

    full = losses()
    with torch.autocast("cpu", torch.bfloat16):
        half = losses()
    for a, b in zip(full, half, strict=True):
        assert b.dtype == torch.float32
        # without a critic nothing is rounded at all
        assert a.item() == pytest.approx(
            b.item(), rel=0 if critic is None else 0.05, abs=1e-7 if critic is None else 0.02
        )
        b.backward()
    assert fake.grad is not None
    assert fake.grad.isfinite().all()


@pytest.mark.parametrize("bf16", [False, True])
def test_training_brings_two_clouds_together(divergence: Divergence, bf16: bool) -> None:
    if bf16 and not isinstance(divergence, GAN | Wasserstein):
        pytest.skip("two cases of bfloat16 will do: one of a loss on scores, one of a second derivative")
    torch.manual_seed(3)
    goal, width = torch.tensor([1.0, -0.7]), torch.tensor([0.5, 1.5])
    shift, log_scale = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    critic = critic_for(divergence)
    g = torch.optim.Adam([shift, log_scale], lr=0.05, betas=(0.0, 0.9), fused=True)
    d = torch.optim.Adam(critic.parameters(), lr=0.05, betas=(0.0, 0.9), fused=True) if critic else None
    losses, late, steps = [], [], 400
    for step in range(steps):
        real = goal + width * torch.randn(256, 2)
        fake = shift + log_scale.exp() * torch.randn(256, 2)
        for optimizer in filter(None, (g, d)):
            optimizer.param_groups[0]["lr"] *= 0.99
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            for _ in range(3 if isinstance(divergence, Wasserstein) else 1):
                if critic and d:
                    d.zero_grad()
                    critic_loss(divergence, critic, real, fake).backward()
                    d.step()
            losses.append(generator_loss(divergence, critic, real, fake))
        g.zero_grad()
        losses[-1].backward()
        g.step()
        if step >= steps - 50:
            late.append(torch.cat([shift, log_scale.exp()]).detach())
    reached = torch.stack(late).mean(0)
    # each began 0.5 or more away
    assert torch.allclose(reached, torch.cat([goal, width]), atol=0.4 if bf16 else 0.25), reached
    if isinstance(divergence, SampleDivergence):
        assert losses[-1] < losses[0] / 5


# adversarial ones


def test_the_losses_at_chance() -> None:
    real, fake = torch.randn(8, 3), torch.randn(8, 3)
    floors = {GAN: (2 * math.log(2), math.log(2)), LeastSquares: (1, 0.5), Wasserstein: (10, 0)}
    for cls, (critic, generator) in floors.items():
        assert critic_loss(cls(), Zero(), real, fake).item() == pytest.approx(critic, abs=1e-4)
        assert generator_loss(cls(), Zero(), real, fake).item() == pytest.approx(generator, abs=1e-6)


def test_a_perfect_critic_has_no_loss_and_the_generator_all_of_it() -> None:
    real, fake = torch.rand(8, 2) + 0.1, -torch.rand(8, 2) - 0.1
    assert critic_loss(GAN(), Perfect(), real, fake).item() == pytest.approx(0, abs=1e-6)
    assert generator_loss(GAN(), Perfect(), real, fake).item() == pytest.approx(100)
    assert critic_loss(GAN(), Perfect(), fake, real).item() == pytest.approx(200)


def test_gan_is_binary_cross_entropy() -> None:
    d_real, d_fake = torch.randn(5, 1), torch.randn(9, 1)
    bce = nn.BCEWithLogitsLoss()
    expected = bce(d_real, torch.ones(5, 1)) + bce(d_fake, torch.zeros(9, 1))
    assert GAN().critic_loss(d_real, d_fake).item() == pytest.approx(expected.item(), rel=1e-5)
    expected = bce(d_fake, torch.ones(9, 1))
    assert GAN().generator_loss(d_fake).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("slope", [0.5, 1.0, 3.0])
def test_the_penalty_is_on_the_slope(slope: float) -> None:
    critic = nn.Linear(2, 1, bias=False)
    critic.weight.data = torch.tensor([[0.6, 0.8]]) * slope
    same = torch.randn(7, 2)
    loss = critic_loss(Wasserstein(gradient_penalty=4), critic, same, same)
    assert loss.item() == pytest.approx(4 * (slope - 1) ** 2, abs=1e-5)
    loss.backward()
    assert critic.weight.grad is not None
    expected = 4 * 2 * (slope - 1) * torch.tensor([[0.6, 0.8]])
    assert torch.allclose(critic.weight.grad, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["gan", "least_squares"])
def test_others_have_no_penalty(name: str) -> None:
    critic, real, fake = nn.Linear(2, 1), torch.randn(7, 2), torch.randn(7, 2)
    assert cast(AdversarialDivergence, divergences.make(name)).penalty(critic, real, fake) == 0


def test_a_critic_of_slope_one_measures_the_shift() -> None:
    critic = nn.Linear(2, 1)
    critic.weight.data = torch.tensor([[1.0, 0.0]])
    fake = torch.randn(9, 2)
    loss = critic_loss(Wasserstein(), critic, fake + torch.tensor([3.0, 0.0]), fake)
    assert -loss.item() == pytest.approx(3, abs=1e-4)


def test_mean_probability_is_a_half_at_chance() -> None:
    real, fake = mean_probability(torch.zeros(4, 1), torch.zeros(6, 1))
    assert real.item() == fake.item() == 0.5
    real, fake = mean_probability(torch.full((4, 1), 9.0, dtype=torch.bfloat16), torch.full((4, 1), -9.0))
    assert real.item() > 0.999
    assert fake.item() < 0.001
    assert real.dtype == torch.float32


# sample ones


@pytest.mark.parametrize("name", SAMPLE)
@pytest.mark.parametrize("d", [2, 20])
def test_a_larger_shift_is_a_larger_distance(name: str, d: int) -> None:
    torch.manual_seed(0)
    divergence = cast(SampleDivergence, divergences.make(name))
    real = torch.randn(500, d)
    losses = [divergence.distance(real, torch.randn(500, d) + s).item() for s in (0.0, 0.5, 1.0, 2.0)]
    assert losses == sorted(losses)
    assert losses[0] < 0.1 * losses[2]
    wider = divergence.distance(real, 2 * torch.randn(500, d)).item()
    assert wider > 5 * abs(losses[0])


def test_mmd_is_unbiased() -> None:
    torch.manual_seed(0)
    values = torch.stack([MMD().distance(torch.randn(20, 3), torch.randn(20, 3)) for _ in range(200)])
    assert values.mean().abs() < 4 * values.std() / math.sqrt(200)
    assert values.min() < 0


def test_mmd_by_hand() -> None:
    """Two points each, one scale: k(r) = 4 / (4 + r^2)."""
    real, fake = torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([[0.0, 1.0], [2.0, 1.0]])
    k = lambda r2: 4 / (4 + r2)
    expected = k(4) + k(4) - 2 * (2 * k(1) + 2 * k(5)) / 4
    assert MMD(scales=[1]).distance(real, fake).item() == pytest.approx(expected, rel=1e-5)


def test_sliced_wasserstein_is_zero_for_equal_samples_in_any_order() -> None:
    real = torch.randn(30, 5)
    assert SlicedWasserstein().distance(real, real[torch.randperm(30)]).item() < 1e-12


def test_sliced_wasserstein_of_a_shift() -> None:
    torch.manual_seed(0)
    real = torch.randn(50, 4)
    loss = SlicedWasserstein(5000).distance(real, real + torch.tensor([2.0, 0.0, 0.0, 0.0]))
    assert loss.item() == pytest.approx(4 / 4, rel=0.1)


def test_sliced_wasserstein_hardly_depends_on_the_sizes() -> None:
    torch.manual_seed(0)
    real, fake = torch.randn(2000, 3), torch.randn(500, 3)
    assert SlicedWasserstein().distance(real, fake) < 0.03
    assert SlicedWasserstein().distance(real[:500].repeat(2, 1), real[:500]) < 1e-3


# make


def test_a_new_divergence_is_a_few_lines() -> None:
    class MomentMatching(SampleDivergence):
        def distance(self, real: Tensor, fake: Tensor) -> Tensor:
            return (real.mean(0) - fake.mean(0)).square().sum() + (real.std(0) - fake.std(0)).square().sum()

    class Hinge(AdversarialDivergence):
        def critic_loss(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
            return (1 - d_real).clamp_min(0).mean() + (1 + d_fake).clamp_min(0).mean()

        def generator_loss(self, d_fake: Tensor) -> Tensor:
            return -d_fake.mean()

    same = torch.randn(9, 2)
    assert generator_loss(divergences.make(MomentMatching), None, same, same) == 0
    assert critic_loss(divergences.make(Hinge()), Zero(), same, same) == 2
    assert repr(MomentMatching()) == "MomentMatching()" and repr(divergences.make(Hinge)) == "Hinge()"


def test_make_and_repr() -> None:
    for name, cls in divergences.DIVERGENCES.items():
        assert type(divergences.make(name)) is cls
        assert repr(divergences.make(cls)).startswith(f"{cls.__name__}(")
    assert repr(Wasserstein(gradient_penalty=3)) == "Wasserstein(gradient_penalty=3, critic_steps=5)"
    mmd = MMD(scales=[1])
    assert divergences.make(mmd) is mmd


@pytest.mark.parametrize("cls", [Divergence, AdversarialDivergence, SampleDivergence])
def test_a_divergence_without_a_loss_is_none(cls: type) -> None:
    with pytest.raises((TypeError, InputError), match="abstract|derive from one of these two"):
        divergences.make(cls)


def test_mistakes_are_named() -> None:
    with pytest.raises(
        InputError, match="divergence: expected 'gan' or .*, got 'waserstein'.*id you mean 'wasserstein'"
    ):
        divergences.make("waserstein")
    with pytest.raises(InputError, match="divergence: expected a name, an AdversarialDivergence or .*, got 3: "):
        divergences.make(cast(Any, 3))
    with pytest.raises(InputError, match="gradient_penalty: expected a number of at least 0, got -1"):
        Wasserstein(gradient_penalty=-1)
    with pytest.raises(InputError, match="critic_steps: expected a whole number of at least 1, got 0"):
        Wasserstein(critic_steps=0)
    with pytest.raises(InputError, match="scales: expected one or more numbers above 0"):
        MMD(scales=[])
    with pytest.raises(InputError, match="n_projections: expected a whole number of at least 1, got 0"):
        SlicedWasserstein(0)
