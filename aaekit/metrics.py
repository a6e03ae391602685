"""Numbers that say how good a model is: errors, clusterings, and how well the codes follow their prior.

Errors and accuracies are in percent. Labels may be integers or strings; the integer -1 means "unlabelled", and
unlabelled rows are left out of every count.
"""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aaekit.errors import InputError, nearest

Rule = Literal["majority", "hungarian"]


def error_rate(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """The share of labelled rows that are classified wrongly.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Labels; rows where `y_true` is -1 are not counted.

    Returns
    -------
    float
        Percent, 0 to 100.

    Raises
    ------
    ValueError
        If the lengths differ or no row is labelled.
    """
    true, predicted = _labelled_pair(y_true, y_pred)
    return 100 * float(np.mean(true != predicted))


def confusion(y_true: ArrayLike, y_pred: ArrayLike, classes: Sequence[Any] | None = None) -> NDArray[np.int64]:
    """How often each true class (row) was given each label (column).

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Labels; rows where `y_true` is -1 are not counted.
    classes : sequence of K labels, optional
        Order of rows and columns; by default all labels that occur, sorted.

    Returns
    -------
    ndarray of shape (K, K)

    Raises
    ------
    ValueError
        If the lengths differ, no row is labelled, or a label is not among `classes`.
    """
    true, predicted = _labelled_pair(y_true, y_pred)
    labels = np.union1d(true, predicted).tolist() if classes is None else list(classes)
    return _contingency(true, predicted, labels, labels)


def match_clusters(y_true: ArrayLike, clusters: ArrayLike, rule: Rule = "majority") -> dict[Any, Any]:
    """Which true label each cluster stands for.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True labels; rows with -1 are not counted.
    clusters : array-like of shape (n,)
        Cluster of each row; names carry no meaning.
    rule : {"majority", "hungarian"}, default "majority"
        `majority`: a cluster gets its most frequent true label (the smallest of equals), so several clusters may
        share one. `hungarian`: one-to-one, so that as many rows as possible agree; clusters left over are absent.

    Returns
    -------
    dict
        Cluster to true label.

    Raises
    ------
    InputError
        If `rule` is unknown.
    ValueError
        If the lengths differ or no row is labelled.
    """
    true, found = _labelled_pair(y_true, clusters)
    labels, names = np.unique(true).tolist(), np.unique(found).tolist()
    counts = _contingency(found, true, names, labels)  # (clusters, labels)
    if rule == "majority":
        return {name: labels[k] for name, k in zip(names, counts.argmax(axis=1), strict=True)}
    if rule == "hungarian":
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(counts, maximize=True)
        return {names[i]: labels[j] for i, j in zip(rows, columns, strict=True)}
    rules = ("majority", "hungarian")
    raise InputError(f"rule must be 'majority' or 'hungarian', not {rule!r}.{nearest(str(rule), rules)}")


def clustering_accuracy(y_true: ArrayLike, clusters: ArrayLike, rule: Rule = "majority") -> float:
    """Accuracy of a clustering once its clusters are named after true labels.

    A clustering can be perfect and yet call every 0 a "7", so each cluster is first given a true label and then plain
    accuracy is counted.

    Parameters
    ----------
    y_true, clusters : array-like of shape (n,)
        True labels (-1: not counted) and clusters.
    rule : {"majority", "hungarian"}, default "majority"
        How clusters get their labels, see `match_clusters`. With `majority`, more clusters can only help (one per row
        gives 100 %), so say how many there are; `hungarian` has no such freedom and is never higher.

    Returns
    -------
    float
        Percent, 0 to 100.

    Raises
    ------
    InputError
        If `rule` is unknown.
    ValueError
        If the lengths differ or no row is labelled.

    Notes
    -----
    By hand: three clusters over ten rows,

    ========= === === === ==================================
    cluster    4   6   9  named by majority
    ========= === === === ==================================
    A          3   1   0  4: three right
    B          2   0   0  4: two right
    C          0   1   3  9: three right
    ========= === === === ==================================

    Majority: (3 + 2 + 3) / 10 = 80 %. One-to-one, A and B cannot both be 4: A = 4, C = 9 leaves 6 to B, which has
    none: (3 + 0 + 3) / 10 = 60 %; B = 4, A = 6, C = 9 is no better: (2 + 1 + 3) / 10 = 60 %.

    References
    ----------
    Azulay, *adversarial-autoencoder-classifier* documentation (2019), section 7.2 (the majority rule).

    Examples
    --------
    >>> y = [4, 4, 4, 6, 4, 4, 6, 9, 9, 9]
    >>> clusters = ["A", "A", "A", "A", "B", "B", "C", "C", "C", "C"]
    >>> round(clustering_accuracy(y, clusters)), round(clustering_accuracy(y, clusters, rule="hungarian"))
    (80, 60)
    """
    named = match_clusters(y_true, clusters, rule)
    true, found = _labelled_pair(y_true, clusters)
    pairs = zip(found.tolist(), true.tolist(), strict=True)
    return 100 * float(np.mean([c in named and named[c] == y for c, y in pairs]))


def labels_per_class(y: ArrayLike, classes: Sequence[Hashable] | None = None) -> dict[Any, int]:
    """How many labelled rows each class has.

    Parameters
    ----------
    y : array-like of shape (n,)
        Labels; rows with -1 are not counted.
    classes : sequence of labels, optional
        Which classes to count, so that an empty one shows as 0; by default those that occur, sorted.

    Returns
    -------
    dict
        Label to count.

    Raises
    ------
    ValueError
        If a label is not among `classes`.
    """
    y = _labels(y, "y")
    y = y[_is_labelled(y)]
    labels = np.unique(y).tolist() if classes is None else list(classes)
    counts = np.bincount(_positions(y, labels), minlength=len(labels))
    return dict(zip(labels, counts.tolist(), strict=True))


def class_balance(y: ArrayLike, classes: Sequence[Hashable] | None = None) -> float:
    """How evenly the labelled rows fall into classes: entropy of the class frequencies over its maximum.

    For predicted clusters this is the quickest sign of a collapse: 1 is even, 0 is "all in one".

    Parameters
    ----------
    y : array-like of shape (n,)
        Labels or predicted labels; rows with -1 are not counted.
    classes : sequence of labels, optional
        All classes there are; by default those that occur (then unused ones cannot show).

    Returns
    -------
    float
        0 (one class has everything) to 1 (all equal); 1 for a single class; 0 without any labelled row.
    """
    counts = np.array(list(labels_per_class(y, classes).values()), dtype=float)
    if counts.sum() == 0:
        return 0.0
    if len(counts) == 1:
        return 1.0
    p = counts[counts > 0] / counts.sum()
    return float(np.clip(-(p * np.log(p)).sum() / np.log(len(counts)), 0, 1))


def code_moments(z: ArrayLike, z_prior: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Means and standard deviations of codes and of prior samples, dimension by dimension.

    Parameters
    ----------
    z : array-like of shape (n, d)
        Codes of data: samples of the aggregated posterior q(z).
    z_prior : array-like of shape (m, d)
        Samples of the prior p(z).

    Returns
    -------
    dict of ndarray of shape (d,)
        `mean`, `sd`, `prior_mean`, `prior_sd`.

    Raises
    ------
    ValueError
        If the shapes do not fit or a value is not finite.
    """
    z, z_prior = _code_pair(z, z_prior)
    return {"mean": z.mean(0), "sd": z.std(0), "prior_mean": z_prior.mean(0), "prior_sd": z_prior.std(0)}


def prior_fit(
    z: ArrayLike, z_prior: ArrayLike, n_samples: int = 2000, random_state: int | None = 0
) -> dict[str, float]:
    """How far the codes q(z) are from the prior p(z), three ways.

    Parameters
    ----------
    z : array-like of shape (n, d)
        Codes of data, preferably held-out data.
    z_prior : array-like of shape (m, d)
        Samples of the prior.
    n_samples : int, default 2000
        At most so many of each side are compared, drawn without replacement; both sides get equally many.
    random_state : int or None, default 0
        Seeds the draws.

    Returns
    -------
    dict
        `mmd` (squared, see `mmd`; about 0 when they agree), `sliced_wasserstein` (in units of z; 0 when they agree)
        and `two_sample_auc` (0.5: a forest cannot tell codes from prior samples; 1: it always can).

    Raises
    ------
    ValueError
        If the shapes do not fit, a value is not finite, or a side has fewer than 10 rows.
    """
    z, z_prior = _code_pair(z, z_prior)
    n = min(len(z), len(z_prior), n_samples)
    if n < 10:
        raise ValueError(f"Expected at least 10 rows on each side, got {n}: pass more codes and prior samples.")
    random = np.random.default_rng(random_state)
    z, z_prior = (side[random.choice(len(side), n, replace=False)] for side in (z, z_prior))
    return {
        "mmd": mmd(z, z_prior),
        "sliced_wasserstein": sliced_wasserstein(z, z_prior, random_state=random_state),
        "two_sample_auc": two_sample_auc(z, z_prior, random_state=random_state),
    }


def mmd(a: ArrayLike, b: ArrayLike, bandwidth: float | None = None) -> float:
    """Squared maximum mean discrepancy between two samples, unbiased, with a Gaussian kernel.

    Parameters
    ----------
    a, b : array-like of shape (n, d) and (m, d)
        Two samples; time and memory grow with (n + m)^2.
    bandwidth : float, optional
        Standard deviation of the kernel exp(-|u - v|^2 / (2 bandwidth^2)); by default the median distance between
        points of the pooled sample (read off a thousand of them).

    Returns
    -------
    float
        About 0, possibly a little below, when both come from one distribution.

    References
    ----------
    Gretton et al., *A Kernel Two-Sample Test*, JMLR 13 (2012), lemma 6.
    """
    a, b = _code_pair(a, b)
    n, m = len(a), len(b)
    if min(n, m) < 2:
        raise ValueError(f"Expected at least 2 rows on each side, got {n} and {m}.")
    if bandwidth is None:
        some = np.concatenate([a, b])[:: max(1, (n + m) // 1000)]  # a thousand points fix the median well enough
        bandwidth = float(np.sqrt(np.median(_squared_distances(some, some)[np.triu_indices(len(some), 1)]))) or 1.0

    def k(u: NDArray[np.float64], v: NDArray[np.float64]) -> float:
        return float(np.exp(_squared_distances(u, v) / (-2 * bandwidth**2)).sum())

    # a point's kernel with itself is 1: the unbiased estimate leaves those pairs out
    return (k(a, a) - n) / (n * (n - 1)) + (k(b, b) - m) / (m * (m - 1)) - 2 * k(a, b) / (n * m)


def sliced_wasserstein(a: ArrayLike, b: ArrayLike, n_projections: int = 200, random_state: int | None = 0) -> float:
    """2-Wasserstein distance between two samples, averaged over random one-dimensional views.

    Parameters
    ----------
    a, b : array-like of shape (n, d) and (m, d)
        Two samples; where sizes differ, both are read off at equally many quantiles.
    n_projections : int, default 200
        Random directions.
    random_state : int or None, default 0
        Seeds the directions.

    Returns
    -------
    float
        Root of the mean squared distance, in the units of the samples. A shift by s gives about |s| / sqrt(d).

    References
    ----------
    Rabin et al., *Wasserstein Barycenter and Its Application to Texture Mixing* (2011).
    """
    a, b = _code_pair(a, b)
    theta = np.random.default_rng(random_state).normal(size=(a.shape[1], n_projections))
    theta /= np.linalg.norm(theta, axis=0)
    u, v = np.sort(a @ theta, axis=0), np.sort(b @ theta, axis=0)
    if len(u) != len(v):
        levels = (np.arange(max(len(u), len(v))) + 0.5) / max(len(u), len(v))
        u, v = np.quantile(u, levels, axis=0), np.quantile(v, levels, axis=0)
    return float(np.sqrt(np.mean((u - v) ** 2)))


def two_sample_auc(a: ArrayLike, b: ArrayLike, random_state: int | None = 0) -> float:
    """How well a forest of randomised trees tells two samples apart: area under the ROC curve, cross-validated.

    Parameters
    ----------
    a, b : array-like of shape (n, d) and (m, d)
        Two samples, at least 10 rows each.
    random_state : int or None, default 0
        Seeds the forest and the three folds.

    Returns
    -------
    float
        About 0.5 when they cannot be told apart, 1 when always.

    References
    ----------
    Lopez-Paz and Oquab, *Revisiting Classifier Two-Sample Tests*, arXiv:1610.06545.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    a, b = _code_pair(a, b)
    if min(len(a), len(b)) < 10:
        raise ValueError(f"Expected at least 10 rows on each side, got {len(a)} and {len(b)}.")
    x, side = np.concatenate([a, b]), np.repeat([0, 1], [len(a), len(b)])
    forest = ExtraTreesClassifier(50, min_samples_leaf=5, random_state=random_state)
    folds = StratifiedKFold(3, shuffle=True, random_state=random_state)
    p = np.asarray(cross_val_predict(forest, x, side, cv=folds, method="predict_proba"))
    return float(roc_auc_score(side, p[:, 1]))


def _labels(y: ArrayLike, name: str) -> NDArray[Any]:
    """`y` as a one-dimensional array."""
    y = np.asarray(y)
    if y.ndim != 1:
        raise ValueError(f"Expected {name} of shape (n,), got {y.shape}: pass one label a row.")
    return y


def _is_labelled(y: NDArray[Any]) -> NDArray[np.bool_]:
    """Where `y` is a label: everywhere for strings, else where it is not -1."""
    return y != -1 if y.dtype.kind in "iuf" else np.ones(len(y), dtype=bool)


def _labelled_pair(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both as arrays, without the rows whose true label is unknown."""
    true, predicted = _labels(y_true, "y_true"), _labels(y_pred, "predictions")
    if len(true) != len(predicted):
        raise ValueError(f"Expected as many predictions as true labels, got {len(predicted)} and {len(true)}.")
    known = _is_labelled(true)
    if not known.any():
        raise ValueError("Expected at least one labelled row, got none: -1 counts as unlabelled.")
    return true[known], predicted[known]


def _positions(y: NDArray[Any], labels: list[Any]) -> NDArray[np.int64]:
    """The place of each label in `labels`."""
    place = {label: k for k, label in enumerate(labels)}
    unknown = sorted({str(value) for value in y.tolist() if value not in place})
    if unknown:
        raise ValueError(f"Expected labels among {labels}, got also {', '.join(unknown[:5])}: add them to classes.")
    return np.array([place[value] for value in y.tolist()], dtype=np.int64)


def _contingency(
    rows: NDArray[Any], columns: NDArray[Any], row_labels: list[Any], column_labels: list[Any]
) -> NDArray[np.int64]:
    """Counts of (row, column) pairs."""
    counts = np.zeros((len(row_labels), len(column_labels)), dtype=np.int64)
    np.add.at(counts, (_positions(rows, row_labels), _positions(columns, column_labels)), 1)
    return counts


def _squared_distances(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Between every row of `u` and every row of `v`."""
    return np.maximum((u**2).sum(1)[:, None] + (v**2).sum(1)[None, :] - 2 * u @ v.T, 0)


def _code_pair(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two finite samples of one dimension as float64 tables."""
    u, v = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if u.ndim != 2 or v.ndim != 2 or u.shape[1] != v.shape[1] or not len(u) or not len(v):
        raise ValueError(f"Expected two samples of shapes (n, d) and (m, d), got {u.shape} and {v.shape}.")
    if not (np.isfinite(u).all() and np.isfinite(v).all()):
        raise ValueError("Expected finite codes, got NaN or infinity: training has probably diverged.")
    return u, v
