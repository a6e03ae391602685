"""Priors of codes: p(z), and p(z|y) for class-conditional ones.

A prior needs `n_dims` and `draw`; with `n_components` it is class-conditional: label k selects component k::

    class Laplace(Prior):
        def __init__(self, n_dims: int):
            self.n_dims = n_dims

        def draw(self, n, component, device):
            return torch.distributions.Laplace(0.0, 1.0).sample((n, self.n_dims)).to(device)

Source: Makhzani et al., *Adversarial Autoencoders*, arXiv:1511.05644, sections 2 and 2.3.
"""

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.distributions import Distribution

from aaekit.errors import InputError, nearest

__all__ = [
    "PRIORS",
    "Categorical",
    "FromCallable",
    "FromDistribution",
    "Gaussian",
    "GaussianMixtureRing",
    "Prior",
    "PriorSpec",
    "SwissRoll",
    "Uniform",
    "make",
]


class Prior(ABC):
    """A distribution over codes of `n_dims` dimensions.

    Attributes
    ----------
    n_dims : int
        Length of a code.
    n_components : int or None
        Number of classes that can be passed to `sample`; None if the prior has no classes.
    """

    n_dims: int
    n_components: int | None = None

    def sample(self, n: int, labels: Tensor | None = None, device: torch.device | str = "cpu") -> Tensor:
        """Draw `n` codes with torch's global random state.

        Parameters
        ----------
        n : int
            Number of codes.
        labels : int64 Tensor (n,), optional
            The component of each row; -1 for any. By default all rows are of any component.
        device : torch.device or str, default "cpu"
            Device of the codes. Labels on an accelerator are not checked for their range: reading them would stall the
            step.

        Returns
        -------
        Tensor (n, n_dims)

        Raises
        ------
        InputError
            If labels are given to a prior without components, are out of range, or are not of length `n`.
        """
        if self.n_components is None:
            if labels is not None:
                raise InputError(
                    f"prior: expected one with components for labels, got {self!r}, which has no components: "
                    "use 'mixture' or 'swiss_roll', or pass no labels"
                )
            return self.draw(n, None, device)
        component = self.any_component(n, device)
        if labels is not None:
            self._check_labels(n, labels)
            labels = labels.to(device)
            component = torch.where(labels < 0, component, labels)
        return self.draw(n, component, device)

    @abstractmethod
    def draw(self, n: int, component: Tensor | None, device: torch.device | str) -> Tensor:
        """Codes (n, n_dims) of the given components (n,), which are None if the prior has none."""

    def any_component(self, n: int, device: torch.device | str) -> Tensor:
        """The component (n,) of each row of unknown class; all are equally likely by default."""
        return torch.randint(self.n_components or 1, (n,), device=device)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density (n,) in nats of codes `z` (n, n_dims), over all components.

        Raises
        ------
        NotImplementedError
            If the prior can only be sampled.
        """
        raise NotImplementedError(f"expected a prior with a density, got {self!r}, which can only be sampled")

    @property
    def mean(self) -> Tensor | None:
        """Mean (n_dims,) over all components, or None if it is not known."""
        return None

    @property
    def variance(self) -> Tensor | None:
        """Variance (n_dims,) of each dimension over all components, or None if it is not known."""
        return None

    def _check_labels(self, n: int, labels: Tensor) -> None:
        if labels.shape != (n,) or labels.is_floating_point():
            raise InputError(f"labels: expected {n} integer labels, got {labels.dtype} of shape {tuple(labels.shape)}")
        if labels.device.type == "cpu" and n:
            low, high, K = int(labels.min()), int(labels.max()), self.n_components or 0
            if not -1 <= low <= high < K:
                raise InputError(
                    f"labels: expected -1 (any) or 0 to {K - 1}, got {low} to {high}: use a prior with more components"
                )

    def __repr__(self) -> str:
        public = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({public})"


class Gaussian(Prior):
    """N(0, scale^2 I)."""

    def __init__(self, n_dims: int, scale: float = 1.0):
        _require_positive(n_dims=n_dims, scale=scale)
        self.scale: float = scale
        self.n_dims: int = n_dims

    def draw(self, n: int, component: Tensor | None, device: torch.device | str) -> Tensor:
        return self.scale * torch.randn(n, self.n_dims, device=device)

    def log_prob(self, z: Tensor) -> Tensor:
        return _log_normal(z, self.scale).sum(1)

    @property
    def mean(self) -> Tensor:
        return torch.zeros(self.n_dims)

    @property
    def variance(self) -> Tensor:
        return torch.full((self.n_dims,), self.scale**2)


class GaussianMixtureRing(Prior):
    """A mixture of elongated Gaussians on a ring, like petals, one per class (arXiv:1511.05644, section 2.3).

    Parameters
    ----------
    n_dims : int, default 2
        The ring lies in the first two dimensions; the others are N(0, 1).
    n_components : int, default 10
        Number of petals; petal k points in the direction 2 pi k / n_components.
    radius : float, default 2
        Distance of the centres of the petals from the origin.
    radial_std, tangential_std : float, default 0.5 and 0.1
        Standard deviation along and across a petal.
    """

    n_components: int

    def __init__(
        self,
        n_dims: int = 2,
        n_components: int = 10,
        radius: float = 2.0,
        radial_std: float = 0.5,
        tangential_std: float = 0.1,
    ):
        _require_positive(n_components=n_components, radius=radius)
        _require_positive(radial_std=radial_std, tangential_std=tangential_std)
        if n_dims < 2:
            raise InputError(f"n_dims: expected at least 2 for a ring, got {n_dims}: use more, or prior='gaussian'")
        self.n_dims: int = n_dims
        self.n_components = n_components
        self.radius: float = radius
        self.radial_std: float = radial_std
        self.tangential_std: float = tangential_std

    def draw(self, n: int, component: Tensor | None, device: torch.device | str) -> Tensor:
        assert component is not None
        e = torch.randn(n, self.n_dims, device=device)
        outward, across = self._axes(component)
        r = self.radius + self.radial_std * e[:, :1]
        t = self.tangential_std * e[:, 1:2]
        return torch.cat([r * outward + t * across, e[:, 2:]], 1)

    def log_prob(self, z: Tensor) -> Tensor:
        outward, across = self._axes(torch.arange(self.n_components, device=z.device))  # (K, 2)
        r = z[:, :2] @ outward.T - self.radius  # (n, K)
        t = z[:, :2] @ across.T
        petals = _log_normal(r, self.radial_std) + _log_normal(t, self.tangential_std)
        return petals.logsumexp(1) - math.log(self.n_components) + _log_normal(z[:, 2:], 1.0).sum(1)

    @property
    def mean(self) -> Tensor:
        outward, _ = self._axes(torch.arange(self.n_components))
        return torch.cat([self.radius * outward.mean(0), torch.zeros(self.n_dims - 2)])

    @property
    def variance(self) -> Tensor:
        outward, across = self._axes(torch.arange(self.n_components))
        second = (self.radius**2 + self.radial_std**2) * outward**2 + (self.tangential_std * across) ** 2
        return torch.cat([second.mean(0) - self.mean[:2] ** 2, torch.ones(self.n_dims - 2)])

    def _axes(self, component: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors (n, 2) along and across each petal."""
        angle = component * (2 * math.pi / self.n_components)
        c, s = angle.cos(), angle.sin()
        return torch.stack([c, s], 1), torch.stack([-s, c], 1)


