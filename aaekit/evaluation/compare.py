"""Other methods, trained with the same labels and evaluated on the same rows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone

from aaekit.data import Dataset, Split
from aaekit.errors import InputError
from aaekit.estimators import SemiSupervisedAAE, SupervisedBaseline
from aaekit.estimators._hyperparameters import hyperparameters_of
from aaekit.estimators._labels import fold_of
from aaekit.evaluation import metrics
from aaekit.evaluation.heldout import HeldOut, to_training_units
from aaekit.evaluation.methods import AUGMENTED, BASELINE, CLASSIFIERS, Method, Setting, answer, suited
from aaekit.labels import UNLABELLED, labelled_mask
from aaekit.shapes import kind_of

__all__ = ["compare", "cross_fitted", "simple_errors"]

N_SHORT = 1000  # labelled rows, from which simple methods learn in a second
SHARED = {"image_shape", "backbone", "hidden", "batch_norm", "device", "precision", "random_state"}


def compare(
    config: Mapping[str, Any], data: Dataset, split: Split, estimator: Any, rows: HeldOut, *,
    methods: Sequence[Method] | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Train other methods with the same labels and evaluate them on the same rows.

    Parameters
    ----------
    config : mapping
        Options of the run. The supervised baseline gets the same backbone and random state.
    data, split : Dataset, Split
        The training data.
    estimator : Estimator
        The fitted estimator to compare with.
    rows : HeldOut
        Rows to evaluate on; those without a label do not count.
    methods : sequence of Method, optional
        The methods, by default `CLASSIFIERS`; ours are left out, apart from the baseline if the estimator is another.

    Returns
    -------
    list of dict
        `name`, `error` in percent, and `seconds` of each method.

    Raises
    ------
    InputError
        If no row has a label.
    """
    if rows.y is None or not labelled_mask(rows.y).any():
        raise InputError(
            f"{data.name}: expected labels of the test rows, got none: methods are compared by their error"
        )
    X, y = _training_rows(data, split)
    X_test, results = to_training_units(estimator, rows.X), []
    for method in _methods(config, data, estimator, methods):
        values, seconds, note = answer(method, X, X_test, _setting(config, data, X, y))
        error = metrics.error_rate(rows.y, values.argmax(1))
        results.append({"name": _with_note(method.name, note), "error": error, "seconds": round(seconds, 2)})
    return results


def simple_errors(
    config: Mapping[str, Any],
    data: Dataset,
    split: Split,
    estimator: Any,
    rows: HeldOut,
    comparison: Sequence[Mapping[str, Any]] = (),
) -> dict[str, float]:
    """Errors in percent of the simple methods that a second is enough for, which need no unlabelled rows.

    Parameters are those of `compare`; `comparison` is what it returned for these rows, if it was called before. Empty
    for images, without unlabelled rows or labels to evaluate by, for rows of the training, and for more than 1,000
    labelled rows.
    """
    if not (isinstance(estimator, SemiSupervisedAAE) and getattr(estimator, "n_unlabelled_", 0)):
        return {}
    is_short = data.X.ndim == 2 and len(split.labelled) <= N_SHORT
    if not is_short or rows.name == "training" or rows.y is None or not labelled_mask(rows.y).any():
        return {}
    methods = [m for m in CLASSIFIERS if m.uses == "labelled" and not m.is_ours]
    names = {m.name for m in methods}
    results = [r for r in comparison if r["name"] in names]
    results = results or compare(config, data, split, estimator, rows, methods=methods)
    return {r["name"]: r["error"] for r in results}


def cross_fitted(
    config: Mapping[str, Any], data: Dataset, split: Split, estimator: Any, *,
    methods: Sequence[Method] | None = None, n_folds: int = 5,
) -> list[dict[str, Any]]:  # fmt: skip
    """Train the estimator and other methods once per part of the labelled rows, which the others predict.

    Parameters
    ----------
    config, data, split, methods
        As in `compare`.
    estimator : Estimator
        Its parameters are used; it need not be fitted, and is not changed.
    n_folds : int, default=5
        Number of parts. A part is in no way used by the models that predict it.

    Returns
    -------
    list of dict
        `name`, `error` in percent over all labelled rows, and `seconds` (the mean of a training) of each method, the
        estimator first.

    Raises
    ------
    InputError
        If a class has fewer than two labels.
    """
    X, y = _training_rows(data, split)
    if not labelled_mask(y).any() or np.unique(y[y != UNLABELLED], return_counts=True)[1].min() < 2:
        raise InputError(f"{data.name}: expected at least 2 labels of each class, got 1: label more rows")
    own = Method(type(estimator).__name__, lambda _: clone(estimator), is_ours=True)
    folds, results = fold_of(y, n_folds), []
    for method in (own, *_methods(config, data, estimator, methods)):
        predicted, seconds, note = np.full(len(y), UNLABELLED), [], ""
        for fold in np.unique(folds[folds >= 0]):
            train, test = folds != fold, folds == fold
            setting = _setting(config, data, X, y[train])
            values, time, note = answer(method, X[train], X[test], setting)
            predicted[test] = values.argmax(1)
            seconds.append(time)
        error = metrics.error_rate(y, predicted)
        mean = round(float(np.mean(seconds)), 2)
        results.append({"name": _with_note(method.name, note), "error": error, "seconds": mean})
    return results


def _training_rows(data: Dataset, split: Split) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """All rows that the run trains on, and the labels that it gets."""
    assert data.y is not None
    return data.X[split.unlabelled], split.masked(data.y)[split.unlabelled]


def _methods(
    config: Mapping[str, Any], data: Dataset, estimator: Any, methods: Sequence[Method] | None
) -> list[Method]:
    """The simple methods for such rows, and the baselines with the backbone of the run, unless it is the run itself."""
    shared = set(hyperparameters_of(SupervisedBaseline)) & SHARED
    parameters = {name: value for name, value in config.items() if name in shared}
    is_baseline = isinstance(estimator, SupervisedBaseline)
    chosen = suited(methods or CLASSIFIERS, kind_of(data.X.shape[1:]))
    return [
        replace(m, make=partial(_baseline, parameters, m)) if m.is_ours else m
        for m in chosen
        if not m.is_ours or (m in (BASELINE, AUGMENTED) and not is_baseline)
    ]


def _baseline(parameters: Mapping[str, Any], method: Method, setting: Setting) -> SupervisedBaseline:
    return method.make(setting).set_params(**parameters)


def _setting(config: Mapping[str, Any], data: Dataset, X: NDArray[Any], y: NDArray[np.int64]) -> Setting:
    n_classes = max(len(data.classes), int(y.max()) + 1)
    return Setting(y, n_classes, X.shape[1:], config["random_state"], torch.get_num_threads())


def _with_note(name: str, note: str) -> str:
    return f"{name}, {note}" if note else name
