"""Other methods, trained with the same labels and evaluated on the same rows."""

import math
import time
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aaekit.data import Dataset, Split
from aaekit.errors import InputError
from aaekit.estimators import SupervisedBaseline
from aaekit.estimators._hyperparameters import hyperparameters_of
from aaekit.evaluation import metrics
from aaekit.evaluation.heldout import HeldOut

__all__ = ["compare"]

SHARED = {"image_shape", "backbone", "hidden", "batch_norm", "device", "precision", "random_state"}


def compare(
    config: Mapping[str, Any], data: Dataset, split: Split, estimator: Any, rows: HeldOut, *,
    n_spread: int = 10_000, n_svm: int = 5_000,
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
        Labelled rows to evaluate on.
    n_spread, n_svm : int
        Maximum number of rows for label spreading and for self-training, whose memory or time is quadratic in it. All
        labelled rows are among them.

    Returns
    -------
    list of dict
        `name`, `error` in percent, and `seconds` of each method.

    Raises
    ------
    InputError
        If the rows have no labels.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
    from sklearn.svm import SVC

    if rows.y is None:
        raise InputError(
            f"{data.name}: expected labels of the test rows, got none: methods are compared by their error"
        )
    assert data.y is not None
    X, y = data.X[split.labelled], data.y[split.labelled]
    unlabelled = np.setdiff1d(split.unlabelled, split.labelled)
    unlabelled = np.random.default_rng(config["random_state"]).permutation(unlabelled)

    def flat(rows: NDArray[Any]) -> NDArray[Any]:
        rows = rows.reshape(len(rows), math.prod(rows.shape[1:]))
        if rows.dtype == np.uint8:
            return rows / np.float32(255)
        return rows if estimator.unit_range_ else (rows - estimator.center_) / estimator.scale_

    def partly_labelled(n: int) -> tuple[NDArray[Any], NDArray[Any], str]:
        """All labelled rows and unlabelled ones up to `n` in total, and a note if there are more."""
        index = unlabelled[: max(0, n - len(X))]
        note = f", on {len(index)} of {len(unlabelled)} unlabelled rows" if len(index) < len(unlabelled) else ""
        return np.concatenate([flat(X), flat(data.X[index])]), np.concatenate([y, np.full(len(index), -1)]), note

    candidates: list[tuple[str, Any, Any]] = []
    if not isinstance(estimator, SupervisedBaseline):
        parameters = set(hyperparameters_of(SupervisedBaseline)) & SHARED
        baseline = SupervisedBaseline(**{k: v for k, v in config.items() if k in parameters})
        candidates.append(("supervised baseline, same labels", baseline, (X, y, "")))
    if len(unlabelled):
        training = partly_labelled(n_spread)
        spreading = LabelSpreading(kernel="knn", n_neighbors=min(10, len(training[0])))
        candidates.append(("label spreading, 10 neighbours", spreading, training))
    folds = min(5, int(np.bincount(y)[np.unique(y)].min()))
    if len(unlabelled) and folds > 1:
        machine = CalibratedClassifierCV(SVC(), ensemble=False, cv=folds)  # pyright: ignore[reportArgumentType]
        candidates.append(("self-training, support vectors", SelfTrainingClassifier(machine), partly_labelled(n_svm)))
    results = []
    for name, model, (X_train, y_train, note) in candidates:
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of scikit-learn about early convergence
            model.fit(X_train, y_train)
            predicted = model.predict(rows.X if isinstance(model, SupervisedBaseline) else flat(rows.X))
        seconds = round(time.perf_counter() - began, 2)
        results.append({"name": name + note, "error": metrics.error_rate(rows.y, predicted), "seconds": seconds})
    return results
