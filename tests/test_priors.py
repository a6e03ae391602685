"""Contracts of every prior, and the properties of each."""

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, distributions

from aaekit import priors
from aaekit.errors import InputError
from aaekit.priors import (
    Categorical,
    FromCallable,
    FromDistribution,
    Gaussian,
    GaussianMixtureRing,
    Prior,
    SwissRoll,
    Uniform,
)

N = 20_000

PRIORS_BY_NAME: dict[str, Callable[[], Prior]] = {
    "gaussian": lambda: Gaussian(3),
    "wide gaussian": lambda: Gaussian(2, scale=2.5),
    "mixture": GaussianMixtureRing,
    "small mixture": lambda: GaussianMixtureRing(n_components=2, radius=1.0, radial_std=0.3, tangential_std=0.2),
    "one petal": lambda: GaussianMixtureRing(n_components=1),
    "mixture in 4-D": lambda: GaussianMixtureRing(n_dims=4, n_components=5),
    "swiss roll": SwissRoll,
    "short roll": lambda: SwissRoll(n_components=3, turns=0.7, scale=1.0, noise=0.2),
    "uniform": lambda: Uniform(3),
    "shifted uniform": lambda: Uniform(2, low=0.5, high=2.0),
    "categorical": lambda: Categorical(7),
    "uneven categorical": lambda: Categorical(4, probabilities=[1, 0, 3, 4]),
    "distribution": lambda: FromDistribution(distributions.Laplace(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 2.0]))),
    "scalar distribution": lambda: FromDistribution(distributions.Exponential(2.0), n_dims=3),
    "matrix distribution": lambda: FromDistribution(
        distributions.Independent(distributions.Normal(torch.arange(6.0).view(2, 3), 1.0), 1)
    ),
    "callable": lambda: FromCallable(lambda n: torch.randn(n, 2), n_dims=2),
}
CONDITIONAL = [name for name, make in PRIORS_BY_NAME.items() if make().n_components is not None]


@pytest.fixture(params=PRIORS_BY_NAME)
def prior(request: pytest.FixtureRequest) -> Prior:
    torch.manual_seed(0)
    return PRIORS_BY_NAME[request.param]()


@pytest.fixture(params=CONDITIONAL)
def conditional(request: pytest.FixtureRequest) -> Prior:
    torch.manual_seed(0)
    return PRIORS_BY_NAME[request.param]()


# every prior


@pytest.mark.parametrize("n", [0, 1, 13])
def test_samples_are_float32_rows(prior: Prior, n: int) -> None:
    z = prior.sample(n)
    assert z.shape == (n, prior.n_dims)
    assert z.dtype == torch.float32
    assert z.isfinite().all()
    assert not z.requires_grad


def test_a_seed_repeats_the_draw(prior: Prior) -> None:
    torch.manual_seed(5)
    first, second = prior.sample(64), prior.sample(64)
    torch.manual_seed(5)
    assert torch.equal(prior.sample(64), first)
    assert not torch.equal(first, second)


def test_moments_are_the_closed_forms(prior: Prior) -> None:
    mean, variance = prior.mean, prior.variance
    if mean is None or variance is None:
        assert isinstance(prior, FromCallable)
        return
    assert mean.shape == variance.shape == (prior.n_dims,)
    z = prior.sample(N)
    standard_error = (z.var(0) / N).sqrt()
    fourth = (z - z.mean(0)).pow(4).mean(0)
    assert ((z.mean(0) - mean).abs() <= 5 * standard_error).all()
    assert ((z.var(0) - variance).abs() <= 5 * (fourth / N).sqrt() + 1e-6).all()


def test_the_device_is_obeyed(prior: Prior) -> None:
    assert prior.sample(2, device=torch.device("cpu")).device.type == "cpu"


def test_repr_names_class_and_size(prior: Prior) -> None:
    assert type(prior).__name__ in repr(prior)
    assert "object at" not in repr(prior) or isinstance(prior, FromCallable)
    assert "_bounds" not in repr(prior)


