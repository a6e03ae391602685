"""Polar and cartesian images of the same view, and their sizes.

*Cartesian* images `(n, size, size)` show the view as a disc with the catheter in the middle. *Polar* images
`(n, n_lines, n_depths)` are what the catheter records: one row per scan line, depth from left to right.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aaekit.errors import InputError, nearest
from aaekit.ultrasound.tissues import OUTSIDE

Geometry = Literal["cartesian", "polar"]


def check_geometry(geometry: str) -> Geometry:
    """Return the geometry of that name.

    Raises
    ------
    InputError
        If it is neither "cartesian" nor "polar".
    """
    if geometry == "cartesian" or geometry == "polar":
        return geometry
    raise InputError(
        f"expected geometry 'cartesian' or 'polar', got {geometry!r}{nearest(geometry, ('cartesian', 'polar'))}"
    )


def pixel_coordinates(size: int, geometry: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates x and y of all pixels: the catheter is at (0, 0), the view ends at distance 1."""
    if check_geometry(geometry) == "polar":
        angle, depth = np.arange(size)[:, None] * 2 * np.pi / size, (np.arange(size) + 0.5) / size
        return depth * np.cos(angle), depth * np.sin(angle)
    side = (2 * np.arange(size) + 1) / size - 1
    x, y = np.meshgrid(side, side)
    return x, y


def to_polar(images: ArrayLike, size: int = 256, *, interpolate: bool = True) -> NDArray[Any]:
    """Convert cartesian images to polar ones.

    Parameters
    ----------
    images : array-like of shape (n, s, s)
        Square images with the catheter in the middle.
    size : int, default 256
        Number of scan lines, and of samples along each.
    interpolate : bool, default True
        Whether to interpolate between pixels. Set to False for tissue maps: each sample then takes the id of the
        nearest pixel.

    Returns
    -------
    ndarray of shape (n, size, size)
        float32 if interpolated, otherwise of the type of `images`.

    Raises
    ------
    InputError
        If the images are not square.
    """
    images = np.asarray(images)
    if images.ndim != 3 or images.shape[1] != images.shape[2]:
        raise InputError(
            f"expected square cartesian images (n, size, size), got {images.shape}: set geometry='polar' for polar ones"
        )
    x, y = pixel_coordinates(size, "polar")
    middle, scale = (images.shape[1] - 1) / 2, images.shape[1] / 2
    return _sample(images, y * scale + middle, x * scale + middle, interpolate, wrap=False)


def to_cartesian(images: ArrayLike, size: int = 256, *, interpolate: bool = True) -> NDArray[Any]:
    """Convert polar images to cartesian ones.

    Parameters
    ----------
    images : array-like of shape (n, n_lines, n_depths)
        Polar images.
    size : int, default 256
        Pixels per side.
    interpolate : bool, default True
        Whether to interpolate between samples. Set to False for tissue maps.

    Returns
    -------
    ndarray of shape (n, size, size)
        0 outside of the disc; float32 if interpolated, otherwise of the type of `images`.

    Raises
    ------
    InputError
        If the images do not have three dimensions.
    """
    images = np.asarray(images)
    if images.ndim != 3:
        raise InputError(f"expected polar images (n, n_lines, n_depths), got {images.shape}")
    x, y = pixel_coordinates(size, "cartesian")
    r, angle = np.hypot(x, y), np.arctan2(y, x) % (2 * np.pi)
    out = _sample(images, angle * images.shape[1] / (2 * np.pi), r * images.shape[2] - 0.5, interpolate, wrap=True)
    out[:, r > 1] = OUTSIDE
    return out


def resize(images: NDArray[Any], n_lines: int, n_depths: int, *, interpolate: bool = True) -> NDArray[Any]:
    """Change the size of polar images.

    Parameters
    ----------
    images : ndarray of shape (n, h, w)
        Polar images.
    n_lines, n_depths : int
        The new size.
    interpolate : bool, default True
        Whether to take means over blocks where the sizes divide evenly, and to interpolate elsewhere. Set to False for
        tissue maps: each sample then takes the nearest id.

    Returns
    -------
    ndarray of shape (n, n_lines, n_depths)
        float32 if interpolated, otherwise of the type of `images`.
    """
    h, w = images.shape[1:]
    if interpolate and h % n_lines == 0 and w % n_depths == 0:
        blocks = np.asarray(images, np.float32).reshape(len(images), n_lines, h // n_lines, n_depths, w // n_depths)
        return blocks.mean((2, 4), dtype=np.float32)
    rows = (np.arange(n_lines)[:, None] + 0.5) * h / n_lines - 0.5
    columns = (np.arange(n_depths) + 0.5) * w / n_depths - 0.5
    rows, columns = np.broadcast_arrays(rows, columns)
    return _sample(images, rows, columns, interpolate, wrap=True)


def _sample(
    images: NDArray[Any], rows: NDArray[np.floating], columns: NDArray[np.floating], interpolate: bool, wrap: bool
) -> NDArray[Any]:
    """Images at fractional rows and columns, bilinear or nearest; with `wrap` the last row is next to the first."""
    h, w = images.shape[1:]

    def at(i: NDArray[np.integer], j: NDArray[np.integer]) -> NDArray[Any]:
        return images[:, i % h if wrap else i.clip(0, h - 1), j.clip(0, w - 1)]

    if not interpolate:
        return at(np.rint(rows).astype(int), np.rint(columns).astype(int))
    i, j = np.floor(rows).astype(int), np.floor(columns).astype(int)
    u, v = (rows - i).astype(np.float32), (columns - j).astype(np.float32)
    return ((1 - u) * ((1 - v) * at(i, j) + v * at(i, j + 1)) + u * ((1 - v) * at(i + 1, j) + v * at(i + 1, j + 1))
            ).astype(np.float32)  # fmt: skip
