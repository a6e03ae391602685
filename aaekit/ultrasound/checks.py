"""Checks of tissue maps and frames."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aaekit.errors import InputError
from aaekit.ultrasound.tissues import N_TISSUES, TISSUES


def check_maps(maps: ArrayLike, names: Sequence[str] | None = None) -> NDArray[np.uint8]:
    """Return tissue maps as uint8.

    Parameters
    ----------
    maps : array-like of shape (n, height, width)
        Whole numbers, each the id of one of `TISSUES`.
    names : sequence of str, optional
        Names of the maps for error messages.

    Returns
    -------
    ndarray of shape (n, height, width), uint8

    Raises
    ------
    InputError
        If an id is unknown (the message names the first such map), or the shape or type is wrong.
    """
    maps = np.asarray(maps)
    if maps.ndim != 3 or maps.dtype.kind not in "ui" or not maps.size:
        raise InputError(
            f"expected tissue maps (n, height, width) of whole numbers, got shape {maps.shape} of {maps.dtype}"
        )
    unknown = (maps < 0) | (maps >= N_TISSUES)
    if unknown.any():
        k = int(unknown.any((1, 2)).argmax())
        ids = ", ".join(str(i) for i in np.unique(maps[k][unknown[k]])[:5])
        raise InputError(
            f"{names[k] if names else f'map {k}'}: expected tissue ids "
            f"{', '.join(f'{t.tissue_id} {t.name}' for t in TISSUES)}, got {ids}: recode the map"
        )
    return maps.astype(np.uint8)


def check_frames(frames: ArrayLike, names: Sequence[str] | None = None) -> NDArray[np.float32]:
    """Return frames as float32 in [0, 1].

    Parameters
    ----------
    frames : array-like of shape (n, height, width)
        Intensities in [0, 1], or bytes, which are divided by 255.
    names : sequence of str, optional
        Names of the frames for error messages.

    Returns
    -------
    ndarray of shape (n, height, width), float32

    Raises
    ------
    InputError
        If a value is not finite or outside [0, 1], or the shape or type is wrong.
    """
    frames = np.asarray(frames)
    if frames.ndim != 3 or frames.dtype.kind not in "uif" or not frames.size:
        raise InputError(f"expected frames (n, height, width) of numbers, got shape {frames.shape} of {frames.dtype}")
    if frames.dtype == np.uint8:
        return frames.astype(np.float32) / np.float32(255)
    invalid = ~((frames >= 0) & (frames <= 1)).all((1, 2))
    if invalid.any():
        k = int(invalid.argmax())
        raise InputError(
            f"{names[k] if names else f'frame {k}'}: expected bytes or intensities in [0, 1], "
            f"got {frames[k].min():.4g} ... {frames[k].max():.4g}: divide by the largest possible value"
        )
    return frames.astype(np.float32)


def check_pairs(maps: NDArray[np.integer], frames: NDArray[np.number], names: Sequence[str] | None = None) -> None:
    """Check that there is a frame of the same size for each tissue map.

    Parameters
    ----------
    maps : ndarray of shape (n, height, width)
    frames : ndarray of shape (n, height, width)
    names : sequence of str, optional
        Names of the maps for error messages.

    Raises
    ------
    InputError
        If the numbers or the sizes differ.
    """
    if len(maps) != len(frames):
        raise InputError(
            f"expected one frame for each tissue map, got {len(maps)} maps and {len(frames)} frames: "
            "remove those without a partner or set paired=False"
        )
    if maps.shape[1:] != frames.shape[1:]:
        (a, b), (c, d) = maps.shape[1:], frames.shape[1:]
        name = f"{names[0]}: " if names else ""
        raise InputError(
            f"{name}expected a frame of the tissue map's size, {a}x{b} pixels, got {c}x{d}: resize one of them"
        )
