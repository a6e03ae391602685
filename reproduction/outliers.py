"""The protocol of the experiment `outliers`: how well a class that was left out of training is detected."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from aaekit import plots
from aaekit.evaluation import heldout
from aaekit.runs.config import estimator_of
from reproduction.trials import Trial

N_COMPONENTS = 50  # of the principal component analysis


def outliers(trial: Trial) -> None:
    """Leave each class in turn out of training, without labels, and detect it among the held-out rows.

    For comparison, on the same rows: the two parts of the score alone, an isolation forest, and the reconstruction
    error of a principal component analysis.
    """
    assert trial.data.y is not None and trial.rows.y is not None
    y, classes = trial.data.y[trial.split.unlabelled], np.unique(trial.rows.y)
    names = [trial.data.classes[k] for k in classes] if len(trial.data.classes) else [str(k) for k in classes]
    areas: dict[str, list[float]] = {}
    scores: list[dict[str, np.ndarray]] = []
    for k, name in zip(classes, names, strict=True):
        scores.append(dict(_scores(trial, trial.X[y != k])))
        for method, score in scores[-1].items():
            area = float(roc_auc_score(trial.rows.y == k, score))
            areas.setdefault(method, []).append(area)
            trial.note(**{f"{name} {method} auc".replace(" aaekit", ""): area})
    for method, values in areas.items():
        trial.note(**{f"{method} auc".removeprefix("aaekit "): float(np.mean(values))})
    drawn = {m: v for m, v in areas.items() if m not in ("density", "reconstruction")}
    trial.pictures["auc_by_class"] = plots.auc_by_class(drawn, names)
    worst = int(np.argmin(areas["aaekit"]))
    is_outlier = trial.rows.y == classes[worst]
    curves: Any = {method: (scores[worst][method], is_outlier) for method in drawn}
    trial.pictures["roc_curves"] = plots.roc_curves(curves, f"The hardest class to detect: {names[worst]}")


def _scores(trial: Trial, X: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Outlier scores of the held-out rows by each method, trained on the rows X."""
    model = estimator_of(trial.config)
    share = model.reconstruction_share
    model.fit(X, callbacks=trial.callbacks)
    trial.note_training(model)
    for method, part in (("aaekit", share), ("density", 0.0), ("reconstruction", 1.0)):
        yield method, -model.set_params(reconstruction_share=part).score_samples(trial.rows.X)
    inliers, rows = (heldout.as_samples(model, x).reshape(len(x), -1) for x in (X, trial.rows.X))
    forest = IsolationForest(random_state=trial.seed).fit(inliers)
    yield "isolation forest", -forest.score_samples(rows)
    pca = PCA(min(N_COMPONENTS, inliers.shape[1]), random_state=trial.seed).fit(inliers)
    yield "pca", np.square(rows - pca.inverse_transform(pca.transform(rows))).sum(1)
