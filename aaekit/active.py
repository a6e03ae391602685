"""Labels asked for where they help most: first a row of each cluster, then those of which the model is least sure."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from sklearn.base import clone
from sklearn.cluster import KMeans, kmeans_plusplus

from aaekit._files import write_json
from aaekit.core.callbacks import Callback
from aaekit.data import fingerprint
from aaekit.errors import InputError
from aaekit.estimators import ClusteringAAE, SemiSupervisedAAE
from aaekit.estimators._base import UNLABELLED, Estimator, as_labels, json_value

SURE = 0.5  # share of each cluster's members, the surest, that may take the name of the row that was told
NAMED = 10  # such rows to one that was told, at most: more would drown the answers
UNLIKE = 4.0  # classes that seem less unequal than this are taken to be equally frequent
CANDIDATES = 20  # doubtful rows to choose one question from


class ActiveLearner:
    """A classifier that asks for labels: `ask`, answer with `tell`, as often as you like.

    First, clusters are found without any label, and the rows asked for are typical of them. What you say of such a row
    is taken as the name of some of the surest members of its cluster, for as long as no answer in it differs. After
    that, rows are asked for of which the classifier is least sure, no two of them alike, and it goes on from where it
    was.

    Parameters
    ----------
    X : array-like (n, n_features) or (n, channels, height, width)
        All rows.
    clusters : ClusteringAAE, optional
        What finds clusters, fitted to X or not; by default with 20 of them. Never changed.
    classifier : SemiSupervisedAAE, optional
        What learns the labels. Never changed, but cloned for each fit. If its `class_prior` is "auto", the default,
        each fit begins with classes that are equally frequent, unless clusters and answers say that one is at least
        four times as frequent as another; any other `class_prior` is kept.
    random_state : int, default 0
        Seed of the choice of rows, and of the default models.

    Attributes
    ----------
    labels : dict of int to label
        What was told, by row.
    model : SemiSupervisedAAE
        The classifier as it is now; after the first `tell`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> quick = {"max_steps": 30, "hidden": (32,), "random_state": 0}
    >>> session = ActiveLearner(X / 16, clusters=ClusteringAAE(n_clusters=5, **quick).fit(X / 16),
    ...                     classifier=SemiSupervisedAAE(**quick))
    >>> rows = session.ask(10)
    >>> session.tell(rows, y[rows]).predict(X[:3] / 16).shape  # look at them, and say what they are
    (3,)
    """

    def __init__(
        self,
        X: Any,
        *,
        clusters: ClusteringAAE | None = None,
        classifier: SemiSupervisedAAE | None = None,
        random_state: int = 0,
    ) -> None:
        self.X, self.random_state = np.asarray(X), random_state
        if len(self.X) < 2:
            raise InputError(f"expected at least 2 rows, got {len(self.X)}")
        self.clusters = ClusteringAAE(n_clusters=20, random_state=random_state) if clusters is None else clusters
        self.classifier = SemiSupervisedAAE(random_state=random_state) if classifier is None else classifier
        self.labels: dict[int, Any] = {}
        self.model: SemiSupervisedAAE | None = None
        self._belonging: np.ndarray | None = None

    # --- questions ---------------------------------------------------------------------------------------------------
    def ask(self, n: int = 10, callbacks: Sequence[Callback] = ()) -> np.ndarray:
        """Numbers of the n rows whose labels would help most, the most helpful first; none that was told before.

        The first call finds clusters, which takes minutes on large data; `callbacks` are told of that training.

        Raises
        ------
        InputError
            When there are not n rows left.
        """
        left = np.setdiff1d(np.arange(len(self.X)), np.fromiter(self.labels, int))
        if not 1 <= n <= len(left):
            raise InputError(f"ask({n}): expected a number from 1 to {len(left)}, the rows that have no label yet")
        if self.model is None:
            return self._typical(n, left, callbacks)
        p = np.sort(self.model.predict_proba(self.X[left]), 1)
        doubt = 1 - (p[:, -1] - p[:, -2])
        some = np.argsort(-doubt)[: CANDIDATES * n]
        codes = self._codes(left[some])
        _, chosen = kmeans_plusplus(
            codes, n, sample_weight=doubt[some] + 1e-9, random_state=self.random_state + len(self.labels)
        )
        return left[some[np.unique(chosen)]] if len(np.unique(chosen)) == n else left[some[:n]]

    def _typical(self, n: int, left: np.ndarray, callbacks: Sequence[Callback]) -> np.ndarray:
        """Rows in the middle of clusters: as many of each as is fair to its size, but one of each if n allows it."""
        p = self._memberships(callbacks)[left]
        of = p.argmax(1)
        found, counts = np.unique(of, return_counts=True)
        order = np.argsort(-counts)
        wanted = dict.fromkeys(found[order][:n].tolist(), 1)
        while sum(wanted.values()) < n:
            open_to = [k for k in wanted if wanted[k] < counts[found == k][0]]
            largest = max(open_to, key=lambda k: counts[found == k][0] / (wanted[k] + 1))
            wanted[largest] += 1
        rows = []
        for k, m in wanted.items():
            surest = self._surest(p, of, k, at_least=m)
            codes = self.clusters_.transform(self.X[left[surest]])
            centres = KMeans(m, n_init=cast(Any, 1), random_state=self.random_state).fit(codes).cluster_centers_
            distance = ((codes[:, None] - centres) ** 2).sum(2)
            for j in range(m):
                nearest = next(i for i in np.argsort(distance[:, j]) if left[surest[i]] not in rows)
                rows.append(int(left[surest[nearest]]))
        return np.array(rows)

    # --- answers -----------------------------------------------------------------------------------------------------
    def tell(self, rows: Any, labels: Any, callbacks: Sequence[Callback] = ()) -> Self:
        """Say the labels of rows, and train on all that was told; a row told again takes its new label.

        Raises
        ------
        InputError
            For rows that there are not, labels of another number, or if all labels so far are alike.
        """
        rows, labels = np.asarray(rows), as_labels(labels)
        if rows.ndim != 1 or labels.shape != rows.shape:
            raise InputError(f"expected row numbers (n,) and as many labels, got {rows.shape} and {labels.shape}")
        if rows.dtype.kind not in "iu":
            raise InputError(f"expected whole row numbers, at least one, got {len(rows)} of {rows.dtype}")
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self.X)):
            raise InputError(f"expected row numbers from 0 to {len(self.X) - 1}, got {rows.min()} to {rows.max()}")
        told = self.labels | dict(zip(rows.tolist(), labels.tolist(), strict=True))
        if any(label is None or label != label for label in told.values()):
            raise InputError("expected a label for each row, got None or NaN: leave out rows that nobody can tell")
        if len({isinstance(label, str) for label in told.values()}) > 1:
            raise InputError("expected labels that are all texts, or all numbers, with those told before; got both")
        classes, of = np.unique(list(told.values()), return_inverse=True)
        if len(classes) < 2:
            raise InputError(f"expected labels of at least 2 classes, got {classes.tolist()}: tell of some more rows")
        at = np.fromiter(told, int)
        y = np.full(len(self.X), UNLABELLED)
        p = self._memberships(callbacks)
        cluster = p.argmax(1)
        votes = np.zeros((p.shape[1], len(classes)))
        np.add.at(votes, (cluster[at], of), 1)
        named = []  # not where the answers in the middle of a cluster differ; one at its edge says nothing of it
        for k in range(len(votes)):
            middle = self._surest(p, cluster, k)
            answers = np.unique(of[np.isin(at, middle)])
            if len(answers) == 1:
                named.append((middle, answers[0]))
        at_most = round(NAMED * len(told) / max(1, len(named)))
        for middle, answer in named:
            evenly = np.unique(np.linspace(0, len(middle) - 1, min(at_most, len(middle))).astype(int))
            y[middle[evenly]] = answer
        y[at] = of
        model = cast(SemiSupervisedAAE, clone(self.classifier))
        if model.class_prior == "auto":  # rows that were asked for are no sample
            model.guess_frequencies(_frequencies(np.bincount(cluster, minlength=len(votes)), votes))
        if self.model is not None and model.max_steps is None and model.max_epochs == "auto":
            # it goes on from where it was, and somebody waits
            model.set_params(max_steps=min(self.model._auto_steps(len(self.X)) // 2, 1500))
        model.start_from(self.clusters_ if self.model is None else self.model)
        model.fit(self.X, y, callbacks=callbacks)
        model.classes_ = classes  # it learned their numbers: a label may be anything, even -1
        self.model, self.labels = model, told
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Labels of rows, by the model as it is now.

        Raises
        ------
        InputError
            Before the first `tell`.
        """
        if self.model is None:
            raise InputError("nothing was told yet: ask for rows, and tell their labels first")
        return self.model.predict(X)

    # --- from one day to the next ------------------------------------------------------------------------------------
    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write labels, clusters and classifier into a folder, but not the rows."""
        folder = Path(folder)
        clusters = getattr(self, "clusters_", self.clusters)
        for name, model in (("clusters", clusters), ("model", self.model)):
            path = folder / f"{name}.safetensors"
            if model is not None and hasattr(model, "networks_"):
                model.save(path)
            else:
                path.unlink(missing_ok=True)  # of another session
        facts = {"rows": fingerprint(self.X), "random_state": self.random_state, "labels": list(self.labels.items())}
        write_json(folder / "session.json", facts)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], X: Any, **given: Any) -> Self:
        """Go on with what `save` wrote, on the same rows.

        Parameters
        ----------
        folder : path
            What was given to `save`.
        X : array-like
            The rows of the session.
        **given : Any
            As in the constructor: `classifier`, if it was not the default one; `clusters`, if they are not found yet,
            or have objects among their parameters.

        Raises
        ------
        InputError
            When there is no session, or it is of other rows.
        """
        folder = Path(folder)
        try:
            facts = json.loads((folder / "session.json").read_text(encoding="utf-8"))
            told = {int(row): label for row, label in facts["labels"]}
            rows, random_state = facts["rows"], int(facts["random_state"])
        except FileNotFoundError:
            raise InputError(
                f"{folder}: expected a folder that ActiveLearner.save wrote, found no session.json"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder / 'session.json'}: damaged ({error})") from error
        if (folder / "clusters.safetensors").exists():
            given["clusters"] = ClusteringAAE.load(folder / "clusters.safetensors", **_objects(given.get("clusters")))
        session = cls(X, random_state=random_state, **given)
        if fingerprint(session.X) != rows:
            raise InputError(f"{folder}: it is of {rows[0]} other rows; give those that it was begun with")
        session.labels = told
        if (folder / "model.safetensors").exists():
            session.model = SemiSupervisedAAE.load(folder / "model.safetensors", **_objects(session.classifier))
        return session

    # --- what the clusters say ---------------------------------------------------------------------------------------
    def _memberships(self, callbacks: Sequence[Callback]) -> np.ndarray:
        """q(y|x) of all rows, by cluster; found at the first call."""
        if self._belonging is None:
            fitted = hasattr(self.clusters, "networks_")
            self.clusters_ = (
                self.clusters if fitted else cast(ClusteringAAE, clone(self.clusters)).fit(self.X, callbacks=callbacks)
            )
            self._belonging = self.clusters_.cluster_proba(self.X)
        return self._belonging

    @staticmethod
    def _surest(p: np.ndarray, cluster: np.ndarray, k: int, at_least: int = 1) -> np.ndarray:
        """The half of cluster k's rows that are in it most surely, the surest first."""
        members = np.flatnonzero(cluster == k)
        return members[np.argsort(-p[members, k], kind="stable")[: max(at_least, round(SURE * len(members)))]]

    def _codes(self, rows: np.ndarray) -> np.ndarray:
        """Where rows lie for the choice of unlike ones: their class probabilities beside their style."""
        assert self.model is not None
        X = self.X[rows]
        z = self.model.transform(X)
        return np.concatenate([self.model.predict_proba(X), z / (z.std(0) + 1e-9) / np.sqrt(z.shape[1])], 1)


def _objects(estimator: Estimator | None) -> dict[str, Any]:
    """The parameters that a file only names, such as a backbone."""
    given = {} if estimator is None else estimator.get_params(deep=False)
    return {name: value for name, value in given.items() if json_value(value) is NotImplemented}


def _frequencies(sizes: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """How often classes seem to occur, by the sizes of clusters and the answers in each `(n_clusters, n_classes)`.

    All alike, unless a class seems `UNLIKE` times as frequent as another: clusters that hold two classes make the
    estimate wrong by half.
    """
    named = votes.any(1)
    shares = sizes[named] @ (votes[named] / votes[named].sum(1, keepdims=True))
    alike = shares.max() < UNLIKE * shares.min()
    return np.full(len(shares), 1 / len(shares)) if alike else shares / shares.sum()
