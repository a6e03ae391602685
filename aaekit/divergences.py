"""How two sets of samples are pulled together: losses on `real` (of the prior, or of the data) and `fake`.

A divergence with a critic (GAN, least squares, Wasserstein) learns one beside the generator; one without (MMD, sliced
Wasserstein) compares the two batches directly. To match p(z, y), give both sides as [z, one-hot y]. A new one::

    class MomentMatching(Divergence):
        has_critic = False

        def generator_loss(self, critic, real, fake):
            return (real.mean(0) - fake.mean(0)).square().sum() + (real.std(0) - fake.std(0)).square().sum()
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aaekit.errors import InputError, nearest


class Divergence(ABC):
    """A pair of losses: one moves the critic, one moves what made `fake`.

    `critic` maps (n, ...) to scores (n, 1), higher for what looks real; `real` and `fake` are of shape (n, d) (images
    will do). Every loss is a float32 scalar, under autocast too.

    Attributes
    ----------
    has_critic : bool
        Whether there is a critic to train; if not, `generator_loss` is to be called with `critic=None`.
    """

    has_critic: bool = True

    def critic_loss(self, critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """What the critic minimises; both sides are detached, so that nothing else can move."""
        raise NotImplementedError(f"{self!r} has no critic to train; call generator_loss alone.")

    @abstractmethod
    def generator_loss(self, critic: nn.Module | None, real: Tensor, fake: Tensor) -> Tensor:
        """What the maker of `fake` minimises."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class GAN(Divergence):
    """The non-saturating loss on logits, the one of adversarial autoencoders.

    The critic's loss is the mean binary cross entropy over `real` plus that over `fake`: 2 log 2 = 1.386 at chance, 0
    for a perfect critic. The generator's is -log D(fake): log 2 = 0.693 at chance.

    Source: Goodfellow et al., *Generative Adversarial Nets*, arXiv:1406.2661, section 3; arXiv:1511.05644, section 2.
    """

    def critic_loss(self, critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        d_real, d_fake = _scores(critic, real, fake)
        return F.softplus(-d_real).mean() + F.softplus(d_fake).mean()

    def generator_loss(self, critic: nn.Module | None, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-_score(critic, fake)).mean()


class LeastSquares(Divergence):
    """Least squares towards +1 for `real` and -1 for `fake`: chance is a score of 0, as for the GAN.

    At chance the critic's loss is 1 and the generator's 1/2.

    Source: Mao et al., *Least Squares Generative Adversarial Networks*, arXiv:1611.04076, equation 9, its targets 0
    and 1 moved to -1 and 1.
    """

    def critic_loss(self, critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        d_real, d_fake = _scores(critic, real, fake)
        return ((d_real - 1).square().mean() + (d_fake + 1).square().mean()) / 2

    def generator_loss(self, critic: nn.Module | None, real: Tensor, fake: Tensor) -> Tensor:
        return (_score(critic, fake) - 1).square().mean() / 2


class Wasserstein(Divergence):
    """The earth mover's distance by a critic of slope 1, held there by a gradient penalty.

    The negative of the critic's loss, less its penalty, estimates the distance; the generator's loss has no floor. The
    critic should take several steps for each of the generator's, and have no batch normalisation.

    Parameters
    ----------
    gradient_penalty : float, default 10
        Weight of (slope - 1)^2 at random points between real and fake rows.

    Source: Gulrajani et al., *Improved Training of Wasserstein GANs*, arXiv:1704.00028, algorithm 1.
    """

    def __init__(self, gradient_penalty: float = 10.0):
        if not gradient_penalty >= 0:
            raise InputError(f"Expected gradient_penalty >= 0, got {gradient_penalty}.")
        self.gradient_penalty = gradient_penalty

    def critic_loss(self, critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        d_real, d_fake = _scores(critic, real, fake)
        return d_fake.mean() - d_real.mean() + self.gradient_penalty * self._penalty(critic, real, fake)

    def generator_loss(self, critic: nn.Module | None, real: Tensor, fake: Tensor) -> Tensor:
        return -_score(critic, fake).mean()

    @staticmethod
    def _penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """Mean (slope - 1)^2 of the critic at one random point between each pair of rows."""
        n = min(len(real), len(fake))
        real, fake = real[:n].detach().float(), fake[:n].detach().float()
        u = torch.rand(n, *[1] * (real.ndim - 1), device=real.device)
        x = torch.lerp(real, fake, u).requires_grad_()
        with torch.enable_grad():  # so that the loss can be looked at under no_grad
            (slope,) = torch.autograd.grad(critic(x).float().sum(), x, create_graph=True)
            # the root's own slope is infinite at 0: without the constant a flat critic would become nan
            return ((slope.flatten(1).square().sum(1) + 1e-12).sqrt() - 1).square().mean()


class MMD(Divergence):
    """Maximum mean discrepancy with inverse multiquadratic kernels C / (C + |x - y|^2), averaged over scales.

    Unbiased: 0 in expectation where the two match, so single values may be negative. At most 2.

    Parameters
    ----------
    scales : sequence of float, default (0.1, 0.2, 0.5, 1, 2, 5, 10)
        C in units of 2 d, the mean squared distance of two draws from N(0, I) in d dimensions.

    Source: Tolstikhin et al., *Wasserstein Auto-Encoders*, arXiv:1711.01558, algorithm 2 and section 4.
    """

    has_critic = False

    def __init__(self, scales: Sequence[float] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)):
        self.scales = tuple(scales)
        if not self.scales or min(self.scales) <= 0:
            raise InputError(f"Expected one or more scales > 0, got {self.scales}.")

    def generator_loss(self, critic: nn.Module | None, real: Tensor, fake: Tensor) -> Tensor:
        with torch.autocast(real.device.type, enabled=False):
            x, y = real.flatten(1).float(), fake.flatten(1).float()
            xx, yy, xy = self._kernel(x, x), self._kernel(y, y), self._kernel(x, y)
            return _mean_of_pairs(xx) + _mean_of_pairs(yy) - 2 * xy.mean()

    def _kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel (n, m) between the rows of x (n, d) and y (m, d)."""
        distance = (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp_min(0)
        cs = [scale * 2 * x.shape[1] for scale in self.scales]
        return sum((c / (c + distance) for c in cs), torch.zeros_like(distance)) / len(cs)


class SlicedWasserstein(Divergence):
    """Squared Wasserstein-2 distance in 1-D, averaged over random directions: project, sort, compare.

    Exactly 0 for equal samples. Shifting one side by v adds |v|^2 / d.

    Parameters
    ----------
    n_projections : int, default 50
        Number of random directions, drawn anew each time.

    Source: Kolouri et al., *Sliced-Wasserstein Autoencoder*, arXiv:1804.01947, section 3.
    """

    has_critic = False

    def __init__(self, n_projections: int = 50):
        if n_projections < 1:
            raise InputError(f"Expected n_projections >= 1, got {n_projections}.")
        self.n_projections = n_projections

    def generator_loss(self, critic: nn.Module | None, real: Tensor, fake: Tensor) -> Tensor:
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
            names = ", ".join(DIVERGENCES)
            raise InputError(f"Expected a divergence of {names}; got {spec!r}.{nearest(spec, DIVERGENCES)}")
        spec = DIVERGENCES[spec]
    if isinstance(spec, type) and issubclass(spec, Divergence):
        spec = spec()
    if not isinstance(spec, Divergence):
        raise InputError(f"Expected a divergence's name or a Divergence, got {spec!r}.")
    return spec


def mean_probability(logits_real: Tensor, logits_fake: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of D = sigmoid(logit) over each side; both at 0.5 means that the critic is at chance.

    Source: the stop rule of Sheet, *Deep Learning for Visual Computing* (NPTEL), lecture 54.
    """
    return logits_real.detach().float().sigmoid().mean(), logits_fake.detach().float().sigmoid().mean()


def _scores(critic: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """The critic's scores of both sides, in one pass: two would cost nearly twice."""
    both = critic(torch.cat([real.detach(), fake.detach()])).float()
    return both[: len(real)], both[len(real) :]


def _score(critic: nn.Module | None, fake: Tensor) -> Tensor:
    if critic is None:
        raise ValueError("Expected a critic, got None; a divergence with has_critic=True needs one.")
    return critic(fake).float()


def _mean_of_pairs(kernel: Tensor) -> Tensor:
    """Mean of a square matrix (n, n) off its diagonal."""
    n = len(kernel)
    return (kernel.sum() - kernel.trace()) / max(n * (n - 1), 1)


def _quantiles(x: Tensor, n: int) -> Tensor:
    """The columns of x (m, k), sorted and stretched to n rows."""
    x = x.sort(0).values
    return x if len(x) == n else F.interpolate(x.T[None], size=n, mode="linear", align_corners=False)[0].T
