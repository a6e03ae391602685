"""Rows as the networks take them: validated, scaled, and back in the units of what was fitted."""

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.utils.validation import validate_data
from torch import Tensor, nn

from aaekit._extras import require
from aaekit.columns import Schema, is_frame
from aaekit.errors import ColumnWarning, InputError, RangeWarning
from aaekit.estimators._sklearn import BaseEstimator
from aaekit.nn.choices import UNIT, Groups
from aaekit.nn.networks import Networks
from aaekit.shapes import check_signals, kind_of

__all__ = ["RowScaler", "as_float", "in_batches", "probabilities", "shape_of"]

M = TypeVar("M", bound=nn.Module)

N_FOR_RADIUS = 5000  # rows from which the radius of the data and the quartiles of columns are estimated
VALUES_FOR_RADIUS = 2**26  # in these rows, at most
AT_ONCE, VALUES_AT_ONCE = 1000, 2**24  # rows that networks compute at a time, and the values in them, at most
FAR = 5.0  # scaled units from the mean, beyond which values are far unless some of fit were, too
WIDEST = 10.0  # sine of a value that moves mean and deviation, at most
DENSE_LIMIT = 8 * 2**30  # bytes that a sparse matrix may take in memory
SMALLEST, LARGEST = 1e-307, 1e300  # so that nothing is infinite
BLOCK = 2**22  # values that are scaled at once
MANY_ROWS = 20_000  # from which on a graphics card is worth the copy of the networks
N_VALUES_ON_CARD = 2**23  # of a minibatch of rows there


