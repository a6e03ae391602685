"""What the suite asks: tasks of five families, how labels are drawn, and how answers are scored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aaekit import data as datasets
from aaekit.data import Dataset
from aaekit.errors import InputError, nearest
from aaekit.estimators._labels import fold_of
from aaekit.evaluation import metrics
from aaekit.evaluation.measures import clustering_quality, embedding_quality
from aaekit.evaluation.methods import CLASSIFIERS, CLUSTERERS, DETECTORS, MAPS, Method
from aaekit.labels import UNLABELLED

__all__ = ["FAMILIES", "SETS", "Family", "Problem", "Task", "draw_labels", "own_tasks", "problem", "tasks"]

SETS = ("mushroom", "adult", "spam", "drybean", "cnae", "penguins", "intents-minilm")
RARE = {"spam": "1", "drybean": "BOMBAY"}  # the class that is made rare, and the set that it is in
SHARES = {10: 40, 1: 100}  # percent of rows in the rare class, and the number of labels drawn in proportion
UNEVEN = 1.5  # the error is balanced if the largest class is more than so many times the smallest
N_BALANCED = 20  # labels of each class, drawn balanced
N_HELD_OUT = 2000  # test rows of a set that has none, at most
MAX_NORMAL = 10  # classes that are taken as normal in turn


@dataclass(frozen=True)
class Task:
    """One question to all methods of a family.

    Parameters
    ----------
    family : str
        A key of `FAMILIES`.
    data : str
        A named set, or a path.
    k : int, default=0
        Number of labels of each class; 0 for all labels there are, or for none in families without labels.
    seed : int, default=0
        Draws the labels, and everything random in the methods.
    variant : str, default=""
        Of "rare": such as "10 %, balanced". Of "outliers": the class that is normal. Of one's own set with the labels
        it has: the fold, such as "fold 1 of 5".
    options : tuple of (name, value), default=()
        Options of the set, see `aaekit.data.load`.
    test : str, optional
        Test rows, if the set has none.
    """

    family: str
    data: str
    k: int = 0
    seed: int = 0
    variant: str = ""
    options: tuple[tuple[str, Any], ...] = ()
    test: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The parameters by name."""
        return asdict(self)


class Problem(NamedTuple):
    """The rows of a task.

    Attributes
    ----------
    X, X_test : ndarray of shape (n, ...)
        Training rows and test rows.
    y : ndarray of shape (n,)
        The labels that methods get, -1 in other rows.
    y_test : ndarray of shape (n_test,)
        Labels of the test rows.
    weights : ndarray of shape (n_test,)
        How much each test row counts, if a class is rarer than in the test rows; else 1.
    n_classes : int
        Number of classes.
    uneven : bool
        Whether errors are averaged over classes, because classes differ in size.
    """

    X: NDArray[Any]
    y: NDArray[np.int64]
    X_test: NDArray[Any]
    y_test: NDArray[np.int64]
    weights: NDArray[np.float64]
    n_classes: int
    uneven: bool


class Family(NamedTuple):
    """A kind of tasks.

    Attributes
    ----------
    title : str
        What is measured, for tables.
    methods : tuple of Method
        The methods, of which one is ours.
    score : callable
        Measures of an answer by name, from the values of the answer and the `Problem`.
    loss : str
        The measure that is compared, lower is better, in percent or points.
    """

    title: str
    methods: tuple[Method, ...]
    score: Callable[[NDArray[Any], Problem], dict[str, float]]
    loss: str = "loss"


# --- tasks -----------------------------------------------------------------------------------------------------------
def tasks(
    families: Sequence[str] = ("classes",), sets: Sequence[str] = SETS, k: Sequence[int] = (5, 20), draws: int = 3
) -> list[Task]:
    """The tasks of the suite.

    Parameters
    ----------
    families : sequence of str
        Keys of `FAMILIES`.
    sets : sequence of str
        Named sets; "rare" uses those of them that have a class to make rare.
    k : sequence of int
        Numbers of labels of each class, for the family "classes".
    draws : int
        Number of draws of labels and random states.

    Returns
    -------
    list of Task
        Draw by draw, so that a suite that is stopped has complete draws.

    Raises
    ------
    InputError
        If there is no such family.
    """
    for name in families:
        if name not in FAMILIES:
            raise InputError(f"expected a family of {', '.join(FAMILIES)}, got {name!r}{nearest(name, FAMILIES)}")
    return [task for seed in range(draws) for name in families for data in sets for task in _tasks(name, data, k, seed)]


def _tasks(family: str, data: str, k: Sequence[int], seed: int) -> list[Task]:
    """The tasks of a family with a set, in one draw."""
    task = Task(family, data, seed=seed)
    if family == "classes":
        return [replace(task, k=n) for n in k]
    if family == "rare":
        variants = [f"{share} %, {how}" for share in SHARES for how in ("balanced", "in proportion")]
        return [replace(task, variant=variant) for variant in variants] if data in RARE else []
    if family == "outliers":
        return [replace(task, variant=name) for name in datasets.info(data)["classes"][:MAX_NORMAL]]
    return [task]