class SwissRoll(Prior):
    """A 2-D spiral with noise; class k is the k-th of arcs of equal length (arXiv:1511.05644, section 2.3).

    Parameters
    ----------
    n_components : int, default 10
        Number of arcs, counted from the centre outwards.
    turns : float, default 2
        Number of turns around the origin, where the roll begins.
    scale : float, default 3
        Distance of the outer end from the origin.
    noise : float, default 0.1
        Standard deviation of the Gaussian noise around the roll.
    """

    n_dims = 2
    n_components: int

    def __init__(self, n_components: int = 10, turns: float = 2.0, scale: float = 3.0, noise: float = 0.1):
        _require_positive(n_components=n_components, turns=turns, scale=scale, noise=noise)
        self.turns: float = turns
        self.scale: float = scale
        self.noise: float = noise
        self.n_components = n_components

    def at(self, position: Tensor) -> Tensor:
        """Points (n, 2) on the roll at `position` (n,) in [0, 1], the fraction of its length from the centre."""
        end = 2 * math.pi * self.turns
        s = position * _spiral_length(end)
        theta = (2 * s).sqrt()  # Newton from above on a convex function: it cannot overshoot
        for _ in range(3):
            slope = (1 + theta**2).sqrt()
            theta = (theta + (2 * s - theta.asinh()) / slope) / 2
        return self.scale / end * theta[:, None] * torch.stack([theta.cos(), theta.sin()], 1)

    def draw(self, n: int, component: Tensor | None, device: torch.device | str) -> Tensor:
        assert component is not None
        position = (component + torch.rand(n, device=device)) / self.n_components
        return self.at(position) + self.noise * torch.randn(n, 2, device=device)

    def log_prob(self, z: Tensor) -> Tensor:
        """As `Prior.log_prob`: the integral along the roll by the midpoint rule, in steps of at most noise / 2."""
        nodes = self._nodes().to(z)
        r = torch.cdist(z, nodes, compute_mode="donot_use_mm_for_euclid_dist")  # (n, nodes); far apart, mm rounds
        return _log_normal(r, self.noise).logsumexp(1) + _log_normal(torch.zeros(()), self.noise) - math.log(len(nodes))

    @property
    def mean(self) -> Tensor:
        return self._nodes().mean(0).float()

    @property
    def variance(self) -> Tensor:
        return self._nodes().var(0, correction=0).float() + self.noise**2

    def _nodes(self) -> Tensor:
        """Points (m, 2) evenly along the roll, close together compared with its noise."""
        end = 2 * math.pi * self.turns
        length = _spiral_length(end) * self.scale / end
        m = max(200, math.ceil(2 * length / self.noise))
        return self.at((torch.arange(m, dtype=torch.float64) + 0.5) / m)


