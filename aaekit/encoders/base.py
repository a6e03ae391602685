"""What an encoder is, and encoders that are a callable."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aaekit.errors import InputError

__all__ = ["CallableEncoder", "Encoder", "file_checksum"]

Kind = Literal["images", "texts"]
SIZE = 224  # pixels a side of photos, unless the encoder says another


class Encoder:
    """A frozen network that makes features of images or texts.

    Attributes
    ----------
    name : str
        As a user writes it.
    kind : "images", "texts" or None
        What it encodes; None for whatever it is given.
    checksum : str
        Of its weights and of how inputs are prepared; features are cached by it. Empty if it has none.
    size : int
        Height and width of the images that it takes.
    batch_size : int
        How many images or texts it is given at once.
    """

    kind: Kind | None = None
    size = SIZE
    batch_size = 8

    def __init__(self, name: str, checksum: str) -> None:
        self.name = name
        self.checksum = checksum

    def __call__(self, batch: Any) -> NDArray[np.float32]:
        """Return features (n, n_features) of images (n, 3, size, size) uint8, or of a list of n texts."""
        raise NotImplementedError


class CallableEncoder(Encoder):
    """A function as an encoder; its features are not cached, since it has no checksum."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(getattr(function, "__name__", type(function).__name__), "")
        self.function = function
        self.batch_size = 32

    def __call__(self, batch: Any) -> NDArray[np.float32]:
        """Call the function."""
        features = self.function(batch)
        features = features.detach().cpu().numpy() if hasattr(features, "detach") else np.asarray(features)
        if features.ndim != 2 or len(features) != len(batch) or features.dtype.kind not in "fiu":
            raise InputError(
                f"{self.name}: expected features of shape ({len(batch)}, n_features) from the encoder, got "
                f"{features.dtype} {features.shape}"
            )
        return features.astype(np.float32)


def file_checksum(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except FileNotFoundError:
        raise InputError(f"{path}: expected a file, got no such file: check the path") from None
    except OSError as error:
        raise InputError(f"{path}: expected a file that can be read, got ({error.strerror or error})") from error
