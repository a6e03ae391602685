"""The encoder, the latent code and the decoder."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aaekit.augment import SYMMETRIES
from aaekit.nn.choices import Groups, expected_row

__all__ = ["Code", "Decoder", "Encoder", "Posterior", "one_hot"]

Posterior = Literal["deterministic", "gaussian", "universal"]


class Code(NamedTuple):
    """The codes of a batch: a continuous code z and, in some models, a categorical code y.

    Attributes
    ----------
    z : Tensor of shape (n, latent_dim)
        The continuous code.
    logits : Tensor of shape (n, n_classes) or None
        Unnormalised log q(y|x); None in models without a categorical code.
    """

    z: Tensor
    logits: Tensor | None = None

    @property
    def y(self) -> Tensor:
        """Categorical code q(y|x), shape `(n, n_classes)`; rows sum to one."""
        assert self.logits is not None, "this model has no categorical code"
        return self.logits.float().softmax(1)

    @property
    def joined(self) -> Tensor:
        """The decoder's input `[y, z]`, shape `(n, n_classes + latent_dim)`."""
        return self.z if self.logits is None else torch.cat([self.y, self.z.float()], 1)

    def split(self, sizes: Sequence[int]) -> "list[Code]":
        """The codes of consecutive groups of rows."""
        z = self.z.split(list(sizes))
        logits = [None] * len(z) if self.logits is None else self.logits.split(list(sizes))
        return [Code(*pair) for pair in zip(z, logits, strict=True)]

    def detach(self) -> "Code":
        """The same values without a gradient to the encoder."""
        return Code(self.z.detach(), self.with_fixed_y().logits)

    def with_fixed_y(self) -> "Code":
        """The same values, y without a gradient to the encoder."""
        return Code(self.z, None if self.logits is None else self.logits.detach())


class Encoder(nn.Module):
    """Q: a backbone and its linear heads, `x -> Code`.

    Parameters
    ----------
    backbone : nn.Module
        From rows `(n, *shape)` to features h `(n, ...)`.
    n_features : int
        Values of h.
    latent_dim : int
        Dimensions of z; may be 0.
    n_classes : int, default 0
        Values of y; 0 for no categorical code.
    posterior : "deterministic", "gaussian" or "universal"
        How z depends on h (Makhzani et al., section 2.1): z = f(h), random only by the data; z ~ N(mu(h), sigma(h)^2);
        or z = f(h, eta) with input noise eta, a universal approximator of q(z|x). In evaluation mode there is no
        noise: mu(h) and f(h, 0).
    symmetries : sequence of str, default=()
        Keys of `aaekit.augment.SYMMETRIES`. In evaluation mode q(y|x) is the mean over an image and all its flips.
    """

    def __init__(
        self,
        backbone: nn.Module,
        n_features: int,
        latent_dim: int,
        n_classes: int = 0,
        posterior: Posterior = "deterministic",
        symmetries: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.backbone: nn.Module = backbone
        self.symmetries: tuple[str, ...] = tuple(symmetries)
        self.n_noise: int = n_features // 2 + 1
        self.posterior = posterior
        if posterior == "universal":
            self.mix: nn.Sequential = nn.Sequential(nn.Linear(n_features + self.n_noise, n_features), nn.ReLU())
        self.head_z: nn.Linear | None = (
            nn.Linear(n_features, latent_dim * (2 if posterior == "gaussian" else 1)) if latent_dim else None
        )
        self.head_y: nn.Linear | None = nn.Linear(n_features, n_classes) if n_classes else None

    def forward(self, x: Tensor) -> Code:
        h = self.backbone(x).flatten(1)
        logits = None if self.head_y is None else self.head_y(h)
        if self.symmetries and not self.training and logits is not None and self.head_y is not None:
            logits = self._over_flips(x, logits, self.head_y)
        return Code(h.new_zeros(len(h), 0) if self.head_z is None else self._style(h, self.head_z), logits)

    def _over_flips(self, x: Tensor, logits: Tensor, head: nn.Module) -> Tensor:
        """The logarithm of the mean of q(y|x) over an image, whose logits are known, and all its flips."""
        views = [x]
        for name in self.symmetries:
            views += [SYMMETRIES[name](view) for view in views]
        flipped = [head(self.backbone(view).flatten(1)) for view in views[1:]]
        log_p = torch.stack([logits, *flipped]).log_softmax(2)
        return log_p.logsumexp(0) - math.log(len(views))

    def _style(self, h: Tensor, head: nn.Linear) -> Tensor:
        if self.posterior == "universal":
            noise = torch.randn if self.training else torch.zeros
            h = self.mix(torch.cat([h, noise(len(h), self.n_noise, device=h.device, dtype=h.dtype)], 1))
        z = head(h)
        if self.posterior == "gaussian":
            mean, log_variance = z.chunk(2, 1)
            z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean) if self.training else mean
        return z


class Decoder(nn.Module):
    """P: a backbone from the joined code `(n, n_code)` to rows `(n, *shape)`, before the sigmoid of unit-range data.

    `groups` are the values of a table's rows that are choices, whose probabilities are a softmax of the output.
    """

    def __init__(self, backbone: nn.Module, unit_range: bool, groups: Groups = ()) -> None:
        super().__init__()
        self.backbone: nn.Module = backbone
        self.unit_range: bool = unit_range
        self.groups: Groups = groups

    def forward(self, code: Tensor) -> Tensor:
        return self.backbone(code)

    def mean(self, code: Tensor) -> Tensor:
        """The expected row E[x|code], shape `(n, *shape)`; in [0, 1] for data in that range."""
        return self.expected(self(code).float())

    def expected(self, out: Tensor) -> Tensor:
        """The expected row of an output, shape `(n, *shape)`."""
        if self.groups:
            return expected_row(out, self.groups)
        return out.sigmoid() if self.unit_range else out


def one_hot(labels: Tensor, n_classes: int) -> Tensor:
    """One-hot rows `(n, n_classes)` of labels `(n,)`, as floats."""
    return F.one_hot(labels, n_classes).float()
