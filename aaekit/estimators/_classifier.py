"""What classifiers share: each row has one class, which is known for some rows."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length
from torch import Tensor

from aaekit.errors import InputError
from aaekit.estimators._base import Estimator
from aaekit.estimators._labels import learn_labels
from aaekit.estimators._rows import in_batches, learn_rows
from aaekit.estimators._sklearn import ClassifierMixin
from aaekit.labels import UNLABELLED, label_indices, split_labels
from aaekit.nn.encoder import Code
from aaekit.nn.networks import Networks

__all__ = ["Classifier"]

N = TypeVar("N", bound=Networks)


class Classifier(ClassifierMixin, Estimator[N]):
    """Base of classifiers: labels in, probabilities and classes out."""

    def _learn(self, X: ArrayLike, y: ArrayLike | None) -> tuple[NDArray[Any], NDArray[np.int64]]:
        if y is None:
            raise InputError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        rows = learn_rows(self, X)
        labels = learn_labels(self, y)
        check_consistent_length(rows, labels)
        return rows, labels

    def _label_indices(self, y: ArrayLike) -> NDArray[np.int64]:
        return label_indices(y, self.classes_)

    def _code(self, nets: N, x: Tensor) -> Code:
        """The code of a minibatch, with logits."""
        return nets.encoder(x)

    def _class_probabilities(self, nets: N, rows: NDArray[Any] | Tensor) -> NDArray[np.float32]:
        """q(y|x) of scaled rows."""
        device = next(nets.parameters()).device
        return in_batches(lambda x: self._code(nets, x.to(device)).y, rows)

    def _score(self, nets: N, X: Tensor, y: NDArray[np.int64] | None) -> dict[str, float]:
        if y is None or not (labelled := y != UNLABELLED).any():
            return {}
        p, y = self._class_probabilities(nets, X)[labelled], y[labelled]
        cross_entropy = -np.log(np.clip(p[np.arange(len(y)), y], 1e-12, 1)).mean()
        return {"error": 100 * float((p.argmax(1) != y).mean()), "score": float(cross_entropy)}

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """q(y|x) of each row, shape `(n, n_classes)`, in the order of `classes_`."""
        rows = self._rows(X)
        return self._class_probabilities(self.networks_, rows)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable class of each row, shape `(n,)`."""
        rows = self._rows(X)
        return self.classes_[self._class_probabilities(self.networks_, rows).argmax(1)]

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The share of labelled rows that are classified correctly.

        Parameters
        ----------
        X : array-like of shape (n, n_features) or (n, channels, height, width)
            Rows.
        y : array-like of shape (n,)
            Labels; unlabelled rows do not count.
        sample_weight : array-like of shape (n,), optional
            How much each row counts.

        Returns
        -------
        float
            In [0, 1].

        Raises
        ------
        InputError
            When no row has a label.
        """
        labels, labelled = split_labels(y)
        check_consistent_length(X, labels, sample_weight)
        if not labelled.any():
            raise InputError(f"y: expected labels to score by, got none in all {len(labels)} rows")
        weight = None if sample_weight is None else np.asarray(sample_weight)[labelled]
        return float(np.average(self.predict(X)[labelled] == labels[labelled], weights=weight))
