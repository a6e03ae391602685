"""Simple methods to compare with: those that one tries first, each with one sensible setting, and ours beside them.

All methods get the same rows as numbers. Simple methods get tables and signals standardised and images scaled to
[0, 1]; ours scale rows themselves.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

from aaekit._extras import require
from aaekit.errors import InputError, nearest
from aaekit.estimators import (
    AAEOutlierDetector,
    ClusteringAAE,
    EmbeddingAAE,
    SemiSupervisedAAE,
    SupervisedBaseline,
)
from aaekit.labels import UNLABELLED
from aaekit.shapes import Kind, kind_of

__all__ = [
    "AUGMENTED",
    "BASELINE",
    "CLASSIFIERS",
    "CLUSTERERS",
    "DETECTORS",
    "MAPS",
    "Answer",
    "Method",
    "Setting",
    "answer",
    "check_options",
    "suited",
]

N_TREES = 200
N_LOGISTIC = 10_000  # rows of logistic regression, which is fitted for each penalty and fold
N_SPREADING = 10_000  # rows of label spreading, whose memory is quadratic in them
N_SELF_TRAINING = 5_000  # rows of self-training, whose time is quadratic in them
N_NEIGHBOURS = 20_000  # rows of methods that search the neighbours of each row
MANY_FEATURES = 50  # above it, the components of a mixture have diagonal covariances


@dataclass(frozen=True)
class Setting:
    """What a method may adapt to.

    Parameters
    ----------
    y : ndarray of shape (n,)
        Labels of the training rows, -1 in unlabelled ones; all -1 for methods without labels.
    n_classes : int
        Number of classes, which is also the number of clusters.
    shape : tuple of int
        Shape of a row: (n_features,), (channels, length), or (channels, height, width).
    random_state : int, default=0
        Seed.
    jobs : int, default=1
        Number of threads of methods that use several.
    options : mapping, optional
        Parameters of our own methods.
    """

    y: NDArray[np.int64]
    n_classes: int
    shape: tuple[int, ...]
    random_state: int = 0
    jobs: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_features(self) -> int:
        """Number of values of a row."""
        return math.prod(self.shape)

    @property
    def folds(self) -> int:
        """Number of folds of a cross-validation, at most 5; below 2 if a class has a single label."""
        return min(5, int(np.unique(self.y[self.y != UNLABELLED], return_counts=True)[1].min()))


@dataclass(frozen=True)
class Method:
    """A method under its name in tables and logs.

    Parameters
    ----------
    name : str
        Its name.
    make : callable
        Returns a new estimator for a `Setting`.
    uses : "labelled", "unlabelled" or "all", default="all"
        The rows that it trains on: labelled ones alone; also unlabelled ones, which it needs; or all there are.
    max_rows : int, optional
        Maximum number of training rows, labelled ones first.
    is_ours : bool, default=False
        Whether it is one of our own estimators, which scale rows themselves and have options.
    is_compared : bool, optional
        Whether regret is measured against it, by default if it is not ours.
    kinds : tuple of str, default=("table", "signal", "image")
        The rows that it is for.
    package : str, default=""
        The optional package that it needs.
    question : str, default="predict_proba"
        The method of its estimator that is applied to test rows: predict_proba, predict, transform or score_samples.
    """

    name: str
    make: Callable[[Setting], Any]
    uses: str = "all"
    max_rows: int | None = None
    is_ours: bool = False
    package: str = ""
    question: str = "predict_proba"
    is_compared: bool | None = None
    kinds: tuple[Kind, ...] = ("table", "signal", "image")

    @property
    def is_simple(self) -> bool:
        """Whether regret is measured against it."""
        return not self.is_ours if self.is_compared is None else self.is_compared

    @property
    def is_installed(self) -> bool:
        """Whether the package that it needs is there, if it needs one."""
        return not self.package or find_spec(self.package) is not None


class Answer(NamedTuple):
    """What a trained method says of the test rows.

    Attributes
    ----------
    values : ndarray
        Class probabilities (n, n_classes), clusters (n,), positions on a map (n, 2) or scores (n,), higher for normal
        rows.
    seconds : float
        Time of training.
    note : str
        How many rows it was trained on, if it was not all of them.
    """

    values: NDArray[Any]
    seconds: float
    note: str = ""


def answer(method: Method, X: NDArray[Any], X_test: NDArray[Any], setting: Setting) -> Answer:
    """Train a method and apply it to test rows.

    Parameters
    ----------
    method : Method
        The method.
    X : ndarray of shape (n, ...)
        Training rows.
    X_test : ndarray of shape (n_test, ...)
        Test rows, in the same units.
    setting : Setting
        Labels of the training rows, and what else the method may adapt to.

    Returns
    -------
    Answer
        Probabilities have a column per class; those of a class without labels are 0.

    Raises
    ------
    InputError
        If the method needs a package that is not installed.
    """
    index, note = _training_rows(method, setting)
    model = method.make(replace(setting, y=setting.y[index]))
    if not method.is_ours:
        X, X_test = _scaled(X, X_test)
    labels = setting.y[index]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of scikit-learn about early convergence
        began = time.perf_counter()
        model.fit(X[index], labels) if (labels != UNLABELLED).any() else model.fit(X[index])
        seconds = time.perf_counter() - began
        return Answer(_asked(model, method.question, X_test, setting.n_classes), seconds, note)


def _training_rows(method: Method, setting: Setting) -> tuple[NDArray[np.intp], str]:
    """The rows that a method trains on, and a note if a limit leaves some out; labelled rows come first then."""
    labelled, others = np.flatnonzero(setting.y != UNLABELLED), np.flatnonzero(setting.y == UNLABELLED)
    if method.uses == "labelled":
        others = others[:0]
    limit = len(setting.y) if method.max_rows is None else method.max_rows
    if len(labelled) + len(others) <= limit:
        return np.sort(np.concatenate([labelled, others])), ""
    rng = np.random.default_rng(setting.random_state)
    if len(labelled) > limit:
        return np.sort(rng.permutation(labelled)[:limit]), f"on {limit} of {len(labelled)} labelled rows"
    n = limit - len(labelled)
    kind = " unlabelled" if len(labelled) else ""
    return np.concatenate([labelled, rng.permutation(others)[:n]]), f"on {n} of {len(others)}{kind} rows"


def _scaled(X: NDArray[Any], X_test: NDArray[Any]) -> list[NDArray[Any]]:
    """Rows as simple methods get them: flat, images in [0, 1], others standardised by the training rows."""
    flat = [np.asarray(rows, np.float32).reshape(len(rows), math.prod(rows.shape[1:])) for rows in (X, X_test)]
    if kind_of(X.shape[1:]) == "image":
        return [rows / 255 for rows in flat] if X.dtype == np.uint8 else flat
    scaler = StandardScaler().fit(flat[0].astype(np.float64))
    return [np.asarray(scaler.transform(rows.astype(np.float64)), np.float32) for rows in flat]


def _asked(model: Any, question: str, X: NDArray[Any], n_classes: int) -> NDArray[Any]:
    """What a fitted estimator says of rows; probabilities get a column for each class.

    Label spreading has no probabilities for rows that no label reaches; they get equal ones.
    """
    values = np.asarray(getattr(model, question)(X))
    if question != "predict_proba":
        return values
    proba = np.zeros((len(X), n_classes))
    proba[:, np.asarray(model.classes_, dtype=int)] = np.where(np.isnan(values), 1 / values.shape[1], values)
    return proba


# --- classifiers -----------------------------------------------------------------------------------------------------
def _logistic_regression(setting: Setting) -> Any:
    """Logistic regression; its penalty by cross-validation if each class has two labels."""
    model = LogisticRegression(max_iter=1000)
    if setting.folds < 2:
        return model
    penalties = {"C": np.logspace(-3, 2, 6)}
    return GridSearchCV(model, penalties, scoring="neg_log_loss", cv=setting.folds, n_jobs=setting.jobs)


def _random_forest(setting: Setting) -> Any:
    return RandomForestClassifier(N_TREES, n_jobs=setting.jobs, random_state=setting.random_state)


def _label_spreading(setting: Setting) -> Any:
    return LabelSpreading(kernel="knn", n_neighbors=min(10, len(setting.y)), n_jobs=setting.jobs)


def _self_training(setting: Setting) -> Any:
    """Self-training of support vector machines; of logistic regression if a class has a single label."""
    return SelfTrainingClassifier(_machine(setting, SVC()))


def _machine(setting: Setting, machine: SVC, *before: Any) -> Any:
    """Transformers and a support vector machine with calibrated probabilities.

    They are calibrated by cross-validation; if a class has a single label, logistic regression takes its place.
    """
    if setting.folds < 2:
        return make_pipeline(*before, LogisticRegression(max_iter=1000))
    model = make_pipeline(*before, machine)
    return CalibratedClassifierCV(model, ensemble=False, cv=setting.folds)  # pyright: ignore[reportArgumentType]


def _components_and_machine(setting: Setting) -> Any:
    n = min(50, len(setting.y) - 1 - math.ceil(len(setting.y) / max(2, setting.folds)), setting.n_features)
    components = PCA(max(1, n), random_state=setting.random_state)
    return _machine(setting, SVC(C=10), components)


def _gradients_and_machine(setting: Setting) -> Any:
    histograms = FunctionTransformer(partial(_gradient_histograms, shape=setting.shape))
    return _machine(setting, SVC(C=10), histograms, StandardScaler())


def _gradient_histograms(rows: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Histograms of oriented gradients (Dalal and Triggs, 2005) of flat images: about eight cells a side."""
    feature: Any = require("skimage.feature", extra="suite")
    cell = max(2, min(shape[1:]) // 8)
    images = rows.reshape(-1, *shape).mean(1)
    return np.stack([feature.hog(image, 9, (cell, cell), (2, 2)) for image in images])


def suited(methods: Iterable[Method], kind: Kind) -> list[Method]:
    """The methods for rows of a kind whose packages are installed."""
    return [method for method in methods if kind in method.kinds and method.is_installed]


def check_options(names: Iterable[str]) -> None:
    """Refuse parameters that none of our methods has; a method ignores those of others.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    kinds = (SemiSupervisedAAE, SupervisedBaseline, ClusteringAAE, EmbeddingAAE, AAEOutlierDetector)
    allowed = sorted({name for kind in kinds for name in kind().get_params(deep=False)})
    for name in names:
        if name not in allowed:
            raise InputError(f"expected a parameter of our methods, got {name!r}{nearest(name, allowed)}")


def _of_ours(kind: type[Any], setting: Setting, **parameters: Any) -> Any:
    """One of our estimators at its defaults, apart from the options that it has."""
    options = {k: v for k, v in setting.options.items() if k in kind().get_params(deep=False)}
    return kind(**{"random_state": setting.random_state} | parameters | options)


BASELINE = Method("supervised baseline", partial(_of_ours, SupervisedBaseline), "labelled", is_ours=True)
AUGMENTED = Method(
    "augmented network", partial(_of_ours, SupervisedBaseline, augmentation="auto", max_steps=600),
    "labelled", is_ours=True, is_compared=True, kinds=("signal", "image"),
)  # fmt: skip
CLASSIFIERS = (
    Method("logistic regression", _logistic_regression, "labelled", N_LOGISTIC),
    Method("random forest", _random_forest, "labelled"),
    Method("label spreading", _label_spreading, "unlabelled", N_SPREADING),
    Method("self-training", _self_training, "unlabelled", N_SELF_TRAINING),
    Method("components + SVM", _components_and_machine, "labelled", kinds=("signal", "image")),
    Method(
        "gradient histograms + SVM", _gradients_and_machine, "labelled", N_LOGISTIC, package="skimage", kinds=("image",)
    ),
    AUGMENTED,
    BASELINE,
    Method("SemiSupervisedAAE", partial(_of_ours, SemiSupervisedAAE), is_ours=True),
)


# --- methods without labels ------------------------------------------------------------------------------------------
def _k_means(setting: Setting) -> Any:
    return KMeans(setting.n_classes, n_init=10, random_state=setting.random_state)  # pyright: ignore[reportArgumentType]


def _gaussian_mixture(setting: Setting) -> Any:
    covariances = "full" if setting.n_features <= MANY_FEATURES else "diag"
    return GaussianMixture(
        setting.n_classes, covariance_type=covariances, reg_covar=1e-3, n_init=3, random_state=setting.random_state
    )


def _clusters(setting: Setting) -> Any:
    return _of_ours(ClusteringAAE, setting, n_clusters=setting.n_classes)


def _gradients_and_k_means(setting: Setting) -> Any:
    histograms = FunctionTransformer(partial(_gradient_histograms, shape=setting.shape))
    return make_pipeline(histograms, _k_means(setting))


def _umap(setting: Setting) -> Any:
    umap: Any = require("umap", extra="suite")
    return umap.UMAP(random_state=setting.random_state, n_jobs=1)


def _components(setting: Setting) -> Any:
    return PCA(2, random_state=setting.random_state)


def _isolation_forest(setting: Setting) -> Any:
    return IsolationForest(n_estimators=N_TREES, n_jobs=setting.jobs, random_state=setting.random_state)


class _NearestNeighbours(NearestNeighbors):
    """Scores rows by minus their mean distance to the nearest training rows."""

    def score_samples(self, X: Any) -> Any:
        return -self.kneighbors(X)[0].mean(1)


def _nearest_neighbours(setting: Setting) -> Any:
    return _NearestNeighbours(n_neighbors=min(5, len(setting.y)), n_jobs=setting.jobs)


class _ReconstructionError(PCA):
    """Scores rows by minus the squared error of their reconstruction from principal components."""

    def score_samples(self, X: Any) -> Any:
        return -np.square(X - self.inverse_transform(self.transform(X))).sum(1)


def _local_outlier_factor(setting: Setting) -> Any:
    return LocalOutlierFactor(novelty=True, n_jobs=setting.jobs)


def _reconstruction_error(setting: Setting) -> Any:
    return _ReconstructionError(n_components=0.95, svd_solver="full")


CLUSTERERS = (
    Method("k-means", _k_means, question="predict"),
    Method(
        "k-means on gradient histograms",
        _gradients_and_k_means,
        package="skimage",
        question="predict",
        kinds=("image",),
    ),
    Method("Gaussian mixture", _gaussian_mixture, question="predict"),
    Method("ClusteringAAE", _clusters, question="predict", is_ours=True),
)
MAPS = (
    Method("principal components", _components, question="transform"),
    Method("UMAP", _umap, max_rows=N_NEIGHBOURS, question="transform", package="umap"),
    Method("EmbeddingAAE", partial(_of_ours, EmbeddingAAE), question="transform", is_ours=True),
)
DETECTORS = (
    Method("isolation forest", _isolation_forest, question="score_samples"),
    Method("local outlier factor", _local_outlier_factor, max_rows=N_NEIGHBOURS, question="score_samples"),
    Method("nearest neighbours", _nearest_neighbours, max_rows=N_NEIGHBOURS, question="score_samples"),
    Method("principal components", _reconstruction_error, question="score_samples"),
    Method("AAEOutlierDetector", partial(_of_ours, AAEOutlierDetector), question="score_samples", is_ours=True),
)
