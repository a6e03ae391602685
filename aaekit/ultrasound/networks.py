"""The refiners and discriminators of the two-stage simulator, and the tensors that they see.

All images are polar: `(n, channels, lines, depths)`. Scan lines are periodic, depth is not.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from aaekit.ultrasound.tissues import N_TISSUES

MAX_LOGIT_CHANGE = 6.0  # bound of what a refiner adds to a logit


# --- networks --------------------------------------------------------------------------------------------------------
class _Convolution(nn.Module):
    """A 3x3 convolution of polar images: circular padding across lines, zero padding along depth."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.inner: nn.Conv2d = nn.Conv2d(n_in, n_out, 3, stride, (0, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(F.pad(x, (0, 0, 1, 1), mode="circular"))


class Refiner(nn.Module):
    """A small U-Net that refines the frames of the previous stage, given conditions such as the tissues.

    It adds to the logits of the frames, so that they stay in [0, 1], and starts as the identity. The change is bounded
    by `MAX_LOGIT_CHANGE`: otherwise a discriminator that is far ahead can drive all frames to black for good.

    Parameters
    ----------
    n_conditions : int
        Channels of the conditions.
    channels : int
        Width of the first layer.
    n_halvings : int
        Number of times that the resolution is halved.
    """

    def __init__(self, n_conditions: int, channels: int, n_halvings: int) -> None:
        super().__init__()
        widths = [min(channels * 2**k, 4 * channels) for k in range(n_halvings + 1)]
        self.stem: _Convolution = _Convolution(2 + n_conditions, channels)
        self.down: nn.ModuleList = nn.ModuleList(
            _Convolution(a, b, 2) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.up: nn.ModuleList = nn.ModuleList(_Convolution(a + b, a) for a, b in zip(widths, widths[1:], strict=False))
        self.last: _Convolution = _Convolution(channels, 1)
        nn.init.zeros_(self.last.inner.weight)
        assert self.last.inner.bias is not None
        nn.init.zeros_(self.last.inner.bias)

    def forward(self, previous: Tensor, conditions: Tensor) -> Tensor:
        """Frames `(n, 1, lines, depths)` and conditions `(n, n_conditions, lines, depths)` to refined frames."""
        x = F.leaky_relu(self.stem(torch.cat([2 * previous - 1, depth_channel(previous), conditions], 1)), 0.2)
        skips = [x]
        for layer in self.down:
            x = F.leaky_relu(layer(x), 0.2)
            skips.append(x)
        for layer, skip in zip(reversed(self.up), reversed(skips[:-1]), strict=True):
            x = F.leaky_relu(layer(torch.cat([skip, F.interpolate(x, scale_factor=2, mode="nearest")], 1)), 0.2)
        change = MAX_LOGIT_CHANGE * torch.tanh(self.last(x).float() / MAX_LOGIT_CHANGE)
        return (previous.clamp(0.01, 0.99).logit() + change).sigmoid()


class Refiners(nn.Module):
    """The refiners of both stages.

    Parameters
    ----------
    channels : int
        Width of their first layers.

    Attributes
    ----------
    stage1, stage2 : Refiner
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stage1: Refiner = Refiner(2 * N_TISSUES, channels, 3)
        self.stage2: Refiner = Refiner(1 + N_TISSUES, channels, 2)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def patch_discriminator(n_in: int, channels: int) -> nn.Module:
    """Build a discriminator of overlapping patches: `(n, n_in, lines, depths)` to logits `(n, 1, lines/8, depths/8)`.

    Its layers are spectrally normalised (Miyato et al., arXiv:1802.05957), so that it does not get far ahead of the
    refiner.
    """
    widths = [n_in, channels, 2 * channels, 4 * channels]
    layers: list[nn.Module] = []
    for a, b in zip(widths, widths[1:], strict=False):
        layers += [spectral_norm(nn.Conv2d(a, b, 4, 2, 1)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, 3, 1, 1)))


# --- tensors ---------------------------------------------------------------------------------------------------------
def depth_channel(images: Tensor) -> Tensor:
    """The depth of each sample, from -1 to 1: `(n, 1, lines, depths)`."""
    depth = torch.linspace(-1, 1, images.shape[-1], device=images.device, dtype=images.dtype)
    return depth.expand_as(images[:, :1])


def one_hot(tissue_ids: Tensor) -> Tensor:
    """Tissue maps `(n, lines, depths)` as `(n, n_tissues, lines, depths)` of zeros and ones."""
    return F.one_hot(tissue_ids.long(), N_TISSUES).movedim(-1, 1).float()


def with_path(tissues: Tensor) -> Tensor:
    """Tissues `(n, k, lines, depths)` and the amount of each between catheter and sample: `(n, 2k, lines, depths)`.

    What lies on the path casts the shadow, and may be beyond the refiner's receptive field. An eighth of the depth or
    more counts as 1.
    """
    path = 8 * tissues.cumsum(-1) / tissues.shape[-1]
    return torch.cat([tissues, path.clamp(max=1)], 1)


def upsample(images: Tensor, factor: int) -> Tensor:
    """Enlarge frames by cubic interpolation."""
    padded = F.pad(images, (0, 0, 2, 2), mode="circular")
    enlarged = F.interpolate(padded, scale_factor=factor, mode="bicubic", align_corners=False)
    return enlarged[:, :, 2 * factor : -2 * factor].clamp(0, 1)


def random_rotation(*images: Tensor, n_lines: int | None = None) -> list[Tensor]:
    """Rotate aligned images by one random angle, mirror them half the time, and return their first `n_lines` lines."""
    total = images[0].shape[-2]
    shift, mirrored = int(torch.randint(total, ())), bool(torch.rand(()) < 0.5)
    rotated = [x.roll(shift, -2)[..., : n_lines or total, :] for x in images]
    return [x.flip(-2) for x in rotated] if mirrored else rotated
