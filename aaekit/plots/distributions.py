"""Distributions of codes and classes, compared with their priors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from aaekit.errors import InputError
from aaekit.plots.base import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    SKY,
    VERMILION,
    check_codes,
    class_names,
    class_ticks,
    described,
    new_axes,
    new_figure,
    number,
    set_title,
    span,
)

__all__ = ["code_vs_prior", "label_distribution"]


@described(
    "Codes against the prior",
    "The filled histogram (codes of data) should follow the outline (the prior) in every dimension. If it is "
    "narrower, the discriminator or the reconstruction contracts the codes; if it is a single peak, the dimension is "
    "unused.",
)
def code_vs_prior(z: ArrayLike, prior_samples: ArrayLike, max_dims: int = 10) -> Figure:
    """Histograms of the codes q(z) and of the prior p(z), one panel per dimension.

    Parameters
    ----------
    z : array-like of shape (n, d)
        Codes.
    prior_samples : array-like of shape (m, d)
        Samples of the prior.
    max_dims : int, default 10
        Number of dimensions to draw, from the first on.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the dimensions differ, or a value is not finite.

    References
    ----------
    Azulay, *adversarial-autoencoder-classifier* documentation (2019), "z distribution"; Nagabushan, *A Wizard's Guide
    to Adversarial Autoencoders*, part 4 (2017).
    """
    z, prior = _same_dimensions(z, prior_samples)
    d = min(z.shape[1], max_dims)
    n_columns = d if d <= 3 else 4 if d <= 4 or d in (7, 8) else 3 if d <= 6 or d == 9 else 5
    rows = -(-d // n_columns)
    figure = new_figure((max(2.5 * n_columns, 4.4), 2.2 * rows + 0.8))
    for j in range(d):
        axes = new_axes(figure, "", ylabel="density" if j % n_columns == 0 else "", place=(rows, n_columns, j + 1))
        moments = _draw_density(axes, z, prior, j)
        axes.set_title(moments, fontsize=8.5, color=INK, loc="left")
    _legend_below(figure)
    drawn = f", the first {d} of {z.shape[1]} dimensions" if d < z.shape[1] else ""
    figure.suptitle(f"Codes against the prior{drawn} (mean \u00b1 sd)", fontsize=12, color=INK, x=0.01, ha="left")
    return figure


@described(
    "The class code y",
    "Left: after training, y is close to one-hot, so most of the mass should be near 1; mass in the middle is rows "
    "between classes, mass at 1/K a y that was never learned. Right: the bars should reach the dashed line of the "
    "prior; a class that is never predicted, or is far above the line, is a sign of collapse.",
)
def label_distribution(
    probabilities: ArrayLike, classes: Sequence[Any] | None = None, expected: ArrayLike | None = None
) -> Figure:
    """Histogram of the largest probability of y, and how often each class is predicted.

    Parameters
    ----------
    probabilities : array-like of shape (n, K)
        Rows of y, each summing to 1.
    classes : sequence of K names, optional
        By default the class numbers.
    expected : array-like of shape (K,), optional
        Class frequencies of the prior, in any unit; uniform by default.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the shapes do not match, a probability is not finite, or an expected frequency is negative.

    References
    ----------
    Azulay, *adversarial-autoencoder-classifier* documentation (2019), "y distribution" and "predicted label
    distribution"; Nagabushan, *A Wizard's Guide to Adversarial Autoencoders*, part 4 (2017).
    """
    p = _probabilities(probabilities)
    names = class_names(classes, p.shape[1])
    figure = new_figure((9.2, 3.6))
    _draw_largest(new_axes(figure, "", place=(1, 2, 1)), p)
    counts = np.bincount(p.argmax(axis=1), minlength=p.shape[1])
    _draw_frequencies(new_axes(figure, "How often each class is predicted", place=(1, 2, 2)), counts, expected, names)
    return figure


def _same_dimensions(z: ArrayLike, prior_samples: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Codes and prior samples, checked to have the same number of dimensions."""
    z, prior = check_codes(z, "z"), check_codes(prior_samples, "prior_samples")
    if prior.shape[1] != z.shape[1]:
        raise InputError(f"expected prior samples of {z.shape[1]} dimensions as the codes, got {prior.shape[1]}")
    return z, prior


