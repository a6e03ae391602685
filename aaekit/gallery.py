"""Every picture of a fitted estimator on rows: what it needs is computed here, what it looks like is in `figures`."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

from aaekit import figures
from aaekit.errors import InputError
from aaekit.estimators import AdversarialAutoencoder, ClusteringAAE, EmbeddingAAE, SemiSupervisedAAE, SupervisedAAE
from aaekit.estimators.autoencoder import Autoencoder
from aaekit.estimators.base import UNLABELLED, Classifier
from aaekit.estimators.categorical import CategoricalAutoencoder
from aaekit.priors import SwissRoll

N_SHOWN = 5000  # rows in the figures of codes


class Rows(NamedTuple):
    """Rows to judge by, what to call them, and their labels, if any: `(n,)`, or a column for each condition."""

    name: str
    X: np.ndarray
    y: np.ndarray | None

    def some(self, n: int = N_SHOWN) -> "Rows":
        """At most `n` of them, always the same."""
        chosen = np.sort(np.random.default_rng(0).permutation(len(self.X))[:n])
        return Rows(self.name, self.X[chosen], None if self.y is None else self.y[chosen])


def unit(estimator: Any) -> np.ndarray | float:
    """What one unit of the scaled rows is in the units of the rows as they are drawn."""
    return 1.0 if estimator.unit_range_ else estimator.scale_.reshape(estimator.shape_)


def pictures(estimator: Any, rows: np.ndarray) -> np.ndarray:
    """Rows in the shape and units of the training: images `(n, channels, height, width)` in [0, 1], or table rows."""
    rows = rows.astype(np.float32) / 255 if rows.dtype == np.uint8 else np.asarray(rows, dtype=np.float32)
    return rows.reshape(len(rows), *estimator.shape_)


def shown(estimator: Any, rows: np.ndarray) -> np.ndarray:
    """Rows as the figures draw them: images, or table rows in standard deviations from the means of the training.

    In units of their own, one column of a table would be all that can be seen.
    """
    rows = pictures(estimator, rows)
    return (rows - estimator.center_) / estimator.scale_ if standardised(estimator) else rows


def standardised(estimator: Any) -> bool:
    """Whether `shown` has other units than the rows."""
    return len(estimator.shape_) == 1 and not estimator.unit_range_


def fitting(estimator: Any, rows: np.ndarray) -> np.ndarray:
    """Rows in the units that a fitted estimator was trained on.

    Raises
    ------
    InputError
        When they are of another shape.
    """
    if math.prod(rows.shape[1:]) != math.prod(estimator.shape_) or (
        rows.ndim == 4 and rows.shape[1:] != estimator.shape_
    ):
        raise InputError(f"expected rows of shape {tuple(estimator.shape_)} as in training, got {rows.shape[1:]}")
    bytes_before = estimator.unit_range_ and estimator.scale_ == 255
    return rows * np.float32(255) if bytes_before and rows.ndim == 4 and rows.dtype != np.uint8 else rows


def names_of(estimator: Any, labels: Sequence[str]) -> list[str]:
    """The names of what a fitted estimator tells apart, in its order; empty if it knows no classes.

    `labels` are the names of the labels that it was told of, by their number.
    """
    if isinstance(estimator, ClusteringAAE):
        return [str(k) for k in getattr(estimator, "classes_", range(estimator.n_clusters))]
    classes: Any = getattr(estimator, "classes_", ())
    classes = classes[0] if isinstance(classes, list) else classes
    return [str(labels[k] if len(labels) else k) for k in classes]


def known_labels(estimator: SupervisedAAE, y: np.ndarray) -> np.ndarray:
    """Labels, but -1 for those of classes that it was not told of."""
    known = [np.isin(column, c) for column, c in zip(np.atleast_2d(y.T), estimator._conditions, strict=True)]
    return np.where(np.stack(known, 1).reshape(y.shape), y, UNLABELLED)


def draw(estimator: Any, rows: Rows, labels: Sequence[str], slow: bool = False) -> dict[str, tuple[str, Figure]]:
    """Every figure that fits the estimator, with its title, by the name of its function in `figures`.

    `labels` are the names of the labels in the rows; with `slow` also those that take a while.
    """
    rows = rows.some()
    y = rows.y if rows.y is None or rows.y.ndim == 1 else rows.y[:, 0]
    names, found = names_of(estimator, labels), dict[str, tuple[str, Figure]]()
    if isinstance(estimator, Classifier):
        found |= _draw_classes(estimator, rows, names, labels)
    if isinstance(estimator, CategoricalAutoencoder):
        found |= _draw_categories(estimator, rows, names, labels)
    if isinstance(estimator, Autoencoder):
        found |= _draw_codes(estimator, rows, y, labels)
    if slow and isinstance(estimator, Autoencoder):
        codes = estimator.transform(rows.X[:2000])
        embedding = TSNE(random_state=0, perplexity=min(30, (len(codes) - 1) / 3)).fit_transform(codes)
        figure = figures.latent_tsne(embedding, None if y is None else y[:2000], labels or None)
        found["latent_tsne"] = "Codes, by t-SNE", figure
    keys = dict.fromkeys(k for row in estimator.history_ for k in row)
    history = {k: np.array([row.get(k, np.nan) for row in estimator.history_]) for k in keys}
    found["learning_curves"] = "Learning curves", figures.learning_curves(history)
    weights = next((p for p in estimator.networks_["encoder"].parameters() if p.dim() in (2, 4)), None)
    if weights is not None:
        shape = estimator.shape_ if len(estimator.shape_) == 3 and weights.dim() == 2 else None
        features = figures.first_layer_features(weights.detach().numpy(), shape)
        found["first_layer_features"] = "First layer", features
    return found


def _draw_classes(
    estimator: Classifier, rows: Rows, names: list[str], labels: Sequence[str]
) -> dict[str, tuple[str, Figure]]:
    """The figures of a classifier."""
    p, y, found = estimator.predict_proba(rows.X), rows.y, {}
    guess, sure = estimator.classes_[p.argmax(1)], p.max(1)
    if rows.name != "training" and y is not None and (y >= 0).any():
        seen = shown(estimator, rows.X)
        found["confusion_matrix"] = "Confusion matrix", figures.confusion_matrix(y, guess, labels or None)
        mistakes = figures.confident_mistakes(seen, y, guess, sure, labels or None)
        found["confident_mistakes"] = "Most confident mistakes", mistakes
    if not isinstance(estimator, CategoricalAutoencoder):
        found["label_distribution"] = "The class code y", figures.label_distribution(p, names)
    return found


def _draw_categories(
    estimator: CategoricalAutoencoder, rows: Rows, names: list[str], labels: Sequence[str]
) -> dict[str, tuple[str, Figure]]:
    """The figures of a class code y: how sure it is, what it is used for, and what its values mean."""
    p = estimator.y_proba(rows.X)
    K, chosen, seen = p.shape[1], p.argmax(1), shown(estimator, rows.X)
    names = names if len(names) == K else [str(k) for k in range(K)]  # of clusters, not of their names
    named: Any = getattr(estimator, "cluster_names_", None)
    if named is not None:
        names = [f"{k}: {named.get(k, '?')}" for k in range(K)]
    expected = estimator._class_prior().mean.numpy()
    found = {"label_distribution": ("The class code y", figures.label_distribution(p, names, expected))}
    modes = shown(estimator, estimator.modes())
    members = figures.modes_and_samples(modes, seen, chosen, names)
    found["modes_and_samples"] = "Modes, and rows that were given them", members
    drawn, z = estimator.sample_prior(2000, random_state=0), estimator.transform(rows.X)
    both = figures.real_vs_obtained(z, drawn, p, expected, names)
    found["real_vs_obtained"] = "Distributions wanted and obtained", both
    if isinstance(estimator, ClusteringAAE):
        if rows.y is not None and (rows.y >= 0).any():
            matrix = figures.cluster_matrix(rows.y, chosen, labels or None, names)
            found["cluster_matrix"] = "Clusters and classes", matrix
        if estimator.mode_weight:
            learned = shown(estimator, estimator.learned_modes())
            found["learned_modes"] = "Modes of the second decoder", figures.learned_modes(learned, names)
    if not isinstance(estimator, EmbeddingAAE):
        found["style_grid"] = "Class and style", style_figure(estimator, names)
    return found


def _draw_codes(
    estimator: Autoencoder, rows: Rows, y: np.ndarray | None, labels: Sequence[str]
) -> dict[str, tuple[str, Figure]]:
    """The figures of an autoencoder."""
    z, drawn, few = estimator.transform(rows.X), estimator.sample_prior(2000, random_state=0), rows.X[:10]
    if isinstance(estimator, SupervisedAAE) and rows.y is not None:
        again = estimator.reconstruct(few, known_labels(estimator, rows.y[:10]))
    else:
        again = estimator.reconstruct(few)
    pairs = figures.reconstruction_pairs(shown(estimator, few), shown(estimator, again))
    found = {
        "sample_grid": ("Samples", figures.sample_grid(shown(estimator, estimator.sample(100, random_state=0)))),
        "reconstruction_pairs": ("Reconstructions", pairs),
        "latent_scatter": ("Codes by class", figures.latent_scatter(z, y, labels or None, drawn)),
        "code_vs_prior": ("Codes against the prior", figures.code_vs_prior(z, drawn)),
        "code_histogram": ("The first dimension of z", figures.code_histogram(z, drawn)),
    }
    if isinstance(estimator, SupervisedAAE) or (
        isinstance(estimator, SemiSupervisedAAE) and estimator.independence == "class"
    ):
        found["style_label_grid"] = "Styles and labels", styles(estimator, rows, labels)
    elif z.shape[1] == 2 and estimator._n_code == 2:
        found["code_grid"] = "The latent plane", code_grid(estimator)
    if isinstance(estimator, AdversarialAutoencoder) and estimator.prior == "swiss_roll":
        found["roll_walk"] = "A walk along the roll", walk(estimator, shown(estimator, estimator.walk(100)), labels)
    return found


def grid(estimator: Any, rows: Rows, labels: Sequence[str]) -> Figure:
    """The grid that says most about an autoencoder: codes in the plane, styles by class, or styles by label.

    Raises
    ------
    InputError
        When its code has other than two dimensions and there are no classes.
    """
    if isinstance(estimator, SupervisedAAE):
        return styles(estimator, rows, labels)
    if isinstance(estimator, CategoricalAutoencoder) and not isinstance(estimator, EmbeddingAAE):
        names = names_of(estimator, labels)
        K = estimator._n_classes
        return style_figure(estimator, names if len(names) == K else [str(k) for k in range(K)])
    return code_grid(estimator)


def code_grid(estimator: Any) -> Figure:
    """Decoded 10 x 10 grid over the middle of the plane: [-1, 1]^2 for the standard Gaussian (Sheet, lecture 54)."""
    if estimator._n_code != 2:
        raise InputError(f"a grid needs a code of 2 dimensions, this model has n_style={estimator.n_style}")
    spread = np.abs(estimator.sample_prior(2000, random_state=0)).std()
    extent = 1.0 if estimator.prior == "gaussian" and not isinstance(estimator, EmbeddingAAE) else float(3 * spread)
    points = figures.code_grid_points(extent=(-extent, extent))
    return figures.code_grid(shown(estimator, estimator.inverse_transform(points)), (-extent, extent))


def style_figure(estimator: Any, names: Sequence[str], n_columns: int = 10) -> Figure:
    """Row = class; along the row z_1 runs over the middle 95 % of the prior, the other styles stay at 0."""
    low, high = np.quantile(estimator.sample_prior(2000, random_state=0)[:, 0], [0.025, 0.975])
    Z = np.zeros((n_columns, estimator.n_style), dtype=np.float32)
    Z[:, 0] = np.linspace(low, high, n_columns)
    n = estimator._n_classes
    rows = estimator._generate(np.repeat(np.arange(n), n_columns), np.tile(Z, (n, 1)), None)
    labels = [textwrap.shorten(name, 14, placeholder="…") for name in names]
    return figures.style_grid(shown(estimator, rows), n, n_columns, labels, Z[:, 0])


def styles(estimator: SupervisedAAE | SemiSupervisedAAE, rows: Rows, labels: Sequence[str], n: int = 10) -> Figure:
    """Row = the style of a real row; column = every label (Makhzani et al., section 2.4)."""
    names, X = names_of(estimator, labels), rows.X[:n]
    K, classes = len(names), estimator.classes_
    every: Any = np.tile(classes[0] if isinstance(classes, list) else classes, len(X))
    if isinstance(classes, list):  # of the further conditions, each row keeps its own, or has the first if unlabelled
        assert rows.y is not None and isinstance(estimator, SupervisedAAE)
        own = rows.y[: len(X), 1:]
        own = np.where(known_labels(estimator, rows.y[: len(X)])[:, 1:] == UNLABELLED, [c[0] for c in classes[1:]], own)
        every = np.column_stack([every, np.repeat(own, K, axis=0)])
    made = estimator.translate(np.repeat(X, K, axis=0), every)
    return figures.style_label_grid(shown(estimator, X), shown(estimator, made), names)


def walk(estimator: AdversarialAutoencoder, images: np.ndarray, labels: Sequence[str]) -> Figure:
    """Samples in order along a Swiss roll, beside the roll (Makhzani et al., section 2.3; Sheet, lecture 53)."""
    prior = estimator._prior()
    assert isinstance(prior, SwissRoll) and prior.n_components
    K = min(prior.n_components, len(images))
    path = prior.at((torch.arange(len(images)) + 0.5) / len(images)).numpy()
    names = names_of(estimator, labels) or None
    n = len(images) // K * K
    return figures.roll_walk(images[:n], K, names if prior.n_components == K else None, path[:n])
