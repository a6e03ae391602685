"""Photos and images as features: the rows that a pretrained encoder makes of them, with the pictures beside them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aaekit.data.dataset import Dataset, checked
from aaekit.data.images import MAX_PIXELS, Item, read_images
from aaekit.encoders import Encoder, ImageArrays, encoded
from aaekit.encoders.base import Kind
from aaekit.errors import InputError

__all__ = ["PICTURE", "ImageFiles", "with_features"]

PICTURE = (3, 64, 64)  # shape of the pictures of photos whose rows are features


class ImageFiles:
    """Files of images, read when they are encoded: fitted into a square, the rest in the colour of their edge."""

    kind: Kind = "images"

    def __init__(self, items: Sequence[Item], bits: int = 8, max_pixels: int = MAX_PIXELS) -> None:
        self.items: Sequence[Item] = items
        self.bits = bits
        self.max_pixels = max_pixels

    def __len__(self) -> int:
        return len(self.items)

    def content(self, k: int) -> bytes:
        """The bytes of the file, behind the number of bits if its pixels depend on it."""
        source = self.items[k].source
        prefix = f"{self.bits} bits ".encode() if self.bits > 8 else b""
        try:
            return prefix + (source if isinstance(source, bytes) else source.read_bytes())
        except OSError as error:
            raise InputError(
                f"{self.items[k].name}: expected an image that can be read, got ({error.strerror or error}): check the "
                "path"
            ) from error

    def length(self, k: int) -> int:
        """All are resized to one size."""
        return 1

    def batch(self, rows: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        """The images of some files."""
        items = [self.items[k] for k in rows]
        return read_images("images", items, (3, size, size), self.bits, self.max_pixels, quiet=True)[0]


def with_features(data: Dataset, encoder: Encoder) -> Dataset:
    """Return a data set of images with features as rows, and its images as originals.

    Parameters
    ----------
    data : Dataset
        Images in arrays; files are encoded where they are read, in their own size.
    encoder : Encoder
        Of images.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        If its rows are no images, and as in `encoded`.
    """
    if data.X.ndim != 4:
        raise InputError(
            f"{data.name}: expected images or free texts to encode by {encoder.name}, got rows of {data.X.shape[1]} "
            "numbers: leave features out"
        )

    arrays: dict[str, Any] = {
        "X": encoded(ImageArrays(data.X), encoder),
        "X_test": None if data.X_test is None else encoded(ImageArrays(data.X_test), encoder),
        "originals": data.X,
        "originals_test": data.X_test,
    }
    return checked(replace(data, **arrays, features=encoder.name, checksum=encoder.checksum))
