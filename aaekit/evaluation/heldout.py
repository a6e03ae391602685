"""Held-out data, and rows in the units that a fitted estimator takes and that figures draw."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from aaekit.errors import InputError
from aaekit.estimators import ClusteringAAE, SupervisedAAE
from aaekit.estimators._base import UNLABELLED

N_SHOWN = 5000  # rows in the figures of codes


class HeldOut(NamedTuple):
    """HeldOut to judge by, what to call them, and their labels, if any: `(n,)`, or a column for each condition."""

    name: str
    X: np.ndarray
    y: np.ndarray | None

    def some(self, n: int = N_SHOWN) -> "HeldOut":
        """At most `n` of them, always the same."""
        chosen = np.sort(np.random.default_rng(0).permutation(len(self.X))[:n])
        return HeldOut(self.name, self.X[chosen], None if self.y is None else self.y[chosen])


def unit(estimator: Any) -> np.ndarray | float:
    """What one unit of the scaled rows is in the units of the rows as they are drawn."""
    return 1.0 if estimator.unit_range_ else estimator.scale_.reshape(estimator.shape_)


def pictures(estimator: Any, rows: np.ndarray) -> np.ndarray:
    """HeldOut in the shape and units of the training: images `(n, channels, height, width)` in [0, 1], or table rows."""
    rows = rows.astype(np.float32) / 255 if rows.dtype == np.uint8 else np.asarray(rows, dtype=np.float32)
    return rows.reshape(len(rows), *estimator.shape_)


def shown(estimator: Any, rows: np.ndarray) -> np.ndarray:
    """HeldOut as the figures draw them: images, or table rows in standard deviations from the means of the training.

    In units of their own, one column of a table would be all that can be seen.
    """
    rows = pictures(estimator, rows)
    return (rows - estimator.center_) / estimator.scale_ if standardised(estimator) else rows


def standardised(estimator: Any) -> bool:
    """Whether `shown` has other units than the rows."""
    return len(estimator.shape_) == 1 and not estimator.unit_range_


def fitting(estimator: Any, rows: np.ndarray) -> np.ndarray:
    """HeldOut in the units that a fitted estimator was trained on.

    Raises
    ------
    InputError
        When they are of another shape.
    """
    if math.prod(rows.shape[1:]) != math.prod(estimator.shape_) or (
        rows.ndim == 4 and rows.shape[1:] != estimator.shape_
    ):
        raise InputError(f"expected rows of shape {tuple(estimator.shape_)} as in training, got {rows.shape[1:]}")
    bytes_before = estimator.unit_range_ and estimator.scale_ == 255
    return rows * np.float32(255) if bytes_before and rows.ndim == 4 and rows.dtype != np.uint8 else rows


def names_of(estimator: Any, labels: Sequence[str]) -> list[str]:
    """The names of what a fitted estimator tells apart, in its order; empty if it knows no classes.

    `labels` are the names of the labels that it was told of, by their number.
    """
    if isinstance(estimator, ClusteringAAE):
        return [str(k) for k in getattr(estimator, "classes_", range(estimator.n_clusters))]
    classes: Any = getattr(estimator, "classes_", ())
    classes = classes[0] if isinstance(classes, list) else classes
    return [str(labels[k] if len(labels) else k) for k in classes]


def known_labels(estimator: SupervisedAAE, y: np.ndarray) -> np.ndarray:
    """Labels, but -1 for those of classes that it was not told of."""
    known = [np.isin(column, c) for column, c in zip(np.atleast_2d(y.T), estimator._conditions, strict=True)]
    return np.where(np.stack(known, 1).reshape(y.shape), y, UNLABELLED)
