"""What a diagnosis is based on, and what it returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aaekit.errors import InputError

__all__ = ["Comparison", "Evidence", "HealthFinding", "Severity"]

Severity = Literal["problem", "warning"]
SHAPES = {  # of the arrays of an Evidence
    "X": "(n, ...)", "X_hat": "(n, ...)", "z": "(n, d)", "prior": "(m, d)", "y": "(n, K)", "labels": "(n,)",
    "class_prior": "(K,)",
}  # fmt: skip


@dataclass(frozen=True)
class HealthFinding:
    """Something that is wrong with a training.

    Attributes
    ----------
    name : str
        For instance "stuck discriminator"; each name has a section in docs/health.md.
    severity : {"problem", "warning"}
        A problem prevents the model from doing its task; a warning may be intended.
    evidence : str
        What was measured.
    meaning : str
        What it says about the training.
    option : str
        What to try first, in Python and on the command line, for instance
        ``learning_rate=0.001 (now 0.5); on the command line: --learning-rate 0.001``.
    """

    name: str
    severity: Severity
    evidence: str
    meaning: str
    option: str


@dataclass(frozen=True)
class Comparison:
    """Errors of a classifier and of other methods with the same labels, on the same rows.

    Parameters
    ----------
    error : float
        Error of the classifier in percent.
    others : mapping of str to float
        Errors of the other methods in percent, by name.
    n : int
        Number of rows with a label.
    rows : str, default="held-out rows"
        What the errors are measured on.

    Raises
    ------
    InputError
        If an error is no percentage.
    """

    error: float
    others: Mapping[str, float]
    n: int
    rows: str = "held-out rows"

    def __post_init__(self) -> None:
        for error in (self.error, *self.others.values()):
            if not 0 <= error <= 100:
                raise InputError(f"expected errors from 0 to 100 percent, got {error}")


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known about a training. Checks whose inputs are missing are skipped: no finding does not mean a pass.

    Parameters
    ----------
    history : sequence of mappings
        `history_` of an estimator: losses, D(real), D(fake), rates and held-out errors, one mapping per epoch.
    parameters : mapping
        Parameters of the estimator, to choose what to try first and to state current values.
    weights, learning_rates : mapping of str to float
        Weights and learning rates of the phases by name, as in `plan_.weights` of an estimator.
    simple_errors : mapping of str to float
        Errors in percent of simple methods, which learned from the same labels alone, by name.
    comparison : Comparison, optional
        With other methods, among them such as learn from unlabelled rows.
    X, X_hat : array-like of shape (n, ...), optional
        Rows and their reconstructions, on one scale (0 to 1, or standardised).
    z : array-like of shape (n, d), optional
        Codes of rows, preferably of held-out rows.
    prior : array-like of shape (m, d), optional
        Samples of p(z). More than 4 times as many as codes are not needed.
    y : array-like of shape (n, K), optional
        Probabilities of the classes or clusters, of the same rows as z.
    labels : array-like of int, shape (n,), optional
        True labels of the rows, numbered as the columns of y; -1 where unknown.
    class_prior : array-like of shape (K,), optional
        How often the classes should be predicted; by default as often as they are among `labels`.
    image_shape : (channels, height, width), optional
        Of a row, if rows are images.
    original_size : (width, height), optional
        What most images had in their files.
    conditional : bool, default False
        Whether the codes are meant to contain the label: a plain autoencoder, a class-conditional prior, a map.
    clusters : bool, default False
        Whether y was learned without labels.

    Raises
    ------
    InputError
        If an array has another shape, or shapes do not match.
    """

    history: Sequence[Mapping[str, float]] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    simple_errors: Mapping[str, float] = field(default_factory=dict)
    comparison: Comparison | None = None
    X: ArrayLike | None = None
    X_hat: ArrayLike | None = None
    z: ArrayLike | None = None
    prior: ArrayLike | None = None
    y: ArrayLike | None = None
    labels: ArrayLike | None = None
    class_prior: ArrayLike | None = None
    image_shape: tuple[int, int, int] | None = None
    original_size: tuple[int, int] | None = None
    conditional: bool = False
    clusters: bool = False

    def __post_init__(self) -> None:
        for name in SHAPES:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _array(name, getattr(self, name)))
        for a, b, axis in (("X", "X_hat", None), ("z", "prior", 1), ("z", "y", 0), ("z", "labels", 0),
                           ("y", "labels", 0)):  # fmt: skip
            u, v = getattr(self, a), getattr(self, b)
            if u is None or v is None:
                continue
            if u.shape != v.shape if axis is None else u.shape[axis] != v.shape[axis]:
                what = {None: "shape", 0: "number of rows", 1: "number of columns"}[axis]
                raise InputError(f"expected {a} and {b} of the same {what}, got {u.shape} and {v.shape}")
        y, labels, class_prior = self.arrays("y", "labels", "class_prior")
        if y is None:
            return
        K = y.shape[1]
        if labels is not None and len(labels) and not -1 <= labels.min() <= labels.max() < K:
            raise InputError(f"expected labels from -1 to {K - 1}, the columns of y, got {np.unique(labels)[:9]}")
        if class_prior is not None and len(class_prior) != K:
            raise InputError(f"expected class_prior of {K} numbers, one per column of y, got {len(class_prior)}")

    def arrays(self, *names: str) -> list[Any]:
        """Arrays by name, None where missing."""
        return [getattr(self, name) for name in names]

    def curve(self, name: str) -> NDArray[np.float64]:
        """A column of the history without missing and non-finite values."""
        values = np.array([row[name] for row in self.history if name in row], dtype=np.float64)
        return values[np.isfinite(values)]

    def first_curve(self, *names: str) -> tuple[str, NDArray[np.float64]]:
        """The first of these columns that the history has; an empty name and curve if it has none."""
        name = next((n for n in names if len(self.curve(n))), "")
        return name, self.curve(name)


def _array(name: str, value: Any) -> NDArray[Any]:
    """An array of an Evidence, checked; rows are flattened to `(n, d)`."""
    array = np.asarray(value)
    if name in ("X", "X_hat"):
        array = array.reshape(len(array), int(np.prod(array.shape[1:]))) if array.ndim else array
    n_dims = 1 if name in ("labels", "class_prior") else 2
    if array.ndim != n_dims or array.dtype.kind not in ("iu" if name == "labels" else "biuf"):
        kind = "integers" if name == "labels" else "numbers"
        raise InputError(f"expected {name} as {kind} of shape {SHAPES[name]}, got {array.dtype} of shape {array.shape}")
    return array.astype(np.int64 if name == "labels" else np.float64)