def _probabilities(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Rows of y, checked."""
    p = np.asarray(probabilities, dtype=float)
    if p.ndim != 2 or not p.size:
        raise InputError(f"expected probabilities of shape (n, K), got {p.shape}")
    if not np.isfinite(p).all():
        raise InputError("expected finite probabilities, got NaN or infinity: the training has probably diverged")
    return p


def _frequencies(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Frequencies, checked to be non-negative and not all 0."""
    f = np.asarray(values, dtype=float)
    if f.ndim != 1 or not np.isfinite(f).all() or (f < 0).any() or not f.sum():
        raise InputError(f"expected {name} of shape (K,), none negative and not all 0, got {np.asarray(values)}")
    return f


def _draw_density(axes: Axes, z: NDArray[np.float64], prior: NDArray[np.float64], j: int) -> str:
    """Histograms of dimension j of the codes and of the prior; returns their means and standard deviations as text."""
    edges = np.linspace(*span(np.concatenate([z[:, j], prior[:, j]]), 0.02), 41).tolist()
    axes.hist(z[:, j], edges, density=True, color=SKY, label="codes $q(z)$")
    axes.hist(prior[:, j], edges, density=True, histtype="step", color=VERMILION, lw=1.6, label="prior $p(z)$")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"$z_{{{j + 1}}}$", fontsize=10, color=INK)
    q, p = (f"{number(side[:, j].mean())} \u00b1 {number(side[:, j].std())}" for side in (z, prior))
    return f"$q$: {q}    $p$: {p}"


def _legend_below(figure: Figure) -> None:
    """The legend of the first axes, below all axes."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False, fontsize=10, labelcolor=INK)


def _draw_largest(axes: Axes, p: NDArray[np.float64]) -> None:
    """Histogram of max_k y_k, with a line at 1/K."""
    n, n_classes = p.shape
    largest = p.max(axis=1)
    set_title(axes, f"{100 * np.mean(largest > 0.9):.0f} % of {n} samples are above 0.9")
    axes.set_xlabel(r"largest probability, $\max_k\, y_k$", fontsize=10, color=INK)
    axes.set_ylabel("samples (%)", fontsize=10, color=INK)
    edges, percent = np.linspace(0, 1, 41).tolist(), np.full(n, 100 / n)
    heights, _, _ = axes.hist(np.clip(largest, 0, 1), edges, weights=percent, color=BLUE)
    axes.set_ylim(0, 1.18 * np.max(heights))
    axes.axvline(1 / n_classes, color=GREY, ls="--", lw=1.2)
    axes.annotate(
        "uniform: 1/K", (1 / n_classes, 0.99), (4, 0), xycoords=("data", "axes fraction"),
        textcoords="offset points", fontsize=9, color="#555555", va="top",
    )  # fmt: skip
    axes.set_xlim(0, 1)


def _draw_frequencies(axes: Axes, counts: NDArray[Any], expected: ArrayLike | None, names: list[str]) -> None:
    """Predicted class frequencies as bars, and the expected ones as a dashed line."""
    K = len(names)
    frequencies = 100 * counts / counts.sum()
    prior = np.ones(K) if expected is None else _frequencies(expected, "expected frequencies")
    if len(prior) != K:
        raise InputError(f"expected a frequency for each of {K} classes, got {len(prior)}")
    prior = 100 * prior / prior.sum()
    axes.set_xlabel("predicted class", fontsize=10, color=INK)
    axes.set_ylabel("samples (%)", fontsize=10, color=INK)
    axes.bar(range(K), frequencies, color=BLUE, width=0.75)
    edges = np.arange(K + 1) - 0.5
    axes.step(edges, np.append(prior, prior[-1]), where="post", color=ORANGE, ls="--", lw=1.6)
    axes.set_xlim(-0.7, K - 0.3)
    axes.set_ylim(0, 1.22 * max(frequencies.max(), prior.max()))
    text = "dashed: uniform" if expected is None else "dashed: prior"
    axes.text(0.99, 0.98, text, transform=axes.transAxes, fontsize=9, color="#555555", ha="right", va="top")
    class_ticks(axes, names, axis="x", room=50)
