"""What is measured of a fitted estimator on held-out data: numbers by name, and tables of them."""

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier, is_clusterer
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from aaekit import report
from aaekit.estimators import EmbeddingAAE, SupervisedAAE
from aaekit.evaluation import metrics
from aaekit.evaluation.health import Comparison, Evidence, HealthFinding, diagnose
from aaekit.evaluation.heldout import HeldOut, as_samples, reconstruct, to_training_units, unit_of
from aaekit.labels import as_labels, labelled_mask

__all__ = [
    "MEASURES",
    "cards",
    "class_measures",
    "cluster_measures",
    "clustering_quality",
    "code_measures",
    "diagnosis",
    "embedding_quality",
    "evaluate",
    "evidence_of",
    "findings_table",
    "measure",
    "tables",
    "texts",
]

MEASURES = {  # name of a measure: its text in tables, in the order of the tables
    "error": "error (%)",
    "majority_error": "clusters assigned to their most frequent class: error (%)",
    "one_to_one_error": "clusters assigned to classes one-to-one: error (%)",
    "nmi": "clusters and classes: normalised mutual information (1: identical)",
    "ari": "clusters and classes: adjusted Rand index (1: identical)",
    "n_used_clusters": "clusters in use",
    "marginal_entropy": "entropy of the cluster sizes (1: all equal)",
    "centroid_error": "nearest centroid on the map: error (%)",
    "knn_error": "10 nearest neighbours on the map: error (%)",
    "trustworthiness": "trustworthiness of the map (1: neighbours on the map are neighbours in the data)",
    "auc": "outlier detection: area under the ROC curve",
    "reconstruction": "reconstruction: mean squared error per value",
    "style_leak": "label predicted from the style alone: accuracy (%)",
    "mmd": "codes and prior: squared maximum mean discrepancy (0: equal)",
    "sliced_wasserstein": "codes and prior: sliced Wasserstein distance (0: equal)",
    "two_sample_auc": "codes and prior: area under the ROC curve of a forest (0.5: equal)",
}


def evaluate(estimator: Any, rows: HeldOut) -> dict[str, Any]:
    """Measure a fitted estimator on rows.

    Parameters
    ----------
    estimator : Estimator
        Fitted.
    rows : HeldOut
        Rows in the units of the training, or images in [0, 1].

    Returns
    -------
    dict
        `estimator`, `rows`, `n_rows`, `n_steps`, `seconds`, and what `measure` returns for the estimator; `MEASURES`
        explains the names. Errors and accuracies are in percent. `reconstruction` is the mean squared error of a
        value, on the scale on which the networks work.

    Raises
    ------
    InputError
        If the rows have another shape than in training.
    """
    results = {
        "estimator": type(estimator).__name__,
        "rows": rows.name,
        "n_rows": len(rows.X),
        "n_steps": estimator.n_steps_,
        "seconds": round(estimator.training_seconds_, 2),
    }
    return results | measure(estimator, rows._replace(X=to_training_units(estimator, rows.X)))


# --- by type of estimator --------------------------------------------------------------------------------------------
@singledispatch
def measure(estimator: Any, rows: HeldOut) -> dict[str, Any]:
    """Measures of a fitted estimator by name.

    The default covers what an estimator has in public: predictions of classes, clusters, and codes with a prior. For a
    class that needs other measures, register a function: ``@measure.register``.
    """
    return class_measures(estimator, rows) | cluster_measures(estimator, rows) | code_measures(estimator, rows.subset())


@measure.register
def _(estimator: SupervisedAAE, rows: HeldOut) -> dict[str, Any]:
    return code_measures(estimator, rows.subset()) | _style_leak(estimator, rows.subset())


@measure.register
def _(estimator: EmbeddingAAE, rows: HeldOut) -> dict[str, Any]:
    return _map_measures(estimator, rows.subset()) | code_measures(estimator, rows.subset())


