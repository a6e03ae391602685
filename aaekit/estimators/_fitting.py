"""From rows and labels to a training: checked parameters, held-out rows, initial weights, several initialisations."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_consistent_length
from torch import Tensor, nn

from aaekit import priors
from aaekit._progress import time_text
from aaekit.core.batches import Minibatches, derived_seed
from aaekit.core.callbacks import Callback, Progress
from aaekit.core.distributed import from_rank_zero, rank_and_world_size
from aaekit.core.loop import Training
from aaekit.core.phase import Phase
from aaekit.core.random import RandomStream, seed_of
from aaekit.core.settings import Settings
from aaekit.errors import InputError, nearest
from aaekit.estimators._hyperparameters import validated
from aaekit.estimators._io import model_file
from aaekit.estimators._labels import checked_weights, label_weights, warn_of_balanced_labels
from aaekit.estimators._plan import DataSummary, Plan
from aaekit.estimators._rows import probabilities
from aaekit.estimators._symmetries import are_photos, find_symmetries
from aaekit.labels import UNLABELLED
from aaekit.nn.step import EncoderStep

if TYPE_CHECKING:
    from aaekit.estimators._base import Estimator, RandomState, Sources

__all__ = [
    "MAX_TRIAL",
    "MIN_TRIAL",
    "best_initialisation",
    "check_parameters",
    "doubt",
    "drawn_seed",
    "initial_weights",
    "initialised",
    "prepared",
    "rows_per_batch",
    "steps_in_all",
    "training_of",
    "trial_steps",
    "with_phases",
]

E = TypeVar("E", bound="Estimator[Any]")
Scored = tuple[Tensor, NDArray[np.int64] | None]  # rows, and labels as `_score` takes them

MIN_TRIAL, MAX_TRIAL = 100, 600  # steps after which an initialisation is judged, at least and at most
N_FOR_DOUBT = 5000  # rows by which it is judged
VALIDATION_FRACTION = 0.1  # of the (labelled) rows, held out for early stopping
PATIENCE = 10  # epochs without improvement until early stopping
MOMENTUM = {"adam": 0.5, "sgd": 0.9}


@dataclass(frozen=True)
class Start:
    """What a fit knows before it makes networks: rows and labels, those to train on, those to score, and the plan.

    `weights` are those of the labelled rows among `X_train`.
    """

    rows: NDArray[Any]
    labels: NDArray[np.int64] | None
    X_train: Tensor
    y_train: NDArray[np.int64] | None
    weights: NDArray[np.float32] | None
    sets: dict[str, Scored]
    plan: Plan


def check_parameters(estimator: "Estimator[Any]") -> None:
    """Compare every parameter with its declaration.

    Raises
    ------
    InputError
        For values out of bounds or of another type, one line each.
    """
    values = estimator.get_params(deep=False)
    parsed = validated(type(estimator), values)
    for name, value in values.items():
        kind = parsed[name]
        of_text = isinstance(value, str | Mapping) and kind != value
        if of_text or (isinstance(value, float) and isinstance(kind, int)):
            raise InputError(f"{name}: expected a {type(kind).__name__}, for instance {kind!r}, got {value!r}")
    shape = estimator.image_shape
    if shape is not None and len(shape) not in (2, 3):
        raise InputError(
            f"image_shape: expected three numbers (channels, height, width), or two of signals (channels, length), got "
            f"{shape!r}"
        )


def prepared(
    estimator: "Estimator[Any]",
    X: ArrayLike,
    y: ArrayLike | None,
    eval_set: tuple[ArrayLike, ArrayLike | None] | None = None,
    sample_weight: ArrayLike | None = None,
) -> Start:
    """Check parameters and rows, forget an earlier fit, hold out rows to validate with, and plan."""
    check_parameters(estimator)
    for name in [name for name in vars(estimator) if name.endswith("_") and not name.startswith("_")]:
        delattr(estimator, name)
    rows, labels = estimator._learn(X, y)
    weights = checked_weights(sample_weight, len(rows))
    if estimator._learns_from_labelled_only and labels is not None:
        labelled = labels != UNLABELLED
        if not labelled.all():
            rows, labels, weights = rows[labelled], labels[labelled], None if weights is None else weights[labelled]
    if len(rows) < 2:
        raise InputError(f"expected at least 2 rows to train on, got n_samples = {len(rows)}")
    estimator.seed_ = drawn_seed(estimator.random_state)
    X_train, y_train, sets = torch.from_numpy(rows), labels, dict[str, Scored]()
    if estimator.early_stopping:
        kept, held_out = _held_out(labels, len(rows), estimator.seed_)
        sets["validation"] = X_train[held_out], None if labels is None else labels[held_out]
        X_train, y_train = X_train[kept], None if labels is None else labels[kept]
        weights = None if weights is None else weights[kept]
    if eval_set is not None:
        X_eval, y_eval = eval_set
        check_consistent_length(X_eval, y_eval)
        indices = None if y_eval is None else estimator._label_indices(y_eval)
        sets["eval"] = torch.from_numpy(estimator.scaler_.transform(estimator, X_eval)), indices
    scaler, class_counts = estimator.scaler_, getattr(estimator, "class_counts_", ())
    if len(class_counts) and y_train is not None and estimator.early_stopping:
        class_counts = np.bincount(y_train[y_train != UNLABELLED], minlength=len(class_counts)).tolist()
    data = DataSummary(
        scaler.shape,
        len(X_train),
        scaler.unit_range,
        scaler.data_radius,
        tuple(class_counts),
        getattr(estimator, "n_unlabelled_", 0),
        tuple(map(str, estimator.classes_)) if len(class_counts) else (),
        scaler.groups,
        *_seen_in_images(estimator, X_train, y_train),
    )
    if getattr(estimator, "class_prior", "") == "labelled":
        warn_of_balanced_labels(data)
    return Start(
        rows, labels, X_train, y_train, _label_weights(estimator, y_train, weights), sets, estimator.plan(data)
    )


def _seen_in_images(
    estimator: "Estimator[Any]", X: Tensor, y: NDArray[np.int64] | None
) -> tuple[tuple[str, ...], bool]:
    """Symmetries, if the augmentation depends on them, and whether images are photos."""
    if X.ndim != 4 or not estimator.scaler_.unit_range:
        return (), False
    is_auto = getattr(estimator, "augmentation", "none") == "auto"
    return find_symmetries(X.numpy(), y, estimator.seed_) if is_auto else (), are_photos(X.numpy())


def initialised(estimator: E, X: ArrayLike, y: ArrayLike | None = None) -> E:
    """An estimator as it is in `fit` before the first step: with a plan and initial weights. It is changed."""
    plan = prepared(estimator, X, y).plan
    with RandomStream(0):
        nets = estimator.networks(plan)
    estimator.plan_ = with_phases(plan, nets, estimator.phases(nets, plan), settings_of(estimator, plan))
    estimator.networks_ = nets
    return estimator


def rows_per_batch(batch_size: Any, n: int, labelled: int | None = None) -> int:
    """Rows in a minibatch of `n`; `labelled` is the default for a source of labelled rows.

    Raises
    ------
    InputError
        When there are fewer rows.
    """
    sizes = batch_size if isinstance(batch_size, tuple | list) else (batch_size, "auto")
    size = sizes[0] if labelled is None else sizes[1]
    if size == "auto":
        return min(labelled or 100, n)
    if size > n:
        kind = "rows" if labelled is None else "labelled rows"
        raise InputError(f"batch_size: expected at most the {n} {kind} to train on, got {size}")
    return int(size)


def settings_of(estimator: "Estimator[Any]", plan: Plan) -> Settings:
    """How the loop trains."""
    optimizer, schedule, patience = estimator.optimizer, estimator.learning_rate_schedule, estimator.early_stopping
    name, momentum = optimizer if isinstance(optimizer, tuple | list) else (optimizer, None)
    return Settings(
        n_steps=plan.n_steps,
        learning_rate=estimator.learning_rate,
        critic_learning_rate=getattr(estimator, "discriminator_learning_rate", estimator.learning_rate),
        learning_rates=estimator.learning_rates or {},
        schedule=plan.schedule,
        optimizer=name,
        momentum=MOMENTUM[name] if momentum is None else momentum,
        cosine=schedule == "cosine",
        warmup_steps=plan.warmup_steps,
        milestones=() if isinstance(schedule, str) else tuple(m * plan.steps_per_epoch for m in schedule),
        ema_decay=estimator.ema_decay,
        patience=PATIENCE if patience is True else int(patience),
        precision=estimator.precision,
        device=estimator.device,
        random_state=estimator.seed_,
    )


def training_of(
    estimator: "Estimator[Any]",
    k: int,
    sources: "Sources",
    plan: Plan,
    initial: Mapping[str, Tensor],
    evaluate: Callable[[nn.Module], dict[str, float]] | None,
) -> Training:
    """The training of the `k`-th initialisation: each has other weights, but the `initial` ones, and other batches."""
    seed = estimator.seed_
    torch.manual_seed(derived_seed(seed, k) if k else seed)
    nets = estimator.networks(plan)
    own = nets.state_dict()
    nets.load_state_dict({k: v for k, v in initial.items() if k in own and own[k].shape == v.shape}, strict=False)
    minibatches = {
        view: Minibatches(list(arrays.values()), plan.batch_sizes[view], seed + i)
        for i, (view, arrays) in enumerate(sources.items())
    }
    names = {view: list(arrays) for view, arrays in sources.items()}

    def make_step(batch: Mapping[str, Sequence[Tensor]]) -> EncoderStep:
        named = {view: dict(zip(names[view], arrays, strict=True)) for view, arrays in batch.items()}
        return estimator._make_step(nets, plan, named)

    phases, settings = estimator.phases(nets, plan), settings_of(estimator, plan)
    training = Training(nets, phases, minibatches, make_step, settings, evaluate)
    for view, source in minibatches.items():  # of the next initialisation, too, which need not be sent again
        sources[view] = dict(zip(names[view], source.arrays, strict=True))
    return training


def initial_weights(source: Any, load: Callable[[Path], Any]) -> dict[str, Tensor]:
    """The weights of `warm_start_from`, which may be a path; how frequent its classes were does not matter here.

    Raises
    ------
    NotFittedError
        When it is an estimator that is not fitted.
    InputError
        When it is a path where no model can be read.
    """
    if source is None:
        return {}
    if isinstance(source, str):
        source = load(model_file(source))
    if not hasattr(source, "networks_"):
        kind = type(source).__name__
        raise NotFittedError(
            f"warm_start_from: expected a fitted estimator, got a {kind} that is not: call its fit first"
        )
    tensors = source.networks_.state_dict().items()
    return {k: v.clone() for k, v in tensors if not k.startswith("class_frequencies.")}


def doubt(p: NDArray[np.floating], class_prior: Sequence[float], marginal_weight: float) -> float:
    """Mean entropy of q(y|x), in nats, plus the weighted divergence of its mean from the class prior.

    Where classes are confused, y stays uncertain; where one has lost a part of itself to another, their frequencies
    are off.
    """
    p = p.clip(1e-12)
    mean, prior = p.mean(0), priors.Categorical(p.shape[1], class_prior).mean.numpy().clip(1e-12)
    entropy, divergence = -(p * np.log(p)).sum(1).mean(), (mean * np.log(mean / prior)).sum()
    return float(entropy + marginal_weight * divergence)


def trial_steps(plan: Plan) -> int:
    """The steps of each initialisation until one is chosen: a third of all, at most `MAX_TRIAL`; 0 if none is tried."""
    n_steps = min(plan.n_steps // 3, MAX_TRIAL)
    return n_steps if plan.n_init > 1 and n_steps >= MIN_TRIAL else 0


def steps_in_all(plan: Plan) -> int:
    """The steps of a fit, those of all initialisations included."""
    return plan.n_steps + (plan.n_init - 1) * trial_steps(plan)


class _Trials(Callback):
    """Says which initialisation is tried and how long all is going to take, also after 5, 10, 20, ... seconds.

    Parameters
    ----------
    say : callable
        Says it.
    n_init, n_steps, total : int
        Initialisations, steps of each, and steps of all with those of the best one to its end.
    """

    def __init__(self, say: Callable[[str], None], n_init: int, n_steps: int, total: int) -> None:
        self._say, self._n_init, self._n_steps, self._total = say, n_init, n_steps, total
        self._began, self._next_line = time.monotonic(), Progress.FIRST_SECONDS

    def begin(self, k: int, n_before: int) -> None:
        """Say that another one begins, after so many steps of earlier ones."""
        self._n_before = n_before
        which, left = f"{k + 1}/{self._n_init} ({self._n_steps} steps)", self._left(n_before) if n_before else ""
        self._say(f"initialisation {which}; the best one is trained to completion{left}")

    def step(self, training: Training) -> None:
        """Say how far it is, if it is time for that."""
        if time.monotonic() - self._began >= self._next_line:
            self._next_line = 2 * (time.monotonic() - self._began)
            left = self._left(self._n_before + training.n_done)
            self._say(f"step {training.n_done} of {self._n_steps}{left} in all")

    def _left(self, n_done: int) -> str:
        return f", {time_text((time.monotonic() - self._began) * (self._total / n_done - 1))} left"


def best_initialisation(
    estimator: "Estimator[Any]",
    begin: Callable[[int], Training],
    first: Training,
    X: Tensor,
    y: NDArray[np.int64] | None,
    announce: Callable[[str], None],
    callbacks: Sequence[Callback] = (),
) -> Training:
    """The least doubtful of `n_init` initialisations after a third of the steps, or `MAX_TRIAL` of them.

    Those that a callback has saved before an interruption are not tried again.
    """
    plan = estimator.plan_
    n_steps = trial_steps(plan)
    if not n_steps:
        return first
    unlabelled = np.arange(len(X)) if y is None else np.flatnonzero(y == UNLABELLED)

    callbacks = callbacks if rank_and_world_size()[0] == 0 else ()
    saved, starts = next(((callback, starts) for callback in callbacks if (starts := callback.starts())), (None, []))
    values = from_rank_zero(lambda: starts)[: plan.n_init]

    def doubt_of(nets: Any) -> float:
        estimator._recalibrate_batch_norm(nets, X)
        p = probabilities(nets, X[unlabelled[:N_FOR_DOUBT]])
        return doubt(p, plan.class_prior, plan.weights["marginal_kl"])

    before = len(values)
    progress = _Trials(announce, plan.n_init, n_steps, steps_in_all(plan) - before * n_steps)

    def trainings() -> Iterator[Training]:
        for k in range(before, plan.n_init):
            progress.begin(k, (k - before) * n_steps)
            yield begin(k) if k else first

    best, lowest, seconds = first, math.inf, 0.0
    if values:
        lowest = min(values)
        best = begin(k) if (k := values.index(lowest)) else first
    if saved is not None:
        saved.restore_start(best)
        seconds = best.seconds
    for training in trainings():
        training.run([progress], until=n_steps)
        seconds += training.seconds
        value = from_rank_zero(partial(doubt_of, training.averaged))
        values.append(value)
        if value < lowest:
            best, lowest = training, value
        best.seconds, own = seconds, best.seconds
        for callback in callbacks:
            callback.save_start(values, best)
        best.seconds = own
    best.seconds = seconds
    return best


def with_phases(plan: Plan, nets: nn.Module, phases: Sequence[Phase[Any]], settings: Settings) -> Plan:
    """The plan with weight, learning rate and networks of each phase.

    Raises
    ------
    InputError
        When `loss_weights` or `learning_rates` name a phase that the variant does not have.
    """
    for parameter, values in (("loss_weights", plan.loss_weights), ("learning_rates", settings.learning_rates)):
        for name, value in values.items():
            matching = [p for p in phases if name in (p.name, p.name.rsplit("/", 1)[-1])]
            names = list(dict.fromkeys(p.name for p in phases))
            if not matching:
                raise InputError(
                    f"{parameter}: expected phases of {', '.join(names)}, got {name!r}{nearest(name, names)}"
                )
            if parameter == "loss_weights" and value and not any(p.weight for p in matching):
                raise InputError(
                    f"loss_weights: expected 0 for {name!r}, which other parameters turn off, got {value:g}"
                )
    names = {module: name for name, module in nets.named_children()}
    return replace(
        plan,
        weights={p.name: p.weight for p in phases},
        learning_rates={p.name: settings.rate_of(p) for p in phases},
        moves={p.name: tuple(names[m] for m in p.moves) for p in phases if p.weight},
    )


def drawn_seed(random_state: "RandomState") -> int:
    """The seed of everything random in a fit; processes that train together have the same."""
    return from_rank_zero(lambda: seed_of(random_state))


def _held_out(y: NDArray[np.int64] | None, n: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the rows to train on and of those held out: labelled ones, each class in proportion."""
    random = np.random.default_rng(seed)
    y = None if y is None else y.reshape(len(y), -1)[:, 0]
    groups = [np.arange(n)] if y is None else [np.flatnonzero(y == k) for k in range(y.max() + 1)]
    out = [random.permutation(g)[: max(1, round(len(g) * VALIDATION_FRACTION))] for g in groups]
    if any(len(o) == len(g) for o, g in zip(out, groups, strict=True)):
        raise InputError(
            "early_stopping: expected at least two labelled rows of each class, got fewer: label more, or turn it off"
        )
    held_out = np.concatenate(out)
    return np.setdiff1d(np.arange(n), held_out), held_out


def _label_weights(
    estimator: "Estimator[Any]", y: NDArray[np.int64] | None, sample_weight: NDArray[np.float64] | None
) -> NDArray[np.float32] | None:
    """Weights of the labelled rows among those to train on; None if all count alike."""
    class_weight = getattr(estimator, "class_weight", None)
    if y is None or (class_weight is None and sample_weight is None):
        return None
    labelled = y != UNLABELLED
    of_rows = None if sample_weight is None else sample_weight[labelled]
    return label_weights(y[labelled], estimator.classes_.tolist(), class_weight, of_rows)
