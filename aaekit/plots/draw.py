"""Every picture of a fitted estimator on rows: what it needs is computed here, what it looks like is in `figures`."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

from aaekit import plots
from aaekit.errors import InputError
from aaekit.estimators import AdversarialAutoencoder, ClusteringAAE, EmbeddingAAE, SemiSupervisedAAE, SupervisedAAE
from aaekit.estimators._base import UNLABELLED, Classifier
from aaekit.estimators.autoencoder import Autoencoder
from aaekit.estimators.categorical import CategoricalAutoencoder
from aaekit.evaluation.heldout import HeldOut, known_labels, names_of, shown
from aaekit.priors import SwissRoll


def draw_all(estimator: Any, rows: HeldOut, labels: Sequence[str], slow: bool = False) -> dict[str, tuple[str, Figure]]:
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
        figure = plots.latent_tsne(embedding, None if y is None else y[:2000], labels or None)
        found["latent_tsne"] = "Codes, by t-SNE", figure
    keys = dict.fromkeys(k for row in estimator.history_ for k in row)
    history = {k: np.array([row.get(k, np.nan) for row in estimator.history_]) for k in keys}
    found["learning_curves"] = "Learning curves", plots.learning_curves(history)
    weights = next((p for p in estimator.networks_["encoder"].parameters() if p.dim() in (2, 4)), None)
    if weights is not None:
        shape = estimator.shape_ if len(estimator.shape_) == 3 and weights.dim() == 2 else None
        features = plots.first_layer_features(weights.detach().numpy(), shape)
        found["first_layer_features"] = "First layer", features
    return found


def _draw_classes(
    estimator: Classifier, rows: HeldOut, names: list[str], labels: Sequence[str]
) -> dict[str, tuple[str, Figure]]:
    """The figures of a classifier."""
    p, y, found = estimator.predict_proba(rows.X), rows.y, {}
    guess, sure = estimator.classes_[p.argmax(1)], p.max(1)
    if rows.name != "training" and y is not None and (y >= 0).any():
        seen = shown(estimator, rows.X)
        found["confusion_matrix"] = "Confusion matrix", plots.confusion_matrix(y, guess, labels or None)
        mistakes = plots.confident_mistakes(seen, y, guess, sure, labels or None)
        found["confident_mistakes"] = "Most confident mistakes", mistakes
    if not isinstance(estimator, CategoricalAutoencoder):
        found["label_distribution"] = "The class code y", plots.label_distribution(p, names)
    return found


def _draw_categories(
    estimator: CategoricalAutoencoder, rows: HeldOut, names: list[str], labels: Sequence[str]
) -> dict[str, tuple[str, Figure]]:
    """The figures of a class code y: how sure it is, what it is used for, and what its values mean."""
    p = estimator.cluster_proba(rows.X)
    K, chosen, seen = p.shape[1], p.argmax(1), shown(estimator, rows.X)
    names = names if len(names) == K else [str(k) for k in range(K)]  # of clusters, not of their names
    named: Any = getattr(estimator, "cluster_names_", None)
    if named is not None:
        names = [f"{k}: {named.get(k, '?')}" for k in range(K)]
    expected = estimator._class_prior().mean.numpy()
    found = {"label_distribution": ("The class code y", plots.label_distribution(p, names, expected))}
    modes = shown(estimator, estimator.modes())
    members = plots.modes_and_samples(modes, seen, chosen, names)
    found["modes_and_samples"] = "Modes, and rows that were given them", members
    drawn, z = estimator.sample_prior(2000, random_state=0), estimator.transform(rows.X)
    both = plots.real_vs_obtained(z, drawn, p, expected, names)
    found["real_vs_obtained"] = "Distributions wanted and obtained", both
    if isinstance(estimator, ClusteringAAE):
        if rows.y is not None and (rows.y >= 0).any():
            matrix = plots.cluster_matrix(rows.y, chosen, labels or None, names)
            found["cluster_matrix"] = "Clusters and classes", matrix
        if estimator.mode_weight:
            learned = shown(estimator, estimator.learned_modes())
            found["learned_modes"] = "Modes of the second decoder", plots.learned_modes(learned, names)
    if not isinstance(estimator, EmbeddingAAE):
        found["style_grid"] = "Class and style", style_figure(estimator, names)
    return found


def _draw_codes(
    estimator: Autoencoder, rows: HeldOut, y: np.ndarray | None, labels: Sequence[str]
) -> dict[str, tuple[str, Figure]]:
    """The figures of an autoencoder."""
    z, drawn, few = estimator.transform(rows.X), estimator.sample_prior(2000, random_state=0), rows.X[:10]
    if isinstance(estimator, SupervisedAAE) and rows.y is not None:
        again = estimator.reconstruct(few, known_labels(estimator, rows.y[:10]))
    else:
        again = estimator.reconstruct(few)
    pairs = plots.reconstruction_pairs(shown(estimator, few), shown(estimator, again))
    found = {
        "sample_grid": ("Samples", plots.sample_grid(shown(estimator, estimator.sample(100, random_state=0)))),
        "reconstruction_pairs": ("Reconstructions", pairs),
        "latent_scatter": ("Codes by class", plots.latent_scatter(z, y, labels or None, drawn)),
        "code_vs_prior": ("Codes against the prior", plots.code_vs_prior(z, drawn)),
        "code_histogram": ("The first dimension of z", plots.code_histogram(z, drawn)),
    }
    if isinstance(estimator, SupervisedAAE) or (
        isinstance(estimator, SemiSupervisedAAE) and estimator.style_matching == "per_class"
    ):
        found["style_label_grid"] = "Styles and labels", styles(estimator, rows, labels)
    elif z.shape[1] == 2 and estimator._n_code == 2:
        found["code_grid"] = "The latent plane", code_grid(estimator)
    if isinstance(estimator, AdversarialAutoencoder) and estimator.prior == "swiss_roll":
        found["roll_walk"] = "A walk along the roll", walk(estimator, shown(estimator, estimator.walk(100)), labels)
    return found


def grid(estimator: Any, rows: HeldOut, labels: Sequence[str]) -> Figure:
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
        raise InputError(f"a grid needs a code of 2 dimensions, this model has latent_dim={estimator.latent_dim}")
    spread = np.abs(estimator.sample_prior(2000, random_state=0)).std()
    extent = 1.0 if estimator.prior == "gaussian" and not isinstance(estimator, EmbeddingAAE) else float(3 * spread)
    points = plots.code_grid_points(extent=(-extent, extent))
    return plots.code_grid(shown(estimator, estimator.inverse_transform(points)), (-extent, extent))


def style_figure(estimator: Any, names: Sequence[str], n_columns: int = 10) -> Figure:
    """Row = class; along the row z_1 runs over the middle 95 % of the prior, the other styles stay at 0."""
    low, high = np.quantile(estimator.sample_prior(2000, random_state=0)[:, 0], [0.025, 0.975])
    Z = np.zeros((n_columns, estimator.latent_dim), dtype=np.float32)
    Z[:, 0] = np.linspace(low, high, n_columns)
    n = estimator._n_classes
    rows = estimator._generate(np.repeat(np.arange(n), n_columns), np.tile(Z, (n, 1)), None)
    labels = [textwrap.shorten(name, 14, placeholder="…") for name in names]
    return plots.style_grid(shown(estimator, rows), n, n_columns, labels, Z[:, 0])


def styles(estimator: SupervisedAAE | SemiSupervisedAAE, rows: HeldOut, labels: Sequence[str], n: int = 10) -> Figure:
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
    return plots.style_label_grid(shown(estimator, X), shown(estimator, made), names)


def walk(estimator: AdversarialAutoencoder, images: np.ndarray, labels: Sequence[str]) -> Figure:
    """Samples in order along a Swiss roll, beside the roll (Makhzani et al., section 2.3; Sheet, lecture 53)."""
    prior = estimator._prior()
    assert isinstance(prior, SwissRoll) and prior.n_components
    K = min(prior.n_components, len(images))
    path = prior.at((torch.arange(len(images)) + 0.5) / len(images)).numpy()
    names = names_of(estimator, labels) or None
    n = len(images) // K * K
    return plots.roll_walk(images[:n], K, names if prior.n_components == K else None, path[:n])
