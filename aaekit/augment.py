"""Augmentations: random transformations of batches that do not change the class of a row.

A transformation is any callable from a batch to a batch of the same shape that draws from torch's global random state.
A new one::

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
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from aaekit.errors import InputError, nearest

__all__ = ["AUGMENTATIONS", "AffineImages", "Compose", "FeatureNoise", "Identity", "Transform", "make"]

Transform = Callable[[Tensor], Tensor]
N_KNOTS = 5  # along each side of an image, of the smooth displacement field


@dataclass(frozen=True)
class AffineImages:
    """Random affine maps of images, one for each: rotation, scale, shear, translation; and a smooth displacement.

    Affine parameters are drawn from uniform distributions. Images (n, c, h, w) keep their shape, type and range (with
    padding "zeros", a range that includes 0).

    Parameters
    ----------
    rotation : float, default 15
        Largest angle in degrees, in both directions.
    scale : float, default 0.15
        Largest log of the factors of width and height, which are independent: 0.15 is -14 to +16 %.
    shear : float, default 0.2
        Largest shift of a pixel row, in units of its height above the centre.
    translation : float, default 0.1
        Largest shift, in units of width and height.
    bend : float, default 0.03
        Standard deviation of the smooth displacement of each pixel, in units of width and height (similar to Simard et
        al., *Best Practices for Convolutional Neural Networks*, 2003, section 2).
    padding : "zeros" or "edge", default "zeros"
        Pixels from outside of the image: 0, or the nearest pixel of the edge.
    strength : float, default 1
        Factor of the first five; 0 changes nothing.

    Raises
    ------
    InputError
        For another padding, a negative strength, or, when called, a batch that is not of images.
    """

    rotation: float = 15.0
    scale: float = 0.15
    shear: float = 0.2
    translation: float = 0.1
    bend: float = 0.03
    padding: Literal["zeros", "edge"] = "zeros"
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.padding not in ("zeros", "edge"):
            raise InputError(f"padding: expected 'zeros' or 'edge', got {self.padding!r}")
        _require_strength(self.strength)

    def __call__(self, images: Tensor) -> Tensor:
        if images.ndim != 4:
            raise InputError(
                f"expected images of shape (n, channels, height, width), got {tuple(images.shape)}: "
                "reshape them, or use FeatureNoise"
            )
        if not self.strength:
            return images
        n, _, h, w = images.shape
        u = (torch.rand(6, n, device=images.device) * 2 - 1) * self.strength
        angle, k = u[0] * math.radians(self.rotation), u[1] * self.shear
        sx, sy = (u[2:4] * self.scale).exp()
        tx, ty = u[4:6] * 2 * self.translation  # the sampling grid is of width and height 2
        c, s = angle.cos(), angle.sin()
        # the rotation is one of pixels: units of the grid are equally long in x and y only if h = w
        across = torch.stack([c * sx, s * sx * (w / h)], 1)  # (n, 2), for one step of the grid to the right
        down = torch.stack([(c * k - s) * sy * (h / w), (s * k + c) * sy], 1)
        x, y = _pixel_centres(w, images.device), _pixel_centres(h, images.device)
        rows = y * down[:, :, None] + torch.stack([tx, ty], 1)[:, :, None]  # (n, 2, h)
        # a sum by broadcasting: affine_grid's small matrix products take six times as long, and autocast rounds them
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
    """Noise for standardised features (n, d): Gaussian, and values replaced by 0, the mean of each feature.

    Parameters
    ----------
    std : float, default 0.1
        Standard deviation of the noise.
    drop : float, default 0.1
        Probability that a value is replaced.
    strength : float, default 1
        Factor of both; 0 changes nothing.
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
    """Apply transformations one after another, from left to right."""

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
    """No change, at any strength."""

    strength: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        return x


AUGMENTATIONS: dict[str, Callable[..., Transform]] = {"affine": AffineImages, "noise": FeatureNoise, "none": Identity}


def make(spec: str | Transform | None, shape: Sequence[int], strength: float = 1.0) -> Transform:
    """The transformation that `spec` stands for.

    Parameters
    ----------
    spec : str, callable or None
        "auto" ("affine" for images, "noise" for tables), a name in `AUGMENTATIONS`, or any callable from batch to
        batch. None means "none".
    shape : (channels, height, width) or (n_features,)
        Shape of one row.
    strength : float, default 1
        Strength of a named transformation.

    Raises
    ------
    InputError
        If the name is unknown or does not fit the shape; when called, if a callable does not return a batch of the same
        shape.
    """
    if spec is not None and not isinstance(spec, str):
        if not callable(spec) or isinstance(spec, type):
            raise InputError(f"augmentation: expected a name or a callable from batch to batch, got {spec!r}")
        return spec if type(spec) in AUGMENTATIONS.values() else partial(_checked, spec)
    spec = spec or "none"
    if spec == "auto":
        spec = "affine" if len(shape) == 3 else "noise"
    if spec not in AUGMENTATIONS:
        names = ["auto", *AUGMENTATIONS]
        raise InputError(f"augmentation: expected {' or '.join(map(repr, names))}, got {spec!r}{nearest(spec, names)}")
    if spec == "affine" and len(shape) != 3:
        raise InputError(
            f"augmentation: expected images (channels, height, width) for 'affine', got rows of shape {tuple(shape)}: "
            "use 'noise'"
        )
    return AUGMENTATIONS[spec](strength=strength)


def _checked(transform: Transform, batch: Tensor) -> Tensor:
    """Apply a user's transformation, and check the shape of its result."""
    shape = tuple(batch.shape)
    augmented = transform(batch)
    if not isinstance(augmented, Tensor) or augmented.shape != shape:
        got = tuple(augmented.shape) if isinstance(augmented, Tensor) else type(augmented).__name__
        raise InputError(f"augmentation: expected a tensor of shape {shape} from the callable, got {got}")
    return augmented


def _pixel_centres(size: int, device: torch.device) -> Tensor:
    """Positions of `size` pixels on a grid from -1 to 1."""
    return (2 * torch.arange(size, device=device) + 1) / size - 1


def _bumps(at: Tensor) -> Tensor:
    """Overlapping bumps on [-1, 1] at positions `at` (n,), shape (n, N_KNOTS), of Euclidean length 1 at each position.

    The sum of bumps with independent standard Gaussian heights then has variance 1 everywhere.
    """
    knots = torch.linspace(-1, 1, N_KNOTS, device=at.device)
    heights = torch.exp(-(((at[:, None] - knots) / (0.7 * (knots[1] - knots[0]))) ** 2) / 2)
    return F.normalize(heights, dim=1)


def _require_strength(strength: float) -> None:
    if not 0 <= strength < math.inf:
        raise InputError(f"strength: expected a number of at least 0, got {strength}")
