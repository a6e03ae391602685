"""How long a fit is going to take, by its first steps."""

import sys
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from aaekit.core.callbacks import Callback
from aaekit.core.loop import Training
from aaekit.estimators._fitting import steps_in_all
from aaekit.estimators._plan import Plan

if TYPE_CHECKING:
    from aaekit.estimators._base import Estimator

__all__ = ["Timing", "timing_of"]

N_STEPS = 6  # of which the first is not counted


@dataclass(frozen=True)
class Timing:
    """What a fit is going to take on this machine.

    Attributes
    ----------
    seconds : float
        Its time, with the preparation of rows and all initialisations, without what follows the last step.
    n_steps : int
        Its steps.
    memory : int or None
        The most bytes that this process has had so far; None where the system does not say it.
    """

    seconds: float
    n_steps: int
    memory: int | None


class _Enough(Exception):
    """Enough steps were made."""


class _Watch(Callback):
    """The times of the start and of each step, up to so many."""

    def start(self, training: Training) -> None:
        self.times = [time.perf_counter()]

    def step(self, training: Training) -> None:
        self.times.append(time.perf_counter())
        if len(self.times) > N_STEPS:
            raise _Enough


def timing_of(estimator: "Estimator[Any]", plan: Plan, X: ArrayLike, y: ArrayLike | None = None) -> Timing | None:
    """Make a few steps of a fit, and say how long those of its plan take; None for estimators that fit another before.

    The estimator is not changed.
    """
    parameters = estimator.get_params(deep=False)
    if "autoencoder" in parameters:
        return None
    trial: Any = clone(estimator)
    if "n_init" in parameters:
        trial.set_params(n_init=1)
    watch, began = _Watch(), time.perf_counter()
    with warnings.catch_warnings(action="ignore"), suppress(_Enough):
        trial.fit(X, y, callbacks=[watch])
    preparation, steps = watch.times[0] - began, np.diff(watch.times)
    n_steps = steps_in_all(plan)
    return Timing(preparation + n_steps * float(np.median(steps[1:] if len(steps) > 1 else steps)), n_steps, _memory())


def _memory() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