class Uniform(Prior):
    """Uniform on the cube [low, high]^n_dims."""

    def __init__(self, n_dims: int, low: float = -1.0, high: float = 1.0):
        _require_positive(n_dims=n_dims, **{"high - low": high - low})
        self.low: float = low
        self.high: float = high
        self.n_dims: int = n_dims

    def draw(self, n: int, component: Tensor | None, device: torch.device | str) -> Tensor:
        return self.low + (self.high - self.low) * torch.rand(n, self.n_dims, device=device)

    def log_prob(self, z: Tensor) -> Tensor:
        inside = ((z >= self.low) & (z <= self.high)).all(1)
        density = torch.full_like(z[:, 0], -self.n_dims * math.log(self.high - self.low))
        return density.where(inside, -math.inf)

    @property
    def mean(self) -> Tensor:
        return torch.full((self.n_dims,), (self.low + self.high) / 2)

    @property
    def variance(self) -> Tensor:
        return torch.full((self.n_dims,), (self.high - self.low) ** 2 / 12)


class Categorical(Prior):
    """One-hot rows: the prior of the class code y (arXiv:1511.05644, section 4).

    Parameters
    ----------
    n_classes : int
        Length of a row, and number of components.
    probabilities : sequence of float, optional
        Relative frequency of each class; they need not sum to 1. All equal by default.

    Raises
    ------
    InputError
        If they are not `n_classes` numbers of at least 0 with a positive sum.
    """

    def __init__(self, n_classes: int, probabilities: Sequence[float] | Tensor | None = None):
        _require_positive(n_classes=n_classes)
        if probabilities is None:
            p = torch.ones(n_classes, device="cpu")  # also where networks are made without values
        else:
            p = torch.as_tensor(probabilities, dtype=torch.float64, device="cpu")
        if p.shape != (n_classes,) or not (p >= 0).all() or not 0 < p.sum() < math.inf:
            raise InputError(
                f"probabilities: expected {n_classes} probabilities >= 0 with a positive sum, got {probabilities}"
            )
        self.n_classes = self.n_dims = self.n_components = n_classes
        self.probabilities: list[float] = (p / p.sum()).tolist()
        self._bounds = torch.tensor(self.probabilities, dtype=torch.float64, device="cpu").cumsum(0)[:-1].float()

    def any_component(self, n: int, device: torch.device | str) -> Tensor:
        self._bounds = self._bounds.to(device)  # kept there: a copy in every step would stall an accelerator
        return torch.searchsorted(self._bounds, torch.rand(n, device=device), right=True)

    def draw(self, n: int, component: Tensor | None, device: torch.device | str) -> Tensor:
        assert component is not None
        return (component[:, None] == torch.arange(self.n_classes, device=device)).to(torch.get_default_dtype())

    def log_prob(self, z: Tensor) -> Tensor:
        """Log probability (n,) of one-hot rows (n, n_classes)."""
        return torch.tensor(self.probabilities).to(z).log()[z.argmax(1)]

    @property
    def mean(self) -> Tensor:
        return torch.tensor(self.probabilities)

    @property
    def variance(self) -> Tensor:
        return self.mean * (1 - self.mean)

    def __repr__(self) -> str:
        return f"Categorical({self.n_classes}, probabilities={[round(p, 4) for p in self.probabilities]})"


