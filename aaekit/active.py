"""Active learning: labels are asked for where they help most, first a row of each cluster, then uncertain rows."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from sklearn.cluster import KMeans, kmeans_plusplus
from typing_extensions import TypedDict

from aaekit._files import cannot_write, read_json, write_json
from aaekit.core.callbacks import Callback
from aaekit.data import fingerprint
from aaekit.encoders.base import file_checksum
from aaekit.errors import InputError
from aaekit.estimators import ClusteringAAE, SemiSupervisedAAE
from aaekit.estimators._base import Estimator
from aaekit.estimators._io import json_value
from aaekit.estimators._sklearn import clone
from aaekit.labels import UNLABELLED, as_labels

__all__ = ["ActiveLearner"]

CORE = 0.5  # share of the members of a cluster, the most certain ones, that may take the label of the row in its middle
MAX_COPIES = 10  # such rows for one label, at most: more would outweigh the true labels
IMBALANCE = 4.0  # classes whose estimated frequencies differ by less are taken to be equally frequent
CANDIDATES = 20  # uncertain rows from which one query is chosen
OLD, NEW = "{}.safetensors", "{}-new.safetensors"  # files of models, before and after the session refers to them
MAX_STEPS = 1500  # of a fit that continues from the last one


class Facts(TypedDict):
    """What `ActiveLearner.save` writes besides the models."""

    rows: Annotated[list[int], Field(min_length=2, max_length=2)]
    random_state: Annotated[int, Field(ge=0, le=2**32 - 1)]
    labels: list[Annotated[list[Any], Field(min_length=2, max_length=2)]]
    is_taught: bool
    models: dict[Literal["clusters", "model"], str]  # checksums of their files


class ActiveLearner:
    """A classifier that asks for labels: `query` rows, label them and `teach` the labels, as often as you like.

    First, clusters are found without any label, and the queried rows are typical of them. The label of such a row is
    also given to some of the most certain members of its cluster, as long as all labels in its middle agree. After
    that, the rows with the most uncertain predictions are queried, no two of them alike, and training continues from
    the last fit.

    Parameters
    ----------
    X : array-like of shape (n, n_features) or (n, channels, height, width)
        All rows.
    clusters : ClusteringAAE, optional
        Finds the clusters, fitted to X or not; by default 20 of them. Never changed.
    classifier : SemiSupervisedAAE, optional
        Learns the labels. Never changed, but cloned for each fit. If its `class_prior` is "auto", the default, each fit
        starts with classes that are equally frequent, unless clusters and labels suggest that one is at least four
        times as frequent as another; any other `class_prior` is kept.
    random_state : int, default 0
        Seed of the choice of rows, and of the default models.

    Attributes
    ----------
    labels : dict of int to label
        The labels so far, by row.
    model : SemiSupervisedAAE or None
        The present classifier; None before the first `teach`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> quick = {"max_steps": 30, "hidden": (32,), "random_state": 0}
    >>> learner = ActiveLearner(X / 16, clusters=ClusteringAAE(n_clusters=5, **quick).fit(X / 16),
    ...                         classifier=SemiSupervisedAAE(**quick))
    >>> rows = learner.query(10)
    >>> learner.teach(rows, y[rows]).predict(X[:3] / 16).shape
    (3,)
    """

    def __init__(
        self,
        X: ArrayLike,
        *,
        clusters: ClusteringAAE | None = None,
        classifier: SemiSupervisedAAE | None = None,
        random_state: int = 0,
    ) -> None:
        self.random_state: int = random_state
        self.X = np.asarray(X)
        if len(self.X) < 2:
            raise InputError(f"X: expected at least 2 rows, got {len(self.X)}")
        self.clusters: ClusteringAAE = (
            ClusteringAAE(n_clusters=20, random_state=random_state) if clusters is None else clusters
        )
        self.classifier: SemiSupervisedAAE = (
            SemiSupervisedAAE(random_state=random_state) if classifier is None else classifier
        )
        self.labels: dict[int, Any] = {}
        self.model: SemiSupervisedAAE | None = None
        self._learned: dict[int, Any] = {}
        self._cluster_proba: NDArray[np.float32] | None = None

    # --- queries -----------------------------------------------------------------------------------------------------
    def query(self, n: int = 10, callbacks: Sequence[Callback] = ()) -> NDArray[np.int64]:
        """The rows whose labels would help most.

        The first call finds clusters, which takes minutes on large data.

        Parameters
        ----------
        n : int, default 10
            How many rows.
        callbacks : sequence of Callback
            Called while clusters are found.

        Returns
        -------
        ndarray of shape (n,)
            Row numbers, the most helpful first; none of a row that has a label.

        Raises
        ------
        InputError
            When fewer than n rows are left.
        """
        left = np.setdiff1d(np.arange(len(self.X)), np.fromiter(self.labels, int))
        if not 1 <= n <= len(left):
            raise InputError(f"n: expected a number from 1 to {len(left)}, the rows without a label, got {n}")
        if self.model is None:
            return self._typical(n, left, callbacks)
        return self.choose(left, self.doubt(left), n)

    def doubt(self, rows: ArrayLike) -> NDArray[np.float32]:
        """How uncertain the present classifier is of rows `(n,)`: 1 minus the margin between its two likeliest classes.

        Raises
        ------
        InputError
            Before the first `teach`.
        """
        p = np.sort(self._taught().predict_proba(self.X[np.asarray(rows)]), 1)
        return 1 - (p[:, -1] - p[:, -2])

    def choose(self, rows: NDArray[np.int64], doubt: NDArray[np.float32], n: int) -> NDArray[np.int64]:
        """Choose `n` of these rows whose predictions are uncertain, no two of them alike.

        Parameters
        ----------
        rows : ndarray of shape (m,)
            Row numbers.
        doubt : ndarray of shape (m,)
            What `doubt` says of them.
        n : int
            How many, at most m.

        Returns
        -------
        ndarray of shape (n,)
        """
        candidates = np.argsort(-doubt)[: CANDIDATES * n]
        points = self._points(rows[candidates])
        _, chosen = kmeans_plusplus(
            points, n, sample_weight=doubt[candidates] + 1e-9, random_state=self.random_state + len(self.labels)
        )
        distinct = np.unique(chosen)
        return rows[candidates[distinct]] if len(distinct) == n else rows[candidates[:n]]

    def _typical(self, n: int, left: NDArray[np.int64], callbacks: Sequence[Callback]) -> NDArray[np.int64]:
        """Rows in the middle of clusters: as many of each as its size deserves, but one of each if n allows it."""
        p = self._memberships(callbacks)[left]
        cluster = p.argmax(1)
        numbers, counts = np.unique(cluster, return_counts=True)
        size = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        n_rows = dict.fromkeys(numbers[np.argsort(-counts)][:n].tolist(), 1)
        while sum(n_rows.values()) < n:
            not_full = [k for k in n_rows if n_rows[k] < size[k]]
            n_rows[max(not_full, key=lambda k: size[k] / (n_rows[k] + 1))] += 1
        rows: list[int] = []
        for k, m in n_rows.items():
            core = self._core(p, cluster, k, at_least=m)
            codes = self.clusters_.transform(self.X[left[core]])
            centres = KMeans(m, n_init=cast(Any, 1), random_state=self.random_state).fit(codes).cluster_centers_
            distance = ((np.asarray(codes)[:, None] - centres) ** 2).sum(2)
            for j in range(m):
                nearest = next(i for i in np.argsort(distance[:, j]) if left[core[i]] not in rows)
                rows.append(int(left[core[nearest]]))
        return np.array(rows)

    # --- labels ------------------------------------------------------------------------------------------------------
    def teach(self, rows: ArrayLike, labels: ArrayLike, callbacks: Sequence[Callback] = ()) -> Self:
        """Add labels of rows and train on all labels so far; a row that is given again takes its new label.

        Parameters
        ----------
        rows : array-like of shape (n,)
            Row numbers.
        labels : array-like of shape (n,)
            Their labels: all texts or all numbers.
        callbacks : sequence of Callback
            Called while the classifier is trained.

        Returns
        -------
        self

        Raises
        ------
        InputError
            For rows that do not exist, another number of labels, or labels that are all the same so far.
        """
        rows, labels = np.asarray(rows), as_labels(labels)
        if rows.ndim != 1 or labels.shape != rows.shape:
            raise InputError(f"expected row numbers (n,) and as many labels, got {rows.shape} and {labels.shape}")
        if rows.dtype.kind not in "iu":
            raise InputError(f"rows: expected whole row numbers, at least one, got {len(rows)} of {rows.dtype}")
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self.X)):
            raise InputError(f"rows: expected numbers from 0 to {len(self.X) - 1}, got {rows.min()} to {rows.max()}")
        labels_by_row = self.labels | dict(zip(rows.tolist(), labels.tolist(), strict=True))
        if any(label is None or label != label for label in labels_by_row.values()):
            raise InputError("labels: expected one for each row, got None or NaN: leave out rows that nobody can label")
        if len({isinstance(label, str) for label in labels_by_row.values()}) > 1:
            raise InputError("labels: expected all texts or all numbers, as before, got both: convert them")
        classes, indices = np.unique(list(labels_by_row.values()), return_inverse=True)
        if len(classes) < 2:
            raise InputError(f"labels: expected at least 2 classes, got {classes.tolist()}: label more rows")
        labelled = np.fromiter(labels_by_row, int)
        y, frequencies = self._extended(labelled, indices, len(classes), callbacks)
        model = cast(SemiSupervisedAAE, clone(self.classifier))
        if self.model is not None and model.max_steps is None and model.max_epochs == "auto":
            n_steps = model.plan(self.model.plan_.data).n_steps  # training continues, and somebody waits
            model.set_params(max_steps=min(n_steps // 2, MAX_STEPS))
        if model.class_prior == "auto":  # queried rows are no random sample
            model.set_params(class_prior=("auto", *frequencies.tolist()))
        model.set_params(warm_start_from=self.clusters_ if self.model is None else self.model)
        model.fit(self.X, y, callbacks=callbacks)
        model.set_params(warm_start_from=None)
        model.classes_ = classes  # it learned their numbers: a label may be anything, even -1
        self.model, self.labels, self._learned = model, labels_by_row, dict(labels_by_row)
        return self

    @property
    def is_taught(self) -> bool:
        """Whether the present classifier was trained on all labels so far, and on no others."""
        return self.model is not None and self.labels == self._learned

    def _extended(
        self, labelled: NDArray[np.int64], indices: NDArray[np.int64], n_classes: int, callbacks: Sequence[Callback]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Class indices of all rows, -1 where there is none, with labels copied into cores; and class frequencies."""
        y = np.full(len(self.X), UNLABELLED)
        p = self._memberships(callbacks)
        cluster = p.argmax(1)
        votes = np.zeros((p.shape[1], n_classes))
        np.add.at(votes, (cluster[labelled], indices), 1)
        cores = []  # not where labels in the middle of a cluster differ; one at its edge says nothing about it
        for k in range(len(votes)):
            core = self._core(p, cluster, k)
            in_core = np.unique(indices[np.isin(labelled, core)])
            if len(in_core) == 1:
                cores.append((core, in_core[0]))
        n_most = round(MAX_COPIES * len(labelled) / max(1, len(cores)))
        for core, index in cores:
            evenly = np.unique(np.linspace(0, len(core) - 1, min(n_most, len(core))).astype(int))
            y[core[evenly]] = index
        y[labelled] = indices
        return y, _frequencies(np.bincount(cluster, minlength=len(votes)), votes)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Labels of rows by the present classifier, shape `(n,)`.

        Raises
        ------
        InputError
            Before the first `teach`.
        """
        return self._taught().predict(X)

    def _taught(self) -> SemiSupervisedAAE:
        """The present classifier, which `teach` has trained."""
        if self.model is None:
            raise InputError("expected labels before predictions, got none: query rows and teach their labels first")
        return self.model

    # --- files -------------------------------------------------------------------------------------------------------
    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write labels, clusters and classifier into a folder, but not the rows.

        If it is interrupted, the folder has the session as it was before, or as it is now.

        Raises
        ------
        InputError
            If a file cannot be written.
        """
        folder = Path(folder)
        models = {"clusters": getattr(self, "clusters_", self.clusters), "model": self.model}
        checksums = {}
        for name, model in models.items():
            if model is not None and hasattr(model, "networks_"):
                model.save(folder / NEW.format(name))
                checksums[name] = file_checksum(folder / NEW.format(name))
        facts = {
            "rows": fingerprint(self.X),
            "random_state": self.random_state,
            "labels": list(self.labels.items()),
            "is_taught": self.is_taught,
            "models": checksums,
        }
        write_json(folder / "session.json", facts)  # from now on, the new models are those of the session
        try:
            for name in models:
                if name in checksums:
                    os.replace(folder / NEW.format(name), folder / OLD.format(name))
                else:
                    for path in (NEW, OLD):
                        (folder / path.format(name)).unlink(missing_ok=True)  # of another session
        except OSError as error:
            raise cannot_write(folder, error) from error

    @classmethod
    def load(cls, folder: str | os.PathLike[str], X: ArrayLike, **models: Any) -> Self:
        """Read what `save` wrote, with the same rows.

        Parameters
        ----------
        folder : path
            What was given to `save`.
        X : array-like
            The rows of the session.
        **models : ClusteringAAE, SemiSupervisedAAE
            As in the constructor: `classifier`, if it was not the default one; `clusters`, if they are not found yet
            or have objects among their parameters.

        Raises
        ------
        InputError
            When there is no session, it is damaged, or it is of other rows.
        """
        folder = Path(folder)
        path = folder / "session.json"
        try:
            facts = read_json(path, "a session", Facts, "restore it, or start a new one")
        except FileNotFoundError:
            raise InputError(
                f"{folder}: expected a folder that ActiveLearner.save wrote, got no session.json in it"
            ) from None
        labels, rows, random_state = facts["labels"], facts["rows"], facts["random_state"]
        if not all(type(row) is int and isinstance(label, str | int | float) for row, label in labels):
            raise InputError(
                f"{path}: expected pairs of a row and its label, got others: restore it, or start a new one"
            )
        paths = {name: _model_file(folder, name, checksum) for name, checksum in facts["models"].items()}
        if "clusters" in paths:
            models["clusters"] = ClusteringAAE.load(paths["clusters"], **_objects(models.get("clusters")))
        learner = cls(X, random_state=random_state, **models)
        if fingerprint(learner.X) != rows:
            raise InputError(f"{folder}: expected the {rows[0]} rows of the session, got others: pass the same X")
        labels = dict(labels)
        if labels and not 0 <= min(labels) <= max(labels) < len(learner.X):
            raise InputError(
                f"{path}: expected labels of rows 0 to {len(learner.X) - 1}, got rows {min(labels)} to {max(labels)}: "
                "restore it, or start a new one"
            )
        learner.labels = labels
        if "model" in paths:
            learner.model = SemiSupervisedAAE.load(paths["model"], **_objects(learner.classifier))
        learner._learned = dict(labels) if facts["is_taught"] else {}
        return learner

    # --- what the clusters say ---------------------------------------------------------------------------------------
    def _memberships(self, callbacks: Sequence[Callback]) -> NDArray[np.float32]:
        """q(y|x) of all rows, by cluster; clusters are found at the first call."""
        if self._cluster_proba is None:
            is_fitted = hasattr(self.clusters, "networks_")
            unfitted = cast(ClusteringAAE, clone(self.clusters))
            self.clusters_: ClusteringAAE = self.clusters if is_fitted else unfitted.fit(self.X, callbacks=callbacks)
            self._cluster_proba = self.clusters_.cluster_proba(self.X)
        return self._cluster_proba

    @staticmethod
    def _core(p: NDArray[np.float32], cluster: NDArray[np.int64], k: int, at_least: int = 1) -> NDArray[np.int64]:
        """The half of the rows of cluster k that belong to it most certainly, the most certain first."""
        members = np.flatnonzero(cluster == k)
        return members[np.argsort(-p[members, k], kind="stable")[: max(at_least, round(CORE * len(members)))]]

    def _points(self, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        """Where rows lie for the choice of different ones: their class probabilities beside their style."""
        assert self.model is not None
        X = self.X[rows]
        z = np.asarray(self.model.transform(X))
        return np.concatenate([self.model.predict_proba(X), z / (z.std(0) + 1e-9) / np.sqrt(z.shape[1])], 1)


def _model_file(folder: Path, name: str, checksum: str) -> Path:
    """The file of a model of the session in a folder; a save that was interrupted has left it under its new name."""
    paths = [folder / path.format(name) for path in (NEW, OLD)]
    for path in paths:
        if path.is_file() and file_checksum(path) == checksum:
            return path
    raise InputError(f"{paths[-1]}: expected the file of the session, got another: restore it, or start a new one")


def _objects(estimator: Estimator[Any] | None) -> dict[str, Any]:
    """The parameters that a file only names, such as a backbone."""
    parameters = {} if estimator is None else estimator.get_params(deep=False)
    return {name: value for name, value in parameters.items() if json_value(value) is NotImplemented}


def _frequencies(sizes: NDArray[np.int64], votes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Class frequencies, estimated by the sizes of clusters and the labels in each `(n_clusters, n_classes)`.

    Uniform, unless a class seems `IMBALANCE` times as frequent as another: clusters of two classes make the estimate
    wrong by half.
    """
    has_label = votes.any(1)
    shares = sizes[has_label] @ (votes[has_label] / votes[has_label].sum(1, keepdims=True))
    is_uniform = shares.max() < IMBALANCE * shares.min()
    return np.full(len(shares), 1 / len(shares)) if is_uniform else shares / shares.sum()
