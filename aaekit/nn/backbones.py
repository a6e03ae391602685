"""Backbones: networks from rows to features, from codes to rows, and from codes to the discriminator's logits."""

import copy
import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from aaekit.errors import InputError, nearest

__all__ = [
    "Crop",
    "backbone_name",
    "conv_decoder",
    "conv_encoder",
    "decoder_backbone",
    "dense",
    "dense_decoder",
    "dense_encoder",
    "discriminator",
    "encoder_backbone",
    "hidden_widths",
    "n_halvings",
    "n_pooled",
    "pooled_encoder",
]

BackboneName = Literal["mlp", "conv", "resnet"]
Widths = Literal["auto"] | Sequence[int]
Shape = tuple[int, ...]
N_FLAT = 32  # pixels a side, or values of a signal, up to which features keep their places; beyond it they are pooled
LAYERS: dict[int, tuple[Any, ...]] = {  # by the number of sides
    1: (nn.Conv1d, nn.BatchNorm1d, nn.ConvTranspose1d, nn.AvgPool1d),
    2: (nn.Conv2d, nn.BatchNorm2d, nn.ConvTranspose2d, nn.AvgPool2d),
}
N_NARROW = 256  # values of an image up to which narrower layers are enough, as they are for tables


def dense(sizes: Sequence[int], *, dropout: float = 0.0, batch_norm: bool = False) -> list[nn.Module]:
    """Fully connected layers `sizes[0] -> ... -> sizes[-1]`, each followed by [batch norm,] ReLU [, dropout]."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(n_in, n_out, bias=not batch_norm)]
        layers += [nn.BatchNorm1d(n_out)] * batch_norm + [nn.ReLU()] + [nn.Dropout(dropout)] * (dropout > 0)
    return layers


def dense_encoder(shape: Shape, hidden: Sequence[int], *, dropout: float = 0.0, batch_norm: bool = False) -> nn.Module:
    """`(n, *shape) -> (n, hidden[-1])`; without hidden layers, the flattened row."""
    return nn.Sequential(nn.Flatten(), *dense([math.prod(shape), *hidden], dropout=dropout, batch_norm=batch_norm))


def dense_decoder(n_code: int, shape: Shape, hidden: Sequence[int], *, dropout: float = 0.0) -> nn.Module:
    """The mirror image of `dense_encoder`: `(n, n_code) -> (n, *shape)`, no dropout on the output (lecture 54)."""
    sizes = [n_code, *reversed(hidden)]
    return nn.Sequential(*dense(sizes, dropout=dropout), nn.Linear(sizes[-1], math.prod(shape)), nn.Unflatten(1, shape))


def discriminator(n_code: int, hidden: Sequence[int] = (500, 500), *, dropout: float = 0.0) -> nn.Module:
    """D: `(n, n_code) -> (n, 1)` logits. No batch norm: it stalls the discriminator."""
    return nn.Sequential(*dense([n_code, *hidden], dropout=dropout), nn.Linear([n_code, *hidden][-1], 1))


def n_halvings(shape: Shape) -> int:
    """How often the encoder halves an image or a signal: to at most 8 pixels a side, and at least once."""
    return max(1, math.ceil(math.log2(max(shape[1:]) / 8)))


def conv_encoder(shape: Shape, channels: Sequence[int], n_features: int, *, dropout: float = 0.0) -> nn.Module:
    """`(n, c, h, w) -> (n, n_features)` for images from 8x8 up, or `(n, c, length)` for signals.

    A stem, one convolution for each halving, and one at the smallest size; `channels` are their widths in this order
    (the last is repeated). From 16 pixels a side the stem halves, too, which saves most of the time.
    """
    halvings, stem_halves = n_halvings(shape), max(shape[1:]) >= 16
    strides = [2 if stem_halves else 1] + [2] * (halvings - stem_halves) + [1]
    widths = _extended(channels, len(strides))
    layers: list[nn.Module] = []
    for i, (n_in, n_out, stride) in enumerate(zip([shape[0], *widths], widths, strides, strict=False)):
        layers += _convolution(shape, n_in, n_out, stride, is_stem=i == 0 and stem_halves)
    layers += [_Flatten()] + [nn.Dropout(dropout)] * (dropout > 0)
    layers += [
        nn.Linear(widths[-1] * math.prod(_smallest(shape)), n_features, bias=False),
        nn.BatchNorm1d(n_features),
        nn.ReLU(inplace=True),
    ]
    return _channels_last(nn.Sequential(*layers))


def pooled_encoder(shape: Shape, channels: Sequence[int], *, residual: bool = False, dropout: float = 0.0) -> nn.Module:
    """`(n, c, h, w) -> (n, n_pooled(shape, channels))`: convolutions, and mean and maximum of each channel over places.

    Signals are `(n, c, length)`.

    A stem of stride 2, a convolution or a residual block (He et al., arXiv:1512.03385) for each further halving, down
    to at most 8 pixels a side, and one more; `channels` are their widths in this order (the last is repeated).
    """
    strides = [2] * (n_halvings(shape) - 1) + [1]
    widths = _extended(channels, 1 + len(strides))
    layers: list[nn.Module] = _convolution(shape, shape[0], widths[0], 2, is_stem=True)
    for n_in, n_out, stride in zip(widths, widths[1:], strides, strict=False):
        layers += [_Residual(shape, n_in, n_out, stride)] if residual else _convolution(shape, n_in, n_out, stride)
    layers += [_MeanAndMaximum()] + [nn.Dropout(dropout)] * (dropout > 0)
    return _channels_last(nn.Sequential(*layers))


def n_pooled(shape: Shape, channels: Sequence[int]) -> int:
    """How many features `pooled_encoder` makes: two for each channel of its last layer."""
    return 2 * _extended(channels, 1 + n_halvings(shape))[-1]


def _extended(channels: Sequence[int], n: int) -> list[int]:
    """The widths of n layers: the last one is repeated, or those that are too many are left out."""
    return [*channels, *[channels[-1]] * n][:n]


def _layers(shape: Shape) -> tuple[Any, ...]:
    """Convolution, batch norm, transposed convolution and pooling for rows (channels, *sides)."""
    return LAYERS[len(shape) - 1]


def _convolution(shape: Shape, n_in: int, n_out: int, stride: int = 1, is_stem: bool = False) -> list[nn.Module]:
    """A convolution with batch norm and ReLU; signals, which have one side, have wider ones."""
    convolution, batch_norm, *_ = _layers(shape)
    kernel = 3 + 2 * is_stem + 2 * (len(shape) == 2)
    return [convolution(n_in, n_out, kernel, stride, kernel // 2, bias=False), batch_norm(n_out), nn.ReLU(inplace=True)]


class _Residual(nn.Module):
    """Two convolutions around which the input is added, by a linear map where its shape changes."""

    def __init__(self, shape: Shape, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        convolution, batch_norm, _, pooling = _layers(shape)
        second = _convolution(shape, n_out, n_out)[:2]
        self.change: nn.Module = nn.Sequential(*_convolution(shape, n_in, n_out, stride), *second)
        # means before the 1x1 convolution (He et al., arXiv:1812.01187); one of stride 2 crashes oneDNN on few channels
        means = [pooling(stride, ceil_mode=True)] * (stride > 1)
        shortcut = [*means, convolution(n_in, n_out, 1, bias=False), batch_norm(n_out)]
        self.shortcut: nn.Module = nn.Sequential(*shortcut) if stride > 1 or n_in != n_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.change(x) + self.shortcut(x))


class _Flatten(nn.Flatten):
    """The values of each row, channel by channel, with a gradient in the memory layout of the rows.

    Torch's own has it channel by channel, too; beside activations in another layout, that slows ReLU thirtyfold.
    """

    def forward(self, input: Tensor) -> Tensor:
        return _Flattened.apply(input)


class _Flattened(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape, ctx.is_last = x.shape, x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
        return x.flatten(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        layout = torch.channels_last if ctx.is_last else torch.contiguous_format
        return gradients[0].reshape(ctx.shape).contiguous(memory_format=layout)


class _MeanAndMaximum(nn.Module):
    """The mean and the maximum of each channel: `(n, c, *sides) -> (n, 2 c)`."""

    def forward(self, x: Tensor) -> Tensor:
        sides = tuple(range(2, x.ndim))
        return torch.cat([x.mean(sides), x.amax(sides)], 1)


def conv_decoder(n_code: int, shape: Shape, channels: Sequence[int]) -> nn.Module:
    """`(n, n_code) -> (n, *shape)`: one transposed convolution for each doubling, cropped to the size."""
    halvings, sides, (_, batch_norm, transposed, _) = n_halvings(shape), _smallest(shape), _layers(shape)
    widths = [shape[0], *_extended(channels, halvings)][::-1]
    first = widths[0] * math.prod(sides)
    layers: list[nn.Module] = [nn.Linear(n_code, first, bias=False), nn.BatchNorm1d(first), nn.ReLU()]
    layers += [nn.Unflatten(1, (widths[0], *sides))]
    for n_in, n_out in zip(widths[:-1], widths[1:-1], strict=False):
        layers += [transposed(n_in, n_out, 4, 2, 1, bias=False), batch_norm(n_out), nn.ReLU()]
    layers += [transposed(widths[-2], widths[-1], 4, 2, 1), Crop(shape[1:])]
    return _channels_last(nn.Sequential(*layers))


def _channels_last(module: nn.Module) -> nn.Module:
    """The same module in the memory layout in which convolutions are fastest."""
    return module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _smallest(shape: Shape) -> tuple[int, ...]:
    factor = 2 ** n_halvings(shape)
    return tuple(math.ceil(side / factor) for side in shape[1:])


class Crop(nn.Module):
    """Crop images to `size` (height, width), or signals to (length,), around their centre."""

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.size: tuple[int, ...] = tuple(size)

    def forward(self, x: Tensor) -> Tensor:
        first = [(a - b) // 2 for a, b in zip(x.shape[2:], self.size, strict=True)]
        return x[(..., *(slice(k, k + n) for k, n in zip(first, self.size, strict=True)))]


def backbone_name(spec: object, shape: Shape) -> BackboneName:
    """Resolve "auto": convolutional for images of at least 8x8 and signals of at least 8, else fully connected.

    Raises
    ------
    InputError
        For other names, and for "conv" and "resnet" with tables and smaller images and signals.
    """
    is_large = len(shape) > 1 and min(shape[1:]) >= 8
    if spec == "auto":
        return "conv" if is_large else "mlp"
    if spec in ("conv", "resnet") and not is_large:
        raise InputError(
            f"backbone: expected images of 8x8 or larger or signals of 8 or longer for {spec!r}, got rows of shape "
            f"{shape}: pass X as (n, channels, height, width) or (n, channels, length), set image_shape, or choose "
            "backbone='mlp'"
        )
    if spec not in get_args(BackboneName):
        names = ["auto", *get_args(BackboneName)]
        raise InputError(
            f"backbone: expected {', '.join(map(repr, names))} or a torch.nn.Module, got {spec!r}"
            f"{nearest(str(spec), names)}"
        )
    return spec  # type: ignore[return-value]


def hidden_widths(
    spec: Widths, shape: Shape, backbone: BackboneName, dense_widths: Sequence[int] | None = None
) -> Sequence[int]:
    """Resolve "auto" to the widths of layers.

    Channels of convolutional networks are 32, 64, 64, or 32, 64, 128 where features are pooled; else `dense_widths`, or
    two layers of 256, or of 1,000 for larger images.

    Raises
    ------
    InputError
        When a convolutional network would have no channels.
    """
    if spec == "auto":
        if backbone != "mlp":
            return (32, 64, 128) if _is_pooled(backbone, shape) else (32, 64, 64)
        narrow = len(shape) == 1 or math.prod(shape) <= N_NARROW
        return dense_widths or ((256, 256) if narrow else (1000, 1000))
    if backbone != "mlp" and not len(spec):
        raise InputError(
            "hidden: expected the channels of at least one layer of a convolutional network, got none: choose "
            "backbone='mlp' for a network without hidden layers"
        )
    return spec


def _is_pooled(backbone: BackboneName, shape: Shape) -> bool:
    """Whether features are pooled over places: beyond 32 pixels a side, and in residual networks."""
    return backbone == "resnet" or (backbone == "conv" and max(shape[1:]) > N_FLAT)


def encoder_backbone(
    spec: object, shape: Shape, *, hidden: Widths, dropout: float, batch_norm: bool
) -> tuple[nn.Module, int]:
    """The encoder's backbone and the number of its features.

    `spec` is a name or any `nn.Module` from `(n, *shape)` to `(n, ...)`; a module is copied, never changed.

    Raises
    ------
    InputError
        When the module does not take such rows, or does not return a tensor.
    """
    if isinstance(spec, nn.Module):
        module = copy.deepcopy(spec)
        return module, math.prod(_output_shape(module, shape, "backbone"))
    widths = hidden_widths(hidden, shape, name := backbone_name(spec, shape))
    if _is_pooled(name, shape):
        module = pooled_encoder(shape, widths, residual=name == "resnet", dropout=dropout)
        return module, n_pooled(shape, widths)
    if name == "conv":
        return conv_encoder(shape, widths, 2 * widths[-1], dropout=dropout), 2 * widths[-1]
    module = dense_encoder(shape, widths, dropout=dropout, batch_norm=batch_norm)
    return module, [math.prod(shape), *widths][-1]


def decoder_backbone(spec: object, n_code: int, shape: Shape, *, hidden: Widths, dropout: float) -> nn.Module:
    """The decoder's backbone; `spec` as in `encoder_backbone`, from `(n, n_code)` to `(n, *shape)`.

    Raises
    ------
    InputError
        When the module does not take such codes, or does not return such rows.
    """
    if isinstance(spec, nn.Module):
        module = copy.deepcopy(spec)
        output = _output_shape(module, (n_code,), "decoder")
        if output != shape:
            raise InputError(
                f"decoder: expected rows of shape {shape} from codes of {n_code} dimensions, got {output}: "
                "change the last layer of the module"
            )
        return module
    widths = hidden_widths(hidden, shape, name := backbone_name(spec, shape))
    return (
        dense_decoder(n_code, shape, widths, dropout=dropout) if name == "mlp" else conv_decoder(n_code, shape, widths)
    )


def _output_shape(module: nn.Module, shape: Shape, name: str) -> Shape:
    """The shape of an output row, by trying two rows of zeros."""
    was_training = module.training
    try:
        with torch.no_grad():
            output = module.eval()(torch.zeros(2, *shape))
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{name}: expected a module that takes rows of shape {shape}, got one that does not ({reason}): "
            "change its first layer"
        ) from error
    finally:
        module.train(was_training)
    if not isinstance(output, Tensor):
        raise InputError(
            f"{name}: expected a module that returns a tensor, got one that returns a {type(output).__name__}: "
            "wrap it in a module that does"
        )
    return tuple(output.shape[1:])
