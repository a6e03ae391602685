"""Photos and images as features: the rows that a pretrained encoder makes of them, with the pictures beside them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aaekit.data.dataset import Dataset, checked
from aaekit.data.folders import read_image
from aaekit.encoders import Encoder, ImageArrays, Items, encoded
from aaekit.encoders.base import Kind
from aaekit.errors import InputError

__all__ = ["PICTURE", "ImageFiles", "encode_files", "with_features"]

PICTURE = (3, 64, 64)  # shape of the pictures of photos whose rows are features


class ImageFiles:
    """Files of images, read when they are encoded: fitted into a square, the rest in the colour of their edge."""

    kind: Kind = "images"

    def __init__(self, files: Sequence[str | Path]) -> None:
        self.files = [Path(file) for file in files]

    def __len__(self) -> int:
        return len(self.files)

    def content(self, k: int) -> bytes:
        """The bytes of the file."""
        try:
            return self.files[k].read_bytes()
        except OSError as error:
            raise InputError(
                f"{self.files[k]}: expected an image that can be read, got ({error.strerror or error}): check the path"
            ) from error

    def length(self, k: int) -> int:
        """All are resized to one size."""
        return 1

    def batch(self, rows: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        """The images of some files."""
        with ThreadPoolExecutor() as pool:
            return np.stack(list(pool.map(lambda k: read_image(self.files[k], 3, size, size), rows)))


def encode_files(encoder: Encoder) -> Callable[[Sequence[Path]], NDArray[np.float32]]:
    """Return a function that makes features (n, n_features) of files of images."""
    return lambda files: encoded(ImageFiles(files), encoder)


def with_features(data: Dataset, encoder: Encoder, folder: Path | None = None) -> Dataset:
    """Return a data set of images with features as rows, and its images as originals.

    Parameters
    ----------
    data : Dataset
        Its images, which are only pictures if they have files.
    encoder : Encoder
        Of images.
    folder : Path, optional
        The folder of its files, which are then encoded in their own size.

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

    def features(X: NDArray[Any] | None, files: Sequence[str]) -> NDArray[np.float32] | None:
        items: Items | None = ImageFiles([folder / file for file in files]) if folder is not None else None
        return None if X is None else encoded(items or ImageArrays(X), encoder)

    arrays: dict[str, Any] = {
        "X": features(data.X, data.files), "X_test": features(data.X_test, data.files_test),
        "originals": data.X, "originals_test": data.X_test,
    }  # fmt: skip
    return checked(replace(data, **arrays, features=encoder.name, checksum=encoder.checksum))
