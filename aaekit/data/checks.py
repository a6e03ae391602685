"""What rows and labels must look like; everything else is refused in one line."""

import zlib
from collections.abc import Iterator

import numpy as np

from aaekit.errors import InputError

BLOCK_BYTES = 64 * 2**20
FLOAT32_MAX = float(np.finfo(np.float32).max)


def blocks(X: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, rows) a few megabytes at a time, so that a memory-mapped array is never copied whole."""
    step = max(1, BLOCK_BYTES // max(1, X.nbytes // max(1, len(X))))
    for start in range(0, len(X), step):
        yield start, X[start : start + step]


def fingerprint(X: np.ndarray, n: int = 1000) -> list[int]:
    """Tell rows from others: their number, and a checksum of about `n` of them, spread evenly."""
    return [len(X), zlib.crc32(np.ascontiguousarray(X[:: max(1, len(X) // n)]).tobytes())]


def check_whole(value: object, least: int, name: str) -> int:
    """Return `value` as an int if it is a whole number from `least` up; else it is refused."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= least:
        return int(value)
    raise InputError(f"{name}: expected a whole number from {least} up, found {value!r}")


def check_rows(X: np.ndarray, name: str = "X") -> None:
    """Refuse rows that cannot be learned from.

    Parameters
    ----------
    X : ndarray of shape (n, n_features) or (n, channels, height, width)
        Tables hold any finite numbers; images hold integers in 0..255 or floats in [0, 1].
    name : str, default="X"
        What the message calls the array.

    Raises
    ------
    InputError
        For a wrong number of dimensions or dtype, no rows, values that are NaN, infinite or beyond float32
        (with their number and the first position), or images out of range (with their minimum and maximum).
    """
    X = np.asanyarray(X)
    if X.dtype.kind not in "fiub":
        raise InputError(f"{name}: expected numbers, found dtype {X.dtype}; convert it to uint8 or float32")
    if X.ndim not in (2, 4):
        raise InputError(
            f"{name}: expected (n, n_features) or (n, channels, height, width), found shape {X.shape}; reshape it"
        )
    if X.size == 0:
        raise InputError(f"{name}: expected at least one row and one value per row, found shape {X.shape}")
    image = X.ndim == 4
    if image and X.shape[1] > 4 and X.shape[3] in (1, 3, 4):
        raise InputError(
            f"{name}: expected (n, channels, height, width), found {X.shape}, which looks like channels last; "
            "transpose it by (0, 3, 1, 2)"
        )
    if X.dtype == np.uint8 or X.dtype.kind == "b":
        return
    bad, first, low, high = 0, (), np.inf, -np.inf
    for start, block in blocks(X):
        wrong = ~np.isfinite(block)
        if block.dtype.kind == "f" and block.dtype.itemsize > 4:
            wrong |= np.abs(block) > FLOAT32_MAX
        if wrong.any():
            row, *rest = np.unravel_index(np.argmax(wrong), wrong.shape)
            first = first or (int(row) + start, *(int(i) for i in rest))
            bad += int(wrong.sum())
        else:
            low, high = min(low, block.min()), max(high, block.max())
    if bad:
        raise InputError(
            f"{name}: expected finite float32 values, found {bad} NaN, infinite or too large, the first at {first}; "
            "fill in or drop these rows"
        )
    top = 1 if X.dtype.kind == "f" else 255
    if image and (low < 0 or high > top):
        kind = "floats in [0, 1]" if top == 1 else "integers in 0..255"
        raise InputError(f"{name}: expected images as {kind}, found {low:.4g} to {high:.4g}; rescale them")


def check_labels(y: np.ndarray, n: int, n_classes: int | None = None, name: str = "y") -> None:
    """Refuse labels that do not fit the rows.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Integers, -1 where unlabelled.
    n : int
        The number of rows.
    n_classes : int, optional
        When given, labels end at ``n_classes - 1``.
    name : str, default="y"
        What the message calls the array.

    Raises
    ------
    InputError
        For a wrong shape or length, a dtype that is not an integer one, or a label out of range.
    """
    y = np.asanyarray(y)
    if y.shape != (n,):
        raise InputError(f"{name}: expected one label per row, shape ({n},), found shape {y.shape}")
    if y.dtype.kind not in "iu":
        raise InputError(
            f"{name}: expected integer labels 0..K-1 (-1 where unlabelled), found dtype {y.dtype}; number them, for "
            "instance classes, y = numpy.unique(y, return_inverse=True), and keep classes beside y"
        )
    top = np.iinfo(np.int64).max if n_classes is None else n_classes - 1
    wrong = np.flatnonzero((y < -1) | (y > top))
    if len(wrong):
        expected = "labels from -1 (unlabelled) up" if n_classes is None else f"labels in -1..{top}"
        raise InputError(f"{name}: expected {expected}, found {y[wrong[0]]} in row {wrong[0]}")
    if n_classes is None and n and (largest := int(y.max())) >= 1000:
        n_known = len(np.unique(y[y >= 0]))
        if largest >= 10 * n_known:
            raise InputError(
                f"{name}: expected classes numbered from 0, found {n_known} labels up to {largest}; "
                "number them, for instance by numpy.unique(y, return_inverse=True)"
            )
