"""What the checks and the remedies measure of some evidence."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aaekit.evaluation import metrics
from aaekit.evaluation.health.evidence import Evidence
from aaekit.evaluation.health.thresholds import (
    DECIDED,
    MAX_DISTANCE,
    MAX_FOREST_AUC,
    MAX_SCALE,
    MAX_SHIFT,
    MIN_D_RANGE,
    MIN_EXPLAINED,
    MIN_GAIN,
    MIN_GAIN_OF_FALL,
    MIN_ROWS,
    MIN_STEPS,
    N_ERRORS,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Dimension:
    """One dimension of the codes compared with the prior.

    Attributes
    ----------
    index : int
        From 0 on.
    shift : float
        Difference of the means, in standard deviations of the prior.
    scale : float
        Standard deviation divided by that of the prior.
    distance : float
        Kolmogorov-Smirnov distance.
    off : bool
        Whether one of them is too large, and not by chance.
    """

    index: int
    shift: float
    scale: float
    distance: float
    off: bool


@lru_cache(1)  # several checks need it, and the forest takes a second
def codes_off_prior(e: Evidence) -> tuple[list[Dimension], float]:
    """All dimensions of the codes, none if they follow the prior, and the area under the ROC curve of a forest."""
    z, prior = e.arrays("z", "prior")
    if not has_rows(z, prior):
        return [], 0.5
    from scipy.stats import ks_2samp

    random = np.random.default_rng(0)
    samples = [side[random.permutation(len(side))[:1000]] for side in (z, prior)]
    n = min(map(len, samples))
    auc = metrics.two_sample_auc(samples[0][:n], samples[1][:n])
    error = 0.41 / math.sqrt(n)  # standard error of the area under the curve at chance
    deviation, dimensions = prior.std(0).clip(1e-12), []
    for i in range(z.shape[1]):
        test: Any = ks_2samp(z[:, i], prior[:, i])
        shift = float((z[:, i].mean() - prior[:, i].mean()) / deviation[i])
        scale = float(z[:, i].std() / deviation[i])
        large = test.statistic > MAX_DISTANCE or abs(shift) > MAX_SHIFT or not 1 / MAX_SCALE < scale < MAX_SCALE
        off = bool(large and test.pvalue < 1e-3 / z.shape[1])
        dimensions.append(Dimension(i, shift, scale, float(test.statistic), off))
    off = any(d.off for d in dimensions) or auc > max(MAX_FOREST_AUC, 0.5 + N_ERRORS * error)
    return dimensions if off else [], auc


def spread(X: Array) -> float:
    """The root mean square distance of rows from their mean, by value."""
    return float(np.sqrt(X.var(0).mean()))


def explained_variance(e: Evidence) -> float | None:
    """Fraction of the variance of the rows that the reconstructions explain."""
    X, X_hat = e.arrays("X", "X_hat")
    if not has_rows(X, X_hat):
        return None
    variance = np.square(X - X.mean(0)).sum()
    return float(1 - np.square(X - X_hat).sum() / variance) if variance > 0 else None


def reconstruction_is_constant(e: Evidence) -> bool:
    """Whether the reconstructions explain next to nothing, although principal components explain something."""
    explained = explained_variance(e)
    return explained is not None and explained < MIN_EXPLAINED <= _linearly_explained(e)


def _linearly_explained(e: Evidence) -> float:
    """Fraction of the variance that as many principal components as z has dimensions explain: about 0 for noise."""
    X, z = e.arrays("X", "z")
    if z is None:
        return 1.0
    from sklearn.decomposition import PCA

    train, test = X[::2][:500], X[1::2][:500]
    pca = PCA(min(z.shape[1], *train.shape), random_state=0).fit(train)
    residual = np.square(test - pca.inverse_transform(pca.transform(test))).sum()
    return float(1 - residual / np.square(test - pca.mean_).sum().clip(1e-12))


def divergence_kind(e: Evidence) -> str:
    """Which of "wasserstein" and "least_squares" the divergence is, else "gan"."""
    name = str(e.parameters.get("divergence", "gan")).lower().replace("_", "")
    return next((k for k in ("wasserstein", "least_squares") if k.replace("_", "") in name), "gan")


def is_stuck(e: Evidence, code: str) -> bool:
    """Whether the discriminator of a code never changed, although the code does not follow its prior."""
    real = e.curve(f"{code}/D(real)")
    if len(real) < 3 or n_steps(e) < MIN_STEPS or np.ptp(real) >= MIN_D_RANGE or divergence_kind(e) == "wasserstein":
        return False
    return bool(codes_off_prior(e)[0]) if code == "z" else code == "y" and is_undecided(e)


def is_undecided(e: Evidence) -> bool:
    """Whether the probability of rows is spread over several values of y."""
    (y,) = e.arrays("y")
    return y is not None and y.shape[1] > 1 and len(y) > 0 and float(y.max(1).mean()) < DECIDED


def is_adversarial(e: Evidence) -> bool:
    """Whether the codes are matched to the prior at all."""
    return bool(e.parameters.get("adversarial", True)) and weight(e, "z/generator") != 0


def expected_frequencies(e: Evidence) -> Array | None:
    """How often each class should be predicted."""
    y, labels, class_prior = e.arrays("y", "labels", "class_prior")
    if class_prior is not None:
        return class_prior / class_prior.sum()
    if labels is None or (labels == -1).any():
        return None  # the labelled rows may not be representative
    return np.bincount(labels, minlength=y.shape[1]) / len(labels)


def relative_gain(curve: Array) -> float | None:
    """Relative decrease of a curve over its last fifth; None if it is noise or irrelevant."""
    if len(curve) < 5:
        return None
    k = last_fifth(curve, least=2)
    before, last = curve[-2 * k : -k].mean(), curve[-k:].mean()
    # second differences do not depend on the slope: they measure the noise, with six times its variance
    second_differences = np.diff(curve[-max(2 * k, 4) :], n=2)
    error = math.sqrt(np.square(second_differences).mean() / 6) * math.sqrt(2 / k)
    gain, fall = before - last, curve[0] - last
    matters = gain > MIN_GAIN * abs(before) and gain > MIN_GAIN_OF_FALL * fall
    return float(gain / abs(before)) if matters and gain > N_ERRORS * error else None


def is_improving(e: Evidence) -> bool:
    """Whether the reconstruction or the held-out score was still decreasing."""
    return any(relative_gain(e.curve(name)) is not None for name in ("reconstruction", "eval/score"))


def error_of_difference(a: float, b: float, n: int) -> float:
    """The standard error of the difference of two errors in percent on n rows, as if they were of different rows."""
    return math.sqrt((a * (100 - a) + b * (100 - b)) / n)


def last_fifth(curve: Array, least: int = 1) -> int:
    """Number of epochs in the last fifth of a curve."""
    return max(least, len(curve) // 5)


def has_rows(*arrays: Array | None) -> bool:
    """Whether all arrays are given, with enough rows to measure anything."""
    return all(a is not None and a.ndim == 2 and a.shape[1] > 0 and len(a) >= MIN_ROWS for a in arrays)


def n_steps(e: Evidence) -> float:
    """Number of training steps; infinite if the history does not say."""
    return e.history[-1].get("step", math.inf) if e.history else 0


def judged_codes(e: Evidence) -> list[str]:
    """The codes with outputs of a discriminator in the history, z first."""
    names = {key.removesuffix("/D(real)") for row in e.history for key in row if key.endswith("/D(real)")}
    return sorted((n for n in names if len(e.curve(f"{n}/D(real)")) and len(e.curve(f"{n}/D(fake)"))), reverse=True)


# --- current values --------------------------------------------------------------------------------------------------
def requested(e: Evidence, parameter: str, phase: str) -> float | None:
    """The entry of a phase in the parameter `loss_weights` or `learning_rates`; None if it has none."""
    mapping = e.parameters.get(parameter) or {}
    return mapping.get(phase, mapping.get(phase.rpartition("/")[2]))


def weight(e: Evidence, phase: str) -> float | None:
    """The weight of a phase: as planned, 0 if the plan lacks it; without a plan as requested; None if unknown."""
    return e.weights.get(phase, 0.0) if e.weights else requested(e, "loss_weights", phase)


def learning_rate(e: Evidence, phase: str) -> float | None:
    """The learning rate of a phase: as planned, else as requested; None if unknown."""
    if phase in e.learning_rates:
        return e.learning_rates[phase]
    critic = phase.endswith("discriminator")
    rate = requested(e, "learning_rates", phase)
    rate = e.parameters.get("discriminator_learning_rate" if critic else "learning_rate") if rate is None else rate
    return rate if isinstance(rate, (int, float)) else None
