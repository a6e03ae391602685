"""What estimators learn from labels: the classes, and how many rows of each are labelled."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.multiclass import check_classification_targets

from aaekit.errors import ClassPriorWarning, InputError, LostClassWarning, nearest
from aaekit.estimators._plan import DataSummary
from aaekit.labels import UNLABELLED, as_labels, split_labels

__all__ = [
    "checked_weights",
    "column_of",
    "fold_of",
    "label_weights",
    "learn_labels",
    "numbers_by_class",
    "warn_of_balanced_labels",
    "warn_of_lost_classes",
    "warn_of_unsure_frequencies",
]

LOST = 0.2  # share of what is expected of a class, below which it counts as given up
UNSURE = 0.5  # certainty of class frequencies below which it is worth to give them


def column_of(y: ArrayLike) -> NDArray[Any]:
    """Labels `(n,)`; a column `(n, 1)` is flattened with scikit-learn's warning."""
    labels = as_labels(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        warnings.warn("A column-vector y was passed when a 1d array was expected.", DataConversionWarning, stacklevel=4)
        labels = labels[:, 0]
    return labels


def fold_of(y: NDArray[np.int64], n_folds: int, random_state: int | None = 0) -> NDArray[np.int64]:
    """The fold of each labelled row, the classes spread evenly over folds; -1 for unlabelled rows.

    Rows of a class take folds in turn: in random order, or as they are if `random_state` is None.
    """
    rng = None if random_state is None else np.random.default_rng(random_state)
    folds, start = np.full(len(y), UNLABELLED, np.int64), 0
    for k in np.unique(y[y != UNLABELLED]):
        rows = np.flatnonzero(y == k)
        rows = rows if rng is None else rng.permutation(rows)
        folds[rows] = (start + np.arange(len(rows))) % n_folds
        start += len(rows)
    return folds


def learn_labels(estimator: Any, y: ArrayLike) -> NDArray[np.int64]:
    """Labels as 0, 1, ... and -1; sets `classes_`, `class_counts_` and `n_unlabelled_` of the estimator.

    Raises
    ------
    InputError
        For labels of fewer than two classes.
    """
    labels, labelled = split_labels(column_of(y))
    check_classification_targets(labels[labelled])
    classes, indices = np.unique(labels[labelled], return_inverse=True)
    if len(classes) < 2:
        raise InputError(
            f"expected labelled rows of at least 2 classes, got {len(classes)} class(es) in {labelled.sum()} labelled "
            f"of {len(labels)} rows: label some rows of each class (-1 or None is unlabelled)"
        )
    estimator.classes_ = classes
    estimator.class_counts_ = np.bincount(indices).tolist()
    estimator.n_unlabelled_ = int((~labelled).sum())
    result = np.full(len(labels), UNLABELLED, dtype=np.int64)
    result[labelled] = indices
    return result


def checked_weights(sample_weight: ArrayLike | None, n: int) -> NDArray[np.float64] | None:
    """The weights of `n` rows, or None.

    Raises
    ------
    InputError
        For another shape than (n,), or weights that are no finite numbers of at least 0.
    """
    if sample_weight is None:
        return None
    try:
        weights = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"sample_weight: expected one number per row, got others ({error})") from error
    if weights.shape != (n,):
        raise InputError(f"sample_weight: expected one number per row, shape ({n},), got shape {weights.shape}")
    if len(bad := np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))):
        raise InputError(f"sample_weight: expected finite numbers of at least 0, got {weights[bad[0]]} in row {bad[0]}")
    return weights


def label_weights(
    labels: NDArray[np.int64],
    classes: Sequence[Any],
    class_weight: str | Mapping[Any, float] | None,
    sample_weight: NDArray[np.float64] | None,
) -> NDArray[np.float32] | None:
    """Weights of labelled rows `(n,)`, of mean 1, or None if all count alike.

    With "balanced", the weights of each class have the same sum; a class that a mapping leaves out has 1.

    Raises
    ------
    InputError
        For a class that there is not, or if all weights are 0.
    """
    if class_weight is None and sample_weight is None:
        return None
    weights = np.ones(len(labels)) if sample_weight is None else sample_weight
    if isinstance(class_weight, Mapping):
        by_class = numbers_by_class(class_weight, classes, "class_weight")
        weights = weights * np.array([by_class.get(str(c), 1.0) for c in classes])[labels]
    elif class_weight is not None:
        totals = np.bincount(labels, weights, minlength=len(classes))
        weights = weights / np.where(totals > 0, totals, 1.0)[labels]
    if not weights.any():
        raise InputError(
            f"expected a weight above zero for some labelled row, got zero for all {len(labels)}: raise some"
        )
    return (weights / weights.mean()).astype(np.float32)


def numbers_by_class(numbers: Mapping[Any, float], classes: Sequence[Any], parameter: str) -> dict[str, float]:
    """Numbers by the text of their class, so that 3 and "3", as JSON and YAML have it, name the same class.

    Raises
    ------
    InputError
        For a class that there is not; it begins with the name of the `parameter`.
    """
    names = [str(c) for c in classes]
    if unknown := [str(name) for name in numbers if str(name) not in names]:
        some = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        raise InputError(f"{parameter}: expected classes of {some}, got {unknown[0]!r}{nearest(unknown[0], names)}")
    return {str(name): float(number) for name, number in numbers.items()}


def warn_of_balanced_labels(data: DataSummary) -> None:
    """Warn of as many labels of each class, which somebody chose so, if class frequencies are taken from them."""
    if data.n_unlabelled and _are_balanced(data):
        warnings.warn(
            f"{_balance(data)}: with class_prior='labelled' all classes are taken to be equally frequent; if they are "
            "not, give class_prior their frequencies, or 'auto'",
            ClassPriorWarning,
            stacklevel=2,
        )


def warn_of_unsure_frequencies(data: DataSummary, certainty: float) -> None:
    """Warn if labels are as many of each class, and the unlabelled rows hardly tell how frequent the classes are."""
    if certainty < UNSURE and _are_balanced(data):
        warnings.warn(
            f"{_balance(data)}: the {data.n_unlabelled} unlabelled rows do not tell class frequencies well; if you "
            "know them, give them as class_prior",
            ClassPriorWarning,
            stacklevel=2,
        )


def _are_balanced(data: DataSummary) -> bool:
    return len(set(data.class_counts)) == 1


def _balance(data: DataSummary) -> str:
    return f"expected labels as frequent as the classes are, got {data.class_counts[0]} of each class"


def warn_of_lost_classes(classes: ArrayLike, p: NDArray[np.floating], expected: NDArray[np.floating]) -> None:
    """Warn of labelled classes that are hardly predicted.

    Parameters
    ----------
    classes : array-like of shape (n_classes,)
        Names.
    p : ndarray of shape (n, n_classes)
        Probabilities of unlabelled rows.
    expected : ndarray of shape (n_classes,)
        How frequent the classes should be among them.
    """
    share = np.bincount(p.argmax(1), minlength=p.shape[1]) / max(1, len(p))
    for k in np.flatnonzero((share < LOST * expected) & (expected * len(p) >= 1)):
        warnings.warn(
            f"y: expected {expected[k]:.1%} of the unlabelled rows in class {np.asarray(classes)[k]}, got "
            f"{share[k]:.1%}: label more rows of it, or say how frequent it is (class_prior)",
            LostClassWarning,
            stacklevel=5,
        )
