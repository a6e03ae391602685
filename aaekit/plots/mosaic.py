"""Images in rows and columns, as an array and in axes."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from aaekit.errors import InputError
from aaekit.plots.base import BLUE, FAINT, bare, check_samples, new_figure, palette, span

__all__ = ["tile"]


def tile(images: ArrayLike, n_columns: int = 10, gap: int | tuple[int, int] = 1, scale: int = 1) -> NDArray[np.float32]:
    """Arrange images in rows, left to right, in one array.

    Parameters
    ----------
    images : array-like of shape (n, c, h, w)
        Values are clipped to [0, 1]; NaN becomes 0. c is 1 or 3.
    n_columns : int, default 10
        Images per row; unused places in the last row are white.
    gap : int or (int, int), default 1
        White pixels between rows and between columns.
    scale : int, default 1
        Each pixel becomes scale x scale pixels; the gap is not scaled.

    Returns
    -------
    ndarray of shape (H, W), or (H, W, 3) for colour
        Image k starts at row (k // n_columns) (h scale + gap) and column (k % n_columns) (w scale + gap).

    Raises
    ------
    InputError
        If the shape is not that of images, or there is no image.
    """
    x = check_samples(images)
    if x.ndim != 4:
        raise InputError(f"expected images of shape (n, 1 or 3, h, w), got {x.shape}: other rows cannot be tiled")
    n, c, _, _ = x.shape
    n_columns = min(n_columns, n)
    down, right = (gap, gap) if isinstance(gap, int) else gap
    x = np.clip(np.nan_to_num(x), 0, 1).repeat(scale, axis=2).repeat(scale, axis=3)
    h, w = x.shape[2:]
    rows = -(-n // n_columns)
    cells = np.ones((rows * n_columns, c, h + down, w + right), dtype=np.float32)
    cells[:n, :, :h, :w] = x
    mosaic = cells.reshape(rows, n_columns, c, h + down, w + right).transpose(0, 3, 1, 4, 2)
    mosaic = mosaic.reshape(rows * (h + down), n_columns * (w + right), c)
    mosaic = mosaic[: mosaic.shape[0] - down, : mosaic.shape[1] - right]
    return mosaic[..., 0] if c == 1 else mosaic


def mosaic_figure(
    x: NDArray[Any], n_columns: int, extra: tuple[float, float] = (0.0, 0.35), inches: float = 7.0
) -> tuple[Figure, Axes]:
    """A figure in the shape of a mosaic, with `extra` inches for labels at the left and below."""
    n_columns = min(n_columns, len(x))
    rows = -(-len(x) // n_columns)
    h, w = x.shape[2:] if x.ndim == 4 else (3, 4)
    cell = min(inches / n_columns, 1.1)  # a few small images do not need the full width
    width, height = max(cell * n_columns + extra[0], 4.6), cell * rows * h / w + extra[1]
    if height > 14:
        width, height = max(width * 14 / height, 3.0), 14
    figure = new_figure((width + 0.1, height + 0.1))
    return figure, figure.add_subplot()


def draw_mosaic(
    axes: Axes,
    x: NDArray[np.float32],
    n_columns: int,
    gap: tuple[int, int] = (1, 1),
    at: tuple[float, float] = (0.0, 0.0),
    blank: NDArray[np.bool_] | None = None,
    limits: tuple[float, float] | None = None,
) -> tuple[float, float]:
    """Draw samples; the top left corner of sample k is at (k % n_columns, k // n_columns) + `at`.

    Samples marked in `blank` are omitted; `limits` are the values at the bottom and top of a table profile. Returns the
    width and height of a cell without its gap.
    """
    n_columns = min(n_columns, len(x))
    rows = -(-len(x) // n_columns)
    bare(axes)
    if x.ndim == 4:
        if blank is not None:
            x = np.where(blank[:, None, None, None], np.float32(1), x)
        scale = max(1, -(-32 // x.shape[-1]))  # keeps the gap thin next to small images
        h, w = x.shape[2] * scale, x.shape[3] * scale
        down, right = gap[0] * 2, gap[1] * 2
        mosaic = tile(x, n_columns, (down, right), scale)
        extent = (at[0], at[0] + mosaic.shape[1] / (w + right), at[1] + mosaic.shape[0] / (h + down), at[1])
        axes.imshow(
            mosaic, cmap="gray", vmin=0, vmax=1, interpolation="nearest" if w > x.shape[3] else "antialiased",
            extent=extent, aspect=(h + down) / (w + right),
        )  # fmt: skip
        return w / (w + right), h / (h + down)
    _profiles(axes, x, n_columns, at, blank, limits)
    axes.set_xlim(at[0] - 0.05, at[0] + n_columns)
    axes.set_ylim(at[1] + rows, at[1] - 0.05)
    return 0.9, 0.85


def _profiles(
    axes: Axes,
    x: NDArray[np.float32],
    n_columns: int,
    at: tuple[float, float],
    blank: NDArray[np.bool_] | None,
    limits: tuple[float, float] | None,
) -> None:
    """Signals or rows of a table as small curves on a common scale, each with its own base line."""
    low, high = span(x[np.isfinite(x)], 0.0) if limits is None else limits
    is_drawn = np.isfinite(x).reshape(len(x), -1).any(1) & (True if blank is None else ~blank)
    k = np.flatnonzero(is_drawn)
    x = x[k].reshape(len(k), -1, x.shape[-1])
    n, n_channels, d = x.shape
    left, top = (at[0] + k % n_columns)[:, None], (at[1] + k // n_columns)[:, None]
    across = np.linspace(0, 0.9, d) if d > 1 else np.array([0.45])
    height = 0.85 * (1 - (np.clip(np.nan_to_num(x, nan=low), low, high) - low) / (high - low))
    zero = 0.85 * (1 - (np.clip(0, low, high) - low) / (high - low))
    base = np.stack([np.hstack([left, left + 0.9]), np.repeat(top + zero, 2, axis=1)], axis=2)
    axes.add_collection(LineCollection(list(base), colors=FAINT, linewidths=0.8))
    colours = palette(n_channels) if n_channels > 1 else [BLUE]
    for channel, colour in enumerate(colours):
        curves = np.stack([np.broadcast_to(left + across, (n, d)), top + height[:, channel]], axis=2)
        axes.add_collection(LineCollection(list(curves), colors=colour, linewidths=1.3 if d <= 64 else 0.7))
        if d <= 16:
            axes.scatter(curves[..., 0], curves[..., 1], s=6, color=colour, linewidths=0)
