"""A labelling session as the run that the rooms of the studio look at."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aaekit import labelling
from aaekit.columns import Schema
from aaekit.data import Dataset, Split
from aaekit.errors import InputError
from aaekit.labels import UNLABELLED

__all__ = ["LabelledRun"]


class LabelledRun:
    """What rooms ask of a `Run`, for a labelling session: its rows, answers as labels, and its present model.

    Parameters
    ----------
    path : Path
        The folder of the session.
    """

    fresh = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings: labelling.Settings = labelling.read_settings(path)

    @property
    def config(self) -> dict[str, Any]:
        """As that of a run, as far as there is one."""
        return {"system": "labelling", "data": self.settings["data"], "condition": "class"}

    @cached_property
    def _loaded(self) -> tuple[Any, Dataset]:
        return labelling.load(self.path, self.settings)

    @property
    def learner(self) -> Any:
        """The `ActiveLearner`."""
        return self._loaded[0]

    @cached_property
    def answers(self) -> labelling.Answers:
        """The log of answers."""
        return labelling.Answers(self.path, len(self._loaded[1].X), self.learner.labels)

    @cached_property
    def data(self) -> Dataset:
        """Its rows, labelled by the answers; test rows are left out."""
        data, number = self._loaded[1], {name: k for k, name in enumerate(self.labels)}
        y = np.full(len(data.X), UNLABELLED)
        for row, label in self.answers.labels.items():
            y[row] = number[label]
        return replace(
            data, y=y, classes=tuple(self.labels), X_test=None, y_test=None, domain=None, domain_test=None, domains=(),
            originals_test=None, files_test=(),
        )  # fmt: skip

    @cached_property
    def split(self) -> Split:
        """Which rows have labels."""
        n, labelled = len(self._loaded[1].X), np.array(sorted(self.answers.labels), dtype=np.int64)
        return Split(labelled, np.arange(n), np.arange(0))

    @cached_property
    def labels(self) -> list[str]:
        """The names of the labels: first those of the classifier, in its order."""
        classes = [] if self.learner.model is None else [str(name) for name in self.learner.model.classes_]
        return [*classes, *sorted(set(self.answers.labels.values()) - set(classes))]

    @property
    def features(self) -> str | None:
        """The encoder whose features the rows are; None if they are none."""
        return self.settings["features"]

    @property
    def schema(self) -> Schema | None:
        """What the columns of a table are; None if they have no names."""
        return self._loaded[1].schema

    def fitted(self) -> Any:
        """The classifier; before there is one, the clusters.

        Raises
        ------
        InputError
            If there are none yet.
        """
        model = self.learner.model
        if model is None:
            if not hasattr(self.learner.clusters, "networks_"):
                raise InputError(f"{self.path}: expected clusters, got none: run aae label ask {self.path}")
            return self.learner.clusters
        model.classes_ = np.arange(len(self.labels))[: len(model.classes_)]  # by number, as in a run
        return model
