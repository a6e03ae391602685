"""All figures of a fitted estimator on held-out rows: what they show is computed here and drawn by `aaekit.plots`."""

import textwrap
from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_clusterer

from aaekit import plots
from aaekit.errors import InputError
from aaekit.estimators import SupervisedAAE
from aaekit.evaluation.heldout import (
    HeldOut,
    for_plots,
    mask_unseen_labels,
    names_of,
    reconstruct,
    rows_for_plots,
)
from aaekit.labels import labelled_mask
from aaekit.priors import SwissRoll

__all__ = [
    "class_code_figures",
    "class_figures",
    "code_figures",
    "code_grid",
    "draw_all",
    "figures_of",
    "grid",
    "roll_walk",
    "style_grid",
    "style_label_grid",
]


def draw_all(estimator: Any, rows: HeldOut, labels: Sequence[str], slow: bool = False) -> dict[str, Figure]:
    """Draw every figure that fits a fitted estimator.

    Parameters
    ----------
    estimator : Estimator
        Fitted.
    rows : HeldOut
        Rows to draw; at most 5,000 are used.
    labels : sequence of str
        Names of the labels of the rows, by number; empty if the labels are their own names.
    slow : bool, default False
        Also draw the figures that take longer.

    Returns
    -------
    dict of str to Figure
        By the name of the function in `aaekit.plots`; `plots.DESCRIPTIONS` has their titles and captions.
    """
    rows = rows.subset()
    figures = figures_of(estimator, rows, labels)
    if slow and hasattr(estimator, "transform"):
        from sklearn.manifold import TSNE

        codes, y = estimator.transform(rows.X[:2000]), _first_label(rows)
        embedding = TSNE(random_state=0, perplexity=min(30, (len(codes) - 1) / 3)).fit_transform(codes)
        figures["latent_tsne"] = plots.latent_tsne(embedding, None if y is None else y[:2000], labels or None)
    figures["learning_curves"] = plots.learning_curves(estimator.history_)
    weights = next((p for p in estimator.networks_.encoder.parameters() if p.dim() > 1), None)
    if weights is not None and rows.originals is None:
        shape = estimator.shape_ if len(estimator.shape_) > 1 and weights.dim() == 2 else None
        figures["first_layer_features"] = plots.first_layer_features(weights.detach().numpy(), shape)
    return figures


# --- by type of estimator --------------------------------------------------------------------------------------------
@singledispatch
def figures_of(estimator: Any, rows: HeldOut, labels: Sequence[str]) -> dict[str, Figure]:
    """The figures of a fitted estimator by name, other than those of its history and networks.

    The default covers what an estimator has in public: predictions of classes, a class code y, and codes with a prior.
    For a class that needs other figures, register a function: ``@figures_of.register``.
    """
    figures = class_figures(estimator, rows, labels) if is_classifier(estimator) else {}
    if hasattr(estimator, "cluster_proba") or (is_classifier(estimator) and hasattr(estimator, "modes")):
        figures |= class_code_figures(estimator, rows, labels)
    if hasattr(estimator, "sample_prior"):
        figures |= code_figures(estimator, rows, labels)
    return figures


def class_figures(estimator: Any, rows: HeldOut, labels: Sequence[str]) -> dict[str, Figure]:
    """The figures of a classifier: probabilities, and with labels of rows not trained on, confusions and mistakes."""
    p, y = estimator.predict_proba(rows.X), rows.y
    figures = {"label_distribution": plots.label_distribution(p, names_of(estimator, labels))}
    if rows.name != "training" and y is not None and labelled_mask(y).any():
        predicted = estimator.classes_[p.argmax(1)]
        figures["confusion_matrix"] = plots.confusion_matrix(y, predicted, labels or None)
        figures["confident_mistakes"] = plots.confident_mistakes(
            rows_for_plots(estimator, rows), y, predicted, p.max(1), labels or None
        )
    return figures


