"""Rows as the networks take them: validated, scaled, and back in the units of what was fitted."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.utils.validation import validate_data
from torch import Tensor

from aaekit._extras import require
from aaekit.columns import Schema, is_frame
from aaekit.errors import ColumnWarning, InputError, RangeWarning
from aaekit.estimators._sklearn import BaseEstimator
from aaekit.nn.choices import UNIT
from aaekit.nn.networks import Networks

__all__ = ["RowScaler", "as_float", "in_batches", "probabilities", "shape_of"]

N_FOR_RADIUS = 5000  # rows from which the radius of the data and the quartiles of columns are estimated
LINEAR = 3.0  # standard deviations from the mean up to which scaling is linear; beyond it is logarithmic
FENCE = 10.0  # interquartile ranges from the quartiles beyond which a value does not move mean and deviation further
DENSE_LIMIT = 8 * 2**30  # bytes that a sparse matrix may take in memory
LARGEST = 1e300  # standard deviations, so that nothing is infinite
BLOCK = 2**24  # values that are scaled at once


@dataclass(frozen=True)
class RowScaler:
    """How rows are scaled, learned from those of fit.

    Images in [0, 1] and bytes stay as they are (bytes until they are in a minibatch). Columns of tables are
    standardised, whatever their range; beyond three standard deviations by the logarithm.

    Attributes
    ----------
    shape : tuple of int
        Of a row as the networks see it.
    as_images : bool
        Whether rows come back as (n, channels, height, width).
    unit_range : bool
        Whether values are in [0, 1], as those of images are.
    center, scale : float32 scalar or float64 ndarray of shape (n_features,)
        What is subtracted, and what one unit is.
    data_radius : float
        Root mean squared distance of scaled rows from their mean.
    schema : Schema or None
        How the columns of a table become values, where they are not simply numbers.
    source : "values", "frame" or "array"
        What the schema was learned from: X has its values, or is a data frame, or an array with empty cells (NaN).
    """

    shape: tuple[int, ...]
    as_images: bool
    unit_range: bool
    center: Any
    scale: Any
    data_radius: float
    schema: Schema | None = None
    source: str = "values"

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
        is_table = not as_images and image_shape is None
        schema, source = (getattr(X, "schema", None), "values") if is_table else (None, "values")
        if is_table and is_frame(X) and not _is_plain(X):
            schema, source = Schema.fit(X), "frame"
        X = _flattened(estimator, X, reset=True, schema=schema if source == "frame" else None, may_have_gaps=is_table)
        if is_table and X.dtype.kind == "f" and np.isnan(X).any():
            schema, source = Schema.of_numbers(X), "array"
            X = schema.transform(dict(zip(schema.names, X.T, strict=True)))
        X = np.asarray(X)
        shape = shape or image_shape or X.shape[1:]
        if math.prod(shape) != X.shape[1]:
            raise InputError(
                f"image_shape: expected {X.shape[1]} values, as in a row, got {tuple(shape)} with {math.prod(shape)}"
            )
        if X.dtype == np.uint8 and is_table and X.max() < 128:
            X = X.astype(np.float32)  # a table of small whole numbers, not of pixels
        unit_range = bool(X.dtype == np.uint8 or (not is_table and X.min() >= 0 and X.max() <= 1))
        if unit_range:
            center, scale = np.float32(0), np.float32(255 if X.dtype == np.uint8 and X.max() > 1 else 1)
        else:
            center, scale = _center_and_scale(X)
        scaler = cls(tuple(int(s) for s in shape), as_images, unit_range, center, scale, 1.0, schema, source)
        rows = scaler._scaled(X)
        sample = as_float(torch.from_numpy(rows[:: max(1, len(rows) // N_FOR_RADIUS)])).flatten(1)
        radius = float((sample - sample.mean(0)).square().sum(1).mean().sqrt()) or 1.0
        return replace(scaler, data_radius=radius), rows

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
        ColumnWarning
            When cells of a table are empty or unlike those of fit where that did not occur.
        """
        if len(shape_of(X)) == 4 and shape_of(X)[1:] != self.shape:
            raise InputError(f"X: expected images of shape {self.shape} as in fit, got {shape_of(X)[1:]}")
        rows = self._scaled(self._values(estimator, X))
        low, high = (-0.5, 1.5) if self.unit_range else _compressed(np.array([-10.0, 10.0]))
        far = 0 if rows.dtype == np.uint8 or not rows.size else 1 - np.mean((rows > low) & (rows < high))
        if far > 0.01:  # beyond ten standard deviations lies at most a hundredth of whatever was trained on
            expected = f"0 to {self.scale:g}" if self.unit_range else "within ten standard deviations of the mean"
            warnings.warn(
                f"X: expected values as in fit, {expected}, got {far:.0%} outside of it: check the units of the rows",
                RangeWarning,
                stacklevel=3,
            )
        return rows

    def _values(self, estimator: BaseEstimator, X: Any) -> NDArray[Any]:
        """Valid rows as numbers, `(n, n_values)`."""
        if self.schema is None or self.source == "values":
            if self.schema is not None and is_frame(X):
                X = np.asarray(self.schema.transform(X))
            X = _flattened(estimator, X, reset=False, may_have_gaps=len(self.shape) == 1)
            if X.dtype.kind == "f" and (is_empty := np.isnan(X)).any():
                _warn_of_filled(int(is_empty.sum()))
                X = np.where(is_empty, self.center, X)
            return X
        if self.source == "array":
            X = _flattened(estimator, X, reset=False)
            return np.asarray(self.schema.transform(dict(zip(self.schema.names, X.T, strict=True))))
        if not is_frame(X):
            raise InputError(
                f"X: expected a data frame with the columns of fit, got {type(X).__name__}: name the columns"
            )
        return np.asarray(_flattened(estimator, X, reset=False, schema=self.schema))

    def _scaled(self, X: NDArray[Any]) -> NDArray[Any]:
        """Where bytes were fitted, floats up to 1 are what `sample` gives, larger ones are bytes as floats.

        Where 0 to 1 was fitted, bytes above 1 are those of images.
        """
        if not self.unit_range:
            rows = np.empty(X.shape, np.float32)
            step = max(1, BLOCK // max(1, X.shape[1]))
            for k in range(0, len(X), step):
                rows[k : k + step] = scaled(X[k : k + step], self.center, self.scale)
            return rows.reshape(len(X), *self.shape)
        if X.dtype != np.uint8:
            if self.scale == 255 and X.size and X.max() > 1:
                X = X / np.float32(255)
            X = X.astype(np.float32, copy=False)
        elif self.scale == 1 and (not X.size or X.max() <= 1):
            X = X.astype(np.float32)  # 0 and 1 are these numbers, in bytes too
        return np.require(X, requirements=["C", "W"]).reshape(len(X), *self.shape)  # data frames are not writable

    def inverse_transform(self, rows: NDArray[np.float32]) -> Any:
        """Rows of the networks in the shape and units of X; images that were bytes come as floats in [0, 1].

        Rows of a data frame with other columns than numbers come as a data frame of valid cells.
        """
        if not self.unit_range:
            rows = unscaled(rows.reshape(len(rows), -1), self.center, self.scale).reshape(rows.shape)
        if len(self.shape) == 3 and self.as_images:
            return rows
        rows = rows.reshape(len(rows), -1)
        if self.schema is None or self.source == "values":
            return rows
        if self.source == "array":
            return rows[:, self.schema.first_values]
        return require("pandas", extra="data").DataFrame(self.schema.inverse_transform(rows))

    @property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """Which values of a row are one choice, as in `Schema.groups`."""
        return () if self.schema is None else self.schema.groups


# --- scaling ---------------------------------------------------------------------------------------------------------
def scaled(X: NDArray[Any], center: NDArray[np.floating], scale: NDArray[np.floating]) -> NDArray[np.float32]:
    """Values `(n, n_values)` in standard deviations from the mean, far ones by the logarithm; never infinite."""
    with np.errstate(over="ignore"):
        z = (X.astype(np.float64) - center) / scale.astype(np.float64)
    return _compressed(z).astype(np.float32)


def unscaled(rows: NDArray[Any], center: NDArray[np.floating], scale: NDArray[np.floating]) -> NDArray[np.floating]:
    """The inverse of `scaled`, in the type of `center`; never infinite."""
    a, limit = np.abs(rows.astype(np.float64)), float(np.finfo(center.dtype).max)
    z = np.copysign(np.where(a <= LINEAR, a, LINEAR + np.expm1(np.clip(a - LINEAR, 0, 600))), rows)
    with np.errstate(over="ignore"):
        X = z * scale.astype(np.float64) + center
    return np.clip(X, -limit, limit).astype(center.dtype)


def _compressed(z: NDArray[np.float64]) -> NDArray[np.float64]:
    a = np.minimum(np.abs(z), LARGEST)
    return np.copysign(np.where(a <= LINEAR, a, LINEAR + np.log1p(np.maximum(a - LINEAR, 0))), z)


def _center_and_scale(X: NDArray[Any]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Mean and standard deviation of each column, without the pull of values that are far from all others."""
    dtype = X.dtype if X.dtype.kind == "f" else np.dtype(np.float32)
    largest = np.abs(X).max(0).astype(np.float64)
    unit = np.where(largest > 0, largest, 1.0)  # squares of the values themselves may overflow or vanish
    low, high = np.quantile(X[:: max(1, len(X) // N_FOR_RADIUS)] / unit, [0.25, 0.75], axis=0)
    width = np.where(high > low, FENCE * (high - low), np.inf)
    step = max(1, BLOCK // max(1, X.shape[1]))
    blocks = [X[k : k + step] for k in range(0, len(X), step)]
    within = lambda block: np.clip(block / unit, low - width, high + width)
    mean = np.sum([within(block).sum(0) for block in blocks], 0) / len(X)
    deviation = np.sqrt(np.sum([np.square(within(block) - mean).sum(0) for block in blocks], 0) / len(X))
    rounding = 1e-6 if dtype == np.float32 else 1e-12  # a column that is constant but for it stays so
    is_constant = deviation <= rounding * np.abs(mean).clip(1e-30)
    is_binary = np.all([((block == 0) | (block == 1)).all(0) for block in blocks], 0)  # whatever the share of ones
    center = np.where(is_binary, 0.0, mean * unit)
    scale = np.where(is_binary, 1 / UNIT, np.where(is_constant, 1.0, deviation * unit))
    return center.astype(dtype), scale.astype(dtype).clip(np.finfo(dtype).tiny)


def _is_plain(frame: Any) -> bool:
    """Whether a data frame holds numbers alone, without empty cells."""
    kinds = [getattr(dtype, "kind", "O") for dtype in frame.dtypes]
    return (
        all(kind in "iuf" for kind in kinds)
        and all(hasattr(dtype, "itemsize") and not hasattr(dtype, "na_value") for dtype in frame.dtypes)
        and not np.isnan(frame.to_numpy().astype(np.float64, copy=False)).any()
    )


def _warn_of_filled(n_empty: int) -> None:
    warnings.warn(
        f"X: expected no empty cells, as in fit, got {n_empty}: they count as the mean of their column",
        ColumnWarning,
        stacklevel=4,
    )


def shape_of(X: Any) -> tuple[int, ...]:
    """The shape of anything like an array; () where there is none."""
    if not hasattr(X, "shape"):
        try:
            X = np.asarray(X)
        except ValueError:
            return ()
    return tuple(X.shape)


def _flattened(
    estimator: BaseEstimator, X: Any, reset: bool, schema: Schema | None = None, may_have_gaps: bool = True
) -> NDArray[Any]:
    """Rows `(n, n_features)`, validated by scikit-learn, which keeps names and number of the features."""
    if schema is not None:
        names = getattr(estimator, "feature_names_in_", None)
        if not reset and names is not None and set(names) <= set(X.columns):
            X = X[list(names)]
        validate_data(estimator, X, reset=reset, skip_check_array=True)  # pyright: ignore
        return schema.transform(X)
    shape = shape_of(X)
    if len(shape) == 4:
        X = np.asarray(X).reshape(shape[0], math.prod(shape[1:]))
    elif len(shape) == 3:
        raise InputError(
            f"X: expected shape (n, n_features) or (n, channels, height, width), got {shape}: "
            "for grey images add the channel, X[:, None]"
        )
    elif issparse(X):
        X = _dense(X)
    finite = "allow-nan" if may_have_gaps and len(shape) == 2 else True
    return validate_data(  # pyright: ignore
        estimator, X, reset=reset, dtype=[np.float64, np.float32, np.uint8], ensure_all_finite=finite
    )


def _dense(X: Any) -> NDArray[Any]:
    """A sparse matrix as an array."""
    n_bytes = 4 * math.prod(X.shape)
    if n_bytes > DENSE_LIMIT:
        raise InputError(
            f"X: expected at most {DENSE_LIMIT / 1e9:.0f} GB as a dense array, got a sparse matrix of shape {X.shape}, "
            f"{n_bytes / 1e9:.0f} GB: choose columns, or reduce them by sklearn.decomposition.TruncatedSVD"
        )
    dtype = np.float32 if X.dtype.kind != "f" or X.dtype.itemsize < 8 else np.float64
    return X.astype(dtype).toarray()


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