def test_make_returns_a_prior_as_it_is(prior: Prior) -> None:
    assert priors.make(prior, prior.n_dims) is prior
    with pytest.raises(InputError, match=f"{prior.n_dims + 1} dimensions, got .* of {prior.n_dims}"):
        priors.make(prior, prior.n_dims + 1)


# densities


@pytest.mark.parametrize(
    "name", ["wide gaussian", "mixture", "small mixture", "swiss roll", "short roll", "shifted uniform", "distribution"]
)
def test_density_integrates_to_one_and_to_the_mean(name: str) -> None:
    prior = PRIORS_BY_NAME[name]()
    assert prior.mean is not None
    # a smooth density needs a step of half its noise, an edge or a kink a finer one, a long tail a wide grid
    half, step = {"distribution": (24, 0.08), "wide gaussian": (15, 0.25), "shifted uniform": (3, 0.01)}.get(
        name, (4, 0.05)
    )
    axis = torch.arange(-half, half, step) + step / 2
    z = torch.cartesian_prod(axis, axis)
    p = prior.log_prob(z).double().exp() * step**2
    mass, centre = p.sum(), p @ z.double()
    assert mass.item() == pytest.approx(1, abs=5e-3)
    assert torch.allclose(centre.float(), prior.mean, atol=2e-2)


@pytest.mark.parametrize("name", ["gaussian", "mixture in 4-D", "uniform", "categorical", "uneven categorical"])
def test_mean_log_density_is_minus_the_entropy(name: str) -> None:
    entropy = {
        "gaussian": 3 * 0.5 * math.log(2 * math.pi * math.e),
        # well-separated petals: of the label, along and across a petal, and of the two dimensions beyond
        "mixture in 4-D": math.log(5) + 4 * 0.5 * math.log(2 * math.pi * math.e) + math.log(0.5 * 0.1),
        "uniform": 3 * math.log(2),
        "categorical": math.log(7),
        "uneven categorical": -sum(p * math.log(p) for p in (1 / 8, 3 / 8, 4 / 8)),
    }
    torch.manual_seed(0)
    prior = PRIORS_BY_NAME[name]()
    density = prior.log_prob(prior.sample(N))
    assert density.shape == (N,)
    assert density.mean().item() == pytest.approx(-entropy[name], abs=0.03)


def test_density_is_zero_outside_the_cube_and_for_a_class_never_drawn() -> None:
    assert Uniform(2).log_prob(torch.tensor([[0.0, 1.01], [-2.0, 0.0]])).eq(-math.inf).all()
    assert Categorical(2, [1, 0]).log_prob(torch.eye(2)).tolist() == [0, -math.inf]


def test_a_prior_that_can_only_be_sampled_has_no_density() -> None:
    with pytest.raises(NotImplementedError, match="only be sampled"):
        PRIORS_BY_NAME["callable"]().log_prob(torch.zeros(1, 2))


# classes


def component_of(prior: Prior, z: Tensor) -> Tensor:
    """The component (n,) that a code belongs to, by geometry alone."""
    if isinstance(prior, Categorical):
        return z.argmax(1)
    assert prior.n_components
    if isinstance(prior, GaussianMixtureRing):
        angle = 2 * math.pi * torch.arange(prior.n_components) / prior.n_components
        return torch.cdist(z[:, :2], prior.radius * torch.stack([angle.cos(), angle.sin()], 1)).argmin(1)
    assert isinstance(prior, SwissRoll)
    position = torch.linspace(0, 1, 2000)
    nearest = torch.cdist(z, prior.at(position)).argmin(1)
    return (position[nearest] * prior.n_components).long().clamp_max(prior.n_components - 1)


def test_a_label_lands_in_its_own_component(conditional: Prior) -> None:
    K = conditional.n_components
    assert K
    labels = torch.arange(K).repeat_interleave(500)
    component = component_of(conditional, conditional.sample(len(labels), labels))
    # arcs touch, so noise carries some codes next door, and near the roll's centre everything is close
    least = 0.75 if isinstance(conditional, SwissRoll) else 0.97
    for k in range(K):
        assert (component[labels == k] == k).float().mean() > least


