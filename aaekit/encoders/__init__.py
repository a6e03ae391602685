"""Frozen pretrained encoders, which make rows of features of photos and texts before an autoencoder sees them.

`find` returns an encoder by name, and `encoded` the features of images or texts, from the cache where they are there.
torch and the libraries of the encoders are loaded when something is encoded.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aaekit._files import whole_number
from aaekit.encoders.base import CallableEncoder, Encoder
from aaekit.encoders.cache import encoded
from aaekit.encoders.items import ImageArrays, Items, Texts
from aaekit.errors import InputError, nearest

__all__ = ["NAMES", "Encoder", "ImageArrays", "Items", "Texts", "absolute", "encoded", "find"]

NAMES = ("efficientnet-lite0", "minilm")  # their weights are packages


def find(name: "str | Path | Encoder | Callable[..., Any]") -> Encoder:
    """Return an encoder; its weights are not loaded before they are needed.

    Parameters
    ----------
    name : str, Path, Encoder or callable
        One of:

        - "efficientnet-lite0": photos, 1,280 features;
        - "minilm": texts, 384 features, all-MiniLM-L6-v2;
        - a path that ends in .onnx: photos;
        - a model of Hugging Face, such as "facebook/dinov2-small", or a folder with its files: photos, or texts if it
          has no preprocessor of images;
        - a callable that takes a batch, an array of images or a list of texts, and returns features (n, n_features).

        A number behind @ is the size of photos in pixels, such as "efficientnet-lite0@160".

    Returns
    -------
    Encoder

    Raises
    ------
    InputError
        If there is no such encoder, its package is not installed, or its files are missing or of another content.
    """
    if isinstance(name, Encoder):
        return name
    if callable(name):
        return CallableEncoder(name)
    text, size = _name_and_size(str(name))
    is_file, is_folder = text.lower().endswith(".onnx"), Path(text).expanduser().is_dir()
    is_remote = text.count("/") == 1 and not Path(text).is_absolute()
    if not (text in NAMES or is_file or is_folder or is_remote):
        raise InputError(
            f"expected an encoder, {', '.join(NAMES)}, a file .onnx or OWNER/MODEL of Hugging Face, got {text!r}"
            f"{nearest(text, NAMES)}"
        )
    from aaekit.encoders import huggingface, vision  # with torch, not before the name is known to be one

    if text == "efficientnet-lite0":
        return vision.EfficientNetLite0(str(name), size)
    if text == "minilm":
        return huggingface.HuggingFaceTexts(str(name), huggingface.folder_of_minilm())
    if is_file:
        return vision.OnnxEncoder(str(name), Path(text).expanduser(), size)
    folder = huggingface.folder_of(text)
    if (folder / "preprocessor_config.json").is_file():
        return huggingface.HuggingFaceImages(str(name), folder, size)
    return huggingface.HuggingFaceTexts(str(name), folder)


def absolute(name: str) -> str:
    """Return the name of an encoder, paths as absolute ones, so that it is found from other directories."""
    path, size = _name_and_size(name)
    at = Path(path).expanduser()
    return f"{at.resolve()}{name[len(path) :]}" if path not in NAMES and at.exists() else name


def _name_and_size(text: str) -> tuple[str, int | None]:
    """Split NAME@SIZE."""
    name, at, size = text.rpartition("@")
    n_pixels = whole_number(size)
    if not at or n_pixels is None:
        return text, None
    if not 32 <= n_pixels <= 1024:
        raise InputError(
            f"{text}: expected a size of photos from 32 to 1024 pixels, got {size}: write for instance @160"
        )
    return name, n_pixels
