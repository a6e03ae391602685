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
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from aaekit.errors import InputError, nearest

__all__ = [
    "AUGMENTATIONS",
    "SYMMETRIES",
    "AffineImages",
    "Amplitude",
    "Compose",
    "Crop",
    "FeatureNoise",
    "Identity",
    "Light",
    "Mirror",
    "Transform",
    "WarpedTime",
    "automatic",
    "make",
    "symmetries_in",
    "without_bending",
]

Transform = Callable[[Tensor], Tensor]
N_KNOTS = 5  # along each side of an image, or along a signal, of the smooth displacement field


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


SYMMETRIES: dict[str, Transform] = {  # of images (n, c, h, w), each its own inverse
    "flip": lambda x: x.flip(-1),
    "flip_vertical": lambda x: x.flip(-2),
    "transpose": lambda x: x.transpose(-1, -2),
}


@dataclass(frozen=True)
class Mirror:
    """Mirror each image with probability 1/2.

    Parameters
    ----------
    symmetry : str, default "flip"
        A key of `SYMMETRIES`: left to right, top to bottom, or rows to columns (of square images). All three together
        make the eight flips and quarter turns, equally often.
    strength : float, default 1
        Factor of the probability, up to 1; 0 changes nothing.
    """

    symmetry: str = "flip"
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.symmetry not in SYMMETRIES:
            names = " or ".join(map(repr, SYMMETRIES))
            raise InputError(f"symmetry: expected {names}, got {self.symmetry!r}{nearest(self.symmetry, SYMMETRIES)}")
        _require_strength(self.strength)

    def __call__(self, images: Tensor) -> Tensor:
        _require_square(self.symmetry, images.shape[1:])
        chosen = torch.rand(len(images), device=images.device) < min(1.0, self.strength) / 2
        return torch.where(chosen.view(-1, 1, 1, 1), SYMMETRIES[self.symmetry](images), images)


@dataclass(frozen=True)
class Light:
    """Another light for each image in [0, 1]: contrast, brightness, and the colour of the light.

    Parameters
    ----------
    contrast : float, default 0.4
        Largest log of the factor of differences from the mean of the image: 0.4 is -33 to +49 %.
    brightness : float, default 0.2
        Largest shift.
    colour : float, default 0.1
        Largest log of the factor of each channel; images with one channel have no colour.
    strength : float, default 1
        Factor of all three; 0 changes nothing.
    """

    contrast: float = 0.4
    brightness: float = 0.2
    colour: float = 0.1
    strength: float = 1.0

    def __post_init__(self) -> None:
        _require_strength(self.strength)

    def __call__(self, images: Tensor) -> Tensor:
        if not self.strength:
            return images
        n, c = images.shape[:2]
        u = (torch.rand(2 + c * (c > 1), n, 1, 1, 1, device=images.device) * 2 - 1) * self.strength
        x = images.float()
        mean = x.mean((1, 2, 3), keepdim=True)
        x = (x - mean) * (u[0] * self.contrast).exp() + mean + u[1] * self.brightness
        if c > 1:
            x = x * (u[2:, :, 0].transpose(0, 1) * self.colour).exp()
        return x.clamp(0, 1).to(images.dtype)


@dataclass(frozen=True)
class Crop:
    """A part of each image, anywhere in it, enlarged to its size: of textures, any part shows the class.

    Parameters
    ----------
    smallest : float, default 0.5
        Shares of width and height that remain are drawn from `smallest` to 1, one for both.
    strength : float, default 1
        Factor of what is cut off, up to 1; 0 changes nothing.

    Raises
    ------
    InputError
        For a share that is not above 0 and at most 1, or a negative strength.
    """

    smallest: float = 0.5
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.smallest <= 1:
            raise InputError(f"smallest: expected a share above 0 and at most 1, got {self.smallest}")
        _require_strength(self.strength)

    def __call__(self, images: Tensor) -> Tensor:
        if not self.strength:
            return images
        n, _, h, w = images.shape
        cut, x, y = torch.rand(3, n, device=images.device)
        share = 1 - min(1.0, self.strength) * (1 - self.smallest) * cut
        left, top = (2 * x - 1) * (1 - share), (2 * y - 1) * (1 - share)
        across = share[:, None] * _pixel_centres(w, images.device) + left[:, None]
        down = share[:, None] * _pixel_centres(h, images.device) + top[:, None]
        grid = torch.stack([across[:, None].expand(n, h, w), down[:, :, None].expand(n, h, w)], 3)
        part = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
        return part.to(images.dtype)


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


@dataclass(frozen=True)
class WarpedTime:
    """Random maps of the time of signals, one for each: a shift, a stretch, and a smooth displacement.

    Signals (n, channels, length) keep their shape and type. Channels move together; values from before the beginning
    and after the end are those of the edge.

    Parameters
    ----------
    shift : float, default 0.1
        Largest shift, in units of the length.
    stretch : float, default 0.1
        Largest log of the factor of the length: 0.1 is -10 to +11 %.
    bend : float, default 0.02
        Standard deviation of the smooth displacement of each value, in units of the length (Um et al.,
        arXiv:1706.00527, time-warping).
    strength : float, default 1
        Factor of all three; 0 changes nothing.

    Raises
    ------
    InputError
        For a negative strength, or, when called, a batch that is not of signals.
    """

    shift: float = 0.1
    stretch: float = 0.1
    bend: float = 0.02
    strength: float = 1.0

    def __post_init__(self) -> None:
        _require_strength(self.strength)

    def __call__(self, signals: Tensor) -> Tensor:
        if signals.ndim != 3:
            raise InputError(
                f"expected signals of shape (n, channels, length), got {tuple(signals.shape)}: reshape them"
            )
        if not self.strength:
            return signals
        n, channels, length = signals.shape
        u = (torch.rand(2, n, 1, device=signals.device) * 2 - 1) * self.strength
        t = _pixel_centres(length, signals.device)
        at = t * (u[0] * self.stretch).exp() + 2 * self.shift * u[1]  # (n, length), on a grid from -1 to 1
        if self.bend:
            knots = torch.randn(n, N_KNOTS, device=signals.device) * (2 * self.strength * self.bend)
            with torch.autocast(signals.device.type, enabled=False):
                at = at + knots @ _bumps(t).T
        position = (((at + 1) * length - 1) / 2).clamp(0, length - 1)[:, None].expand(n, channels, length)
        left = position.floor()
        before, after = left.long(), (left.long() + 1).clamp(max=length - 1)
        x = signals.float()
        return x.gather(2, before).lerp(x.gather(2, after), position - left).to(signals.dtype)


