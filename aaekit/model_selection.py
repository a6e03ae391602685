"""Cross-validation, scores and calibration where most rows are unlabelled: what scikit-learn's tools need for that."""

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import get_scorer
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils.validation import check_is_fitted

from aaekit._extras import require
from aaekit.data.checks import check_whole
from aaekit.errors import InputError
from aaekit.estimators._sklearn import BaseEstimator, ClassifierMixin, available_if, clone
from aaekit.labels import label_indices, split_labels

__all__ = ["PartlyLabelledKFold", "WithUnlabelled", "labelled_scorer"]

Scorer = Callable[..., float]  # of an estimator, rows and labels


class PartlyLabelledKFold:
    """Stratified folds of the labelled rows; unlabelled rows are in every training fold and in no test fold.

    It takes the place of `sklearn.model_selection.StratifiedKFold`, for which "unlabelled" would be a class.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    shuffle : bool, default=False
        Whether labelled rows are shuffled within their class first.
    random_state : int, optional
        Seed of `shuffle`.

    Raises
    ------
    InputError
        If `n_splits` is not a whole number of at least 2, or there is a `random_state` without `shuffle`.

    Examples
    --------
    >>> y = ["a", "a", None, "b", "b", None]
    >>> for train, test in PartlyLabelledKFold(2).split(range(6), y):
    ...     print(train, test)
    [1 2 4 5] [0 3]
    [0 2 3 5] [1 4]
    """

    def __init__(self, n_splits: int = 5, *, shuffle: bool = False, random_state: int | None = None) -> None:
        self.n_splits: int = check_whole(n_splits, 2, "n_splits")
        self.shuffle: bool = shuffle
        self.random_state: int | None = random_state
        if random_state is not None and not shuffle:
            raise InputError(f"random_state: expected shuffle=True beside it, got random_state={random_state} alone")

    def __repr__(self) -> str:
        return f"PartlyLabelledKFold({self.n_splits}, shuffle={self.shuffle}, random_state={self.random_state})"

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds; all parameters are ignored."""
        return self.n_splits

    def split(
        self, X: Any, y: ArrayLike | None = None, groups: Any = None
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield the sorted indices of training rows and of test rows, fold by fold.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows.
        y : array-like of shape (n,)
            Labels of any kind; -1, None or NaN in unlabelled rows (see `aaekit.labels`).
        groups : object
            Ignored.

        Raises
        ------
        InputError
            If `y` is missing, or a class has fewer labelled rows than there are folds.
        """
        if y is None:
            raise InputError("y: expected labels to make folds of, got None: pass y, with None in unlabelled rows")
        labels, labelled = split_labels(y)
        check_consistent_length(X, labels)
        rows, unlabelled = np.flatnonzero(labelled), np.flatnonzero(~labelled)
        classes, indices, counts = np.unique(labels[rows], return_inverse=True, return_counts=True)
        if not len(classes) or counts.min() < self.n_splits:
            least = f"{counts.min()} of class {classes[counts.argmin()]!s}" if len(classes) else "none"
            raise InputError(
                f"n_splits: expected at least {self.n_splits} labelled rows of each class, got {least}: choose fewer "
                "folds, or label more rows"
            )
        folds = StratifiedKFold(self.n_splits, shuffle=self.shuffle, random_state=self.random_state)
        for train, test in folds.split(rows, indices):
            yield np.sort(np.concatenate([rows[train], unlabelled])), rows[test]


def labelled_scorer(scoring: str | Scorer = "accuracy", pos_label: object = None) -> Scorer:
    """Return a scorer, as `scoring=` of scikit-learn's tools takes it, that leaves unlabelled rows out.

    Labels may be texts, also for scores of one class such as "average_precision" and "f1": that is the second of the
    two classes, or `pos_label`.

    Parameters
    ----------
    scoring : str or callable, default="accuracy"
        A name that `sklearn.metrics.get_scorer` has, or a function of an estimator, rows and the numbers 0, 1, ... of
        classes in the order of `classes_`.
    pos_label : label, optional
        The positive one of two classes; by default the second of `classes_`.

    Returns
    -------
    callable
        ``scorer(estimator, X, y)``; it raises `InputError` if no row has a label, or a label is not of `classes_`.

    Raises
    ------
    InputError
        For a name that scikit-learn does not have.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> model = DummyClassifier().fit([[0], [1], [2]], ["a", "a", "b"])
    >>> labelled_scorer("accuracy")(model, [[0], [1], [2]], ["a", None, "b"])
    0.5
    """
    if isinstance(scoring, str):
        try:
            scoring = get_scorer(scoring)
        except ValueError as error:
            raise InputError(f"scoring: expected a name of sklearn.metrics.get_scorer, got {scoring!r}") from error
    score: Scorer = scoring

    def scorer(estimator: Any, X: Any, y: ArrayLike) -> float:
        labels, labelled = split_labels(y)
        check_consistent_length(X, labels)
        if not labelled.any():
            raise InputError(f"y: expected labels to score by, got none in all {len(labels)} rows")
        numbered = _Numbered(estimator, pos_label)
        indices = label_indices(labels[labelled], numbered.names)
        return float(score(numbered, _safe_indexing(X, np.flatnonzero(labelled)), indices))

    return scorer


