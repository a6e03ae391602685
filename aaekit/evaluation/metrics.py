"""Numbers that say how good a model is: errors, clusterings, likelihoods, and how well the codes follow their prior.

Errors and accuracies are in percent. Labels may be numbers or texts; -1, None, NaN and pandas' NA mean
"unlabelled" (see `aaekit.labels`). Unlabelled rows are left out of every count.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aaekit.errors import InputError, nearest
from aaekit.labels import as_labels, split_labels

Rule = Literal["majority", "hungarian"]


def error_rate(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """The share of labelled rows that are classified wrongly.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Labels; unlabelled rows of `y_true` are not counted.

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


@dataclass(frozen=True)
class ClusterUse:
    """How the rows are shared out among K clusters."""

    counts: NDArray[np.int64]  # rows of each cluster (K,)
    used: NDArray[np.bool_]  # whether it has at least a twentieth of an even share (K,)
    entropy: float  # of the mean of q(y|x): 1 where all clusters are as large, 0 where there is one

    @property
    def collapsed(self) -> bool:
        """Whether a few clusters took the rows of the others."""
        return bool(self.used.mean() < 0.8 or self.entropy < 0.8)


def cluster_use(p: NDArray[np.floating]) -> ClusterUse:
    """Which clusters are used, by q(y|x) of rows `(n, K)`. The entropy of a single cluster is 1."""
    (n, K), mean = p.shape, p.mean(0, dtype=np.float64)
    counts = np.bincount(p.argmax(1), minlength=K)
    entropy = -float((mean * np.log(mean.clip(1e-12))).sum())
    return ClusterUse(counts, counts >= max(1, 0.05 * n / K), entropy / math.log(K) if K > 1 else 1.0)


def match_clusters(y_true: ArrayLike, clusters: ArrayLike, rule: Rule = "majority") -> dict[Any, Any]:
    """Which true label each cluster stands for.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True labels; unlabelled rows are not counted.
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
    (names, row), (labels, column) = (np.unique(v, return_inverse=True) for v in (found, true))
    names, labels = names.tolist(), labels.tolist()
    counts = np.zeros((len(names), len(labels)), dtype=np.int64)
    np.add.at(counts, (row, column), 1)
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
        True labels (unlabelled rows are not counted) and clusters.
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


def label_leakage(z: ArrayLike, y: ArrayLike, random_state: int | None = 0) -> float:
    """How well a label can be guessed from codes that should not tell it.

    A support vector machine with a Gaussian kernel guesses each row's label from its standardised code; it has learned
    from the other half of the rows.

    Parameters
    ----------
    z : array-like of shape (n, d)
        Codes.
    y : array-like of shape (n,)
        Labels; rows labelled -1 are left out. At least two of each class.
    random_state : int or None, default 0
        Of the halves, which are stratified.

    Returns
    -------
    float
        Accuracy in percent. At chance it is the share of the largest class.
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    labels, labelled = split_labels(y)
    codes = np.asarray(z, dtype=float)[labelled]
    halves = StratifiedKFold(2, shuffle=True, random_state=random_state)
    scores = cross_val_score(make_pipeline(StandardScaler(), SVC()), codes, labels[labelled], cv=halves)
    return 100 * float(scores.mean())


def parzen_log_likelihood(X: ArrayLike, samples: ArrayLike | Iterable[ArrayLike], sigma: float) -> NDArray[np.float64]:
    """Log-density of rows under a Parzen window: a Gaussian of width sigma about each sample of a model.

    With m samples s of d values each, natural logarithm::

        log p(x) = log sum_j exp(-|x - s_j|^2 / (2 sigma^2)) - log m - d/2 log(2 pi sigma^2)

    Parameters
    ----------
    X : array-like of shape (n, ...)
        Rows to judge, with the samples' number of values and in their units; bytes count as [0, 1].
    samples : array-like of shape (m, ...), or iterable of such
        What the model draws. An iterable is gone through once, one array in memory at a time, so that there may be
        millions.
    sigma : float
        Standard deviation of the windows, in units of X; see `choose_parzen_sigma`.

    Returns
    -------
    ndarray of shape (n,)
        Nats, a density over d values: it changes with the units of X, and may well be above 0.

    Raises
    ------
    InputError
        If sigma is not above 0, the shapes do not fit, a value is not finite, or there is no sample.

    Notes
    -----
    The measure follows the number of samples and sigma about as much as it follows the model: compare only numbers
    of the same protocol, and see Theis, van den Oord and Bethge, *A note on the evaluation of generative models*,
    arXiv:1511.01844. Products are taken in single precision where its rounding costs a hundredth of a nat at most.

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
    """The width of the Parzen window at which rows set aside have the highest mean log-density.

    The best of a grid, then the best of a finer one about it. A grid whose best is at its edge is extended there.

    Parameters
    ----------
    X_validation : array-like of shape (n, ...)
        Rows that neither trained the model nor will be judged, in the units of the samples; bytes count as [0, 1].
    samples : array-like of shape (m, ...), or iterable of such
        What the model draws; gone through several times, so an iterator will not do.
    sigmas : array-like, optional
        The first grid; by default 20 widths from 0.1 to 1, even on a log scale, as usual for images in [0, 1].

    Returns
    -------
    float

    Raises
    ------
    InputError
        If a width is not above 0, the shapes do not fit, a value is not finite, the samples can be gone through only
        once, or no width is best, since validation rows are among the samples.

    References
    ----------
    Makhzani et al., *Adversarial Autoencoders*, arXiv:1511.05644, section 3.
    """
    X = _flat_rows(X_validation, "X_validation")
    if isinstance(samples, Iterator):
        raise InputError("expected samples that can be gone through again, got an iterator: pass an array or a list")
    given = np.logspace(-1, 0, 20) if sigmas is None else np.unique(np.ravel(np.asarray(sigmas, dtype=float)))
    grid = np.array([_positive(s) for s in given])
    if len(grid) == 0:
        raise InputError("expected at least one sigma to choose from, got none: leave sigmas out for the default")
    ratio = float(grid[-1] / grid[0]) if len(grid) > 1 else 10.0
    scores = _parzen(X, samples, grid).mean(1)
    for _ in range(20):
        best = int(scores.argmax())
        if 0 < best < len(grid) - 1:
            fine = np.geomspace(grid[best - 1], grid[best + 1], 13)
            return float(fine[_parzen(X, samples, fine).mean(1).argmax()])
        more = np.geomspace(1, max(ratio, 2.0), 11)[1:]
        more = grid[0] / more[::-1] if best == 0 else grid[-1] * more
        at = 0 if best == 0 else len(grid)
        grid, scores = np.insert(grid, at, more), np.insert(scores, at, _parzen(X, samples, more).mean(1))
    raise InputError(
        f"no sigma is best: the likelihood still rises at {grid[scores.argmax()]:.3g}. "
        "Are validation rows among the samples?"
    )


def _labelled_pair(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both as arrays, without unlabelled rows."""
    true, labelled = split_labels(y_true, "y_true")
    predicted = as_labels(y_pred)
    if predicted.shape != true.shape:
        raise InputError(f"expected as many predictions as true labels, got {predicted.shape} and {true.shape}")
    if not labelled.any():
        raise InputError(f"expected at least one labelled row, got {len(true)} rows labelled -1, None or NaN")
    return true[labelled], predicted[labelled]


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