def own_tasks(
    data: str,
    options: Mapping[str, Any] = {},
    k: Sequence[int] = (),
    draws: int = 3,
    test: str | None = None,
    has_test_rows: bool = False,
    folds: int = 5,
) -> list[Task]:
    """The tasks of one's own data set.

    Parameters
    ----------
    data : str
        Path of a table, a .npz or a folder of images.
    options : mapping, optional
        Options of the set, see `aaekit.data.load`.
    k : sequence of int, default=()
        Numbers of labels of each class to draw, to learn how many are needed. By default the labels there are, all of
        them if there are test rows, else cross-fitted.
    draws : int, default=3
        Number of draws of labels, or of random states.
    test : str, optional
        A table of test rows.
    has_test_rows : bool, default=False
        Whether the set has labelled test rows itself.
    folds : int, default=5
        Number of folds of the cross-fitting.
    """
    task = Task("classes", data, options=tuple(options.items()), test=test)
    if k:
        return [replace(task, k=n, seed=seed) for seed in range(draws) for n in k]
    if test is not None or has_test_rows:
        return [replace(task, seed=seed) for seed in range(draws)]
    return [replace(task, variant=f"fold {fold + 1} of {folds}") for fold in range(folds)]


# --- their rows ------------------------------------------------------------------------------------------------------
def problem(task: Task, data: Dataset) -> Problem:
    """Choose the rows and labels of a task.

    Raises
    ------
    InputError
        If the set has no labels, or too few.
    """
    if data.y is None or len(np.unique(data.y[data.y != UNLABELLED])) < 2:
        raise InputError(f"{data.name}: expected labels of at least two classes, got fewer: label some rows")
    if task.variant.startswith("fold "):
        return _fold(task, data)
    return FAMILY_PROBLEMS[task.family](task, _with_test_rows(data, task.seed))


def _complete(data: Dataset, y: NDArray[np.int64], n_classes: int | None = None, **replaced: Any) -> Problem:
    """The problem of a set with test rows, if methods get the labels `y`."""
    assert data.X_test is not None and data.y is not None and data.y_test is not None
    labelled = data.y_test != UNLABELLED
    counts = np.bincount(data.y[data.y != UNLABELLED])
    counts = counts[counts > 0]
    uneven = bool(counts.max() > UNEVEN * counts.min())
    X_test, y_test = data.X_test[labelled], data.y_test[labelled]
    complete = Problem(
        data.X, y, X_test, y_test, np.ones(len(y_test)), n_classes or max(len(data.classes), len(counts)), uneven
    )
    return complete._replace(**replaced)


