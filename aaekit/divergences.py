"""How two sets of samples are pulled together: losses on `real` (of the prior, or of the data) and `fake`.

An adversarial divergence (GAN, least squares, Wasserstein) trains a critic beside the generator and is written in terms
of its scores; a sample divergence (MMD, sliced Wasserstein) compares the two batches directly. To match p(z, y), give
both sides as [z, one-hot y]. A new one::

    class MomentMatching(SampleDivergence):
        def distance(self, real, fake):
            return (real.mean(0) - fake.mean(0)).square().sum() + (real.std(0) - fake.std(0)).square().sum()
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aaekit.errors import InputError, nearest

__all__ = [
    "DIVERGENCES",
    "GAN",
    "MMD",
    "AdversarialDivergence",
    "Divergence",
    "LeastSquares",
    "SampleDivergence",
    "SlicedWasserstein",
    "Wasserstein",
    "make",
    "mean_probability",
]


class Divergence:
    """Base of `AdversarialDivergence` and `SampleDivergence`. Every loss is a float32 scalar, under autocast too."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class AdversarialDivergence(Divergence, ABC):
    """Losses on the scores of a critic, `(n, 1)`, which are higher for samples that look real.

    Attributes
    ----------
    critic_steps : int, default 1
        Updates of the critic for each of the generator, on minibatches of their own.
    """

    critic_steps: int = 1

    @abstractmethod
    def critic_loss(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        """What the critic minimises, from its scores of real and fake samples."""

    @abstractmethod
    def generator_loss(self, d_fake: Tensor) -> Tensor:
        """What the generator minimises, from the critic's scores of its samples."""

    def penalty(self, critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor | float:
        """What the critic minimises besides, for instance a gradient penalty at samples `(n, d)`; 0 by default."""
        return 0.0


class SampleDivergence(Divergence, ABC):
    """A distance between two batches of samples, which needs no critic."""

    @abstractmethod
    def distance(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the generator minimises, from samples `(n, d)` and `(m, d)`; images will do."""


class GAN(AdversarialDivergence):
    """The non-saturating loss on logits, which adversarial autoencoders use.

    The critic's loss is the mean binary cross entropy over `real` plus that over `fake`: 2 log 2 = 1.386 at chance, 0
    for a perfect critic. The generator's is -log D(fake): log 2 = 0.693 at chance.

    Source: Goodfellow et al., *Generative Adversarial Nets*, arXiv:1406.2661, section 3; arXiv:1511.05644, section 2.
    """

    def critic_loss(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        return F.softplus(-d_real).mean() + F.softplus(d_fake).mean()

    def generator_loss(self, d_fake: Tensor) -> Tensor:
        return F.softplus(-d_fake).mean()


class LeastSquares(AdversarialDivergence):
    """Least squares towards +1 for `real` and -1 for `fake`: chance is a score of 0, as for the GAN.

    At chance the critic's loss is 1 and the generator's 1/2.

    Source: Mao et al., *Least Squares Generative Adversarial Networks*, arXiv:1611.04076, equation 9, with targets -1
    and 1 in place of 0 and 1.
    """

    def critic_loss(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        return ((d_real - 1).square().mean() + (d_fake + 1).square().mean()) / 2

    def generator_loss(self, d_fake: Tensor) -> Tensor:
        return (d_fake - 1).square().mean() / 2


class Wasserstein(AdversarialDivergence):
    """The earth mover's distance by a critic of slope 1, held there by a gradient penalty.

    The negative of the critic's loss, less its penalty, estimates the distance; the generator's loss has no lower
    bound. The critic must have no batch normalisation.

    Parameters
    ----------
    gradient_penalty : float, default 10
        Weight of (slope - 1)^2 at random points between real and fake samples.
    critic_steps : int, default 5
        Updates of the critic for each of the generator.

    Source: Gulrajani et al., *Improved Training of Wasserstein GANs*, arXiv:1704.00028, algorithm 1.
    """

    def __init__(self, gradient_penalty: float = 10.0, critic_steps: int = 5) -> None:
        if not gradient_penalty >= 0:
            raise InputError(f"gradient_penalty: expected a number of at least 0, got {gradient_penalty}")
        if critic_steps < 1:
            raise InputError(f"critic_steps: expected a whole number of at least 1, got {critic_steps}")
        self.gradient_penalty: float = gradient_penalty
        self.critic_steps = critic_steps

    def critic_loss(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        return d_fake.mean() - d_real.mean()

    def generator_loss(self, d_fake: Tensor) -> Tensor:
        return -d_fake.mean()

    def penalty(self, critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """Weighted mean of (slope - 1)^2 at one random point between each pair of samples."""
        n = min(len(real), len(fake))
        real, fake = real[:n].detach().float(), fake[:n].detach().float()
        u = torch.rand(n, *[1] * (real.ndim - 1), device=real.device)
        x = torch.lerp(real, fake, u).requires_grad_()
        with torch.enable_grad():  # so that the loss can be looked at under no_grad
            (slope,) = torch.autograd.grad(critic(x).float().sum(), x, create_graph=True)
            # the slope of the root itself is infinite at 0: without the constant a flat critic would become nan
            length = (slope.flatten(1).square().sum(1) + 1e-12).sqrt()
            return self.gradient_penalty * (length - 1).square().mean()


class MMD(SampleDivergence):
    """Maximum mean discrepancy with inverse multiquadratic kernels C / (C + |x - y|^2), averaged over scales.

    Unbiased: 0 in expectation where the two match, so single values may be negative. At most 2.

    Parameters
    ----------
    scales : sequence of float, default (0.1, 0.2, 0.5, 1, 2, 5, 10)
        C in units of 2 d, the mean squared distance of two draws from N(0, I) in d dimensions.

    Source: Tolstikhin et al., *Wasserstein Auto-Encoders*, arXiv:1711.01558, algorithm 2 and section 4.
    """

    def __init__(self, scales: Sequence[float] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)):
        self.scales: tuple[float, ...] = tuple(scales)
        if not self.scales or min(self.scales) <= 0:
            raise InputError(f"scales: expected one or more numbers above 0, got {self.scales}")

    def distance(self, real: Tensor, fake: Tensor) -> Tensor:
        with torch.autocast(real.device.type, enabled=False):
            x, y = real.flatten(1).float(), fake.flatten(1).float()
            xx, yy, xy = self._kernel(x, x), self._kernel(y, y), self._kernel(x, y)
            return _mean_of_pairs(xx) + _mean_of_pairs(yy) - 2 * xy.mean()

    def _kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel (n, m) between the rows of x (n, d) and y (m, d)."""
        distance = (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp_min(0)
        cs = [scale * 2 * x.shape[1] for scale in self.scales]
        return sum((c / (c + distance) for c in cs), torch.zeros_like(distance)) / len(cs)


class SlicedWasserstein(SampleDivergence):
    """Squared Wasserstein-2 distance in 1-D, averaged over random directions: project, sort, compare.

    Exactly 0 for equal samples. Shifting one side by v adds |v|^2 / d.

    Parameters
    ----------
    n_projections : int, default 50
        Number of random directions, drawn at each call.

    Source: Kolouri et al., *Sliced-Wasserstein Autoencoder*, arXiv:1804.01947, section 3.
    """

    def __init__(self, n_projections: int = 50):
        if n_projections < 1:
            raise InputError(f"n_projections: expected a whole number of at least 1, got {n_projections}")
        self.n_projections = n_projections

    def distance(self, real: Tensor, fake: Tensor) -> Tensor:
        with torch.autocast(real.device.type, enabled=False):
            x, y = real.flatten(1).float(), fake.flatten(1).float()
            theta = F.normalize(torch.randn(x.shape[1], self.n_projections, device=x.device), dim=0)
            n = max(len(x), len(y))
            return (_quantiles(x @ theta, n) - _quantiles(y @ theta, n)).square().mean()


DIVERGENCES: dict[str, type[Divergence]] = {
    "gan": GAN,
    "least_squares": LeastSquares,
    "wasserstein": Wasserstein,
    "mmd": MMD,
    "sliced_wasserstein": SlicedWasserstein,
}


def make(spec: str | Divergence | type[Divergence]) -> Divergence:
    """The divergence that `spec` stands for: a name in `DIVERGENCES`, a `Divergence`, or its class.

    Raises
    ------
    InputError
        If it is none of these.
    """
    if isinstance(spec, str):
        if spec not in DIVERGENCES:
            names = " or ".join(map(repr, DIVERGENCES))
            raise InputError(f"divergence: expected {names}, got {spec!r}{nearest(spec, DIVERGENCES)}")
        spec = DIVERGENCES[spec]
    if isinstance(spec, type) and issubclass(spec, Divergence):
        spec = spec()
    if not isinstance(spec, AdversarialDivergence | SampleDivergence):
        raise InputError(
            f"divergence: expected a name, an AdversarialDivergence or a SampleDivergence, got {spec!r}: "
            "derive from one of these two"
        )
    return spec


def mean_probability(logits_real: Tensor, logits_fake: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of D = sigmoid(logit) over each side; both at 0.5 means that the critic is at chance.

    Source: the stop rule of Sheet, *Deep Learning for Visual Computing* (NPTEL), lecture 54.
    """
    return logits_real.detach().float().sigmoid().mean(), logits_fake.detach().float().sigmoid().mean()


def _mean_of_pairs(kernel: Tensor) -> Tensor:
    """Mean of a square matrix (n, n) off its diagonal."""
    n = len(kernel)
    return (kernel.sum() - kernel.trace()) / max(n * (n - 1), 1)


def _quantiles(x: Tensor, n: int) -> Tensor:
    """The columns of x (m, k), sorted and stretched to n rows."""
    x = x.sort(0).values
    return x if len(x) == n else F.interpolate(x.T[None], size=n, mode="linear", align_corners=False)[0].T
