"""How codes are distributed, beside what was wanted of them."""

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
    new_axes,
    new_figure,
    number,
    set_title,
    span,
)


def code_vs_prior(z: ArrayLike, prior_samples: ArrayLike, max_dims: int = 10) -> Figure:
    """Each dimension's distribution over the data, q(z), against the prior, p(z).

    Parameters
    ----------
    z : array-like of shape (n, d)
        Codes.
    prior_samples : array-like of shape (m, d)
        Samples of the prior.
    max_dims : int, default 10
        Only the first dimensions.
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
    some = f", the first {d} of {z.shape[1]} dimensions" if d < z.shape[1] else ""
    figure.suptitle(f"Codes against the prior{some} (mean \u00b1 sd)", fontsize=12, color=INK, x=0.01, ha="left")
    return figure


def code_histogram(z: ArrayLike, prior_samples: ArrayLike, dim: int = 0) -> Figure:
    """One dimension's distribution over the data, q(z), against the prior, p(z); `code_vs_prior` draws them all.

    Parameters
    ----------
    z : array-like of shape (n, d)
        Codes.
    prior_samples : array-like of shape (m, d)
        Samples of the prior.
    dim : int, default 0
        Which dimension, 0 ... d - 1.

    Raises
    ------
    InputError (a ValueError)
        If the dimensions differ, or there is no such dimension.

    References
    ----------
    Azulay, *adversarial-autoencoder-classifier* documentation (2019), "z distribution".
    """
    z, prior = _same_dimensions(z, prior_samples)
    if not 0 <= dim < z.shape[1]:
        raise InputError(f"Expected a dimension from 0 to {z.shape[1] - 1}, got {dim}.")
    figure = new_figure((5.6, 3.8))
    axes = new_axes(figure, "", ylabel="density")
    moments = _draw_density(axes, z, prior, dim)
    set_title(axes, f"{moments} (mean \u00b1 sd)")
    _legend_below(figure)
    return figure


def label_distribution(
    probabilities: ArrayLike, classes: Sequence[Any] | None = None, expected: ArrayLike | None = None
) -> Figure:
    """How sure the class code y is, and how often each class is predicted.

    Parameters
    ----------
    probabilities : array-like of shape (n, K)
        Rows of y, each summing to 1.
    classes : sequence of K names, optional
        By default the numbers.
    expected : array-like of shape (K,), optional
        How frequent the classes should be, on any scale; by default all alike.
    """
    p = _probabilities(probabilities)
    names = class_names(classes, p.shape[1])
    figure = new_figure((9.2, 3.6))
    _draw_confidence(new_axes(figure, "", place=(1, 2, 1)), p)
    counts = np.bincount(p.argmax(axis=1), minlength=p.shape[1])
    _draw_shares(new_axes(figure, "How often each class is predicted", place=(1, 2, 2)), counts, expected, names)
    return figure


def confidence_histogram(probabilities: ArrayLike) -> Figure:
    """How sure the class code y is: its largest probability, over the samples.

    Parameters
    ----------
    probabilities : array-like of shape (n, K)
        Rows of y, each summing to 1.

    References
    ----------
    Azulay, *adversarial-autoencoder-classifier* documentation (2019), "y distribution".
    """
    figure = new_figure((5.2, 3.6))
    _draw_confidence(new_axes(figure, ""), _probabilities(probabilities))
    return figure


def predicted_label_distribution(
    counts: ArrayLike, expected: ArrayLike | None = None, classes: Sequence[Any] | None = None
) -> Figure:
    """How often each label or cluster is predicted, beside how often the prior has it.

    Parameters
    ----------
    counts : array-like of shape (K,)
        Rows that were given each label.
    expected : array-like of shape (K,), optional
        How frequent the labels should be, on any scale; by default all alike.
    classes : sequence of K names, optional
        By default the numbers.

    Raises
    ------
    InputError (a ValueError)
        If the shapes differ, a number is negative, or all are 0.

    References
    ----------
    Azulay, *adversarial-autoencoder-classifier* documentation (2019), "predicted label distribution".
    """
    n = _frequencies(counts, "counts")
    names = class_names(classes, len(n))
    figure = new_figure((max(5.2, min(0.28 * len(n), 12)), 3.6))
    _draw_shares(new_axes(figure, "How often each label is predicted"), n, expected, names)
    return figure


def real_vs_obtained(
    z: ArrayLike,
    prior_samples: ArrayLike,
    y_probabilities: ArrayLike | None = None,
    class_prior: ArrayLike | None = None,
    classes: Sequence[Any] | None = None,
    max_dims: int = 2,
) -> Figure:
    """What z and y were meant to look like, and what the encoder makes of them, in one figure.

    Parameters
    ----------
    z : array-like of shape (n, d)
        Codes.
    prior_samples : array-like of shape (m, d)
        Samples of p(z).
    y_probabilities : array-like of shape (n, K), optional
        Rows of y, each summing to 1; without them only z is drawn.
    class_prior : array-like of shape (K,), optional
        p(y), on any scale; by default all alike.
    classes : sequence of K names, optional
        By default the numbers.
    max_dims : int, default 2
        Only the first dimensions of z.

    References
    ----------
    Nagabushan, *A Wizard's Guide to Adversarial Autoencoders*, part 4 (2017).
    """
    z, prior = _same_dimensions(z, prior_samples)
    d = min(z.shape[1], max_dims)
    p = None if y_probabilities is None else _probabilities(y_probabilities)
    n_columns = d if p is None else 2 * max(1, d)  # two panels of y below those of z
    rows = 1 if p is None else 2
    figure = new_figure((max(3.0 * d, 4.6 if p is None else 9.0), 3.0 * rows + 0.7))
    grid = figure.add_gridspec(rows, n_columns)
    width = n_columns // d
    for j in range(d):
        axes = new_axes(figure, "", ylabel="density", place=grid[0, j * width : (j + 1) * width])
        moments = _draw_density(axes, z, prior, j)
        axes.set_title(moments, fontsize=10 if d < 3 else 8.5, color=INK, loc="left")
    if p is not None:
        shares, largest = grid[1, : n_columns // 2], grid[1, n_columns // 2 :]
        counts, names = np.bincount(p.argmax(axis=1), minlength=p.shape[1]), class_names(classes, p.shape[1])
        axes = new_axes(figure, "How often each value of $y$ is the largest", place=shares)
        _draw_shares(axes, counts, class_prior, names, SKY, VERMILION, note=False)
        axes = new_axes(figure, "", place=largest)
        _draw_confidence(axes, p, SKY)
        axes.axvline(1, color=VERMILION, lw=3)  # a draw of the prior is one-hot
    handles, _ = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, ["obtained: codes of data", "wanted: the prior"], loc="outside lower center", ncols=2, frameon=False,
        fontsize=10, labelcolor=INK,
    )  # fmt: skip
    some = f", the first {d} of {z.shape[1]} dimensions of $z$" if d < z.shape[1] else ""
    figure.suptitle(f"Wanted and obtained{some}", fontsize=12, color=INK, x=0.01, ha="left")
    return figure


def _same_dimensions(z: ArrayLike, prior_samples: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Codes and samples of their prior, checked."""
    z, prior = check_codes(z, "z"), check_codes(prior_samples, "prior_samples")
    if prior.shape[1] != z.shape[1]:
        raise InputError(f"Expected prior samples with the codes' {z.shape[1]} dimensions, got {prior.shape[1]}.")
    return z, prior


