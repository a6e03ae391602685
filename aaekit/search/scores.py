"""The scores that a search minimises. None of them uses test rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_clusterer
from sklearn.metrics import mutual_info_score

from aaekit.core.callbacks import Callback
from aaekit.core.loop import Training
from aaekit.estimators import EmbeddingAAE
from aaekit.estimators._labels import fold_of
from aaekit.evaluation import metrics
from aaekit.evaluation.heldout import HeldOut, as_samples
from aaekit.evaluation.measures import code_measures
from aaekit.labels import UNLABELLED

__all__ = ["Agreement", "CrossFittedError", "HeldOutCodes", "Measured", "Score", "score_of"]

N_PREDICTED = 1000  # labelled rows whose predictions are enough for an error
HELD_OUT, LARGEST = 0.1, 2000  # the share of the rows that reconstruction is measured on, and how many at most
N_REPORTS = 20  # intermediate scores of a trial, at most
N_SEEDS = 3  # whose clusters are compared

Report = Callable[[float, int], None]  # of an intermediate score, and the percentage of the trial that it comes after
Make = Callable[[int], Any]  # an estimator that is not fitted, by how much its random state is raised


class Measured(NamedTuple):
    """The score of a trial.

    Attributes
    ----------
    value : float
        The lower, the better.
    std_error : float or None
        Of an error, by the number of rows that it was counted on.
    details : dict
        What the score consists of.
    """

    value: float
    std_error: float | None = None
    details: Mapping[str, float] = {}


@dataclass(frozen=True)
class Score:
    """What a search minimises, and the rows that it is measured on.

    Parameters
    ----------
    X, y : ndarray and ndarray or None
        The training rows, and their labels as `fit` takes them.
    random_state : int
        Seed of the rows that are held back; the same in each trial.
    """

    X: NDArray[Any]
    y: NDArray[np.int64] | None
    random_state: int

    name = ""  # as in tables

    @property
    def meaning(self) -> str:
        """How it is measured, for the report."""
        raise NotImplementedError

    def measure(self, make: Make, report: Report) -> Measured:
        """Train one or more estimators, and score them; `report` may raise to end the trial."""
        raise NotImplementedError


@dataclass(frozen=True)
class CrossFittedError(Score):
    """The error on labelled rows, each of which is predicted by a model that was trained without its label."""

    n_folds: int = 3

    name = "cross-fitted error (%)"

    @property
    def meaning(self) -> str:
        """How it is measured."""
        labelled = self._labels != UNLABELLED
        n = sum(int(((self._folds == fold) & labelled).sum()) for fold in self._measured)
        return (
            f"The error on {n} labelled training rows, a part of them at a time, which a model predicts that was "
            f"trained without that part: {len(self._measured)} of {self.n_folds} parts, one training each."
        )

    @property
    def _labels(self) -> NDArray[np.int64]:
        assert self.y is not None
        return self.y

    @property
    def _folds(self) -> NDArray[np.int64]:
        return fold_of(self._labels, self.n_folds, self.random_state)

    @property
    def _measured(self) -> list[int]:
        """The parts that are predicted: as many as it takes for `N_PREDICTED` rows."""
        sizes = np.bincount(self._folds[self._folds >= 0], minlength=self.n_folds)
        n = int(np.searchsorted(np.cumsum(sizes), N_PREDICTED)) + 1
        return list(range(min(n, self.n_folds)))

    def measure(self, make: Make, report: Report) -> Measured:
        """Train a model for each part, and count the errors of its predictions."""
        folds, wrong, n = self._folds, 0.0, 0
        for k, fold in enumerate(self._measured):
            test, train = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)

            def so_far(row: Mapping[str, float], wrong: float = wrong, n: int = n, size: int = len(test)) -> float:
                return (100 * wrong + row["eval/error"] * size) / (n + size)

            watcher = _Watcher(report, so_far, "eval/error", k, len(self._measured))
            held_back = self.X[test], self._labels[test]
            model = make(0).fit(self.X[train], self._labels[train], callbacks=[watcher], eval_set=held_back)
            wrong += metrics.error_rate(held_back[1], model.predict(self.X[test])) / 100 * len(test)
            n += len(test)
            report(100 * wrong / n, 100 * (k + 1) // len(self._measured))
        share = wrong / n
        return Measured(100 * share, 100 * float(np.sqrt(share * (1 - share) / n)), {"rows": n})


class Agreement(Score):
    """How little the clusters (or classes) of models with other random states have in common."""

    name = "disagreement (%)"

    @property
    def meaning(self) -> str:
        """How it is measured."""
        return (
            f"{N_SEEDS} models are trained with other random states; the score is 100 minus the mutual information of "
            "their predictions, in percent of the most that so many clusters or classes can have. All rows in one "
            "cluster give 100, identical clusters of equal sizes 0."
        )

    def measure(self, make: Make, report: Report) -> Measured:
        """Train the models, and compare each with those before it."""
        predictions, shared = [], []
        for k in range(N_SEEDS):
            model = make(k).fit(self.X, self.y)
            p = (model.cluster_proba if hasattr(model, "cluster_proba") else model.predict_proba)(self.X)
            shared += [mutual_info_score(p.argmax(1), other) / np.log(max(2, p.shape[1])) for other in predictions]
            predictions.append(p.argmax(1))
            if shared:
                report(100 * (1 - float(np.mean(shared))), 100 * (k + 1) // N_SEEDS)
        return Measured(100 * (1 - float(np.mean(shared))))


class HeldOutCodes(Score):
    """How well held-back rows are reconstructed, and how well their codes match the prior."""

    name = "unexplained variance and distance from the prior (%)"

    @property
    def meaning(self) -> str:
        """How it is measured."""
        return (
            "A tenth of the training rows is held back. The score is the sum of two numbers: their reconstruction "
            "error in percent of the variance of the rows, and the sliced Wasserstein distance between their codes and "
            "the prior in percent of the prior's standard deviation."
        )

    def measure(self, make: Make, report: Report) -> Measured:
        """Train on the other rows; compare reconstructions with rows, and codes with the prior."""
        y, n = self.y, len(self.X)
        candidates = np.arange(n) if y is None else np.flatnonzero((y != UNLABELLED).reshape(n, -1).all(1))
        order = np.random.default_rng(self.random_state).permutation(candidates)
        test = np.sort(order[: min(LARGEST, max(2, round(HELD_OUT * len(order))))])
        train = np.setdiff1d(np.arange(n), test)
        y_train, y_test = (None, None) if y is None else (y[train], y[test])
        watcher = _Watcher(report, lambda row: row["eval/score"], "eval/score")
        model = make(0).fit(self.X[train], y_train, callbacks=[watcher], eval_set=(self.X[test], y_test))
        measures = code_measures(model, HeldOut("held-back", self.X[test], y_test))
        flat = as_samples(model, self.X[test]).reshape(len(test), -1)
        variance = model.data_radius_**2 / flat.shape[1]
        parts = {"unexplained variance (%)": 100 * measures["reconstruction"] / variance}
        if getattr(model, "adversarial", True) and "sliced_wasserstein" in measures:
            scale = float(np.sqrt(model.sample_prior(2000, random_state=0).var(0).mean()))
            parts["distance from the prior (%)"] = 100 * measures["sliced_wasserstein"] / scale
        return Measured(sum(parts.values()), details=parts)


def score_of(
    estimator: Any, X: NDArray[Any], y: NDArray[np.int64] | None, random_state: int, n_folds: int = 3
) -> Score:
    """Return the score of a system: an error where labels allow it, else agreement, or the quality of codes.

    Parameters
    ----------
    estimator : Estimator
        Not fitted.
    X, y : ndarray and ndarray or None
        What `fit` gets, with -1 in unlabelled rows.
    random_state : int
        Seed of the rows that are held back.
    n_folds : int, default=3
        Parts of the labelled rows.
    """
    counts = np.zeros(0) if y is None or y.ndim > 1 else np.unique(y[y != UNLABELLED], return_counts=True)[1]
    predicts = is_classifier(estimator) or isinstance(estimator, EmbeddingAAE)
    if predicts and len(counts) > 1 and counts.min() > 1:
        return CrossFittedError(X, y, random_state, n_folds)
    if predicts or is_clusterer(estimator):
        return Agreement(X, y, random_state)
    return HeldOutCodes(X, y, random_state)


class _Watcher(Callback):
    """Reports the score of held-back rows a few times during a training, which is the `k`-th of `n`."""

    def __init__(
        self, report: Report, score: Callable[[Mapping[str, float]], float], key: str, k: int = 0, n: int = 1
    ) -> None:
        self.report, self.score, self.key, self.k, self.n = report, score, key, k, n
        self.last = k * N_REPORTS // n

    def epoch(self, training: Training, row: Mapping[str, float]) -> None:
        """Report, unless that was done just before or the training is complete, which is reported by others."""
        n_done, n_steps = training.n_done, training.settings.n_steps
        place = int(N_REPORTS * (self.k + n_done / n_steps) / self.n)
        if place > self.last and n_done < n_steps and self.key in row:
            self.last = place
            self.report(self.score(row), 100 * place // N_REPORTS)