class FromDistribution(Prior):
    """Any `torch.distributions.Distribution`; its batch and event dimensions are flattened into one code.

    Parameters
    ----------
    distribution : torch.distributions.Distribution
        The distribution.
    n_dims : int, optional
        Checked against the distribution; a scalar distribution is repeated to `n_dims` independent dimensions.

    Raises
    ------
    InputError
        If the distribution is not of `n_dims` dimensions.
    """

    def __init__(self, distribution: Distribution, n_dims: int | None = None):
        self._shape = distribution.batch_shape + distribution.event_shape
        if not self._shape:
            self._shape = torch.Size([n_dims or 1])
            distribution = distribution.expand(self._shape)
        self.distribution: Distribution = distribution
        self.n_dims: int = self._shape.numel()
        _require_dims(self, n_dims)

    def draw(self, n: int, component: Tensor | None, device: torch.device | str) -> Tensor:
        z = self.distribution.sample(torch.Size([n]))
        return z.reshape(n, self.n_dims).to(device, torch.get_default_dtype())

    def log_prob(self, z: Tensor) -> Tensor:
        return self.distribution.log_prob(z.reshape(-1, *self._shape)).reshape(len(z), -1).sum(1)

    @property
    def mean(self) -> Tensor | None:
        return self._moment("mean")

    @property
    def variance(self) -> Tensor | None:
        return self._moment("variance")

    def _moment(self, name: str) -> Tensor | None:
        try:
            return getattr(self.distribution, name).reshape(-1)
        except NotImplementedError:
            return None


class FromCallable(Prior):
    """Any sampler: `function(n)` returns an array or tensor (n, n_dims).

    Draws are reproducible only if the function uses torch's global random state.

    Parameters
    ----------
    function : callable
        From n to codes (n, n_dims).
    n_dims : int
        Length of a code.
    """

    def __init__(self, function: Callable[[int], ArrayLike | Tensor], n_dims: int) -> None:
        _require_positive(n_dims=n_dims)
        self.function: Callable[[int], ArrayLike | Tensor] = function
        self.n_dims: int = n_dims

    def draw(self, n: int, component: Tensor | None, device: torch.device | str) -> Tensor:
        z = torch.as_tensor(self.function(n), dtype=torch.get_default_dtype(), device=device)
        if z.shape != (n, self.n_dims):
            raise InputError(
                f"prior: expected codes of shape ({n}, {self.n_dims}) from the function, got {tuple(z.shape)}"
            )
        return z


PRIORS: dict[str, type[Prior]] = {
    "gaussian": Gaussian,
    "mixture": GaussianMixtureRing,
    "swiss_roll": SwissRoll,
    "uniform": Uniform,
    "categorical": Categorical,
}

PriorSpec = str | Prior | type[Prior] | Distribution | Callable[[int], ArrayLike | Tensor]


def make(spec: PriorSpec, n_dims: int, n_components: int | None = None) -> Prior:
    """The prior that `spec` stands for.

    Parameters
    ----------
    spec : str, Prior, torch.distributions.Distribution or callable
        A name in `PRIORS`, a prior or its class, a distribution, or a function from n to codes (n, n_dims).
    n_dims : int
        Length of a code.
    n_components : int, optional
        Number of classes, for the named priors that have them.

    Raises
    ------
    InputError
        If the name is unknown or the prior is not of `n_dims` dimensions.
    """
    if isinstance(spec, str):
        if spec not in PRIORS:
            names = " or ".join(map(repr, PRIORS))
            raise InputError(f"prior: expected {names}, got {spec!r}{nearest(spec, PRIORS)}")
        spec = PRIORS[spec]
    if isinstance(spec, type) and issubclass(spec, Prior):
        sizes = {"n_dims": n_dims, "n_classes": n_dims, "n_components": n_components}
        parameters = inspect.signature(spec).parameters
        spec = spec(**{name: n for name, n in sizes.items() if name in parameters and n is not None})
    elif isinstance(spec, Distribution):
        spec = FromDistribution(spec, n_dims)
    elif callable(spec):
        spec = FromCallable(spec, n_dims)
    if not isinstance(spec, Prior):
        raise InputError(
            f"prior: expected a name, a Prior, a torch Distribution or a callable, got {spec!r}: derive from Prior"
        )
    _require_dims(spec, n_dims)
    return spec


def _require_dims(prior: Prior, n_dims: int | None) -> None:
    if n_dims not in (None, prior.n_dims):
        raise InputError(
            f"prior: expected one of {n_dims} dimensions, got {prior!r} of {prior.n_dims}: make them equal"
        )


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise InputError(f"{name}: expected a number above 0, got {value}")


def _log_normal(x: Tensor, std: float) -> Tensor:
    """Log density of N(0, std^2), elementwise."""
    return -0.5 * (x / std) ** 2 - math.log(std * math.sqrt(2 * math.pi))


def _spiral_length(theta: float) -> float:
    """Length of the spiral r = theta from the origin to the angle theta."""
    return (theta * math.sqrt(1 + theta**2) + math.asinh(theta)) / 2
