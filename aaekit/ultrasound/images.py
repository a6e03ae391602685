"""Reading and writing folders of tissue maps and frames."""

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aaekit._extras import require
from aaekit._files import write_bytes
from aaekit.data.images import open_image
from aaekit.errors import InputError
from aaekit.ultrasound.checks import check_maps, check_pairs


@dataclass(frozen=True)
class ImageFolders:
    """Tissue maps and frames read from two folders of PNG files.

    Attributes
    ----------
    maps : ndarray of shape (n, height, width), uint8
    frames : ndarray of shape (m, height, width), uint8, or None
    map_names, frame_names : list of str
        File names, in the order of the arrays.
    """

    maps: NDArray[np.uint8]
    frames: NDArray[np.uint8] | None
    map_names: list[str]
    frame_names: list[str]


def read_folders(
    maps: str | os.PathLike[str], frames: str | os.PathLike[str] | None = None, *, paired: bool = True
) -> ImageFolders:
    """Read tissue maps (8-bit ids, grey or with a palette) and frames (8-bit grey) from folders of PNG files.

    Parameters
    ----------
    maps, frames : path
        The folders; without frames, only maps are read.
    paired : bool, default True
        Whether a map and a frame of the same file name belong together.

    Returns
    -------
    ImageFolders

    Raises
    ------
    InputError
        If a folder does not exist or holds no PNG file, a file is not an image of the expected kind, the files of a
        folder differ in size, or a tissue id is unknown; if `paired`, also if a file has no partner or a map and its
        frame differ in size.
    """
    map_paths = _png_files(maps)
    tissue_ids = _read_all(map_paths, _read_map)
    check_maps(tissue_ids, [str(p) for p in map_paths])
    if frames is None:
        return ImageFolders(tissue_ids, None, [p.name for p in map_paths], [])
    frame_paths = _png_files(frames)
    if paired:
        map_names, frame_names = {p.name for p in map_paths}, {p.name for p in frame_paths}
        if unpaired := map_names ^ frame_names:
            name = min(unpaired)
            there, missing = (maps, frames) if name in map_names else (frames, maps)
            raise InputError(
                f"expected a map and a frame of each name, got {Path(there) / name} without {Path(missing) / name} "
                f"({len(unpaired)} in all): add or remove files, or use --no-paired"
            )
        for path, frame_path, ids in zip(map_paths, frame_paths, tissue_ids, strict=True):
            check_pairs(ids[None], _read_frame(frame_path)[None], [str(path)])
    names = [p.name for p in map_paths], [p.name for p in frame_paths]
    return ImageFolders(tissue_ids, read_frames(frame_paths), *names)


def read_frames(paths: Sequence[Path]) -> NDArray[np.uint8]:
    """Frames of one size, `(n, height, width)`.

    Raises
    ------
    InputError
        If a file is missing or no image of 8 bits, or the sizes differ.
    """
    return _read_all(paths, _read_frame)


def write_images(folder: str | os.PathLike[str], images: NDArray[Any], names: Sequence[str]) -> Path:
    """Write images as grey PNG files.

    Parameters
    ----------
    folder : path
        Created if it does not exist.
    images : ndarray of shape (n, height, width)
        Bytes, or intensities in [0, 1].
    names : sequence of str
        File names.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    require("PIL", extra="plots")
    from PIL import Image

    folder = Path(folder)
    for image, name in zip(to_bytes(images), names, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        write_bytes(folder / name, buffer.getvalue())
    return folder


def to_bytes(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Images as 8-bit grey values: bytes unchanged, floats from [0, 1]."""
    return images if images.dtype == np.uint8 else np.rint(255 * np.clip(images, 0, 1)).astype(np.uint8)


def _png_files(folder: str | os.PathLike[str]) -> list[Path]:
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of PNG files, got no folder: check the path")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".png")
    if not paths:
        raise InputError(f"{folder}: expected PNG files, got none: check the path")
    return paths


def _read_all(paths: Sequence[Path], read: Callable[[Path], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    images = [read(p) for p in paths]
    for path, image in zip(paths, images, strict=True):
        if image.shape != images[0].shape:
            (a, b), (c, d) = images[0].shape, image.shape
            raise InputError(
                f"{path}: expected {a}x{b} pixels as in {paths[0].name}, got {c}x{d}: resize all to one size"
            )
    return np.stack(images)


def _read_map(path: Path) -> NDArray[np.uint8]:
    with open_image(path) as image:
        mode, tissue_ids = image.mode, np.asarray(image)
    if mode not in ("L", "P"):
        raise InputError(f"{path}: expected 8-bit tissue ids, got an image of mode {mode}: save it as 8-bit grey")
    return tissue_ids


def _read_frame(path: Path) -> NDArray[np.uint8]:
    with open_image(path) as image:
        mode, grey = image.mode, np.asarray(image.convert("L"))
    if mode.startswith(("I", "F")):
        raise InputError(f"{path}: expected 8-bit grey values, got an image of mode {mode}: save it with 8 bits")
    return grey
