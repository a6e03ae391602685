"""Simple methods that learn from the same labels; what they say about unlabelled rows is a floor under the encoder.

A logistic regression, a forest and label propagation each give class probabilities of all rows. They are averaged by
weights that their predictions for labels held out from them earn (stacking: Wolpert, 1992; Breiman, 1996), and the
average is what the encoder is taught besides the labels themselves (distillation: Hinton et al., arXiv:1503.02531).
Before, each method gets the temperature at which it makes these labels most likely (Guo et al., arXiv:1706.04599).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import softmax
from torch import nn

from aaekit.estimators._label_propagation import Neighbourhood
from aaekit.estimators._labels import fold_of
from aaekit.labels import UNLABELLED

__all__ = ["METHODS", "Teaching", "calibrate", "teach"]

N_FOLDS = 5  # parts of the labelled rows, each held out once
N_TREES = 100
N_LABELLED = 5000  # rows that methods learn from, at most
N_COUNTED = 2000  # unlabelled rows in which the classes are counted once for each fold
SURE = 0.01  # variance of the logarithms of class frequencies up to which they count in full
LEAST_SURE = 0.3
LARGE_ERROR = 0.1  # of the methods, from which on there is as much to gain as can be
DOUBT = 4.0  # squared standard errors of labels in proportion that a shift of class frequencies must exceed by far
PRIOR_COUNT = 2.0  # held-out labels that each method's weight is worth before any is looked at
HOTTEST = 20.0  # temperature, at most
SMALLEST = 1e-45  # probability, about that of float32: a larger one would cut off logits that a temperature brings back
TRUST = 20.0  # labels that the encoder's own certainty is worth when its accuracy is judged
SMOOTHING = 0.02  # probability that is spread over all classes, so that no method is certain
POWERS = np.geomspace(0.25, 8, 21)  # inverse temperatures of methods, whose logarithm is a priori normal around 0

Probabilities = NDArray[np.floating]


def _linear() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=300)


def _forest() -> Any:
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(N_TREES, random_state=0)


METHODS: dict[str, Callable[[], Any] | None] = {  # None: label propagation, which sees the unlabelled rows, too
    "logistic regression": _linear,
    "forest": _forest,
    "label propagation": None,
}


@dataclass(frozen=True)
class Teaching:
    """What the simple methods say.

    Attributes
    ----------
    soft_labels : ndarray of shape (n, n_classes), float32
        Their weighted mean for each row.
    frequencies : ndarray of shape (n_classes,)
        How frequent the classes are among the unlabelled rows.
    certainty : float
        How sure they are, in [0.3, 1]: by the inverse of the variance of their logarithms, if that is more than 1 %.
    room : float
        What the methods leave to gain, in (0, 1]: the error of their mean, if that is less than a tenth.
    methods : dict of str to dict of str to float
        Of each method, and of their "mean", its "weight" in the mean, and its "error" in percent on labels that were
        held out from it, classes weighted by their frequencies; NaN where there was none to hold out.
    """

    soft_labels: NDArray[np.float32]
    frequencies: NDArray[np.floating]
    certainty: float
    room: float
    methods: dict[str, dict[str, float]]


def teach(
    rows: NDArray[Any],
    y: NDArray[np.int64],
    class_prior: NDArray[np.floating],
    random_state: int,
) -> Teaching:
    """Let the simple methods learn from the labelled rows, and average what they say about all rows.

    Parameters
    ----------
    rows : ndarray of shape (n, ...)
        Scaled numbers.
    y : ndarray of shape (n,)
        0, 1, ...; -1 in unlabelled rows.
    class_prior : ndarray of shape (n_classes,)
        Class frequencies before the unlabelled rows are looked at.
    random_state : int
        Seed of folds and samples.
    """
    X = rows.reshape(len(rows), -1).astype(np.float32, copy=False)
    n_classes, random = len(class_prior), np.random.default_rng(random_state)
    neighbourhood = Neighbourhood(X, y, n_classes, random_state)

    def say(labelled: NDArray[np.intp], asked: NDArray[np.intp]) -> Probabilities:
        """Probabilities `(n_methods, n, n_classes)` of the rows `asked`, from these labels alone."""
        spread = neighbourhood.propagate(class_prior, labelled)[asked]
        answers = [
            spread if make is None else _answer(make(), X, y, labelled, asked, n_classes) for make in METHODS.values()
        ]
        return np.stack(answers)

    labelled, unlabelled = random.permutation(np.flatnonzero(y >= 0)), np.flatnonzero(y < 0)
    labelled = labelled[:N_LABELLED]
    counted = random.permutation(unlabelled)[:N_COUNTED]
    is_single = np.bincount(y[labelled], minlength=n_classes)[y[labelled]] == 1  # no label can be held out of such
    folds = fold_of(np.where(is_single, UNLABELLED, y[labelled]), N_FOLDS, None)  # they are in random order
    order, by_fold = np.argsort(folds, kind="stable")[is_single.sum() :], list[Probabilities]()
    held_out = np.zeros((len(METHODS), len(order), n_classes))  # in the order of the folds
    for fold in range(folds.max(initial=UNLABELLED) + 1):
        out = labelled[folds == fold]
        said = say(labelled[folds != fold], np.concatenate([out, counted]))
        held_out[:, folds[order] == fold] = said[:, : len(out)]
        by_fold.append(said[:, len(out) :])
    y_held_out = y[labelled[order]]
    power = np.array([_power(p, y_held_out) for p in held_out])
    held_out = _smooth(held_out, power[:, None, None])
    share = _weights(held_out[:, np.arange(len(order)), y_held_out])

    def mean_of(said: Probabilities) -> Probabilities:
        return _mean(share, _smooth(said, power[:, None, None]))

    mean = mean_of(say(labelled, np.arange(len(X))))
    counts = [_counts(mean_of(said), class_prior) for said in by_fold]
    n_labels = np.bincount(y[labelled], minlength=n_classes)
    frequencies, certainty = _moved(class_prior, _counts(mean[unlabelled], class_prior), counts, n_labels)
    weight_of_class = frequencies / n_labels.clip(1)
    answers = dict(zip([*METHODS, "mean"], [*held_out, _mean(share, held_out)], strict=True))
    weights = dict(zip(METHODS, share.tolist(), strict=True)) | {"mean": 1.0}
    errors = {name: _error(p, y_held_out, weight_of_class) for name, p in answers.items()}
    n_wrong = errors["mean"] / 100 * len(order) if len(order) else 0.0
    room = min(1.0, (n_wrong + 1) / (len(order) + 2) / LARGE_ERROR)  # by Laplace's rule of succession
    methods = {name: {"weight": weights[name], "error": errors[name]} for name in answers}
    return Teaching((mean / mean.sum(1, keepdims=True)).astype(np.float32), frequencies, certainty, room, methods)


def _mean(share: NDArray[np.floating], p: Probabilities) -> Probabilities:
    """The weighted mean of probabilities `(n_methods, n, n_classes)`."""
    return np.einsum("m,mnk->nk", share, p)


def _error(p: Probabilities, y: NDArray[np.int64], weight: NDArray[np.floating]) -> float:
    """The error in percent, each row weighted by its class; NaN without rows."""
    return np.nan if not len(y) else 100 * float(np.average(p.argmax(1) != y, weights=weight[y]))


def _answer(
    method: Any,
    X: NDArray[np.float32],
    y: NDArray[np.int64],
    labelled: NDArray[np.intp],
    asked: NDArray[np.intp],
    n_classes: int,
) -> Probabilities:
    """Probabilities by a method of scikit-learn, 0 for classes whose labels it has not seen."""
    p = np.zeros((len(asked), n_classes))
    classes = np.unique(y[labelled])
    if len(classes) == 1:
        p[:, classes] = 1
    else:
        p[:, classes] = method.fit(X[labelled], y[labelled]).predict_proba(X[asked])
    return p


def _smooth(p: Probabilities, power: float | NDArray[np.floating]) -> Probabilities:
    """Probabilities to a power, none of which is 0; rows of zeros become uniform."""
    p = (p + 1e-3 / p.shape[-1]) ** power
    return (1 - SMOOTHING) * p / p.sum(-1, keepdims=True) + SMOOTHING / p.shape[-1]


def _power(p: Probabilities, y: NDArray[np.int64]) -> float:
    """The inverse temperature at which a method makes labels `(n,)` most likely, a posteriori; 1 without labels."""
    likelihood = np.log([_smooth(p, power)[np.arange(len(y)), y] for power in POWERS]).sum(1)
    return float(POWERS[np.argmax(likelihood - np.log(POWERS) ** 2 / 2)])


def _weights(likelihood: NDArray[np.floating]) -> NDArray[np.floating]:
    """Weights of a mean that makes labels `(n_methods, n)` likely, a posteriori, by expectation maximisation."""
    n_methods = len(likelihood)
    weights = np.full(n_methods, 1 / n_methods)
    for _ in range(100):
        responsible = weights[:, None] * likelihood
        counts = (responsible / responsible.sum(0)).sum(1) + PRIOR_COUNT
        weights = counts / counts.sum()
    return weights


def _counts(p: Probabilities, class_prior: NDArray[np.floating]) -> NDArray[np.floating]:
    """How often each class is the most probable one, with a pseudo-count of one a class on average."""
    counts = np.bincount(p.argmax(1), minlength=len(class_prior)) + len(class_prior) * class_prior
    return counts / counts.sum()


def _moved(
    prior: NDArray[np.floating],
    estimate: NDArray[np.floating],
    by_fold: list[NDArray[np.floating]],
    n_labels: NDArray[np.integer],
) -> tuple[NDArray[np.floating], float]:
    """The prior moved towards an estimate as far as that is sure of itself, and how sure that is.

    Log frequencies move by the share that their shift has in the sum of its square and their variance, which is the
    jackknife's between folds of the labels. Labels that are not equally many in each class may be so in proportion:
    then the variance of their own frequencies is added, four times. A class with a single label does not move.
    """
    n, has_more = len(by_fold), n_labels > 1
    if n < 2:
        return prior, LEAST_SURE
    variance = float((n - 1) ** 2 / n * np.log(by_fold).var(0, ddof=1)[has_more].mean())
    shift = np.where(has_more, np.log(estimate) - np.log(prior), 0.0)
    square = float((shift**2).mean())
    doubt = DOUBT * float((1 / n_labels.clip(1)).mean()) if len(set(n_labels.tolist())) > 1 else 0.0
    moved = prior * np.exp(square / max(square + variance + doubt, 1e-12) * shift)
    return moved / moved.sum(), max(LEAST_SURE, SURE / max(SURE, variance))


# --- how sure the encoder may be -------------------------------------------------------------------------------------
def calibrate(head: nn.Linear, p: NDArray[np.floating], error: float, n_labels: int) -> float:
    """Divide the logits of a head by the temperature at which predictions are as certain as they are likely right.

    How many are right is judged by the mean certainty of the predictions, which counts like 20 labels, and the error of
    the teachers on labels that were held out from them. Temperatures below 1 are not used (Guo et al., *On Calibration
    of Modern Neural Networks*, arXiv:1706.04599, section 4).

    Parameters
    ----------
    head : nn.Linear
        Changed in place.
    p : ndarray of shape (n, n_classes)
        What it gives for unlabelled rows.
    error : float
        Of the teachers, in percent; NaN changes nothing.
    n_labels : int
        From how many labels that is known.

    Returns
    -------
    float
        The temperature.
    """
    certainty = float(p.max(1).mean())
    accuracy = (TRUST * certainty + n_labels * (1 - error / 100)) / (TRUST + n_labels)
    if not accuracy < certainty:
        return 1.0
    log_p = np.log(np.maximum(p.astype(np.float64), SMALLEST))
    excess = lambda t: float(softmax(log_p / t, axis=1).max(1).mean()) - accuracy
    root: Any = brentq(excess, 1, HOTTEST) if excess(HOTTEST) < 0 else HOTTEST
    temperature = float(root)
    with torch.no_grad():
        head.weight.div_(temperature)
        head.bias.div_(temperature)
    return temperature
