"""A decoder as the page computes it: in plain JavaScript, so that a picture follows the pointer without a question."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from aaekit.nn.backbones import Crop
from aaekit.studio.session import Trained

__all__ = ["layers_of", "network_of", "packed"]

MAX_WEIGHTS = 8_000_000  # of a decoder that a page computes


def network_of(trained: Trained) -> dict[str, Any] | None:
    """The decoder of images of a model, and what it is shown of each value of y; None if a page cannot compute it."""
    model, space, view = trained.model, trained.space, trained.view
    if view.decoded != "image" or not model.unit_range_ or model.shape_[0] not in (1, 3):
        return None
    if sum(p.numel() for p in model.networks_.decoder.parameters()) > MAX_WEIGHTS:
        return None
    layers = layers_of(model)
    if layers is None:
        return None
    return {"layers": layers, "combinations": space.combinations.tolist() if space.joint else None}


def layers_of(model: Any) -> list[dict[str, Any]] | None:
    """The layers of a decoder of fully connected and transposed convolutional layers, weights as float16.

    None if it has other layers.
    """
    decoder = model.networks_.decoder
    if decoder.groups:
        return None
    layers: list[dict[str, Any]] = []
    for module in decoder.backbone.modules():
        if list(module.children()):
            continue
        layer = _layer(module)
        if layer is None:
            return None
        layers += layer
    return [*layers, {"kind": "sigmoid"}] if decoder.unit_range else layers


def _layer(module: nn.Module) -> list[dict[str, Any]] | None:
    """A layer as the page computes it; none for those that do nothing in evaluation, None for unknown ones."""
    if isinstance(module, nn.Linear):
        return [{"kind": "dense", "in": module.in_features, "out": module.out_features} | _weights(module)]
    if isinstance(module, nn.ConvTranspose2d):
        (kernel, _), (stride, _), (padding, _) = module.kernel_size, module.stride, module.padding
        is_square = len({*module.kernel_size}) == len({*module.stride}) == len({*module.padding}) == 1
        is_plain = module.groups == 1 and not any(module.output_padding) and set(module.dilation) == {1}
        if not (is_square and is_plain and isinstance(padding, int)):
            return None
        shape = {"in": module.in_channels, "out": module.out_channels}
        steps = {"kernel": kernel, "stride": stride, "padding": padding}
        return [{"kind": "transposed"} | shape | steps | _weights(module)]
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        mean, variance = module.running_mean, module.running_var
        if mean is None or variance is None:
            return None
        scale = (module.weight if module.affine else 1.0) / (variance + module.eps).sqrt()
        shift = (module.bias if module.affine else 0.0) - mean * scale
        values = {"scale": scale, "shift": shift}
        arrays = {k: packed(v.detach().float().numpy()) for k, v in values.items()}
        return [{"kind": "affine", "channels": module.num_features} | arrays]
    if isinstance(module, nn.ReLU):
        return [{"kind": "relu"}]
    if isinstance(module, nn.Unflatten):
        return [{"kind": "shape", "shape": list(module.unflattened_size)}]
    if isinstance(module, Crop):
        return [{"kind": "crop", "height": module.size[0], "width": module.size[1]}]
    return [] if isinstance(module, nn.Dropout | nn.Identity | nn.Flatten) else None


def _weights(module: nn.Linear | nn.ConvTranspose2d) -> dict[str, str]:
    weight = module.weight.detach().float().contiguous().numpy()
    arrays = {"weight": packed(weight.astype("<f2"))}
    return arrays if module.bias is None else arrays | {"bias": packed(module.bias.detach().float().numpy())}


def packed(array: NDArray[Any]) -> str:
    """The bytes of an array in base 64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
