"""Rows as the networks take them: validated, scaled, and back in the units of what was fitted."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import validate_data
from torch import Tensor

from aaekit.errors import InputError, RangeWarning
from aaekit.estimators._sklearn import BaseEstimator
from aaekit.nn.networks import Networks

__all__ = ["RowScaler", "as_float", "in_batches", "probabilities", "shape_of"]

N_FOR_RADIUS = 5000  # rows from which the radius of the data is estimated


@dataclass(frozen=True)
class RowScaler:
    """How rows are scaled, learned from those of fit.

    Values in [0, 1] and bytes stay as they are (bytes until they are in a minibatch); other columns are standardised.

    Attributes
    ----------
    shape : tuple of int
        Of a row as the networks see it.
    as_images : bool
        Whether rows come back as (n, channels, height, width).
    unit_range : bool
        Whether values are in [0, 1].
    center, scale : float32 scalar or ndarray of shape (n_features,)
        What is subtracted, and what one unit is.
    data_radius : float
        Root mean squared distance of scaled rows from their mean.
    """

    shape: tuple[int, ...]
    as_images: bool
    unit_range: bool
    center: Any
    scale: Any
    data_radius: float

    @classmethod
    def fit(cls, estimator: BaseEstimator, X: Any, image_shape: tuple[int, ...] | None) -> tuple[Self, NDArray[Any]]:
        """Learn the scaling of valid rows; the scaler and the scaled rows `(n, *shape)`.

        Raises
        ------
        InputError
            For rows of a shape that is neither that of a table nor of images.
        """
        shape = shape_of(X)[1:] if len(shape_of(X)) == 4 else None
        as_images = shape is not None
        if shape and shape[0] > 4 and shape[2] in (1, 3, 4):
            raise InputError(
                f"X: expected images (n, channels, height, width), got {shape_of(X)}, which looks like channels last: "
                "transpose it by (0, 3, 1, 2)"
            )
        X = _flattened(estimator, X, reset=True)
        shape = shape or image_shape or X.shape[1:]
        if math.prod(shape) != X.shape[1]:
            raise InputError(
                f"image_shape: expected {X.shape[1]} values, as in a row, got {tuple(shape)} with {math.prod(shape)}"
            )
        if X.dtype == np.uint8 and len(shape) == 1 and X.max() < 128:
            X = X.astype(np.float32)  # a table of small whole numbers, not of pixels
        unit_range = bool(X.dtype == np.uint8 or (X.min() >= 0 and X.max() <= 1))
        if unit_range:
            center, scale = np.float32(0), np.float32(255 if X.dtype == np.uint8 and X.max() > 1 else 1)
        else:
            center = X.mean(0, dtype=np.float64)
            scale = X.std(0, dtype=np.float64).astype(np.float32)
            rounding = 1e-6 if X.dtype == np.float32 else 1e-12  # a column that is constant but for it stays so
            scale = np.where(scale > rounding * np.abs(center).clip(1e-30), scale, np.float32(1))
            center = center.astype(X.dtype)
        scaler = cls(tuple(int(s) for s in shape), as_images, unit_range, center, scale, 1.0)
        rows = scaler._scaled(X)
        sample = as_float(torch.from_numpy(rows[:: max(1, len(rows) // N_FOR_RADIUS)])).flatten(1)
        radius = float((sample - sample.mean(0)).square().sum(1).mean().sqrt()) or 1.0
        return cls(scaler.shape, as_images, unit_range, center, scale, radius), rows

    def transform(self, estimator: BaseEstimator, X: Any) -> NDArray[Any]:
        """Valid rows like those of fit, scaled, `(n, *shape)`.

        Raises
        ------
        InputError
            For images of another shape.

        Warns
        -----
        RangeWarning
            When more than a hundredth of the values is far from those of fit.
        """
        if len(shape_of(X)) == 4 and shape_of(X)[1:] != self.shape:
            raise InputError(f"X: expected images of shape {self.shape} as in fit, got {shape_of(X)[1:]}")
        rows = self._scaled(_flattened(estimator, X, reset=False))
        low, high = (-0.5, 1.5) if self.unit_range else (-10, 10)
        far = 0 if rows.dtype == np.uint8 or not rows.size else 1 - np.mean((rows > low) & (rows < high))
        if far > 0.01:  # beyond ten standard deviations lies at most a hundredth of whatever was trained on
            expected = f"0 to {self.scale:g}" if self.unit_range else "within ten standard deviations of the mean"
            warnings.warn(
                f"X: expected values as in fit, {expected}, got {far:.0%} outside of it: check the units of the rows",
                RangeWarning,
                stacklevel=3,
            )
        return rows

    def _scaled(self, X: NDArray[Any]) -> NDArray[Any]:
        """Where bytes were fitted, floats up to 1 are what `sample` gives, larger ones are bytes as floats.

        Where 0 to 1 was fitted, bytes above 1 are those of images.
        """
        if not self.unit_range:
            X = ((X - self.center) / self.scale).astype(np.float32)
        elif X.dtype != np.uint8:
            if self.scale == 255 and X.size and X.max() > 1:
                X = X / np.float32(255)
            X = X.astype(np.float32, copy=False)
        elif self.scale == 1 and (not X.size or X.max() <= 1):
            X = X.astype(np.float32)  # 0 and 1 are these numbers, in bytes too
        return np.require(X, requirements=["C", "W"]).reshape(len(X), *self.shape)  # data frames are not writable

    def inverse_transform(self, rows: NDArray[np.float32]) -> NDArray[Any]:
        """Rows of the networks in the shape and units of X; images that were bytes come as floats in [0, 1]."""
        if not self.unit_range:
            rows = rows * self.scale.reshape(self.shape) + self.center.reshape(self.shape)
        return rows if len(self.shape) == 3 and self.as_images else rows.reshape(len(rows), -1)


def shape_of(X: Any) -> tuple[int, ...]:
    """The shape of anything like an array; () where there is none."""
    if not hasattr(X, "shape"):
        try:
            X = np.asarray(X)
        except ValueError:
            return ()
    return tuple(X.shape)


def _flattened(estimator: BaseEstimator, X: Any, reset: bool) -> NDArray[Any]:
    """Rows `(n, n_features)`, validated by scikit-learn, which keeps names and number of the features."""
    shape = shape_of(X)
    if len(shape) == 4:
        X = np.asarray(X).reshape(shape[0], math.prod(shape[1:]))
    elif len(shape) == 3:
        raise InputError(
            f"X: expected shape (n, n_features) or (n, channels, height, width), got {shape}: "
            "for grey images add the channel, X[:, None]"
        )
    return validate_data(estimator, X, reset=reset, dtype=[np.float64, np.float32, np.uint8])  # pyright: ignore


def as_float(rows: Tensor) -> Tensor:
    """A minibatch in float32; bytes become the interval [0, 1]."""
    return rows.float().div_(255) if rows.dtype == torch.uint8 else rows.float()


def in_batches(
    function: Callable[[Tensor], Tensor], rows: NDArray[Any] | Tensor, size: int = 1000
) -> NDArray[np.float32]:
    """What `function` gives for each row, computed in minibatches without gradients."""
    X = torch.as_tensor(np.require(rows, requirements="W") if isinstance(rows, np.ndarray) else rows)
    result = np.empty(0, np.float32)
    with torch.inference_mode():
        for i in range(0, max(1, len(X)), size):
            batch = as_float(X[i : i + size])
            part = function(batch).float().cpu().numpy()
            assert len(part) == len(batch), (part.shape, len(batch))
            if i == 0:  # in one piece: small arrays between freed large ones keep these from being used again
                result = np.empty((len(X), *part.shape[1:]), np.float32)
            result[i : i + size] = part
    return result


def probabilities(nets: Networks, rows: NDArray[Any] | Tensor) -> NDArray[np.float32]:
    """q(y|x) of scaled rows, by an encoder with a categorical code."""
    device = next(nets.parameters()).device
    return in_batches(lambda x: nets.encoder(x.to(device)).y, rows)


def learn_rows(estimator: Any, X: ArrayLike) -> NDArray[Any]:
    """Valid, scaled rows `(n, *shape)`; sets `scaler_` of the estimator."""
    estimator.scaler_, rows = RowScaler.fit(estimator, X, estimator.image_shape)
    return rows
