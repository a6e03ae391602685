"""How well rows of a class that was left out of training are found; the protocol of the experiment `outliers`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from aaekit import plots
from aaekit.evaluation import heldout
from aaekit.runs import run as runs

if TYPE_CHECKING:
    from reproduction.protocols import Trial

N_COMPONENTS = 50  # of the principal component analysis


def outliers(trial: "Trial") -> None:
    """Each class in turn is left out of training, without labels, and then to be found among the held-out rows.

    Beside our score: its two parts alone, an isolation forest, and the reconstruction error of a principal component
    analysis, of the same rows.
    """
    assert trial.data.y is not None and trial.rows.y is not None
    y, classes = trial.data.y[trial.split.unlabelled], np.unique(trial.rows.y)
    names = [trial.data.classes[k] for k in classes] if len(trial.data.classes) else [str(k) for k in classes]
    areas: dict[str, list[float]] = {}
    found: list[dict[str, np.ndarray]] = []
    for k, name in zip(classes, names, strict=True):
        found.append(dict(_scores(trial, trial.X[y != k])))
        for method, score in found[-1].items():
            area = float(roc_auc_score(trial.rows.y == k, score))
            areas.setdefault(method, []).append(area)
            trial.note(**{f"{name} {method} auc".replace(" aaekit", ""): area})
    for method, values in areas.items():
        trial.note(**{f"{method} auc".removeprefix("aaekit "): float(np.mean(values))})
    shown = {m: v for m, v in areas.items() if m not in ("density", "reconstruction")}
    trial.pictures["auc_by_class"] = plots.auc_by_class(shown, names)
    worst = int(np.argmin(areas["aaekit"]))
    hidden = trial.rows.y == classes[worst]
    curves: Any = {m: (found[worst][m], hidden) for m in shown}
    trial.pictures["roc_curves"] = plots.roc_curves(curves, f"The hardest to find: {names[worst]}")


def _scores(trial: "Trial", X: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """How unusual the held-out rows are beside the rows X, by each method."""
    model = runs.estimator_of(trial.config)
    share = model.reconstruction_share
    model.fit(X, callbacks=trial.callbacks)
    trial.spent(model.training_seconds_, model.n_steps_)
    for method, part in (("aaekit", share), ("density", 0.0), ("reconstruction", 1.0)):
        yield method, -model.set_params(reconstruction_share=part).score_samples(trial.rows.X)
    seen, held = (heldout.as_samples(model, rows).reshape(len(rows), -1) for rows in (X, trial.rows.X))
    forest = IsolationForest(random_state=trial.seed).fit(seen)
    yield "isolation forest", -forest.score_samples(held)
    pca = PCA(min(N_COMPONENTS, seen.shape[1]), random_state=trial.seed).fit(seen)
    yield "pca", np.square(held - pca.inverse_transform(pca.transform(held))).sum(1)
