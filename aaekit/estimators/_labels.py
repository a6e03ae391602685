"""What estimators learn from labels: the classes, and how many rows of each are labelled."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.multiclass import check_classification_targets

from aaekit.errors import InputError
from aaekit.labels import UNLABELLED, as_labels, split_labels

__all__ = ["column_of", "learn_labels"]


def column_of(y: ArrayLike) -> NDArray[Any]:
    """Labels `(n,)`; a column `(n, 1)` is flattened with scikit-learn's warning."""
    labels = as_labels(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        warnings.warn("A column-vector y was passed when a 1d array was expected.", DataConversionWarning, stacklevel=4)
        labels = labels[:, 0]
    return labels


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
