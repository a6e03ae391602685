"""Checks of rows and labels; each refuses with a message of one line."""

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aaekit.errors import InputError
from aaekit.labels import as_integers, split_labels
from aaekit.shapes import check_signals

BLOCK_BYTES = 64 * 2**20
FLOAT32_MAX = float(np.finfo(np.float32).max)


def blocks(X: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (first row, rows) a few megabytes at a time, so that a memory-mapped array is never copied whole."""
    step = max(1, BLOCK_BYTES // max(1, X.nbytes // max(1, len(X))))
    for start in range(0, len(X), step):
        yield start, X[start : start + step]


def fingerprint(X: NDArray[Any], n: int = 1000) -> list[int]:
    """Return the number of rows and a checksum of about `n` of them, evenly spaced, which identify the rows."""
    rows = X[:: max(1, len(X) // n)]
    rows = rows.astype(str) if rows.dtype == object else rows  # texts
    return [len(X), zlib.crc32(np.ascontiguousarray(rows).tobytes())]


def check_whole(value: object, least: int, name: str) -> int:
    """Return `value` as an int; refuse it if it is not a whole number of at least `least`."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= least:
        return int(value)
    raise InputError(f"{name}: expected a whole number of at least {least}, got {value!r}")


def check_rows(X: ArrayLike, name: str = "X", largest: float = FLOAT32_MAX) -> None:
    """Refuse rows that no model can be trained on.

    Parameters
    ----------
    X : array-like of shape (n, n_features), (n, channels, length) or (n, channels, height, width)
        Tables and signals hold any finite numbers; images hold integers in 0..255 or floats in [0, 1].
    name : str, default="X"
        What messages call the array.
    largest : float, default=3.4e38
        What no value may exceed; the default is the largest float32.

    Raises
    ------
    InputError
        For a wrong number of dimensions or dtype, no rows, values that are NaN, infinite or larger than `largest`
        (with their number and the first position), or images out of range (with their minimum and maximum).
    """
    X = np.asanyarray(X)
    if X.dtype.kind not in "fiub":
        raise InputError(f"{name}: expected numbers, got dtype {X.dtype}: convert it to uint8 or float32")
    if X.ndim not in (2, 3, 4):
        raise InputError(
            f"{name}: expected (n, n_features), signals (n, channels, length) or images (n, channels, height, width), "
            f"got shape {X.shape}: reshape it"
        )
    if X.size == 0:
        raise InputError(
            f"{name}: expected at least one row and one value per row, got shape {X.shape}: check the data"
        )
    if X.ndim == 3:
        check_signals(X.shape, name)
    image = X.ndim == 4
    if image and X.shape[1] > 4 and X.shape[3] in (1, 3, 4):
        raise InputError(
            f"{name}: expected (n, channels, height, width), got {X.shape}, which looks like channels last: "
            "transpose it by (0, 3, 1, 2)"
        )
    if X.dtype == np.uint8 or X.dtype.kind == "b":
        return
    n_bad, first, low, high = 0, (), np.inf, -np.inf
    for start, block in blocks(X):
        bad = ~np.isfinite(block)
        if block.dtype.kind == "f" and block.dtype.itemsize > 4:
            bad |= np.abs(block) > largest
        if bad.any():
            row, *rest = np.unravel_index(np.argmax(bad), bad.shape)
            first = first or (int(row) + start, *(int(i) for i in rest))
            n_bad += int(bad.sum())
        else:
            low, high = min(low, block.min()), max(high, block.max())
    if n_bad:
        raise InputError(
            f"{name}: expected finite float32 values, got {n_bad} NaN, infinite or too large, the first at {first}: "
            "fill in or drop these rows"
        )
    top = 1 if X.dtype.kind == "f" else 255
    if image and (low < 0 or high > top):
        kind = "floats in [0, 1]" if top == 1 else "integers in 0..255"
        raise InputError(f"{name}: expected images as {kind}, got {low:.4g} to {high:.4g}: rescale them")


def check_labels(y: ArrayLike, n: int, n_classes: int | None = None, name: str = "y") -> NDArray[np.int64]:
    """Return labels as numbers; refuse those that do not fit the rows.

    Parameters
    ----------
    y : array-like of shape (n,)
        Integers 0 ... K-1; -1, None or NaN in unlabelled rows (see `aaekit.labels`).
    n : int
        The number of rows.
    n_classes : int, optional
        K. Default: not checked.
    name : str, default="y"
        What messages call the array.

    Returns
    -------
    ndarray of shape (n,), int64
        Labels, -1 in unlabelled rows.

    Raises
    ------
    InputError
        For a wrong shape or length, labels that are not integers, or a label out of range.
    """
    labels, labelled = split_labels(y, name)
    if len(labels) != n:
        raise InputError(f"{name}: expected one label per row, shape ({n},), got shape {labels.shape}")
    if labels.dtype.kind not in "iu" and labelled.any():
        raise InputError(
            f"{name}: expected integer labels 0..K-1 (-1 where unlabelled), got dtype {labels.dtype}: number them, for "
            "instance classes, y = numpy.unique(y, return_inverse=True), and keep classes beside y"
        )
    present = labels[labelled]
    top = np.iinfo(np.int64).max if n_classes is None else n_classes - 1
    if (out := (present < 0) | (present > top)).any():
        labels_in_range = "labels of at least -1 (unlabelled)" if n_classes is None else f"labels in -1..{top}"
        row = np.flatnonzero(labelled)[out.argmax()]
        raise InputError(f"{name}: expected {labels_in_range}, got {labels[row]} in row {row}")
    if n_classes is None and len(present) and (largest := int(present.max())) >= 1000:
        n_labels = len(np.unique(present))
        if largest >= 10 * n_labels:
            raise InputError(
                f"{name}: expected classes numbered from 0, got {n_labels} labels up to {largest}: "
                "number them, for instance by numpy.unique(y, return_inverse=True)"
            )
    return as_integers(labels, labelled)