class WithUnlabelled(ClassifierMixin, BaseEstimator):
    """A classifier that brings its unlabelled rows along, so that `fit` and others see labelled rows alone.

    Tools for which each row has a label, such as `sklearn.calibration.CalibratedClassifierCV`, stacking or nested
    cross-validation, can then be used as they are: the unlabelled rows join the training rows of every fold.

    Parameters
    ----------
    estimator : classifier
        For instance `SemiSupervisedAAE`; cloned for each fit.
    X_unlabelled : array-like of shape (n_unlabelled, ...)
        Rows without labels; shared by clones, never copied.

    Attributes
    ----------
    estimator_ : classifier
        Fitted.
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.

    Examples
    --------
    >>> from sklearn.semi_supervised import LabelPropagation
    >>> WithUnlabelled(LabelPropagation(), [[0.1], [5.1]]).fit([[0.0], [5.0]], [0, 1]).predict([[4.9]])
    array([1])
    """

    def __init__(self, estimator: Any, X_unlabelled: Any) -> None:
        self.estimator: Any = estimator
        self.X_unlabelled: Any = X_unlabelled

    def __sklearn_clone__(self) -> Self:
        """A twin that is not fitted, with the same unlabelled rows."""
        return type(self)(clone(self.estimator), self.X_unlabelled)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on labelled rows `X`, their labels `y` and the unlabelled rows.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Labelled rows, of the same kind as `X_unlabelled`.
        y : array-like of shape (n,)
            Labels of any kind; rows may be unlabelled, too.
        sample_weight : array-like of shape (n,), optional
            How much each labelled row counts, if the estimator takes weights.

        Returns
        -------
        self
        """
        labels, labelled = split_labels(y)
        check_consistent_length(X, labels, sample_weight)
        n = len(self.X_unlabelled)
        values = [label if has_label else -1 for label, has_label in zip(labels.tolist(), labelled, strict=True)]
        y_all = np.array(values + [-1] * n, dtype=labels.dtype if labels.dtype.kind in "if" else object)
        weights = {} if sample_weight is None else {"sample_weight": np.r_[np.asarray(sample_weight), np.ones(n)]}
        self.estimator_: Any = clone(self.estimator).fit(_stacked(X, self.X_unlabelled), y_all, **weights)
        self.classes_: NDArray[Any] = self.estimator_.classes_
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable class of each row, shape `(n,)`."""
        check_is_fitted(self)
        return self.estimator_.predict(X)

    @available_if(lambda self: hasattr(self.estimator, "predict_proba"))
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """The probability of each class, shape `(n, n_classes)`, in the order of `classes_`."""
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    @available_if(lambda self: hasattr(self.estimator, "decision_function"))
    def decision_function(self, X: Any) -> NDArray[Any]:
        """The scores of the estimator, shape `(n,)` of two classes, else `(n, n_classes)`."""
        check_is_fitted(self)
        return self.estimator_.decision_function(X)


class _Numbered(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose classes are 0, 1, ...; of two classes `pos_label` is 1."""

    def __init__(self, estimator: Any, pos_label: object = None) -> None:
        names = np.asarray(estimator.classes_)
        self.estimator: Any = estimator
        self.names: list[Any] = names.tolist()
        self.order: NDArray[np.intp] = np.arange(len(names))
        if pos_label is not None:
            if len(names) != 2 or pos_label not in self.names:
                raise InputError(f"pos_label: expected one of two classes, got {pos_label!r} for {self.names}")
            positive = self.names.index(pos_label)
            self.order = np.array([1 - positive, positive])
            self.names = [self.names[k] for k in self.order]
        self.classes_: NDArray[np.intp] = np.arange(len(names))

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: Any) -> NDArray[np.int64]:
        return label_indices(self.estimator.predict(X), self.names)

    @available_if(lambda self: hasattr(self.estimator, "predict_proba"))
    def predict_proba(self, X: Any) -> NDArray[Any]:
        return self.estimator.predict_proba(X)[:, self.order]

    @available_if(lambda self: hasattr(self.estimator, "decision_function"))
    def decision_function(self, X: Any) -> NDArray[Any]:
        scores = self.estimator.decision_function(X)
        return scores if self.order[0] == 0 else -scores


def _stacked(X: Any, below: Any) -> Any:
    """Rows and the rows below them; data frames stay data frames."""
    if hasattr(X, "iloc") and hasattr(below, "iloc"):
        return require("pandas", extra="data").concat([X, below], ignore_index=True)
    return np.concatenate([np.asarray(X), np.asarray(below)])