def class_code_figures(estimator: Any, rows: HeldOut, labels: Sequence[str]) -> dict[str, Figure]:
    """The figures of a class code y: its distribution, its modes, and what it is combined with."""
    proba = estimator.cluster_proba if hasattr(estimator, "cluster_proba") else estimator.predict_proba
    p = proba(rows.X)
    predicted, names = p.argmax(1), _value_names(estimator, labels)
    figures = {"label_distribution": plots.label_distribution(p, names, estimator.class_prior_)}
    if rows.of_images:
        figures["predicted_rows"] = plots.predicted_rows(rows_for_plots(estimator, rows), predicted, p.max(1), names)
    elif rows.originals is None:
        figures["modes_and_samples"] = plots.modes_and_samples(
            for_plots(estimator, estimator.modes()), for_plots(estimator, rows.X), predicted, names
        )
    if is_clusterer(estimator) and rows.y is not None and labelled_mask(rows.y).any():
        figures["cluster_matrix"] = plots.cluster_matrix(rows.y, predicted, labels or None, names)
    if rows.originals is not None:  # what is decoded are features
        return figures
    if getattr(estimator.networks_, "mode_decoder", None) is not None:
        figures["learned_modes"] = plots.learned_modes(for_plots(estimator, estimator.learned_modes()), names)
    if estimator.n_code > estimator.latent_dim:
        figures["style_grid"] = style_grid(estimator, names)
    return figures


def code_figures(estimator: Any, rows: HeldOut, labels: Sequence[str]) -> dict[str, Figure]:
    """The figures of an autoencoder: samples, reconstructions, codes, and a grid over what they represent."""
    z, prior_samples = estimator.transform(rows.X), estimator.sample_prior(2000, random_state=0)
    codes = {
        "latent_scatter": plots.latent_scatter(z, _first_label(rows), labels or None, prior_samples),
        "code_vs_prior": plots.code_vs_prior(z, prior_samples),
    }
    if rows.originals is not None:  # what is decoded are features
        return codes
    first = rows.at(slice(10))
    figures = {
        "sample_grid": plots.sample_grid(for_plots(estimator, estimator.sample(100, random_state=0))),
        "reconstruction_pairs": plots.reconstruction_pairs(
            for_plots(estimator, first.X), for_plots(estimator, reconstruct(estimator, first))
        ),
        **codes,
    }
    if hasattr(estimator, "conditions_") or (
        hasattr(estimator, "translate") and getattr(estimator, "style_matching", None) == "per_class"
    ):
        figures["style_label_grid"] = style_label_grid(estimator, rows, labels)
    elif estimator.n_code == z.shape[1] == 2:
        figures["code_grid"] = code_grid(estimator)
    if isinstance(estimator.prior_, SwissRoll) and hasattr(estimator, "walk"):
        figures["roll_walk"] = roll_walk(estimator, for_plots(estimator, estimator.walk(100)), labels)
    return figures


@singledispatch
def grid(estimator: Any, rows: HeldOut, labels: Sequence[str]) -> Figure:
    """The most informative grid of an autoencoder: classes and styles, styles and labels, or the latent plane.

    Raises
    ------
    InputError
        If there are no classes and the code does not have two dimensions.
    """
    if estimator.n_classes and estimator.n_code > estimator.latent_dim:
        return style_grid(estimator, _value_names(estimator, labels))
    return code_grid(estimator)


@grid.register
def _(estimator: SupervisedAAE, rows: HeldOut, labels: Sequence[str]) -> Figure:
    return style_label_grid(estimator, rows, labels)


# --- grids -----------------------------------------------------------------------------------------------------------
def code_grid(estimator: Any) -> Figure:
    """Decoded 10 x 10 grid over the centre of a two-dimensional latent space.

    For the standard Gaussian it is [-1, 1]^2 (Sheet, *Deep Learning for Visual Computing* (NPTEL), lecture 54), else
    three standard deviations of the prior to each side.

    Raises
    ------
    InputError
        If the code does not have two dimensions.
    """
    if estimator.n_code != 2:
        raise InputError(f"expected a code of 2 dimensions for a grid, got {estimator.n_code}: train with latent_dim=2")
    deviation = float(np.abs(estimator.sample_prior(2000, random_state=0)).std())
    extent = 1.0 if estimator.prior == "gaussian" and not estimator.n_classes else 3 * deviation
    points = plots.code_grid_points(extent=(-extent, extent))
    return plots.code_grid(for_plots(estimator, estimator.inverse_transform(points)), (-extent, extent))