def class_measures(estimator: Any, rows: HeldOut) -> dict[str, Any]:
    """Error of a classifier on rows that it was not trained on; empty without labels."""
    if not is_classifier(estimator) or rows.name == "training" or (y := _labels_or_none(rows)) is None:
        return {}
    return {
        "n_labelled": sum(estimator.class_counts_),
        "n_scored": int(labelled_mask(y).sum()),
        "error": metrics.error_rate(y, estimator.predict(rows.X)),
    }


def cluster_measures(estimator: Any, rows: HeldOut) -> dict[str, Any]:
    """Number and use of the clusters of a clusterer, and with labels also their agreement with classes."""
    if not is_clusterer(estimator):
        return {}
    use = {
        "n_clusters": estimator.n_clusters,
        "n_used_clusters": estimator.n_used_clusters_,
        "marginal_entropy": estimator.marginal_entropy_,
    }
    y = _labels_or_none(rows)
    return use if y is None else use | clustering_quality(y, estimator.cluster_proba(rows.X).argmax(1))


def code_measures(estimator: Any, rows: HeldOut) -> dict[str, float]:
    """Reconstruction error of an autoencoder, and distances between its codes and its prior."""
    if not hasattr(estimator, "sample_prior"):
        return {}
    error = as_samples(estimator, rows.X) - as_samples(estimator, reconstruct(estimator, rows))
    results = {"reconstruction": float(np.mean(np.square(error / np.asarray(unit_of(estimator)))))}
    if len(rows.X) < 10:
        return results
    return results | metrics.prior_fit(estimator.transform(rows.X), estimator.sample_prior(2000, random_state=0))


def clustering_quality(y: ArrayLike, clusters: NDArray[Any]) -> dict[str, float]:
    """Errors in percent by both rules, mutual information and adjusted Rand index; unlabelled rows are ignored."""
    labels = as_labels(y)
    labelled = labelled_mask(labels)
    labels, clusters = labels[labelled], clusters[labelled]
    return {
        "majority_error": 100 - metrics.clustering_accuracy(labels, clusters, "majority"),
        "one_to_one_error": 100 - metrics.clustering_accuracy(labels, clusters, "hungarian"),
        "nmi": float(normalized_mutual_info_score(labels, clusters)),
        "ari": float(adjusted_rand_score(labels, clusters)),
    }