@dataclass(frozen=True)
class RowScaler:
    """How rows are scaled, learned from those of fit.

    Images in [0, 1] and bytes stay as they are (bytes until they are in a minibatch); other images are standardised.
    Signals are standardised by channel. Columns of tables are scaled by a `Curve`, whatever their range.

    Attributes
    ----------
    shape : tuple of int
        Of a row as the networks see it.
    as_images : bool
        Whether rows come back as (n, channels, height, width), or (n, channels, length).
    unit_range : bool
        Whether values are in [0, 1], as those of images are.
    unit : float
        What 1 is in the units of X: 255 for bytes.
    curve : Curve or None
        How values are scaled that are not in [0, 1].
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
    unit: float
    curve: "Curve | None"
    data_radius: float
    schema: Schema | None = None
    source: str = "values"

    @classmethod
    def fit(cls, estimator: BaseEstimator, X: Any, image_shape: tuple[int, ...] | None) -> tuple[Self, NDArray[Any]]:
        """Learn the scaling of valid rows; the scaler and the scaled rows `(n, *shape)`.

        Raises
        ------
        InputError
            For rows of a shape that is neither that of a table nor of images or signals.
        """
        shape = shape_of(X)[1:] if len(shape_of(X)) > 2 else None
        as_images = shape is not None
        if shape and len(shape) == 2:
            check_signals(shape_of(X))
        elif shape and shape[0] > 4 and shape[2] in (1, 3, 4):
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
        is_signal = len(shape) == 2
        unit_range = bool(X.dtype == np.uint8 or (not is_table and X.min() >= 0 and X.max() <= 1)) and not is_signal
        unit = 255.0 if unit_range and X.dtype == np.uint8 and X.max() > 1 else 1.0
        if is_table:
            curve = Curve.fit(X, schema.groups if schema else ())
        else:
            curve = None if unit_range else Curve.linear(X, shape[1] if is_signal else 1)
        scaler = cls(tuple(int(s) for s in shape), as_images, unit_range, unit, curve, 1.0, schema, source)
        rows = scaler._scaled(X)
        n_rows = max(1, min(N_FOR_RADIUS, VALUES_FOR_RADIUS // math.prod(shape)))
        sample = as_float(torch.from_numpy(rows[:: max(1, len(rows) // n_rows)])).flatten(1)
        radius = float((sample - sample.mean(0)).square_().sum(1).mean().sqrt()) or 1.0
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
        if len(shape_of(X)) > 2 and shape_of(X)[1:] != self.shape:
            raise InputError(
                f"X: expected {kind_of(self.shape)}s of shape {self.shape} as in fit, got {shape_of(X)[1:]}"
            )
        rows = self._scaled(self._values(estimator, X))
        far = 0.0 if rows.dtype == np.uint8 or not rows.size else self._share_of_far(rows)
        if far > 0.01:  # as hardly any value of what was trained on
            expected = f"0 to {self.unit:g}" if self.unit_range else "within their range"
            warnings.warn(
                f"X: expected values as in fit, {expected}, got {far:.0%} outside of it: check the units of the rows",
                RangeWarning,
                stacklevel=3,
            )
        return rows

    def _share_of_far(self, rows: NDArray[np.floating]) -> float:
        """The share of the values of scaled rows that are unlike those of fit."""
        flat = rows.reshape(len(rows), -1)
        if self.curve is None:
            return 1 - sum(int(((flat[k] > -0.5) & (flat[k] < 1.5)).sum()) for k in _blocks(flat)) / rows.size
        return sum(int((np.abs(flat[k]) > self.curve.reach).sum()) for k in _blocks(flat)) / rows.size

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
        if self.curve is not None:
            return self.curve.scaled(X).reshape(len(X), *self.shape)
        if X.dtype != np.uint8:
            if self.unit == 255 and X.size and X.max() > 1:
                X = X / np.float32(255)
            X = X.astype(np.float32, copy=False)
        elif self.unit == 1 and (not X.size or X.max() <= 1):
            X = X.astype(np.float32)  # 0 and 1 are these numbers, in bytes too
        return _writable(X).reshape(len(X), *self.shape)

    def inverse_transform(self, rows: NDArray[np.float32]) -> Any:
        """Rows of the networks in the shape and units of X; images that were bytes come as floats in [0, 1].

        Rows of a data frame with other columns than numbers come as a data frame of valid cells.
        """
        if self.curve is not None:
            rows = self.curve.unscaled(rows.reshape(len(rows), -1)).reshape(rows.shape)
        if len(self.shape) > 1 and self.as_images:
            return rows
        rows = rows.reshape(len(rows), -1)
        if self.schema is None or self.source == "values":
            return rows
        if self.source == "array":
            return rows[:, self.schema.first_values]
        return require("pandas", extra="data").DataFrame(self.schema.inverse_transform(rows))

    @property
    def center(self) -> NDArray[Any] | np.float32:
        """What is scaled to about 0, shape `(n_values,)`, or 0."""
        return np.float32(0) if self.curve is None else self.curve.center

    @property
    def scale(self) -> NDArray[Any] | np.float32:
        """What one scaled unit is in the units of X near the center, shape `(n_values,)`, or one number for all."""
        return np.float32(self.unit) if self.curve is None else self.curve.step

    @property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """Which values of a row are one choice, as in `Schema.groups`."""
        return () if self.schema is None else self.schema.groups


class _Mapped:
    """The rows of a memory-mapped file as numpy takes them from others."""

    def __init__(self, X: NDArray[Any]) -> None:
        self.X = X
        self.__array_interface__: dict[str, Any] = {**X.__array_interface__, "data": (X.ctypes.data, False)}


def _writable(X: NDArray[Any]) -> NDArray[Any]:
    """The same array, contiguous and writable as torch expects it; a file that is mapped read-only is not copied."""
    root = X
    while isinstance(root.base, np.ndarray):
        root = root.base
    if isinstance(root, np.memmap) and root.filename and X.size and X.flags.c_contiguous and not X.flags.writeable:
        offset = root.offset + X.ctypes.data - root.ctypes.data
        with suppress(OSError, ValueError):  # a file that was deleted, or is larger than the memory
            return np.memmap(root.filename, X.dtype, "c", offset, X.shape)  # what is written stays in memory
        return np.asarray(_Mapped(X))  # which only says that it is writable; nothing writes into the rows of a training
    return np.require(X, requirements=["C", "W"])


# --- scaling ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Curve:
    """How the values of each column are scaled: standardised after an inverse hyperbolic sine, or as they are.

    Near the median the sine is linear, far from it logarithmic, so that skewed columns and outliers weigh like others.

    Attributes
    ----------
    center, scale : ndarray of shape (n_values,)
        What is subtracted, and what one unit is, before the sine: the median, and the standard deviation that the
        quartiles stand for, or, where half of the values are the same, the median distance of the others.
    mean, deviation : ndarray of shape (n_values,) or None
        Of the sine, which they standardise; None leaves values linear.
    reach : ndarray of shape (n_values,) or float
        Scaled units from the mean beyond which a value is unlike those of fit.
    """

    center: NDArray[np.floating]
    scale: NDArray[np.floating]
    mean: NDArray[np.floating] | None = None
    deviation: NDArray[np.floating] | None = None
    reach: NDArray[np.floating] | float = 10.0

    @classmethod
    def linear(cls, X: NDArray[Any], length: int = 1) -> Self:
        """Each value standardised, or each channel of signals, whose values are `length` consecutive ones."""
        dtype = X.dtype if X.dtype.kind == "f" else np.dtype(np.float32)
        channels = X.reshape(len(X), -1, length)
        center, scale = channels.mean((0, 2), dtype=np.float64), channels.std((0, 2), dtype=np.float64)
        is_constant = scale <= _rounding(dtype) * np.abs(center).clip(1e-30)
        center, scale = center.astype(dtype), np.where(is_constant, 1, scale).astype(dtype)
        return cls(center.repeat(length), scale.repeat(length))

    @classmethod
    def fit(cls, X: NDArray[Any], groups: Groups = ()) -> Self:
        """By the quartiles of each column; choices, 0 or 1, become 0 or `UNIT`, however rare they are."""
        sample = X[:: max(1, len(X) // N_FOR_RADIUS)].astype(np.float64)
        low, center, high = np.quantile(sample, [0.25, 0.5, 0.75], axis=0)
        with np.errstate(over="ignore"):
            scale = high / 1.349 - low / 1.349  # of a normal distribution, in standard deviations
            if (is_peaked := scale <= _rounding(X.dtype) * np.abs(center)).any():
                scale[is_peaked] = _distance_of_others(X[:, is_peaked], center[is_peaked])
        is_choice = np.zeros(X.shape[1], bool)
        for first, last in groups:
            is_choice[first:last] = True
        center, scale = np.where(is_choice, 0.0, center), np.where(is_choice, 1.0, scale).clip(SMALLEST, LARGEST)
        sines = lambda: (_sine(X[k], center, scale) for k in _blocks(X))  # anew each time: all of them take much memory
        narrow = partial(np.clip, a_min=-WIDEST, a_max=WIDEST)
        sums, lowest, highest = zip(*((narrow(z).sum(0), z.min(0), z.max(0)) for z in sines()), strict=True)
        mean = np.sum(sums, 0) / len(X)
        deviation = np.sqrt(np.sum([np.square(narrow(z) - mean).sum(0) for z in sines()], 0) / len(X))
        mean = np.where(is_choice, 0.0, mean)
        deviation = np.where(is_choice, np.arcsinh(1) / UNIT, np.where(deviation > 1e-9, deviation, 1.0))
        ends = np.stack([np.min(lowest, 0), np.max(highest, 0)])
        reach = np.abs((ends - mean) / deviation).max(0)
        return cls(center, scale, mean, deviation, np.maximum(FAR, 1.5 * reach))

    @property
    def step(self) -> NDArray[np.floating]:
        """What one scaled unit is near the center."""
        return self.scale if self.deviation is None else self.scale * self.deviation

    def scaled(self, X: NDArray[Any]) -> NDArray[np.float32]:
        """Values `(n, n_values)` in scaled units; never infinite."""
        rows = np.empty(X.shape, np.float32)
        for k in _blocks(X):
            if self.mean is None or self.deviation is None:
                rows[k] = (X[k] - self.center) / self.scale
            else:
                rows[k] = (_sine(X[k], self.center, self.scale) - self.mean) / self.deviation
        return rows

    def unscaled(self, rows: NDArray[Any]) -> NDArray[np.floating]:
        """The inverse of `scaled`; never infinite."""
        if self.mean is None or self.deviation is None:
            return rows * self.scale + self.center
        sine = np.clip(rows.astype(np.float64) * self.deviation + self.mean, -700, 700)
        with np.errstate(over="ignore"):
            X = np.sinh(sine) * self.scale + self.center
        return np.clip(X, -LARGEST, LARGEST)


def _blocks(X: NDArray[Any]) -> list[slice]:
    """Rows `(n, n_values)` that are computed at once, so that what is computed of them takes little memory."""
    n_at_once = max(1, BLOCK // max(1, X.shape[1]))
    return [slice(k, k + n_at_once) for k in range(0, len(X), n_at_once)]


def _sine(X: NDArray[Any], center: NDArray[np.floating], scale: NDArray[np.floating]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        z = (X.astype(np.float64) - center) / scale
    return np.arcsinh(np.clip(z, -LARGEST, LARGEST))


def _distance_of_others(X: NDArray[Any], center: NDArray[np.floating]) -> NDArray[np.float64]:
    """The median distance from the center of the values that are not there; 1 where there are none."""
    distances = np.ones(X.shape[1])
    for k, column in enumerate(X.T):
        distance = np.abs(column.astype(np.float64) - center[k])
        if (is_other := distance > _rounding(X.dtype) * abs(center[k])).any():
            distances[k] = np.median(distance[is_other])
    return distances


def _rounding(dtype: np.dtype[Any]) -> float:
    """The relative difference up to which values count as the same."""
    return 1e-6 if dtype == np.float32 else 1e-12


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
        f"X: expected no empty cells, as in fit, got {n_empty}: they count as the median of their column",
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
    if len(shape) in (3, 4):
        X = np.asarray(X).reshape(shape[0], math.prod(shape[1:]))
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


def rows_at_once(shape: Sequence[int]) -> int:
    """How many rows networks compute at a time: 1000, or a part of that if rows are large.

    Since blocks of 1000 rows consist of such parts, rows have the same neighbours in each sharding of a file.
    """
    n_rows = max(1, VALUES_AT_ONCE // max(1, math.prod(shape)))
    return next(
        AT_ONCE // parts for parts in range(1, AT_ONCE + 1) if not AT_ONCE % parts and AT_ONCE // parts <= n_rows
    )


def in_batches(
    nets: M,
    function: Callable[[M, Tensor], Tensor],
    rows: NDArray[Any] | Tensor,
    device: str = "cpu",
    size: int | None = None,
) -> NDArray[np.float32]:
    """What `function(nets, x)` gives for each row, computed in minibatches without gradients, where the networks are.

    There are `size` rows in one of them, by default as many as `rows_at_once` says. Of many rows it is computed on a
    graphics card, if `device` is that or "auto" and there is one.
    """
    size = size or rows_at_once(rows.shape[1:])
    if len(rows) >= MANY_ROWS and device in ("auto", "cuda") and torch.cuda.is_available():
        nets = copy.deepcopy(nets).to("cuda")
        size = max(size, N_VALUES_ON_CARD // max(1, int(np.prod(rows.shape[1:]))))
    X = torch.as_tensor(_writable(rows) if isinstance(rows, np.ndarray) else rows)
    here = next((p.device for p in nets.parameters()), X.device)
    result = np.empty(0, np.float32)
    with torch.inference_mode():
        for i in range(0, max(1, len(X)), size):
            batch = as_float(X[i : i + size].clone().to(here))  # a network may work in place
            part = function(nets, batch).float().cpu().numpy()
            assert len(part) == len(batch), (part.shape, len(batch))
            if i == 0:  # in one piece: small arrays between freed large ones keep these from being used again
                result = np.empty((len(X), *part.shape[1:]), np.float32)
            result[i : i + size] = part
    return result


def probabilities(nets: Networks, rows: NDArray[Any] | Tensor, device: str = "cpu") -> NDArray[np.float32]:
    """q(y|x) of scaled rows, by an encoder with a categorical code; `device` as in `in_batches`."""
    return in_batches(nets, lambda nets, x: nets.encoder(x).y, rows, device)


def learn_rows(estimator: Any, X: ArrayLike) -> NDArray[Any]:
    """Valid, scaled rows `(n, *shape)`; sets `scaler_` of the estimator."""
    estimator.scaler_, rows = RowScaler.fit(estimator, X, estimator.image_shape)
    return rows
