"""What a fitted estimator is worth on rows it was not trained on: numbers, tables, and other methods beside it."""

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from aaekit import report
from aaekit.data import Dataset, Split
from aaekit.errors import InputError
from aaekit.estimators import AdversarialAutoencoder, ClusteringAAE, EmbeddingAAE, SupervisedAAE, SupervisedBaseline
from aaekit.estimators._base import UNLABELLED, Classifier
from aaekit.estimators._hyperparameters import hyperparameters_of
from aaekit.estimators.autoencoder import Autoencoder
from aaekit.estimators.categorical import CategoricalAutoencoder
from aaekit.evaluation import metrics
from aaekit.evaluation.health import Evidence, HealthFinding, diagnose
from aaekit.evaluation.heldout import HeldOut, fitting, known_labels, pictures, unit


def evaluate(estimator: Any, rows: HeldOut) -> dict[str, Any]:
    """How good a fitted estimator is on rows: what can be said of it, by name; `MEASURES` says what the names mean.

    Errors and accuracies are in percent. `reconstruction` is the mean squared error of a value, in units of the
    (scaled) rows; `mmd`, `sliced_wasserstein` and `two_sample_auc` compare codes and prior, see `metrics.prior_fit`.
    """
    results: dict[str, Any] = {
        "estimator": type(estimator).__name__,
        "rows": rows.name,
        "n_rows": len(rows.X),
        "n_steps": estimator.n_steps_,
        "seconds": round(estimator.training_seconds_, 2),
    }
    rows = rows._replace(X=fitting(estimator, rows.X))
    labelled = rows.y is not None and bool((rows.y != UNLABELLED).any())
    if isinstance(estimator, Classifier) and rows.name != "training" and labelled:
        assert rows.y is not None
        results["n_labelled"] = sum(estimator.class_counts_)
        results["n_scored"] = int((rows.y != UNLABELLED).sum())
        results["error"] = metrics.error_rate(rows.y, estimator.predict(rows.X))
    if isinstance(estimator, ClusteringAAE):
        results |= {"n_clusters": estimator.n_clusters, "n_used_clusters": estimator.n_used_clusters_}
        results["marginal_entropy"] = estimator.marginal_entropy_
        if labelled:
            results |= clustering(rows.y, estimator.cluster_proba(rows.X).argmax(1))
    if isinstance(estimator, EmbeddingAAE):
        results |= _embedding(estimator, rows.some())
    if isinstance(estimator, Autoencoder):
        results |= _autoencoder(estimator, rows.some())
    return results


def diagnosis(estimator: Any, rows: HeldOut) -> list[HealthFinding]:
    """What looks wrong with a fitted estimator, by its curves and by what it makes of rows; see docs/health.md."""
    rows = rows._replace(X=fitting(estimator, rows.X)).some(2000)
    found: dict[str, Any] = {"history": estimator.history_, "parameters": estimator.get_params(deep=False)}
    labels = rows.y if rows.y is None or rows.y.ndim == 1 else rows.y[:, 0]
    if isinstance(estimator, Autoencoder):
        scale = np.asarray(unit(estimator))
        found["X"], found["X_hat"] = (pictures(estimator, x) / scale for x in (rows.X, _again(estimator, rows)))
        found["z"] = estimator.transform(rows.X)
        found["prior"] = estimator.sample_prior(4 * len(rows.X), random_state=0)
        found["conditional"] = isinstance(estimator, AdversarialAutoencoder | EmbeddingAAE)
    classes: Any = getattr(estimator, "classes_", None)
    without = isinstance(estimator, EmbeddingAAE) and classes is None
    found["clusters"] = isinstance(estimator, ClusteringAAE) or without
    if isinstance(estimator, CategoricalAutoencoder):
        found["y"] = estimator.cluster_proba(rows.X)
    elif isinstance(estimator, Classifier):
        found["y"] = estimator.predict_proba(rows.X)
    if labels is not None and not found["clusters"] and classes is not None:
        classes = classes[0] if isinstance(classes, list) else classes
        at = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
        found["labels"] = np.where(classes[at] == labels, at, UNLABELLED)
    return diagnose(Evidence(**found))