def _probabilities(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Rows of y, checked."""
    p = np.asarray(probabilities, dtype=float)
    if p.ndim != 2 or not p.size:
        raise InputError(f"Expected probabilities of shape (n, K), got {p.shape}.")
    if not np.isfinite(p).all():
        raise InputError("Expected finite probabilities, got NaN or infinity: training has probably diverged.")
    return p


def _frequencies(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Numbers of 0 or more, at least one of which is not 0."""
    f = np.asarray(values, dtype=float)
    if f.ndim != 1 or not np.isfinite(f).all() or (f < 0).any() or not f.sum():
        raise InputError(f"Expected {name} of shape (K,), none negative and not all 0, got {np.asarray(values)}.")
    return f


def _draw_density(axes: Axes, z: NDArray[np.float64], prior: NDArray[np.float64], j: int) -> str:
    """Dimension j of codes, filled, and of the prior, as an outline; returns their means and deviations as text."""
    edges = np.linspace(*span(np.concatenate([z[:, j], prior[:, j]]), 0.02), 41).tolist()
    axes.hist(z[:, j], edges, density=True, color=SKY, label="codes $q(z)$")
    axes.hist(prior[:, j], edges, density=True, histtype="step", color=VERMILION, lw=1.6, label="prior $p(z)$")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"$z_{{{j + 1}}}$", fontsize=10, color=INK)
    q, p = (f"{number(side[:, j].mean())} \u00b1 {number(side[:, j].std())}" for side in (z, prior))
    return f"$q$: {q}    $p$: {p}"


