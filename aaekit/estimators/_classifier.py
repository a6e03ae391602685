"""What classifiers share: each row has one class, which is known for some rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from sklearn.utils import check_consistent_length
from torch import Tensor

from aaekit.core.callbacks import Callback
from aaekit.errors import InputError
from aaekit.estimators._base import Estimator
from aaekit.estimators._hyperparameters import Weight
from aaekit.estimators._labels import learn_labels
from aaekit.estimators._rows import in_batches, learn_rows
from aaekit.estimators._sklearn import ClassifierMixin
from aaekit.labels import UNLABELLED, label_indices, split_labels
from aaekit.nn.encoder import Code
from aaekit.nn.networks import Networks

__all__ = ["ClassWeight", "Classifier"]

N = TypeVar("N", bound=Networks)

ClassWeight = Annotated[
    Literal["balanced"] | Mapping[Any, Weight] | None,
    "Losses",
    Field(
        description="how much the labelled rows of each class count in the cross entropy: by class, such as yes=5,no=1 "
        "(a class that is left out has 1), or so that classes with few and with many labels count alike"
    ),
]


class Classifier(ClassifierMixin, Estimator[N]):
    """Base of classifiers: labels in, probabilities and classes out."""

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        callbacks: Sequence[Callback] = (),
        eval_set: tuple[ArrayLike, ArrayLike | None] | None = None,
    ) -> Self:
        """Train on rows and the labels of some of them.

        Everything that an earlier fit has learned is forgotten. A fit that fails or is interrupted leaves the estimator
        as it was.

        Parameters
        ----------
        X : array-like, sparse matrix or DataFrame of shape (n, n_features), or array (n, channels, height, width)
            As in `Estimator.fit`: tables of numbers, texts and empty cells, or images.
        y : array-like of shape (n,)
            Labels of any kind; -1, None or NaN in unlabelled rows (see `aaekit.labels`).
        sample_weight : array-like of shape (n,), optional
            How much each labelled row counts in the cross entropy, relative to the other labelled rows: they are
            divided by their mean. What unlabelled rows teach does not depend on it.
        callbacks : sequence of Callback
            Called at each step and epoch, for instance a run directory.
        eval_set : (X, y), optional
            Rows and labels that are scored each epoch, for `history_`. They are never used for training, model
            selection or early stopping.

        Returns
        -------
        self

        Raises
        ------
        InputError (a ValueError)
            For parameters, rows, labels or weights that are not as declared, or too few of them.
        TrainingError
            When a loss is no longer finite.
        """
        return self._fit(X, y, callbacks, eval_set, sample_weight)

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
        return self._of_codes(nets, lambda code: code.y, rows)

    def _of_codes(self, nets: N, values: Callable[[Code], Tensor], rows: NDArray[Any] | Tensor) -> NDArray[np.float32]:
        """What `values` gives for the codes of scaled rows."""
        return in_batches(nets, lambda nets, x: values(self._code(nets, x)), rows, self.device)

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

    def decision_function(self, X: ArrayLike) -> NDArray[np.float32]:
        """Scores of the classes, by which thresholds and calibration go.

        Returns
        -------
        ndarray of shape (n,) or (n, n_classes), float32
            Of two classes the log odds of the second, `log q(y=1|x) - log q(y=0|x)`; of more log q(y|x), in the order
            of `classes_`.
        """
        rows = self._rows(X)
        scores = self._of_codes(self.networks_, _log_probabilities, rows)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

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


def _log_probabilities(code: Code) -> Tensor:
    """The logarithm of q(y|x), finite where q(y|x) is 0 in float32."""
    assert code.logits is not None, "this model has no categorical code"
    return code.logits.float().log_softmax(1)