@dataclass(frozen=True)
class Amplitude:
    """Another amplitude and level for each channel of each standardised signal (n, channels, length).

    Parameters
    ----------
    scale : float, default 0.2
        Largest log of the factor of differences from the mean of the channel: 0.2 is -18 to +22 %.
    level : float, default 0.1
        Largest shift.
    strength : float, default 1
        Factor of both; 0 changes nothing.
    """

    scale: float = 0.2
    level: float = 0.1
    strength: float = 1.0

    def __post_init__(self) -> None:
        _require_strength(self.strength)

    def __call__(self, signals: Tensor) -> Tensor:
        if not self.strength:
            return signals
        u = (torch.rand(2, *signals.shape[:2], 1, device=signals.device) * 2 - 1) * self.strength
        x = signals.float()
        mean = x.mean(2, keepdim=True)
        return ((x - mean) * (u[0] * self.scale).exp() + mean + u[1] * self.level).to(signals.dtype)


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


AUGMENTATIONS: dict[str, Callable[..., Transform]] = {
    "affine": AffineImages,
    "affine_edge": partial(AffineImages, padding="edge"),
    "light": Light,
    "crop": Crop,
    **{name: partial(Mirror, name) for name in SYMMETRIES},
    "time": WarpedTime,
    "amplitude": Amplitude,
    "jitter": partial(FeatureNoise, drop=0.0),
    "noise": FeatureNoise,
    "none": Identity,
}
OF_SIGNALS = ("time", "amplitude", "jitter")


def automatic(shape: Sequence[int], symmetries: Sequence[str] = (), is_photo: bool = False) -> str:
    """The augmentation that "auto" stands for: "noise" for tables, warps for signals and drawings, and more for photos.

    Parameters
    ----------
    shape : (channels, height, width), (channels, length) or (n_features,)
        Shape of one row.
    symmetries : sequence of str, default=()
        Keys of `SYMMETRIES` that leave the class of an image alone.
    is_photo : bool, default=False
        Whether images fill their frame, so that they have a light, and no black around them.
    """
    if len(shape) != 3:
        return "noise" if len(shape) == 1 else "time+amplitude+jitter"
    return "+".join([*symmetries, *(["light", "affine_edge"] if is_photo else ["affine"])])


def symmetries_in(spec: object) -> tuple[str, ...]:
    """The keys of `SYMMETRIES` among the names of an augmentation."""
    return tuple(name for name in spec.split("+") if name in SYMMETRIES) if isinstance(spec, str) else ()


def without_bending(transform: Transform) -> Transform:
    """The same transformation, in which affine maps of images do not bend."""
    if isinstance(transform, Compose):
        return Compose(*map(without_bending, transform.transforms))
    return replace(transform, bend=0.0) if isinstance(transform, AffineImages) else transform


def make(spec: str | Transform | None, shape: Sequence[int], strength: float = 1.0) -> Transform:
    """The transformation that `spec` stands for.

    Parameters
    ----------
    spec : str, callable or None
        "auto" (see `automatic`), a name in `AUGMENTATIONS`, several joined by + and applied in this order, or any
        callable from batch to batch. None means "none".
    shape : (channels, height, width), (channels, length) or (n_features,)
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
    transforms = [_named(name, shape, strength) for name in (automatic(shape) if spec == "auto" else spec).split("+")]
    return transforms[0] if len(transforms) == 1 else Compose(*transforms)


def _named(name: str, shape: Sequence[int], strength: float) -> Transform:
    if name not in AUGMENTATIONS:
        names = ["auto", *AUGMENTATIONS]
        raise InputError(f"augmentation: expected {' or '.join(map(repr, names))}, got {name!r}{nearest(name, names)}")
    if name not in ("noise", "none") and (name in OF_SIGNALS, len(shape)) not in ((True, 2), (False, 3)):
        rows = "signals (channels, length)" if name in OF_SIGNALS else "images (channels, height, width)"
        raise InputError(
            f"augmentation: expected {rows} for {name!r}, got rows of shape {tuple(shape)}: use {automatic(shape)!r}"
        )
    _require_square(name, shape)
    return AUGMENTATIONS[name](strength=strength)


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


def _require_square(name: str, shape: Sequence[int]) -> None:
    if name == "transpose" and shape[1] != shape[2]:
        raise InputError(f"augmentation: expected square images for 'transpose', got {tuple(shape)}: leave it out")


def _require_strength(strength: float) -> None:
    if not 0 <= strength < math.inf:
        raise InputError(f"strength: expected a number of at least 0, got {strength}")