def _legend_below(figure: Figure) -> None:
    """The first axes' legend, below all."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False, fontsize=10, labelcolor=INK)


def _draw_confidence(axes: Axes, p: NDArray[np.float64], colour: str = BLUE) -> None:
    """The histogram of max_k y_k, and where it is when nothing is known."""
    n, n_classes = p.shape
    sure = p.max(axis=1)
    set_title(axes, f"{100 * np.mean(sure > 0.9):.0f} % of {n} samples are surer than 0.9")
    axes.set_xlabel(r"largest probability, $\max_k\, y_k$", fontsize=10, color=INK)
    axes.set_ylabel("samples (%)", fontsize=10, color=INK)
    edges, percent = np.linspace(0, 1, 41).tolist(), np.full(n, 100 / n)
    heights, _, _ = axes.hist(np.clip(sure, 0, 1), edges, weights=percent, color=colour)
    axes.set_ylim(0, 1.18 * np.max(heights))
    axes.axvline(1 / n_classes, color=GREY, ls="--", lw=1.2)
    axes.annotate(
        "knows nothing: 1/K", (1 / n_classes, 0.99), (4, 0), xycoords=("data", "axes fraction"),
        textcoords="offset points", fontsize=9, color="#555555", va="top",
    )  # fmt: skip
    axes.set_xlim(0, 1)


def _draw_shares(
    axes: Axes,
    counts: NDArray[Any],
    expected: ArrayLike | None,
    names: list[str],
    colour: str = BLUE,
    line: str = ORANGE,
    note: bool = True,
) -> None:
    """Shares of the labels as bars, and the wanted ones as a line."""
    K = len(names)
    share = 100 * counts / counts.sum()
    wanted = np.ones(K) if expected is None else _frequencies(expected, "expected frequencies")
    if len(wanted) != K:
        raise InputError(f"Expected a frequency for each of {K} labels, got {len(wanted)}.")
    wanted = 100 * wanted / wanted.sum()
    axes.set_xlabel("predicted class", fontsize=10, color=INK)
    axes.set_ylabel("samples (%)", fontsize=10, color=INK)
    axes.bar(range(K), share, color=colour, width=0.75)
    edges = np.arange(K + 1) - 0.5
    axes.step(edges, np.append(wanted, wanted[-1]), where="post", color=line, ls="--" if note else "-", lw=1.6)
    axes.set_xlim(-0.7, K - 0.3)
    axes.set_ylim(0, 1.22 * max(share.max(), wanted.max()))
    if note:
        text = "dashed: all equally often" if expected is None else "dashed: as the prior has it"
        axes.text(0.99, 0.98, text, transform=axes.transAxes, fontsize=9, color="#555555", ha="right", va="top")
    class_ticks(axes, names, axis="x", room=50)
