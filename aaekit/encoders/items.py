"""What is encoded: images in arrays, texts, or anything that gives batches and a digest of each item."""

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aaekit.encoders.base import Kind

__all__ = ["Arrays", "ImageArrays", "Items", "Texts", "digests"]


class Items(Protocol):
    """Images or texts to encode.

    Attributes
    ----------
    kind : "images" or "texts"
        What they are.
    """

    kind: Kind

    def __len__(self) -> int:
        """How many there are."""
        ...

    def content(self, k: int) -> bytes:
        """What item k is, as bytes."""
        ...

    def length(self, k: int) -> int:
        """How long it takes to encode item k, compared with others."""
        ...

    def batch(self, rows: NDArray[np.int64], size: int) -> Any:
        """Items as an encoder takes them: images (n, 3, size, size) uint8, or a list of texts."""
        ...


class Texts:
    """Texts."""

    kind: Kind = "texts"

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts: Sequence[str] = texts

    def __len__(self) -> int:
        return len(self.texts)

    def content(self, k: int) -> bytes:
        """The text in UTF-8."""
        return self.texts[k].encode("utf-8", "surrogatepass")

    def length(self, k: int) -> int:
        """The number of characters."""
        return len(self.texts[k])

    def batch(self, rows: NDArray[np.int64], size: int) -> list[str]:
        """The texts of some rows."""
        return [str(self.texts[int(k)]) for k in rows]


class ImageArrays:
    """Images (n, channels, height, width) of 1 or 3 channels, uint8 or floats from 0 to 1, resized smoothly."""

    kind: Kind = "images"

    def __init__(self, images: NDArray[Any]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def content(self, k: int) -> bytes:
        """The pixels, behind their shape and type."""
        image = self.images[k]
        return f"{image.dtype.str} {image.shape} ".encode() + image.tobytes()

    def length(self, k: int) -> int:
        """All are of one size."""
        return 1

    def batch(self, rows: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        """The images of some rows, in three channels."""
        import torch
        from torch.nn import functional as F

        images = np.array(self.images[rows])
        scale = 1.0 if images.dtype == np.uint8 else 255.0
        x = torch.from_numpy(images.astype(np.float32) * np.float32(scale))
        x = F.interpolate(x, (size, size), mode="bicubic", antialias=True) if x.shape[2:] != (size, size) else x
        return x.round_().clamp_(0, 255).to(torch.uint8).expand(-1, 3, -1, -1).contiguous().numpy()


class Arrays(ImageArrays):
    """Rows of any shape, as a callable takes them."""

    def batch(self, rows: NDArray[np.int64], size: int) -> NDArray[Any]:
        """Some rows as they are."""
        return self.images[rows]


def digests(items: Items) -> NDArray[np.void]:
    """A digest of 16 bytes of each item."""
    each = [hashlib.sha256(items.content(k)).digest()[:16] for k in range(len(items))]
    return np.frombuffer(b"".join(each), "V16")