def predictions(estimator: Any, X: np.ndarray, names: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    """What a fitted estimator says of rows: the names of the columns, and a line for each row.

    `names` are those of its classes (or clusters), in the order of its probabilities.

    Raises
    ------
    InputError
        If it only makes and encodes rows.
    """
    if hasattr(estimator, "offset_"):  # an outlier detector
        scores = estimator.score_samples(X)
        return ["row", "outlier", "score"], [
            [k, "yes" if s < estimator.offset_ else "no", f"{s:.6g}"] for k, s in enumerate(scores)
        ]
    if isinstance(estimator, EmbeddingAAE):
        Z, found = estimator.transform(X), estimator.predict(X)
        header = ["row", "class" if names else "cluster", *estimator.get_feature_names_out()]
        told = dict(zip(estimator.classes_.tolist(), names, strict=True)) if names else {}
        places = zip(found.tolist(), Z, strict=True)
        return header, [[k, told.get(c, c), *(f"{v:.6g}" for v in z)] for k, (c, z) in enumerate(places)]
    if isinstance(estimator, ClusteringAAE) and not hasattr(estimator, "classes_"):
        what, p = "cluster", estimator.cluster_proba(X)
    elif hasattr(estimator, "predict_proba"):
        what, p = "class", estimator.predict_proba(X)
    else:
        raise InputError(
            f"{type(estimator).__name__} predicts nothing: only classifiers, clusters, maps and outlier detectors do; "
            "see `aae reconstruct` and `aae sample`"
        )
    lines = [[k, names[row.argmax()], *(f"{v:.6f}" for v in row)] for k, row in enumerate(p)]
    return ["row", what, *(f"p({name})" for name in names)], lines


def clustering(y: Any, clusters: np.ndarray) -> dict[str, float]:
    """Errors in percent by both rules, mutual information, adjusted Rand index; rows labelled -1 are left out."""
    known = np.asarray(y) != UNLABELLED
    y, clusters = np.asarray(y)[known], clusters[known]
    return {
        "majority_error": 100 - metrics.clustering_accuracy(y, clusters, "majority"),
        "one_to_one_error": 100 - metrics.clustering_accuracy(y, clusters, "hungarian"),
        "nmi": float(normalized_mutual_info_score(y, clusters)),
        "ari": float(adjusted_rand_score(y, clusters)),
    }


def embedding_quality(X: np.ndarray, Z: np.ndarray, y: np.ndarray | None) -> dict[str, float]:
    """How far a map Z `(n, d)` keeps neighbours of X, and how well neighbours on it agree on the label.

    `trustworthiness` (1: every neighbour on the map is one in the data; 12 neighbours, Venna and Kaski 2001), and
    `knn_error`, in percent: each labelled row is classified by its 10 nearest others on the map.
    """
    from sklearn.manifold import trustworthiness
    from sklearn.neighbors import KNeighborsClassifier

    n = min(len(X), 2000)
    flat, found = X.reshape(len(X), -1).astype(np.float32), {}
    if n >= 4:
        found["trustworthiness"] = float(trustworthiness(flat[:n], Z[:n], n_neighbors=min(12, n // 2 - 1)))
    if y is not None and (known := y != UNLABELLED).sum() > 20:
        neighbours = KNeighborsClassifier(n_neighbors=10).fit(Z[known], y[known])
        near = neighbours.kneighbors(return_distance=False)  # of each row all others
        votes = np.apply_along_axis(lambda row: np.bincount(row).argmax(), 1, y[known][near])
        found["knn_error"] = metrics.error_rate(y[known], votes)
    return found


def _embedding(estimator: EmbeddingAAE, rows: HeldOut) -> dict[str, float]:
    Z, y = estimator.transform(rows.X), rows.y
    found = embedding_quality(pictures(estimator, rows.X), Z, y)
    if y is not None and (y != UNLABELLED).any():
        nearest = estimator.predict(rows.X)
        known = hasattr(estimator, "classes_")
        found["head_error"] = metrics.error_rate(y, nearest) if known else clustering(y, nearest)["majority_error"]
    return found


def _again(estimator: Autoencoder, rows: HeldOut) -> np.ndarray:
    """Rows by way of their codes, and of their labels if the decoder is told those."""
    if isinstance(estimator, SupervisedAAE) and rows.y is not None:
        return estimator.reconstruct(rows.X, known_labels(estimator, rows.y))
    return estimator.reconstruct(rows.X)


def _autoencoder(estimator: Autoencoder, rows: HeldOut) -> dict[str, float]:
    again = _again(estimator, rows)
    difference = (pictures(estimator, rows.X) - pictures(estimator, again)) / np.asarray(unit(estimator))
    found = {"reconstruction": float(np.mean(np.square(difference)))}
    if len(rows.X) >= 10:
        codes = estimator.transform(rows.X)
        found |= metrics.prior_fit(codes, estimator.sample_prior(2000, random_state=0))
        if isinstance(estimator, SupervisedAAE) and rows.y is not None:
            content = rows.y if rows.y.ndim == 1 else rows.y[:, 0]
            known = content != UNLABELLED
            counts = np.unique(content[known], return_counts=True)[1]
            if len(counts) > 1 and counts.min() >= 5:
                found["style_leak"] = metrics.label_leakage(codes[known], content[known])
    return found


def compare(
    config: Mapping[str, Any], data: Dataset, split: Split, estimator: Any, rows: HeldOut, *,
    n_spread: int = 10_000, n_svm: int = 5_000,
) -> list[dict[str, Any]]:  # fmt: skip
    """Other methods with the same labels, on the same rows: name, error in percent, seconds.

    The supervised baseline has the same backbone and random state. Label spreading looks at `n_spread` rows at most,
    self-training at `n_svm` (both always at the labelled ones): they need memory or time that grows with the square.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
    from sklearn.svm import SVC

    if rows.y is None:
        raise InputError(f"{data.name}: expected labels of the test rows to compare methods by, found none")
    assert data.y is not None
    X, y = data.X[split.labelled], data.y[split.labelled]
    others = np.random.default_rng(config["random_state"]).permutation(np.setdiff1d(split.unlabelled, split.labelled))

    def flat(rows: np.ndarray) -> np.ndarray:
        rows = rows.reshape(len(rows), math.prod(rows.shape[1:]))
        if rows.dtype == np.uint8:
            return rows / np.float32(255)
        return rows if estimator.unit_range_ else (rows - estimator.center_) / estimator.scale_

    def semi(n: int) -> tuple[np.ndarray, np.ndarray, str]:
        chosen = others[: max(0, n - len(X))]
        few = f", on {len(chosen)} of {len(others)} unlabelled rows" if len(chosen) < len(others) else ""
        hidden = np.full(len(chosen), UNLABELLED)
        return np.concatenate([flat(X), flat(data.X[chosen])]), np.concatenate([y, hidden]), few

    shared = set(hyperparameters_of(SupervisedBaseline)) & {
        "image_shape", "backbone", "hidden", "channels", "batch_norm", "device", "precision", "random_state",
    }  # fmt: skip
    baseline = SupervisedBaseline(**{k: v for k, v in config.items() if k in shared})
    folds = min(5, int(np.bincount(y)[np.unique(y)].min()))
    candidates: list[tuple[str, Any, Any]] = []
    if not isinstance(estimator, SupervisedBaseline):
        candidates.append(("supervised baseline, same labels", baseline, (X, y, "")))
    if len(others):  # else there is nothing to spread labels to
        known = semi(n_spread)
        spreading = LabelSpreading(kernel="knn", n_neighbors=min(10, len(known[0])))
        candidates.append(("label spreading, 10 neighbours", spreading, known))
    if len(others) and folds > 1:
        machine = CalibratedClassifierCV(SVC(), ensemble=False, cv=folds)  # pyright: ignore[reportArgumentType]
        candidates.append(("self-training, support vectors", SelfTrainingClassifier(machine), semi(n_svm)))
    found = []
    for name, model, (X_known, y_known, few) in candidates:
        ours = isinstance(model, SupervisedBaseline)
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, on iterations that end early
            model.fit(X_known, y_known)
            error = metrics.error_rate(rows.y, model.predict(rows.X if ours else flat(rows.X)))
        found.append({"name": name + few, "error": error, "seconds": round(time.perf_counter() - began, 2)})
    return found


# --- as texts --------------------------------------------------------------------------------------------------------
MEASURES = {
    "error": "error (%)",
    "majority_error": "clusters, each named after its most frequent class: error (%)",
    "one_to_one_error": "clusters, one for each class at most: error (%)",
    "nmi": "clusters against classes: normalised mutual information (1: alike)",
    "ari": "clusters against classes: adjusted Rand index (1: alike)",
    "n_used_clusters": "clusters in use",
    "marginal_entropy": "entropy of the clusters' shares (1: all as large)",
    "head_error": "nearest head on the map: error (%)",
    "knn_error": "10 nearest neighbours on the map: error (%)",
    "trustworthiness": "trustworthiness of the map (1: neighbours are neighbours in the data)",
    "auc": "outliers told from normal rows: area under the ROC curve",
    "reconstruction": "reconstruction, mean squared error of a value",
    "style_leak": "label guessed from the style alone: accuracy (%)",
    "mmd": "codes against prior: squared maximum mean discrepancy (0: alike)",
    "sliced_wasserstein": "codes against prior: sliced Wasserstein distance (0: alike)",
    "two_sample_auc": "codes against prior: area under the curve of a forest (0.5: alike)",
}


def tables(results: Mapping[str, Any]) -> list[report.Table]:
    """The results as they are printed and reported."""
    rows, found = f"{results['n_rows']} {results['rows']} rows", []
    if "error" in results:
        lines = [(f"{results['estimator']} (this run)", results["error"], results["seconds"])]
        lines += [(c["name"], c["error"], c["seconds"]) for c in results.get("comparison", [])]
        shown = [(name, f"{error:.2f}", f"{seconds:.1f}") for name, error, seconds in lines]
        found = [report.Table(f"Error on {_scored(results)}", ["method", "error (%)", "time (s)"], shown)]
    measured = measures(results)
    return [*found, report.Table(f"Measured on {rows}", ["quantity", "value"], measured)] if measured else found


def _scored(results: Mapping[str, Any]) -> str:
    """Which rows an error is of: those that have a label."""
    n, n_scored = results["n_rows"], results.get("n_scored", results["n_rows"])
    return f"{f'{n_scored} labelled of ' if n_scored < n else ''}{n} {results['rows']} rows"


def measures(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was measured besides a classifier's error, in words."""
    found = [(text, f"{results[k]:.4g}") for k, text in MEASURES.items() if k in results and k != "error"]
    if "error" in results:
        return found
    return [*found, ("training time (s)", f"{results['seconds']:.1f}"), ("steps", str(results["n_steps"]))]


def advice(findings: Sequence[HealthFinding]) -> report.Table:
    """TrialResults as a table of the report."""
    lines = [(f"{f.severity}: {f.name}", f.evidence, f.meaning, f.option) for f in findings]
    note = "" if lines else "Nothing looks wrong."
    return report.Table("Health", ["finding", "evidence", "it means", "try first"], lines, note)


def cards(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The main numbers, for the head of the report."""
    found = []
    percents = {
        "error": f"error on {_scored(results)}",
        "majority_error": f"error of {results.get('n_clusters')} clusters, majority rule",
        "head_error": "error of the nearest head",
        "style_leak": "label guessed from the style",
    }
    found += [(text, f"{results[k]:.2f} %") for k, text in percents.items() if k in results]
    if results.get("n_labelled"):
        found.append(("labels", str(results["n_labelled"])))
    if "trustworthiness" in results:
        found.append(("trustworthiness of the map", f"{results['trustworthiness']:.3f}"))
    if "reconstruction" in results:
        found.append(("reconstruction error", f"{results['reconstruction']:.3g}"))
    if "two_sample_auc" in results:
        found.append(("codes against prior, 0.5 is alike", f"{results['two_sample_auc']:.2f}"))
    return [*found, ("steps", str(results["n_steps"])), ("training time", f"{results['seconds']:.0f} s")]
