"""Metrics of classifiers, clusterings, densities, and of how closely codes follow their prior.

Errors and accuracies are in percent. Labels may be numbers or texts; -1, None, NaN and pandas' NA mean
"unlabelled" (see `aaekit.labels`). Unlabelled rows are left out of every count.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aaekit.errors import InputError
from aaekit.labels import as_labels, split_labels

__all__ = [
    "ClusterUse",
    "balanced_error_rate",
    "choose_parzen_sigma",
    "cluster_use",
    "clustering_accuracy",
    "error_rate",
    "exact_interval",
    "expected_calibration_error",
    "label_leakage",
    "match_clusters",
    "mmd",
    "parzen_log_likelihood",
    "prior_fit",
    "sliced_wasserstein",
    "two_sample_auc",
]

Rule = Literal["majority", "hungarian"]


def error_rate(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Share of the labelled rows that are misclassified.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        True labels and predictions; rows whose true label is unknown are ignored.

    Returns
    -------
    float
        Percent, 0 to 100.

    Raises
    ------
    InputError
        If the lengths differ or no row is labelled.
    """
    true, predicted = _labelled_pair(y_true, y_pred)
    return 100 * float(np.mean(true != predicted))


def exact_interval(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact (Clopper-Pearson) confidence interval of a probability.

    Parameters
    ----------
    correct, n : int
        How often it came true, of how many times.
    confidence : float, default 0.95
        Confidence level of the interval.

    Returns
    -------
    low, high : float

    References
    ----------
    Clopper & Pearson, *The use of confidence or fiducial limits illustrated in the case of the binomial*, 1934.
    """
    from scipy.stats import binomtest

    interval = binomtest(correct, n).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def balanced_error_rate(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Mean over classes of the share of their rows that are misclassified: each class counts alike.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        True labels and predictions; rows whose true label is unknown are ignored.

    Returns
    -------
    float
        Percent, 0 to 100.

    Raises
    ------
    InputError
        If the lengths differ or no row is labelled.
    """
    true, predicted = _labelled_pair(y_true, y_pred)
    _, classes = np.unique(true, return_inverse=True)
    return 100 * float(np.mean(np.bincount(classes, true != predicted) / np.bincount(classes)))


def expected_calibration_error(
    y_true: ArrayLike, proba: ArrayLike, n_bins: int = 15, sample_weight: ArrayLike | None = None
) -> float:
    """How far the probability of the predicted class is, on average, from the share of such predictions that are right.

    Parameters
    ----------
    y_true : array-like of int, shape (n,)
        True labels, 0 ... n_classes - 1; rows where it is -1 are ignored.
    proba : array-like of shape (n, n_classes)
        Class probabilities.
    n_bins : int, default=15
        Number of intervals of equal width in which probabilities and shares are compared.
    sample_weight : array-like of shape (n,), optional
        How much each row counts.

    Returns
    -------
    float
        Percent, 0 (calibrated) to 100.

    Raises
    ------
    InputError
        If the lengths differ or no row is labelled.

    References
    ----------
    Guo, Pleiss, Sun and Weinberger, *On Calibration of Modern Neural Networks* (2017), section 2.
    """
    p = np.asarray(proba, dtype=np.float64)
    labelled = np.asarray(y_true) != -1
    true, predicted = _labelled_pair(y_true, p.argmax(1))
    confidence = p.max(1)[labelled]
    weight = np.ones(len(true)) if sample_weight is None else np.asarray(sample_weight, np.float64)[labelled]
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gaps = np.bincount(bins, weight * ((true == predicted) - confidence), n_bins)
    return 100 * float(np.abs(gaps).sum() / weight.sum())


@dataclass(frozen=True)
class ClusterUse:
    """How the rows are distributed over K clusters.

    Attributes
    ----------
    counts : ndarray of shape (K,)
        Number of rows in each cluster.
    used : ndarray of bool, shape (K,)
        Whether the cluster has at least 5 % of the rows that it would have if all clusters were equally large.
    entropy : float
        Entropy of the mean of q(y|x), divided by log K: 1 if all clusters are equally large, 0 if one has all rows.
    """

    counts: NDArray[np.int64]
    used: NDArray[np.bool_]
    entropy: float

    @property
    def collapsed(self) -> bool:
        """Whether a few clusters absorbed the others: fewer than 80 % are used, or the entropy is below 0.8."""
        return bool(self.used.mean() < 0.8 or self.entropy < 0.8)


def cluster_use(p: NDArray[np.floating]) -> ClusterUse:
    """How the rows are distributed over the clusters.

    Parameters
    ----------
    p : ndarray of shape (n, K)
        q(y|x) of each row.

    Returns
    -------
    ClusterUse
        The entropy of a single cluster is defined as 1.
    """
    (n, K), mean = p.shape, p.mean(0, dtype=np.float64)
    counts = np.bincount(p.argmax(1), minlength=K)
    entropy = -float((mean * np.log(mean.clip(1e-12))).sum())
    return ClusterUse(counts, counts >= max(1, 0.05 * n / K), entropy / math.log(K) if K > 1 else 1.0)


def match_clusters(y_true: ArrayLike, clusters: ArrayLike, rule: Rule = "majority") -> dict[Any, Any]:
    """Assign a true label to each cluster.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True labels; unlabelled rows are not counted.
    clusters : array-like of shape (n,)
        Cluster of each row, in any numbering.
    rule : {"majority", "hungarian"}, default "majority"
        `majority`: each cluster gets its most frequent true label (ties: the smallest), so several clusters may
        share a label. `hungarian`: the one-to-one assignment with the highest accuracy; with more clusters than
        labels, some clusters get none and are absent from the result.

    Returns
    -------
    dict
        True label by cluster.

    Raises
    ------
    InputError
        If `rule` is unknown, the lengths differ or no row is labelled.
    """
    from sklearn.metrics.cluster import contingency_matrix

    true, predicted = _labelled_pair(y_true, clusters)
    labels, names = np.unique(true).tolist(), np.unique(predicted).tolist()
    counts = np.asarray(contingency_matrix(true, predicted))  # of shape (labels, clusters)
    if rule == "majority":
        return {name: labels[k] for name, k in zip(names, counts.argmax(axis=0), strict=True)}
    if rule == "hungarian":
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(counts, maximize=True)
        return {names[j]: labels[i] for i, j in zip(rows, columns, strict=True)}
    raise InputError(f"expected rule 'majority' or 'hungarian', got {rule!r}")


def clustering_accuracy(y_true: ArrayLike, clusters: ArrayLike, rule: Rule = "majority") -> float:
    """Accuracy of a clustering after each cluster was assigned a true label.

    Cluster numbers are arbitrary, so clusters are matched to labels first (see `match_clusters`) and the accuracy is
    computed afterwards.

    Parameters
    ----------
    y_true, clusters : array-like of shape (n,)
        True labels (unlabelled rows are not counted) and clusters.
    rule : {"majority", "hungarian"}, default "majority"
        How clusters get their labels. With `majority`, more clusters can only increase the accuracy (one cluster per
        row gives 100 %), so report the number of clusters along with it; `hungarian` is never higher.

    Returns
    -------
    float
        Percent, 0 to 100.

    Raises
    ------
    InputError
        If `rule` is unknown, the lengths differ or no row is labelled.

    Notes
    -----
    A worked example, three clusters of ten rows:

    ========= === === === ==================================
    cluster    4   6   9  label by majority
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
    label_of = match_clusters(y_true, clusters, rule)
    true, predicted = _labelled_pair(y_true, clusters)
    pairs = zip(predicted.tolist(), true.tolist(), strict=True)
    return 100 * float(np.mean([cluster in label_of and label_of[cluster] == y for cluster, y in pairs]))


def prior_fit(
    z: ArrayLike, z_prior: ArrayLike, n_samples: int = 2000, random_state: int | None = 0
) -> dict[str, float]:
    """Three distances between the codes q(z) and the prior p(z).

    Parameters
    ----------
    z : array-like of shape (n, d)
        Codes of data, preferably of held-out data.
    z_prior : array-like of shape (m, d)
        Samples of the prior.
    n_samples : int, default 2000
        Maximum number of rows of each side that are compared. Both sides are subsampled without replacement to the
        same number.
    random_state : int or None, default 0
        Seed of the subsample.

    Returns
    -------
    dict
        `mmd` (squared, see `mmd`; about 0 if the distributions are equal), `sliced_wasserstein` (in units of z; about
        0 if they are equal) and `two_sample_auc` (0.5 if a forest cannot distinguish codes from prior samples, 1 if it
        always can).

    Raises
    ------
    InputError
        If the shapes do not match, a value is not finite, or a side has fewer than 10 rows.
    """
    z, z_prior = _code_pair(z, z_prior)
    n = min(len(z), len(z_prior), n_samples)
    if n < 10:
        raise InputError(f"expected at least 10 rows on each side, got {n}: pass more codes and prior samples")
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
        a thousand points of the pooled sample.

    Returns
    -------
    float
        About 0, possibly slightly negative, if both samples are from one distribution.

    Raises
    ------
    InputError
        If the shapes do not match, a value is not finite, or a side has fewer than 2 rows.

    References
    ----------
    Gretton et al., *A Kernel Two-Sample Test*, JMLR 13 (2012), lemma 6.
    """
    a, b = _code_pair(a, b)
    n, m = len(a), len(b)
    if min(n, m) < 2:
        raise InputError(f"expected at least 2 rows on each side, got {n} and {m}: pass more")
    if bandwidth is None:
        pooled = np.concatenate([a, b])[:: max(1, (n + m) // 1000)]  # a thousand points determine the median well
        distances = _squared_distances(pooled, pooled)[np.triu_indices(len(pooled), 1)]
        bandwidth = float(np.sqrt(np.median(distances))) or 1.0

    def k(u: NDArray[np.float64], v: NDArray[np.float64]) -> float:
        return float(np.exp(_squared_distances(u, v) / (-2 * bandwidth**2)).sum())

    # the unbiased estimate excludes the pairs of a point with itself, whose kernel is 1
    return (k(a, a) - n) / (n * (n - 1)) + (k(b, b) - m) / (m * (m - 1)) - 2 * k(a, b) / (n * m)


def sliced_wasserstein(a: ArrayLike, b: ArrayLike, n_projections: int = 200, random_state: int | None = 0) -> float:
    """2-Wasserstein distance between two samples, averaged over random one-dimensional projections.

    Parameters
    ----------
    a, b : array-like of shape (n, d) and (m, d)
        Two samples. If n and m differ, the same number of quantiles of both is compared.
    n_projections : int, default 200
        Number of random directions.
    random_state : int or None, default 0
        Seed of the directions.

    Returns
    -------
    float
        Root of the mean squared distance, in the units of the samples. A shift by s gives about |s| / sqrt(d).

    Raises
    ------
    InputError
        If the shapes do not match or a value is not finite.

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
    """Cross-validated area under the ROC curve of a forest of extremely randomised trees that separates two samples.

    Parameters
    ----------
    a, b : array-like of shape (n, d) and (m, d)
        Two samples of at least 10 rows each.
    random_state : int or None, default 0
        Seed of the forest and of the three folds.

    Returns
    -------
    float
        About 0.5 if the samples cannot be distinguished, 1 if they are separated perfectly.

    Raises
    ------
    InputError
        If the shapes do not match, a value is not finite, or a side has fewer than 10 rows.

    References
    ----------
    Lopez-Paz and Oquab, *Revisiting Classifier Two-Sample Tests*, arXiv:1610.06545.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    a, b = _code_pair(a, b)
    if min(len(a), len(b)) < 10:
        raise InputError(f"expected at least 10 rows on each side, got {len(a)} and {len(b)}: pass more")
    x, side = np.concatenate([a, b]), np.repeat([0, 1], [len(a), len(b)])
    forest = ExtraTreesClassifier(50, min_samples_leaf=5, random_state=random_state)
    folds = StratifiedKFold(3, shuffle=True, random_state=random_state)
    p = np.asarray(cross_val_predict(forest, x, side, cv=folds, method="predict_proba"))
    return float(roc_auc_score(side, p[:, 1]))


def label_leakage(z: ArrayLike, y: ArrayLike, random_state: int | None = 0) -> float:
    """How well labels can be predicted from codes that should not contain them.

    A support vector machine with a Gaussian kernel predicts labels from standardised codes, in two-fold
    cross-validation.

    Parameters
    ----------
    z : array-like of shape (n, d)
        Codes.
    y : array-like of shape (n,)
        Labels, at least two of each class; unlabelled rows are ignored.
    random_state : int or None, default 0
        Seed of the two stratified folds.

    Returns
    -------
    float
        Accuracy in percent. Codes that carry no information give the share of the most frequent class.

    Raises
    ------
    InputError
        If the lengths differ, or fewer than two classes have two labelled rows.
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    labels, labelled = split_labels(y)
    codes = np.asarray(z, dtype=float)
    if len(labels) != len(codes):
        raise InputError(f"expected one label per code, got {len(labels)} labels and {len(codes)} codes")
    labels, codes = labels[labelled], codes[labelled]
    counts = np.unique(labels, return_counts=True)[1]
    if (counts >= 2).sum() < 2:
        raise InputError(f"expected at least two labelled rows of each of two classes, got {counts.tolist()}")
    folds = StratifiedKFold(2, shuffle=True, random_state=random_state)
    scores = cross_val_score(make_pipeline(StandardScaler(), SVC()), codes, labels, cv=folds)
    return 100 * float(scores.mean())


def parzen_log_likelihood(X: ArrayLike, samples: ArrayLike | Iterable[ArrayLike], sigma: float) -> NDArray[np.float64]:
    """Log-density of rows under a Parzen window estimate: a Gaussian of width sigma around each sample of a model.

    With m samples s of d values each, natural logarithm::

        log p(x) = log sum_j exp(-|x - s_j|^2 / (2 sigma^2)) - log m - d/2 log(2 pi sigma^2)

    Parameters
    ----------
    X : array-like of shape (n, ...)
        Rows to evaluate, with as many values as the samples and in the same units; uint8 is scaled to [0, 1].
    samples : array-like of shape (m, ...), or iterable of such
        Samples of the model. An iterable is consumed once, with one array in memory at a time, so there may be
        millions.
    sigma : float
        Standard deviation of the windows, in units of X; see `choose_parzen_sigma`.

    Returns
    -------
    ndarray of shape (n,)
        Log-density over d values, in nats. It depends on the units of X and can be positive.

    Raises
    ------
    InputError
        If sigma is not positive, the shapes do not match, a value is not finite, or there is no sample.

    Notes
    -----
    The estimate depends on sigma and on the number of samples about as much as on the model: compare only numbers
    from the same protocol, and see Theis, van den Oord and Bethge, *A note on the evaluation of generative models*,
    arXiv:1511.01844. Products are computed in single precision if its rounding error is at most 0.01 nats.

    References
    ----------
    Makhzani et al., *Adversarial Autoencoders*, arXiv:1511.05644, section 3.

    Examples
    --------
    >>> parzen_log_likelihood([[0.0], [3.0]], [[0.0]], sigma=1).round(3).tolist()
    [-0.919, -5.419]
    """
    return _parzen(_flat_rows(X, "X"), samples, np.array([_positive(sigma)]))[0]


def choose_parzen_sigma(
    X_validation: ArrayLike, samples: ArrayLike | Iterable[ArrayLike], sigmas: ArrayLike | None = None
) -> float:
    """Choose the width of the Parzen window that maximises the mean log-density of validation rows.

    A grid search, followed by a search on a finer grid around its maximum. The grid is extended if the maximum is at
    its edge.

    Parameters
    ----------
    X_validation : array-like of shape (n, ...)
        Rows that were not used for training and are not evaluated later, in the units of the samples; uint8 is scaled
        to [0, 1].
    samples : array-like of shape (m, ...), or iterable of such
        Samples of the model; iterated several times, so an iterator is refused.
    sigmas : array-like, optional
        The first grid; by default 20 widths from 0.1 to 1, evenly spaced on a log scale, as usual for images in [0, 1].

    Returns
    -------
    float
        In the units of the samples.

    Raises
    ------
    InputError
        If a width is not positive, the shapes do not match, a value is not finite, the samples are an iterator, or the
        log-density has no maximum because validation rows are among the samples.

    References
    ----------
    Makhzani et al., *Adversarial Autoencoders*, arXiv:1511.05644, section 3.
    """
    X = _flat_rows(X_validation, "X_validation")
    if isinstance(samples, Iterator):
        raise InputError("expected samples that can be iterated again, got an iterator: pass an array or a list")
    widths = np.logspace(-1, 0, 20) if sigmas is None else np.unique(np.ravel(np.asarray(sigmas, dtype=float)))
    grid = np.array([_positive(s) for s in widths])
    if len(grid) == 0:
        raise InputError("expected at least one sigma to choose from, got none: omit sigmas to use the default grid")
    ratio = float(grid[-1] / grid[0]) if len(grid) > 1 else 10.0
    scores = _parzen(X, samples, grid).mean(1)
    # below this width the maximum is one of rounding errors: some sample equals a row, and the density is unbounded
    resolution = 1e-6 * float(np.linalg.norm(X - X.mean(0, dtype=np.float64), axis=1).max())
    for _ in range(20):
        best = int(scores.argmax())
        if grid[best] < resolution:
            break
        if 0 < best < len(grid) - 1:
            fine = np.geomspace(grid[best - 1], grid[best + 1], 13)
            return float(fine[_parzen(X, samples, fine).mean(1).argmax()])
        more = np.geomspace(1, max(ratio, 2.0), 11)[1:]
        more = grid[0] / more[::-1] if best == 0 else grid[-1] * more
        at = 0 if best == 0 else len(grid)
        grid, scores = np.insert(grid, at, more), np.insert(scores, at, _parzen(X, samples, more).mean(1))
    raise InputError(
        f"expected a likelihood with a maximum, got one that still increases at sigma={grid[scores.argmax()]:.3g}: "
        "remove validation rows from the samples"
    )


def _labelled_pair(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """True labels and predictions of the labelled rows."""
    true, labelled = split_labels(y_true, "y_true")
    predicted = as_labels(y_pred)
    if predicted.shape != true.shape:
        raise InputError(f"expected as many predictions as true labels, got {predicted.shape} and {true.shape}")
    if not labelled.any():
        raise InputError("expected at least one labelled row, got none: -1, None and NaN mean unlabelled")
    return true[labelled], predicted[labelled]


def _squared_distances(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Between every row of `u` and every row of `v`."""
    return np.maximum((u**2).sum(1)[:, None] + (v**2).sum(1)[None, :] - 2 * u @ v.T, 0)


def _code_pair(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both samples as float64 arrays, checked to be finite and of the same number of columns."""
    u, v = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if u.ndim != 2 or v.ndim != 2 or u.shape[1] != v.shape[1] or not len(u) or not len(v):
        raise InputError(f"expected two samples of shapes (n, d) and (m, d), got {u.shape} and {v.shape}")
    if not (np.isfinite(u).all() and np.isfinite(v).all()):
        raise InputError("expected finite codes, got NaN or infinity: the training has probably diverged")
    return u, v


def _positive(sigma: float) -> float:
    """The width of a window, checked."""
    if not (np.isfinite(sigma) and sigma > 0):
        raise InputError(f"expected sigma > 0, got {sigma}: use choose_parzen_sigma")
    return float(sigma)


def _flat_rows(X: ArrayLike, name: str) -> NDArray[np.floating]:
    """Finite rows `(n, d)` in single or double precision, uint8 scaled to [0, 1]."""
    X = np.asarray(X)
    if X.ndim < 2 or X.size == 0:
        raise InputError(f"expected {name} of shape (n, d) or images, got {X.shape}: pass one row per sample")
    rows = X.reshape(len(X), -1)
    rows = rows / np.float32(255) if X.dtype == np.uint8 else rows.astype(np.result_type(X.dtype, np.float32))
    if not np.isfinite(rows).all():
        raise InputError(f"expected finite {name}, got NaN or infinity: remove such rows")
    return rows


def _blocks(samples: ArrayLike | Iterable[ArrayLike]) -> Iterator[NDArray[np.floating]]:
    """Samples in arrays of at most 2,000 rows."""
    is_array = hasattr(samples, "__array__") or (
        isinstance(samples, Sequence) and len(samples) and np.ndim(samples[0]) < 2
    )
    for part in [samples] if is_array else cast(Iterable[ArrayLike], samples):
        rows = _flat_rows(cast(ArrayLike, part), "samples")
        yield from (rows[i : i + 2000] for i in range(0, len(rows), 2000))


def _parzen(
    X: NDArray[np.floating], samples: ArrayLike | Iterable[ArrayLike], sigmas: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log-density under the window of each width, shape `(n_widths, n)`."""
    centre = X.mean(0, dtype=np.float64)  # |x|^2 - 2 x s + |s|^2 loses fewer digits for small numbers
    x = X - centre
    x2, (n, d), m = (x**2).sum(1), x.shape, 0
    single = x.astype(np.float32)
    top, total = np.full((len(sigmas), n), -np.inf), np.zeros((len(sigmas), n))  # running logsumexp: top + log total
    for block in _blocks(samples):
        if block.shape[1] != d:
            raise InputError(f"expected samples of {d} values as in X, got {block.shape[1]}: pass rows of one shape")
        s, m = block - centre, m + len(block)
        s2 = (s**2).sum(1)
        # the error of an exponent is about one rounding of its largest term
        largest, narrowest, widest = max(x2.max(), s2.max()), sigmas.min() ** 2, sigmas.max() ** 2
        fits = np.finfo(np.float32).eps * largest / narrowest < 0.01
        fits &= largest < 1e37 and narrowest > 1e-37 and widest < 1e37  # within the range of float32
        rows, s = (single, s.astype(np.float32)) if fits else (x, s)
        for i in range(0, n, 500):
            at = slice(i, i + 500)
            halved = rows[at] @ s.T
            halved -= (s2 / 2).astype(s.dtype)
            for k, sigma in enumerate(sigmas):  # -2 `halved` is the part of |x - s|^2 that depends on s
                e = halved * s.dtype.type(1 / sigma**2)
                highest = e.max(1)
                e -= highest[:, None]
                sums = np.exp(e, out=e).sum(1, dtype=np.float64)
                new = np.maximum(top[k, at], highest)
                total[k, at] = total[k, at] * np.exp(top[k, at] - new) + sums * np.exp(highest - new)
                top[k, at] = new
    if m == 0:
        raise InputError("expected at least one sample, got none: draw some from the model")
    two_variances = 2 * sigmas[:, None] ** 2
    return top + np.log(total) - x2 / two_variances - np.log(m) - d / 2 * np.log(np.pi * two_variances)