def embedding_quality(X: NDArray[Any], Z: NDArray[Any], y: NDArray[Any] | None) -> dict[str, float]:
    """How well a map preserves neighbourhoods, and how well neighbours on it agree in their labels.

    Parameters
    ----------
    X : ndarray of shape (n, ...)
        Rows.
    Z : ndarray of shape (n, d)
        Their positions on the map.
    y : ndarray of int, shape (n,), or None
        Labels, -1 where unknown.

    Returns
    -------
    dict
        `trustworthiness` (1 if every neighbour on the map is a neighbour in the data; 12 neighbours, of at most 2,000
        rows) and `knn_error`, the error in percent if each labelled row gets the most frequent label of its 10 nearest
        labelled neighbours. Each is absent if there are too few rows.

    References
    ----------
    Venna and Kaski, *Neighborhood Preservation in Nonlinear Projection Methods* (2001).
    """
    from sklearn.manifold import trustworthiness
    from sklearn.neighbors import KNeighborsClassifier

    n = min(len(X), 2000)
    flat, results = X.reshape(len(X), -1).astype(np.float32), {}
    if n >= 4:
        results["trustworthiness"] = float(trustworthiness(flat[:n], Z[:n], n_neighbors=min(12, n // 2 - 1)))
    if y is not None and (labelled := labelled_mask(y)).sum() > 20:
        nearest = KNeighborsClassifier(n_neighbors=10).fit(Z[labelled], y[labelled]).kneighbors(return_distance=False)
        votes = np.apply_along_axis(lambda row: np.bincount(row).argmax(), 1, y[labelled][nearest])
        results["knn_error"] = metrics.error_rate(y[labelled], votes)
    return results


def _map_measures(estimator: EmbeddingAAE, rows: HeldOut) -> dict[str, float]:
    results = embedding_quality(as_samples(estimator, rows.X), estimator.transform(rows.X), rows.y)
    if (y := _labels_or_none(rows)) is not None:
        nearest = estimator.predict(rows.X)
        named = hasattr(estimator, "classes_")
        error = metrics.error_rate(y, nearest) if named else clustering_quality(y, nearest)["majority_error"]
        results["centroid_error"] = error
    return results


def _style_leak(estimator: SupervisedAAE, rows: HeldOut) -> dict[str, float]:
    """How well the label can be predicted from the style, if at least five rows of each of two classes are labelled."""
    if rows.y is None or len(rows.X) < 10:
        return {}
    y = rows.y if rows.y.ndim == 1 else rows.y[:, 0]
    counts = np.unique(y[labelled_mask(y)], return_counts=True)[1]
    if len(counts) < 2 or counts.min() < 5:
        return {}
    return {"style_leak": metrics.label_leakage(estimator.transform(rows.X), y)}


def _labels_or_none(rows: HeldOut) -> NDArray[Any] | None:
    """The labels of rows; None if no row has one."""
    return rows.y if rows.y is not None and labelled_mask(rows.y).any() else None


# --- diagnosis -------------------------------------------------------------------------------------------------------
def diagnosis(
    estimator: Any,
    rows: HeldOut,
    simple_errors: Mapping[str, float] | None = None,
    comparison: Comparison | None = None,
) -> list[HealthFinding]:
    """Diagnose a training by the history of a fitted estimator and its codes of rows; see docs/health.md.

    Parameters
    ----------
    estimator : Estimator
        Fitted.
    rows : HeldOut
        Rows that it was not trained on; at most 2,000 are used.
    simple_errors : mapping of str to float, optional
        Errors in percent of simple methods on these rows, by name.
    comparison : Comparison, optional
        With other methods, see `comparison_of`.

    Returns
    -------
    list of HealthFinding
        Problems first; empty if no check found anything.
    """
    return diagnose(evidence_of(estimator, rows, simple_errors or {}, comparison))


def comparison_of(results: Mapping[str, Any]) -> Comparison | None:
    """The comparison with other methods in the results of a run, on held-out rows or cross-fitted; None without one."""
    errors = {str(entry["name"]): float(entry["error"]) for entry in results.get("comparison", [])}
    if not errors:
        return None
    if "error" in results:
        return Comparison(float(results["error"]), errors, int(results["n_scored"]), f"{results['rows']} rows")
    own = errors.pop(next(iter(errors)))  # the first one is the estimator itself
    return Comparison(own, errors, int(results["n_compared"]), "labelled rows, cross-fitted")


def evidence_of(
    estimator: Any,
    rows: HeldOut,
    simple_errors: Mapping[str, float] = {},
    comparison: Comparison | None = None,
) -> Evidence:
    """What `diagnose` needs of a fitted estimator: its history, parameters, plan, and its codes of rows."""
    rows = rows._replace(X=to_training_units(estimator, rows.X)).subset(2000)
    plan, classes = getattr(estimator, "plan_", None), getattr(estimator, "classes_", None)
    evidence: dict[str, Any] = {
        "history": estimator.history_,
        "parameters": estimator.get_params(deep=False),
        "weights": getattr(plan, "weights", {}),
        "learning_rates": getattr(plan, "learning_rates", {}),
        "simple_errors": simple_errors,
        "comparison": comparison,
    }
    if len(estimator.shape_) == 3:
        evidence |= {"image_shape": tuple(estimator.shape_), "original_size": rows.original_size}
    unit, is_generator = np.asarray(unit_of(estimator)), hasattr(estimator, "sample_prior")
    if is_generator or len(estimator.shape_) == 3:
        evidence["X"] = as_samples(estimator, rows.X) / unit
    if is_generator:
        evidence["X_hat"] = as_samples(estimator, reconstruct(estimator, rows)) / unit
        evidence["z"] = estimator.transform(rows.X)
        evidence["prior"] = estimator.sample_prior(4 * len(rows.X), random_state=0)
        evidence["conditional"] = estimator.n_code == estimator.latent_dim  # z alone has to represent the class
    if hasattr(estimator, "cluster_proba"):
        evidence["y"] = estimator.cluster_proba(rows.X)
        evidence["clusters"] = is_clusterer(estimator) or classes is None
    elif is_classifier(estimator):
        evidence["y"] = estimator.predict_proba(rows.X)
    if rows.y is not None and classes is not None and not evidence.get("clusters"):
        labels = rows.y if rows.y.ndim == 1 else rows.y[:, 0]
        classes = classes[0] if isinstance(classes, list) else classes
        index = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
        evidence["labels"] = np.where(classes[index] == labels, index, -1)
    return Evidence(**evidence)


# --- as texts --------------------------------------------------------------------------------------------------------
def tables(results: Mapping[str, Any]) -> list[report.Table]:
    """Tables of the results of `evaluate`: errors, beside those of other methods, and all other measures."""
    made, others = [], [(c["name"], c["error"], c["seconds"]) for c in results.get("comparison", [])]
    if "error" in results:
        others.insert(0, (f"{results['estimator']} (this run)", results["error"], results["seconds"]))
    if others:
        rows = [(name, f"{error:.2f}", f"{seconds:.1f}") for name, error, seconds in others]
        title = f"Error on {_scored_rows(results)}" if "error" in results else f"Error, {results['comparison_rows']}"
        made.append(report.Table(title, ["method", "error (%)", "time (s)"], rows))
    if lines := texts(results):
        title = f"Measures on {results['n_rows']} {results['rows']} rows"
        made.append(report.Table(title, ["measure", "value"], lines))
    return made


def _scored_rows(results: Mapping[str, Any]) -> str:
    """The rows that the error refers to: those with a label."""
    n, n_scored = results["n_rows"], results.get("n_scored", results["n_rows"])
    return f"{f'{n_scored} labelled of ' if n_scored < n else ''}{n} {results['rows']} rows"


def texts(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each measure other than a classifier's error, for readers."""
    lines = [(text, f"{results[name]:.4g}") for name, text in MEASURES.items() if name in results and name != "error"]
    if "error" in results:
        return lines
    return [*lines, ("training time (s)", f"{results['seconds']:.1f}"), ("steps", str(results["n_steps"]))]


def findings_table(findings: Sequence[HealthFinding]) -> report.Table:
    """Health findings as a table of the report."""
    lines = [(f"{f.severity}: {f.name}", f.evidence, f.meaning, f.option) for f in findings]
    note = "" if lines else "No problem was found."
    return report.Table("Health", ["finding", "evidence", "meaning", "try first"], lines, note)


def cards(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The main results, for the head of the report."""
    percents = {
        "error": f"error on {_scored_rows(results)}",
        "majority_error": f"error of {results.get('n_clusters')} clusters, majority rule",
        "centroid_error": "error of the nearest centroid",
        "style_leak": "label predicted from the style",
    }
    made = [(text, f"{results[name]:.2f} %") for name, text in percents.items() if name in results]
    if results.get("n_labelled"):
        made.append(("labels", str(results["n_labelled"])))
    if "trustworthiness" in results:
        made.append(("trustworthiness of the map", f"{results['trustworthiness']:.3f}"))
    if "reconstruction" in results:
        made.append(("reconstruction error", f"{results['reconstruction']:.3g}"))
    if "two_sample_auc" in results:
        made.append(("codes and prior: AUC, 0.5 is equal", f"{results['two_sample_auc']:.2f}"))
    return [*made, ("steps", str(results["n_steps"])), ("training time", f"{results['seconds']:.0f} s")]