def style_grid(estimator: Any, names: Sequence[str], n_columns: int = 10) -> Figure:
    """One row per class, along which z_1 varies over the central 95 % of the prior; the other z are 0."""
    low, high = np.quantile(estimator.sample_prior(2000, random_state=0)[:, 0], [0.025, 0.975])
    Z = np.zeros((n_columns, estimator.latent_dim), dtype=np.float32)
    Z[:, 0] = np.linspace(low, high, n_columns)
    values = estimator.classes_ if is_classifier(estimator) else np.arange(estimator.n_classes)
    samples = estimator.generate(np.repeat(values, n_columns), np.tile(Z, (len(values), 1)))
    labels = [textwrap.shorten(name, 14, placeholder="…") for name in names]
    return plots.style_grid(for_plots(estimator, samples), len(values), n_columns, labels, Z[:, 0])


def style_label_grid(estimator: Any, rows: HeldOut, labels: Sequence[str], n: int = 10) -> Figure:
    """One row per style of a real row, decoded with every label (Makhzani et al., section 2.4).

    Of several conditions, the first varies; the others are those of the row, or their first value if unknown.
    """
    names, X = names_of(estimator, labels), rows.X[:n]
    first, *others = getattr(estimator, "conditions_", [estimator.classes_])
    y: Any = np.tile(first, len(X))
    if others:
        assert rows.y is not None
        seen = mask_unseen_labels(estimator, rows.y[: len(X)])[:, 1:]
        own = np.where(seen == -1, [values[0] for values in others], seen)
        y = np.column_stack([y, np.repeat(own, len(first), axis=0)])
    samples = estimator.translate(np.repeat(X, len(first), axis=0), y)
    return plots.style_label_grid(for_plots(estimator, X), for_plots(estimator, samples), names)


def roll_walk(estimator: Any, images: NDArray[Any], labels: Sequence[str]) -> Figure:
    """Decoded samples along a Swiss roll, and the roll (Makhzani et al., section 2.3; Sheet, lecture 53).

    Parameters
    ----------
    estimator : AdversarialAutoencoder
        Fitted with a Swiss roll as prior.
    images : ndarray of shape (n, ...)
        `estimator.walk(n)`, as `for_plots` gives it.
    labels : sequence of str
        Names of the labels, by number.

    Raises
    ------
    InputError
        If the prior is not a Swiss roll.
    """
    prior = estimator.prior_
    if not isinstance(prior, SwissRoll):
        raise InputError(f"expected a Swiss roll as prior, got {prior!r}: train with prior='swiss_roll'")
    n, names = len(images), names_of(estimator, labels)
    K = min(prior.n_components or 1, n)
    path = prior.at((torch.arange(n) + 0.5) / n).numpy()
    last = n // K * K
    return plots.roll_walk(images[:last], K, names if len(names) == K else None, path[:last])


def _value_names(estimator: Any, labels: Sequence[str]) -> list[str]:
    """Names of the values of y; those of named clusters have their number, since several may have the same name."""
    K = estimator.n_classes
    if (cluster_names := getattr(estimator, "cluster_names_", None)) is not None:
        return [f"{k}: {cluster_names.get(k, '?')}" for k in range(K)]
    names = names_of(estimator, labels)
    return names if len(names) == K else [str(k) for k in range(K)]


def _first_label(rows: HeldOut) -> NDArray[Any] | None:
    """Labels `(n,)`; of several conditions, the first."""
    return rows.y if rows.y is None or rows.y.ndim == 1 else rows.y[:, 0]