def _with_test_rows(data: Dataset, seed: int) -> Dataset:
    """The set itself if it has labelled test rows, else 30 % of its labelled rows are held out."""
    if data.X_test is not None and data.y_test is not None:
        return data
    assert data.y is not None
    labelled = np.flatnonzero(data.y != UNLABELLED)
    n = min(N_HELD_OUT, 3 * len(labelled) // 10)
    test = np.sort(np.random.default_rng(1000 + seed).permutation(labelled)[:n])
    train = np.setdiff1d(np.arange(len(data.X)), test)
    return replace(data, X=data.X[train], y=data.y[train], X_test=data.X[test], y_test=data.y[test], split=None)


def draw_labels(y: NDArray[np.int64], counts: Mapping[int, int], rng: np.random.Generator) -> NDArray[np.int64]:
    """Keep the labels of `counts[k]` rows of each class k, at most of half of them; -1 in all other rows."""
    drawn = np.full(len(y), UNLABELLED, np.int64)
    for k in sorted(counts):
        rows = np.flatnonzero(y == k)
        chosen = rng.choice(rows, min(counts[k], max(1, len(rows) // 2)), replace=False)
        drawn[chosen] = k
    return drawn


def _classes(task: Task, data: Dataset) -> Problem:
    """Some labels of each class, or all of them."""
    assert data.y is not None
    if not task.k:
        return _complete(data, data.y)
    counts = dict.fromkeys(np.unique(data.y[data.y != UNLABELLED]).tolist(), task.k)
    return _complete(data, draw_labels(data.y, counts, np.random.default_rng(100 * task.seed + task.k)))


def _fold(task: Task, data: Dataset) -> Problem:
    """Cross-fitting: the labelled rows of a fold are test rows, and all others are for training."""
    assert data.y is not None
    fold, n_folds = (int(word) for word in task.variant.split()[1::2])
    folds = fold_of(data.y, n_folds)
    test, train = np.flatnonzero(folds == fold - 1), np.flatnonzero(folds != fold - 1)
    part = replace(data, X=data.X[train], y=data.y[train], X_test=data.X[test], y_test=data.y[test], split=None)
    assert part.y is not None
    if missing := set(data.y.tolist()) - set(part.y.tolist()) - {UNLABELLED}:
        names = ", ".join(data.classes[k] for k in sorted(missing))
        raise InputError(f"{data.name}: expected at least 2 labels of each class, got 1 of {names}: label more rows")
    return _complete(part, part.y)


def _rare(task: Task, data: Dataset) -> Problem:
    """One class against all others, made rare by leaving rows out; test rows are weighted accordingly."""
    assert data.y is not None and data.y_test is not None
    rare = data.classes.index(RARE[task.data])
    y, y_test = (data.y == rare).astype(np.int64), (data.y_test == rare).astype(np.int64)
    percent, how = task.variant.split(" %, ")
    share, rng = int(percent) / 100, np.random.default_rng(1000 * int(percent) + task.seed)
    others = np.flatnonzero(y == 0)
    few = rng.permutation(np.flatnonzero(y == 1))[: round(len(others) * share / (1 - share))]
    rows = np.sort(np.concatenate([others, few]))
    n = SHARES[int(percent)]
    n_rare = N_BALANCED if how == "balanced" else max(1, round(n * share))
    counts = {0: N_BALANCED if how == "balanced" else n - n_rare, 1: n_rare}
    weights = np.where(y_test == 1, share / max(1, (y_test == 1).sum()), (1 - share) / max(1, (y_test == 0).sum()))
    part = replace(data, X=data.X[rows], y=y[rows], y_test=y_test, classes=("others", task.data))
    return _complete(
        part, draw_labels(y[rows], counts, rng), 2, weights=weights * len(weights), uneven=True
    )  # fmt: skip


def _without_labels(task: Task, data: Dataset) -> Problem:
    """All rows, no labels."""
    return _complete(data, np.full(len(data.X), UNLABELLED, np.int64))


def _normal(task: Task, data: Dataset) -> Problem:
    """The rows of one class; the test rows of the others are outliers."""
    assert data.y is not None and data.y_test is not None
    normal = data.classes.index(task.variant)
    part = replace(data, X=data.X[data.y == normal], y=data.y[data.y == normal])
    n = len(part.X)
    return _complete(part, np.full(n, UNLABELLED, np.int64), y_test=(data.y_test != normal).astype(np.int64))


FAMILY_PROBLEMS: dict[str, Callable[[Task, Dataset], Problem]] = {
    "classes": _classes,
    "rare": _rare,
    "clusters": _without_labels,
    "maps": _without_labels,
    "outliers": _normal,
}


# --- scores ----------------------------------------------------------------------------------------------------------
def _class_scores(proba: NDArray[Any], task: Problem) -> dict[str, float]:
    """Errors in percent, and how far probabilities are from frequencies."""
    predicted = proba.argmax(1)
    error = metrics.error_rate(task.y_test, predicted)
    balanced = metrics.balanced_error_rate(task.y_test, predicted)
    calibration = metrics.expected_calibration_error(task.y_test, proba, sample_weight=task.weights)
    loss = balanced if task.uneven else error
    return {"loss": loss, "error": error, "balanced_error": balanced, "calibration_error": calibration}


def _rare_scores(proba: NDArray[Any], task: Problem) -> dict[str, float]:
    """The same, and the average precision of the rare class."""
    from sklearn.metrics import average_precision_score

    precision = average_precision_score(task.y_test, proba[:, 1], sample_weight=task.weights)
    return _class_scores(proba, task) | {"average_precision": 100 * float(precision)}


def _cluster_scores(clusters: NDArray[Any], task: Problem) -> dict[str, float]:
    """Agreement of clusters and classes."""
    quality = clustering_quality(task.y_test, clusters)
    return {"loss": 100 * (1 - quality["ari"])} | quality


def _map_scores(Z: NDArray[Any], task: Problem) -> dict[str, float]:
    """How well neighbours on the map agree in their labels."""
    quality = embedding_quality(task.X_test, Z, task.y_test)
    return {"loss": quality["knn_error"]} | quality


def _outlier_scores(normality: NDArray[Any], task: Problem) -> dict[str, float]:
    """The area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    auc = float(roc_auc_score(task.y_test, -normality))
    return {"loss": 100 * (1 - auc), "auc": auc}


FAMILIES = {
    "classes": Family("few labels: error (%)", CLASSIFIERS, _class_scores),
    "rare": Family("a rare class: balanced error (%)", CLASSIFIERS, _rare_scores),
    "clusters": Family("clusters: 100 (1 - adjusted Rand index)", CLUSTERERS, _cluster_scores),
    "maps": Family("maps: error of 10 nearest neighbours (%)", MAPS, _map_scores),
    "outliers": Family("outliers: 100 (1 - area under the ROC curve)", DETECTORS, _outlier_scores),
}
