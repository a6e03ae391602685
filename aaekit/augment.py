"""Label-preserving transformations of whole batches: what the classifier should not care about.

A transformation is any callable from a batch to a batch of the same shape, random by torch's global random state. A
new one::

    @dataclass(frozen=True)
    class Brightness:
        strength: float = 1.0

        def __call__(self, x: Tensor) -> Tensor:
            return (x * (1 + 0.2 * self.strength * torch.randn(len(x), 1, 1, 1, device=x.device))).clamp(0, 1)
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from aaekit.errors import InputError, nearest

Transform = Callable[[Tensor], Tensor]
N_KNOTS = 5  # along each side of an image, between which it bends


@dataclass(frozen=True)
class AffineImages:
    """One small random map per image: rotated, scaled, sheared, moved, uniform in each; and bent, smoothly.

    Images (n, c, h, w) keep shape, type and range (with "zeros", a range that includes 0).

    Parameters
    ----------
    rotation : float, default 15
        Largest angle in degrees, either way.
    scale : float, default 0.15
        Largest log of the factor by which width and height change, each on its own: 0.15 is -14 to +16 %.
    shear : float, default 0.2
        Largest shift of a row in units of its height above the centre.
    translation : float, default 0.1
        Largest shift in units of the width and height.
    bend : float, default 0.03
        Standard deviation of each pixel's own shift, in units of the width and height; pixels nearby shift alike (in
        the manner of Simard et al., *Best Practices for Convolutional Neural Networks*, 2003, section 2).
    padding : "zeros" or "edge", default "zeros"
        What comes in from outside: 0, or the nearest pixel of the edge.
    strength : float, default 1
        Multiplies the first five; 0 changes nothing.
    """

    rotation: float = 15.0
    scale: float = 0.15
    shear: float = 0.2
    translation: float = 0.1
    bend: float = 0.03
    padding: str = "zeros"
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.padding not in ("zeros", "edge"):
            raise InputError(f"Expected padding 'zeros' or 'edge', got {self.padding!r}.")
        _require_strength(self.strength)

    def __call__(self, images: Tensor) -> Tensor:
        if images.ndim != 4:
            raise InputError(f"Expected images of shape (n, channels, height, width), got {tuple(images.shape)}.")
        if not self.strength:
            return images
        n, _, h, w = images.shape
        u = (torch.rand(6, n, device=images.device) * 2 - 1) * self.strength
        angle, k = u[0] * math.radians(self.rotation), u[1] * self.shear
        sx, sy = (u[2:4] * self.scale).exp()
        tx, ty = u[4:6] * 2 * self.translation  # the sampling grid is of width and height 2
        c, s = angle.cos(), angle.sin()
        # pixels are turned, not the grid's units: those are as long across as down only if h = w
        across = torch.stack([c * sx, s * sx * (w / h)], 1)  # (n, 2), of one step of the grid to the right
        down = torch.stack([(c * k - s) * sy * (h / w), (s * k + c) * sy], 1)
        x, y = _pixel_centres(w, images.device), _pixel_centres(h, images.device)
        rows = y * down[:, :, None] + torch.stack([tx, ty], 1)[:, :, None]  # (n, 2, h)
        # summed by broadcasting: affine_grid's tiny matrix products take six times as long, and suffer under autocast
        grid = rows[:, :, :, None] + (x * across[:, :, None])[:, :, None]  # (n, 2, h, w)
        if self.bend:
            knots = torch.randn(n, 2, N_KNOTS, N_KNOTS, device=images.device) * (2 * self.strength * self.bend)
            with torch.autocast(images.device.type, enabled=False):
                grid = grid + _bumps(y) @ knots @ _bumps(x).T
        mode = "border" if self.padding == "edge" else "zeros"
        moved = F.grid_sample(images.float(), grid.permute(0, 2, 3, 1), padding_mode=mode, align_corners=False)
        return moved.to(images.dtype)


@dataclass(frozen=True)
class FeatureNoise:
    """For tables of standardised features (n, d): Gaussian noise, and values replaced by 0, the features' mean.

    Parameters
    ----------
    std : float, default 0.1
        Standard deviation of the noise.
    drop : float, default 0.1
        Probability with which a value is replaced.
    strength : float, default 1
        Multiplies both; 0 changes nothing.
    """

    std: float = 0.1
    drop: float = 0.1
    strength: float = 1.0

    def __post_init__(self) -> None:
        _require_strength(self.strength)

    def __call__(self, features: Tensor) -> Tensor:
        if not self.strength:
            return features
        noisy = features + self.strength * self.std * torch.randn_like(features)
        return noisy * (torch.rand_like(features) >= self.strength * self.drop)


class Compose:
    """One transformation after another."""

    def __init__(self, *transforms: Transform):
        self.transforms = transforms

    def __call__(self, x: Tensor) -> Tensor:
        for transform in self.transforms:
            x = transform(x)
        return x

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.transforms))})"


@dataclass(frozen=True)
class Identity:
    """No change at all, at any strength."""

    strength: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        return x


AUGMENTATIONS: dict[str, Callable[..., Transform]] = {"affine": AffineImages, "noise": FeatureNoise, "none": Identity}


def make(spec: str | Transform | None, shape: Sequence[int], strength: float = 1.0) -> Transform:
    """The transformation that `spec` stands for.

    Parameters
    ----------
    spec : str, callable or None
        "auto" (affine for images, noise for tables), a name in `AUGMENTATIONS`, or any callable
        batch -> batch. None means "none".
    shape : (channels, height, width) or (n_features,)
        Shape of one sample.
    strength : float, default 1
        Multiplies what a named transformation does.

    Raises
    ------
    InputError
        If the name is unknown or unfit for the shape; when it is called, if what a callable gives is no such batch.
    """
    if spec is not None and not isinstance(spec, str):
        if not callable(spec) or isinstance(spec, type):
            raise InputError(f"Expected an augmentation's name or a callable batch -> batch, got {spec!r}.")
        return spec if type(spec) in AUGMENTATIONS.values() else partial(_given, spec)
    spec = spec or "none"
    if spec == "auto":
        spec = "affine" if len(shape) == 3 else "noise"
    if spec not in AUGMENTATIONS:
        names = ["auto", *AUGMENTATIONS]
        raise InputError(f"Expected an augmentation of {', '.join(names)}; got {spec!r}{nearest(spec, names)}")
    if spec == "affine" and len(shape) != 3:
        raise InputError(f"Expected images (channels, height, width) for 'affine', got {tuple(shape)}; use 'noise'.")
    return AUGMENTATIONS[spec](strength=strength)


def _given(transform: Transform, batch: Tensor) -> Tensor:
    """What somebody's own transformation makes of a batch."""
    expected = tuple(batch.shape)
    found = transform(batch)
    if not isinstance(found, Tensor) or found.shape != expected:
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise InputError(f"Expected a tensor of shape {expected} from the augmentation, got {got}.")
    return found


def _pixel_centres(size: int, device: torch.device) -> Tensor:
    """Where `size` pixels lie on a grid from -1 to 1."""
    return (2 * torch.arange(size, device=device) + 1) / size - 1


def _bumps(at: Tensor) -> Tensor:
    """Overlapping bumps along -1 to 1 at the places `at` (n,), shape (n, N_KNOTS), of length 1 at each place.

    So the sum of bumps with independent standard Gaussian heights has variance 1 everywhere.
    """
    knots = torch.linspace(-1, 1, N_KNOTS, device=at.device)
    heights = torch.exp(-(((at[:, None] - knots) / (0.7 * (knots[1] - knots[0]))) ** 2) / 2)
    return F.normalize(heights, dim=1)


def _require_strength(strength: float) -> None:
    if not 0 <= strength < math.inf:
        raise InputError(f"Expected strength >= 0, got {strength}.")