def test_minus_one_draws_from_all_and_as_often(conditional: Prior) -> None:
    assert conditional.n_components
    labels = torch.full((N,), -1)
    share = component_of(conditional, conditional.sample(N, labels)).bincount(minlength=conditional.n_components) / N
    expected = getattr(conditional, "probabilities", [1 / conditional.n_components] * conditional.n_components)
    assert torch.allclose(share, torch.tensor(expected), atol=0.025)


def test_labels_and_minus_one_mix(conditional: Prior) -> None:
    labels = torch.full((4000,), -1)
    labels[::2] = 0
    component = component_of(conditional, conditional.sample(4000, labels))
    assert (component[::2] == 0).float().mean() > 0.75
    if conditional.n_components != 1:
        assert (component[1::2] == 0).float().mean() < 0.7


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (lambda K: torch.tensor([0, K]), "got 0 to"),
        (lambda K: torch.tensor([0, -2]), "got -2 to 0"),
        (lambda K: torch.tensor([0]), "2 integer labels"),
        (lambda K: torch.zeros(2, 1, dtype=torch.int64), "2 integer labels"),
        (lambda K: torch.zeros(2), "float32"),
    ],
)
def test_wrong_labels_are_refused(conditional: Prior, labels: Callable[[int | None], Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        conditional.sample(2, labels(conditional.n_components))


def test_labels_are_refused_without_components(prior: Prior) -> None:
    if prior.n_components is None:
        with pytest.raises(InputError, match="no components"):
            prior.sample(2, torch.tensor([0, 1]))


# each alone


def test_petals_are_long_outwards() -> None:
    torch.manual_seed(0)
    prior = GaussianMixtureRing(n_components=8, radius=3, radial_std=0.6, tangential_std=0.15)
    z = prior.sample(N, torch.full((N,), 3))
    angle = 3 * math.pi / 4
    outward = z @ torch.tensor([math.cos(angle), math.sin(angle)])
    across = z @ torch.tensor([-math.sin(angle), math.cos(angle)])
    assert outward.mean().item() == pytest.approx(3, abs=0.02)
    assert outward.std().item() == pytest.approx(0.6, abs=0.01)
    assert across.mean().item() == pytest.approx(0, abs=0.01)
    assert across.std().item() == pytest.approx(0.15, abs=0.005)


def test_equal_steps_along_the_roll_are_equally_long() -> None:
    roll = SwissRoll(turns=2.5, scale=4, noise=0.01)
    points = roll.at(torch.linspace(0, 1, 5001, dtype=torch.float64))
    steps = points.diff(dim=0).norm(dim=1)
    assert steps.max() < 1.001 * steps.min()
    radius = points.norm(dim=1)
    assert radius[0] == 0
    assert (radius.diff() > 0).all()
    assert radius[-1].item() == pytest.approx(4, rel=1e-4)
    turned = torch.atan2(points[1:, 1], points[1:, 0]).diff().remainder(2 * math.pi).sum() / (2 * math.pi)
    assert turned.item() == pytest.approx(2.5, abs=0.15)


def test_an_arc_is_filled_evenly_and_walked_in_order() -> None:
    torch.manual_seed(0)
    roll = SwissRoll(n_components=4, noise=1e-3)
    z = roll.sample(8000, torch.full((8000,), 2))
    position = torch.linspace(0, 1, 4001)
    nearest = position[torch.cdist(z, roll.at(position)).argmin(1)]
    share = torch.histc(nearest, bins=5, min=0.5, max=0.75) / 8000
    assert torch.allclose(share, torch.full((5,), 0.2), atol=0.03)
    walk = component_of(roll, roll.at(torch.linspace(0.01, 0.99, 50)))
    assert (walk.diff() >= 0).all()
    assert set(walk.tolist()) == {0, 1, 2, 3}


def test_one_hot_rows_are_one_hot() -> None:
    z = Categorical(5).sample(100)
    assert z.sum(1).eq(1).all()
    assert set(z.unique().tolist()) == {0, 1}
    assert torch.equal(Categorical(5).sample(5, torch.arange(5)), torch.eye(5))


def test_a_users_distribution() -> None:
    torch.manual_seed(0)
    covariance = torch.tensor([[1.0, 0.8], [0.8, 1.0]])
    user = distributions.MultivariateNormal(torch.tensor([3.0, -1.0]), covariance)
    prior = priors.make(user, 2)
    z = prior.sample(N)
    assert torch.allclose(z.T.cov(), covariance, atol=0.03)
    assert torch.equal(prior.log_prob(z[:9]), user.log_prob(z[:9]))


def test_a_scalar_distribution_is_repeated_and_a_double_one_made_float() -> None:
    prior = priors.make(distributions.Normal(torch.tensor(1.0, dtype=torch.float64), 2.0), 4)
    assert prior.n_dims == 4
    assert prior.sample(3).dtype == torch.float32
    assert torch.allclose(prior.log_prob(torch.ones(1, 4)).float(), -4 * torch.tensor(2 * math.sqrt(2 * math.pi)).log())


def test_moments_that_a_distribution_does_not_define_are_none() -> None:
    logit_normal = distributions.TransformedDistribution(
        distributions.Normal(torch.zeros(2), 1.0), [distributions.SigmoidTransform()]
    )
    assert priors.make(logit_normal, 2).mean is None


def test_a_users_function_may_return_an_array() -> None:
    rng = np.random.default_rng(0)
    prior = priors.make(lambda n: rng.normal(size=(n, 2)), 2)
    assert prior.sample(5).dtype == torch.float32
    with pytest.raises(InputError, match=r"shape \(5, 3\).*\(5, 2\)"):
        priors.make(lambda n: rng.normal(size=(n, 2)), 3).sample(5)


def test_a_new_prior_is_a_few_lines() -> None:
    class Laplace(Prior):
        def __init__(self, n_dims: int):
            self.n_dims = n_dims

        def draw(self, n: int, component: Tensor | None, device: torch.device | str) -> Tensor:
            return distributions.Laplace(0.0, 1.0).sample(torch.Size([n, self.n_dims])).to(device)

    prior = priors.make(Laplace, 3)
    assert prior.sample(4).shape == (4, 3)
    assert repr(prior) == "Laplace(n_dims=3)"


# make


@pytest.mark.parametrize("name", priors.PRIORS)
def test_names_make_their_class(name: str) -> None:
    prior = priors.make(name, 2)
    assert type(prior) is priors.PRIORS[name]
    assert prior.n_dims == 2


def test_components_reach_the_priors_that_have_them() -> None:
    assert priors.make("mixture", 3, n_components=4).n_components == 4
    assert priors.make("swiss_roll", 2, n_components=6).n_components == 6
    assert priors.make("categorical", 6).n_components == 6
    assert priors.make("gaussian", 2, n_components=4).n_components is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: priors.make("gausian", 2), "prior: expected 'gaussian' or .*, got 'gausian'.*id you mean 'gaussian'"),
        (lambda: priors.make("swiss_roll", 3), "prior: expected one of 3 dimensions, got .* of 2: make them equal"),
        (lambda: priors.make("mixture", 1), "n_dims: expected at least 2 .*, got 1: use more"),
        (lambda: priors.make(distributions.Normal(torch.zeros(3), 1.0), 2), "2 dimensions"),
        (lambda: priors.make(cast(Any, 3), 2), "prior: expected a name, .*, got 3: "),
        (lambda: Gaussian(2, scale=0), "^scale: expected a number above 0, got 0$"),
        (lambda: Gaussian(0), "^n_dims: expected a number above 0, got 0$"),
        (lambda: Uniform(2, low=1, high=1), "high - low: expected a number above 0"),
        (lambda: SwissRoll(noise=-1), "noise: expected a number above 0, got -1"),
        (lambda: GaussianMixtureRing(radial_std=math.nan), "radial_std: expected a number above 0, got nan"),
        (lambda: Categorical(3, [0.5, 0.5]), "3 probabilities"),
        (lambda: Categorical(2, [-1, 2]), "probabilities >= 0"),
        (lambda: Categorical(2, [0, 0]), "positive sum"),
    ],
)
def test_mistakes_are_named(make: Callable[[], Prior], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
