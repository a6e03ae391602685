"""One seed of an experiment: its data, and the results that a protocol notes."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.exceptions import ConvergenceWarning

from aaekit.core.callbacks import Callback
from aaekit.core.checkpoints import Checkpoints
from aaekit.data import Dataset, Split
from aaekit.evaluation.heldout import HeldOut
from aaekit.runs.config import estimator_of
from aaekit.runs.data import held_out, load_data, split_of, targets


@dataclass(kw_only=True)
class TrialResults:
    """Base of the trials: what one seed measured.

    Attributes
    ----------
    numbers : dict
        Numbers by name, and curves.
    plan : dict
        What "auto" stood for in the first training.
    pictures : dict of str to Figure
        Figures by name.
    """

    numbers: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, Figure] = field(default_factory=dict)

    def note(self, **numbers: float) -> None:
        """Add numbers, rounded to five digits."""
        self.numbers |= {k: float(f"{v:.5g}") for k, v in numbers.items()}

    def note_training(self, estimator: Any) -> None:
        """Add the time and the steps of a training, and its plan if it is the first one."""
        self.note_seconds(estimator.training_seconds_)
        self.numbers["n_steps"] = self.numbers.get("n_steps", 0) + estimator.n_steps_
        self.note_plan(estimator)

    def note_seconds(self, seconds: float) -> None:
        """Add to the time spent on training."""
        self.numbers["seconds"] = round(self.numbers.get("seconds", 0.0) + seconds, 3)

    def note_plan(self, estimator: Any) -> None:
        """Note the plan of a fitted estimator, if none was noted before."""
        if not self.plan and hasattr(estimator, "plan_"):
            self.plan = json.loads(json.dumps(estimator.plan_.as_dict()))


@dataclass
class Trial(TrialResults):
    """One seed of an experiment with a data set.

    Parameters
    ----------
    config : mapping
        All settings, see `experiments.complete`.
    callbacks : sequence of Callback
        Called during training.
    variants : mapping of str to mapping
        For an ablation, the settings that each variant replaces.
    checkpoints : Path, optional
        Folder from which an interrupted training continues.

    Attributes
    ----------
    data, split
        The data set, and which of its rows are labelled.
    rows : HeldOut
        The rows to score.
    X, y : ndarray
        The training rows, and their labels (-1: unlabelled).
    """

    config: Mapping[str, Any]
    callbacks: Sequence[Callback]
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    checkpoints: Path | None = None

    def __post_init__(self) -> None:
        self.data: Dataset = load_data(self.config)
        self.split: Split = split_of(self.config, self.data)
        self.rows: HeldOut = held_out(self.config, self.data, self.split)
        y = None if self.data.y is None else self.split.masked(self.data.y)
        y = targets(self.config, y, self.data.domain)
        self.X, self.y = self.data.X[self.split.unlabelled], None if y is None else y[self.split.unlabelled]

    @property
    def seed(self) -> int:
        """The seed of everything random."""
        return self.config["random_state"]

    def fit(self, estimator: Any, *callbacks: Callback) -> Any:
        """Train an estimator; the held-out rows are scored each epoch, for the learning curve only."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the numbers show unused clusters
            return estimator.fit(
                self.X, self.y, eval_set=(self.rows.X, self.rows.y), callbacks=[*callbacks, *self.callbacks]
            )

    def trained(self) -> Any:
        """The trained estimator of the configuration; its time, plan and learning curve are noted."""
        resuming = [] if self.checkpoints is None else [Checkpoints(self.checkpoints)]
        estimator = self.fit(estimator_of(self.config), *resuming)
        self.note_training(estimator)
        self.numbers["history"] = learning_curve(estimator)
        return estimator


def learning_curve(estimator: Any, at_most: int = 100) -> list[dict[str, float]]:
    """The history of a training, rounded to four digits: all epochs, or evenly chosen ones including the last."""
    epochs = estimator.history_
    chosen = np.unique(np.linspace(0, len(epochs) - 1, at_most).round().astype(int))
    return [{k: float(f"{v:.4g}") for k, v in epochs[i].items()} for i in chosen]
