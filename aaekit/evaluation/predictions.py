"""What a fitted estimator predicts for rows, and their codes, as a table."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import singledispatch
from typing import Any

from numpy.typing import NDArray
from sklearn.base import is_clusterer

from aaekit.errors import InputError
from aaekit.estimators import AAEOutlierDetector, EmbeddingAAE
from aaekit.evaluation.heldout import to_training_units

__all__ = ["TEXTS", "codes", "in_blocks", "predictions"]

TEXTS = ("class", "cluster", "outlier")  # columns that are no numbers


@singledispatch
def predictions(estimator: Any, X: NDArray[Any], names: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    """Predictions of a fitted estimator for rows: class or cluster with probabilities.

    Parameters
    ----------
    estimator : Estimator
        Fitted. For a class with other predictions, register a function: ``@predictions.register``.
    X : ndarray of shape (n, ...)
        Rows in the units of the training.
    names : sequence of str
        Names of its classes or clusters, in the order of its probabilities.

    Returns
    -------
    columns : list of str
        Column names.
    lines : list of list
        One line per row of X.

    Raises
    ------
    InputError
        If the estimator does not predict anything.
    """
    if is_clusterer(estimator) and not hasattr(estimator, "classes_"):
        kind, p = "cluster", estimator.cluster_proba(X)
    elif hasattr(estimator, "predict_proba"):
        kind, p = "class", estimator.predict_proba(X)
    else:
        raise InputError(
            f"expected a classifier, clusters, a map or an outlier detector, got {type(estimator).__name__}, which "
            "predicts nothing: use `aae reconstruct` or `aae sample`"
        )
    lines = [[k, names[row.argmax()], *(f"{v:.6f}" for v in row)] for k, row in enumerate(p)]
    return ["row", kind, *(f"p({name})" for name in names)], lines


def codes(estimator: Any, X: NDArray[Any]) -> tuple[list[str], list[list[Any]]]:
    """Codes z of rows as a table: its columns, and a line per row of X in the units of the training.

    Raises
    ------
    InputError
        If the estimator has no codes.
    """
    if not hasattr(estimator, "transform"):
        raise InputError(
            f"expected a model with codes, got {type(estimator).__name__}, which has none: choose a generator, a "
            "classifier, clusters or a map"
        )
    lines = [[k, *(f"{v:.6g}" for v in z)] for k, z in enumerate(estimator.transform(X))]
    return ["row", *estimator.get_feature_names_out()], lines


def in_blocks(
    table: Callable[[NDArray[Any]], tuple[list[str], list[list[Any]]]],
    estimator: Any,
    blocks: Iterable[tuple[int, NDArray[Any]]],
) -> Iterator[tuple[list[str], list[list[Any]]]]:
    """Yield the table of each block of rows, such as their predictions; lines begin with the number of the row.

    What the first block warns of is said once.
    """
    for k, (first, X) in enumerate(blocks):
        with warnings.catch_warnings():
            if k:
                warnings.simplefilter("ignore")
            columns, lines = table(to_training_units(estimator, X))
        yield columns, [[first + row, *cells] for row, *cells in lines]


@predictions.register
def _(estimator: AAEOutlierDetector, X: NDArray[Any], names: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    scores = estimator.score_samples(X)
    outlier = scores < estimator.offset_
    lines = [[k, "yes" if outlier[k] else "no", f"{score:.6g}"] for k, score in enumerate(scores)]
    return ["row", "outlier", "score"], lines


@predictions.register
def _(estimator: EmbeddingAAE, X: NDArray[Any], names: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    Z, labels = estimator.transform(X), estimator.predict(X).tolist()
    name_of = dict(zip(estimator.classes_.tolist(), names, strict=True)) if names else {}
    columns = ["row", "class" if names else "cluster", *estimator.get_feature_names_out()]
    lines = [
        [k, name_of.get(label, label), *(f"{v:.6g}" for v in z)]
        for k, (label, z) in enumerate(zip(labels, Z, strict=True))
    ]
    return columns, lines
