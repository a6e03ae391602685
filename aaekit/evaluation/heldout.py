"""Held-out data, and conversions between the units of training data, of results and of figures."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_clusterer

from aaekit.columns import is_frame
from aaekit.errors import InputError

__all__ = [
    "HeldOut",
    "as_samples",
    "for_plots",
    "is_standardised",
    "mask_unseen_labels",
    "names_of",
    "reconstruct",
    "rows_for_plots",
    "to_training_units",
    "unit_of",
]

N_PLOTTED = 5000  # rows in the figures of codes
N_VALUES = 2**26  # in some of the rows, at most


class HeldOut(NamedTuple):
    """Rows to evaluate a model on.

    Attributes
    ----------
    name : str
        Where they are from, for instance "test".
    X : ndarray of shape (n, ...)
        Rows.
    y : ndarray of shape (n,) or (n, n_conditions), or None
        Labels, -1 where unknown.
    originals : ndarray or None
        What the rows are features of: images (n, channels, height, width), or texts (n,).
    original_size : (width, height), optional
        Of images in files: the size that most of them had before they became rows.
    """

    name: str
    X: NDArray[Any]
    y: NDArray[Any] | None
    originals: NDArray[Any] | None = None
    original_size: tuple[int, int] | None = None

    @property
    def of_images(self) -> bool:
        """Whether the rows are features of images."""
        return self.originals is not None and self.originals.ndim == 4

    def subset(self, n: int = N_PLOTTED) -> "HeldOut":
        """At most `n` random rows, the same in each call; fewer of images that would take much memory."""
        n = max(1, min(n, N_VALUES // max(1, math.prod(self.X.shape[1:]))))
        index = np.sort(np.random.default_rng(0).permutation(len(self.X))[:n])
        return self.at(index)

    def at(self, index: Any) -> "HeldOut":
        """Some of the rows."""
        y, originals = (None if array is None else array[index] for array in (self.y, self.originals))
        return self._replace(X=self.X[index], y=y, originals=originals)


def unit_of(estimator: Any) -> NDArray[Any] | float:
    """The factor from the scale on which the networks work to that of `as_samples`."""
    return 1.0 if estimator.unit_range_ else estimator.scale_.reshape(estimator.shape_)


def as_samples(estimator: Any, rows: Any) -> NDArray[np.floating]:
    """Rows in the shape and units of the training.

    Images `(n, channels, h, w)` in [0, 1], signals `(n, channels, length)`, or table rows `(n, d)`.
    """
    rows = np.asarray(estimator.scaler_.schema.transform(rows) if is_frame(rows) else rows)
    if rows.dtype == np.uint8:
        rows = rows.astype(np.float32) / 255
    elif len(estimator.shape_) > 1 or rows.dtype != np.float64:  # numbers of a table may be beyond float32
        rows = rows.astype(np.float32)
    return rows.reshape(len(rows), *estimator.shape_)


def for_plots(estimator: Any, rows: Any) -> NDArray[np.float32]:
    """Rows as figures draw them: images, or signals and table rows scaled as the networks see them.

    In its own units, the channel or column of largest variance would hide the others.
    """
    rows = as_samples(estimator, rows)
    if not is_standardised(estimator):
        return rows
    return estimator.scaler_.curve.scaled(rows.reshape(len(rows), -1)).reshape(rows.shape)


def rows_for_plots(estimator: Any, rows: HeldOut) -> NDArray[Any]:
    """Rows as figures show them: what they are features of, images in [0, 1] or texts; else as `for_plots`."""
    if rows.originals is None:
        return for_plots(estimator, rows.X)
    if not rows.of_images:
        return rows.originals
    scale = 255 if rows.originals.dtype == np.uint8 else 1
    return rows.originals.astype(np.float32) / np.float32(scale)


def is_standardised(estimator: Any) -> bool:
    """Whether `for_plots` changes the units of the rows."""
    return len(estimator.shape_) < 3 and not estimator.unit_range_


def to_training_units(estimator: Any, rows: NDArray[Any]) -> NDArray[Any]:
    """Rows in the units that a fitted estimator was trained on: images in [0, 1] for one trained on bytes are scaled.

    Raises
    ------
    InputError
        If the rows have another shape than in training.
    """
    if math.prod(rows.shape[1:]) != math.prod(estimator.shape_) or (
        rows.ndim > 2 and rows.shape[1:] != estimator.shape_
    ):
        raise InputError(f"expected rows of shape {tuple(estimator.shape_)} as in training, got {rows.shape[1:]}")
    trained_on_bytes = estimator.unit_range_ and estimator.scale_ == 255
    return rows * np.float32(255) if trained_on_bytes and rows.ndim == 4 and rows.dtype != np.uint8 else rows


def names_of(estimator: Any, labels: Sequence[str]) -> list[str]:
    """The names of the classes or clusters of a fitted estimator, in the order of its probabilities; else empty.

    `labels` are the names of the labels by number, empty if the labels are their own names.
    """
    if is_clusterer(estimator):
        return [str(name) for name in getattr(estimator, "classes_", range(estimator.n_clusters))]
    classes: Any = getattr(estimator, "classes_", ())
    classes = classes[0] if isinstance(classes, list) else classes
    return [str(labels[k] if len(labels) else k) for k in classes]


def mask_unseen_labels(estimator: Any, y: NDArray[Any]) -> NDArray[Any]:
    """Labels for the decoder of a `SupervisedAAE`: -1 for those that it was not trained with."""
    seen = [np.isin(column, labels) for column, labels in zip(np.atleast_2d(y.T), estimator.conditions_, strict=True)]
    return np.where(np.stack(seen, 1).reshape(y.shape), y, -1)


def reconstruct(estimator: Any, rows: HeldOut) -> NDArray[Any]:
    """The reconstructions of rows, with their labels if the decoder is given labels."""
    if rows.y is not None and hasattr(estimator, "conditions_"):
        return estimator.reconstruct(rows.X, mask_unseen_labels(estimator, rows.y))
    return estimator.reconstruct(rows.X)