def _positive(sigma: float) -> float:
    """A width of a window."""
    if not (np.isfinite(sigma) and sigma > 0):
        raise InputError(f"expected a sigma above 0, got {sigma}: choose_parzen_sigma finds one")
    return float(sigma)


def _flat_rows(X: ArrayLike, name: str) -> NDArray[np.floating]:
    """Finite rows `(n, d)` in single or double precision, bytes as the interval [0, 1]."""
    X = np.asarray(X)
    if X.ndim < 2 or X.size == 0:
        raise InputError(f"expected {name} of shape (n, d) or images, got {X.shape}: pass one row for each")
    rows = X.reshape(len(X), -1)
    rows = rows / np.float32(255) if X.dtype == np.uint8 else rows.astype(np.result_type(X.dtype, np.float32))
    if not np.isfinite(rows).all():
        raise InputError(f"expected finite {name}, got NaN or infinity: take such rows out")
    return rows


def _blocks(samples: ArrayLike | Iterable[ArrayLike]) -> Iterator[NDArray[np.floating]]:
    """Samples in arrays of a bounded number of rows."""
    alone = hasattr(samples, "__array__") or (
        isinstance(samples, Sequence) and len(samples) and np.ndim(samples[0]) < 2
    )
    for part in [samples] if alone else cast(Iterable[ArrayLike], samples):
        rows = _flat_rows(cast(ArrayLike, part), "samples")
        yield from (rows[i : i + 2000] for i in range(0, len(rows), 2000))


def _parzen(
    X: NDArray[np.floating], samples: ArrayLike | Iterable[ArrayLike], sigmas: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log-density of each row (column) by the window of each width (row)."""
    centre = X.mean(0, dtype=np.float64)  # small numbers lose less in |x|^2 - 2 x s + |s|^2
    x = X - centre
    x2, (n, d), m = (x**2).sum(1), x.shape, 0
    single = x.astype(np.float32)
    top, total = np.full((len(sigmas), n), -np.inf), np.zeros((len(sigmas), n))  # logsumexp so far: top + log total
    for block in _blocks(samples):
        if block.shape[1] != d:
            raise InputError(f"expected samples of {d} values as in X, got {block.shape[1]}: they must be alike")
        s, m = block - centre, m + len(block)
        s2 = (s**2).sum(1)
        # an exponent is off by about this many roundings of its largest term
        largest, narrowest, widest = max(x2.max(), s2.max()), sigmas.min() ** 2, sigmas.max() ** 2
        fits = np.finfo(np.float32).eps * largest / narrowest < 0.01
        fits &= largest < 1e37 and narrowest > 1e-37 and widest < 1e37  # in single precision all of them are numbers
        rows, s = (single, s.astype(np.float32)) if fits else (x, s)
        for i in range(0, n, 500):
            at = slice(i, i + 500)
            halved = rows[at] @ s.T
            halved -= (s2 / 2).astype(s.dtype)
            for k, sigma in enumerate(sigmas):  # of |x - s|^2, what varies with s is -2 `halved`
                e = halved * s.dtype.type(1 / sigma**2)
                highest = e.max(1)
                e -= highest[:, None]
                sums = np.exp(e, out=e).sum(1, dtype=np.float64)
                new = np.maximum(top[k, at], highest)
                total[k, at] = total[k, at] * np.exp(top[k, at] - new) + sums * np.exp(highest - new)
                top[k, at] = new
    if m == 0:
        raise InputError("expected at least one sample, got none: let the model draw some")
    two_variances = 2 * sigmas[:, None] ** 2
    return top + np.log(total) - x2 / two_variances - np.log(m) - d / 2 * np.log(np.pi * two_variances)
