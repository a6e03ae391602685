"""Features of photos and texts by pretrained encoders: `encode` makes the rows that estimators are trained on.

>>> from aaekit import features
>>> features.encode([[1.0, 2.0], [3.0, 4.0]], lambda batch: batch * 2).tolist()
[[2.0, 4.0], [6.0, 8.0]]
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aaekit._files import shown
from aaekit.data.checks import check_rows
from aaekit.data.encoding import ImageFiles
from aaekit.data.images import Item, bits_of
from aaekit.encoders import NAMES, Encoder, ImageArrays, Items, Texts, encoded, find
from aaekit.encoders.items import Arrays
from aaekit.errors import InputError

__all__ = ["NAMES", "Encoder", "encode", "find"]


def encode(
    images_or_texts: Sequence[str] | Sequence[Path] | NDArray[Any] | Any,
    encoder: "str | Path | Encoder | Callable[..., Any]",
    cache_dir: str | Path | None = None,
) -> NDArray[np.float32]:
    """Return features of photos or texts.

    What was encoded before is read from the cache, whatever the order; the time left is shown on the standard error
    stream.

    Parameters
    ----------
    images_or_texts : array-like
        Images (n, channels, height, width) or (n, height, width), uint8 or floats from 0 to 1, with 1 or 3 channels;
        paths of image files; or texts. A callable gets batches of an array as they are.
    encoder : str, Path, Encoder or callable
        "efficientnet-lite0", "minilm", an ONNX file, a model of Hugging Face, or a callable, see `find`.
    cache_dir : str or Path, optional
        Folder of the cache. Default: ``features`` in the user's cache folder. Features of callables are not cached.

    Returns
    -------
    ndarray of shape (n, n_features), float32
        Memory-mapped, read-only; in memory if the encoder is a callable.

    Raises
    ------
    InputError
        If there is nothing to encode or of another kind, an image cannot be read, the encoder is missing, or features
        are not finite.

    Examples
    --------
    >>> photos = np.zeros((3, 3, 8, 8), np.uint8)
    >>> encode(photos, lambda batch: batch.reshape(len(batch), -1)).shape
    (3, 192)
    """
    chosen = find(encoder)
    return encoded(_items(images_or_texts, chosen), chosen, cache_dir)


def _items(content: Any, encoder: Encoder) -> Items:
    """What is encoded."""
    if isinstance(content, str | Path):
        raise InputError(
            f"expected a list of texts, paths or images, got one {type(content).__name__}: put it into a list"
        )
    first = content[0] if len(content) and not hasattr(content, "ndim") else None
    if isinstance(first, Path) or (isinstance(first, str) and encoder.kind == "images"):
        items = [Item(shown(path), Path(path)) for path in content]
        return ImageFiles(items, bits_of("images", items))
    values = np.asarray(content)
    if values.dtype.kind in "UO" and all(isinstance(text, str) for text in content):
        return Texts([str(text) for text in content])
    if values.dtype.kind not in "fiub":
        raise InputError(
            f"expected images (n, channels, height, width), paths or texts, got {values.dtype} of shape {values.shape}"
        )
    if encoder.kind is None:
        return Arrays(values)
    images = values[:, None] if values.ndim == 3 else values
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise InputError(
            f"expected images (n, 1 or 3 channels, height, width), got shape {values.shape}: for channels last, "
            "transpose them by (0, 3, 1, 2)"
        )
    check_rows(images)
    return ImageArrays(images)
