"""Scatter plots of codes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from numpy.typing import ArrayLike, NDArray

from aaekit.errors import InputError
from aaekit.plots.base import (
    BLUE,
    FAINT,
    GREY,
    HALO,
    INK,
    MARKERS,
    check_codes,
    class_numbers,
    described,
    new_axes,
    new_figure,
    palette,
    plain,
)

__all__ = ["embedding_comparison", "latent_scatter", "latent_tsne"]


@described(
    "Codes by class",
    "Each point is the code of one sample; grey points are samples of the prior. The codes should cover the prior "
    "without holes. If z alone represents the class, the classes should be separated; if the class is in y and z is "
    "the style, the classes should overlap completely.",
)
def latent_scatter(
    z: ArrayLike,
    y: ArrayLike | None = None,
    classes: Sequence[Any] | None = None,
    prior_samples: ArrayLike | None = None,
    max_points: int = 10_000,
) -> Figure:
    """Scatter plot of codes, coloured by class, in front of prior samples in grey.

    Parameters
    ----------
    z : array-like of shape (n, d)
        Codes. If d > 2, they are projected onto their first two principal components; if d = 1, the vertical position
        is random.
    y : array-like of shape (n,), optional
        Labels; -1 is drawn in grey as "unlabelled".
    classes : sequence of K names, optional
        By default the label numbers.
    prior_samples : array-like of shape (m, d), optional
        Samples of p(z), projected in the same way.
    max_points : int, default 10000
        If there are more codes, a random subset is drawn.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the shapes do not match, or a code is not finite.
    """
    z = check_codes(z, "z")
    prior = None if prior_samples is None else check_codes(prior_samples, "prior_samples")
    if prior is not None and prior.shape[1] != z.shape[1]:
        raise InputError(f"expected prior samples of {z.shape[1]} dimensions as the codes, got {prior.shape[1]}")
    labels, names = _labels_of(y, classes, len(z))
    random = np.random.default_rng(0)
    points, prior_points, xlabel, ylabel = _plane(z, prior, random)
    subset = random.permutation(len(z))[:max_points]
    points = points[subset]

    figure = new_figure((7.2 if names else 6, 5.6))
    drawn = f" ({len(subset)} of {len(z)})" if len(subset) < len(z) else ""
    axes = new_axes(figure, f"Codes of {len(z)} samples{drawn}" + (" by class" if names else ""), xlabel, ylabel)
    if z.shape[1] > 1:
        axes.set_aspect("equal", adjustable="datalim")
    size = _point_size(len(points))
    if prior_points is not None:
        axes.scatter(*prior_points.T, s=0.6 * size, color=FAINT, linewidths=0, label="prior $p(z)$")
    _draw_points(axes, points, None if labels is None else labels[subset], names, size)
    if z.shape[1] == 1:
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    _legend(axes)
    return figure


@described(
    "Codes, by t-SNE",
    "Codes that are close in the latent space are close here. A group of one colour is a class that the code "
    "separates, a mixed group one that it does not. The sizes of groups and the distances between them have no "
    "meaning.",
)
def latent_tsne(
    embedding: ArrayLike,
    y: ArrayLike | None = None,
    classes: Sequence[Any] | None = None,
    method: str = "t-SNE",
    max_points: int = 10_000,
) -> Figure:
    """Scatter plot of a two-dimensional embedding of codes, coloured by class.

    Parameters
    ----------
    embedding : array-like of shape (n, 2)
        An embedding of the codes by t-SNE or another method, for instance
        `sklearn.manifold.TSNE().fit_transform(z)`.
    y : array-like of shape (n,), optional
        Labels; -1 is drawn in grey as "unlabelled".
    classes : sequence of K names, optional
        By default the label numbers.
    method : str, default "t-SNE"
        Name of the method.
    max_points : int, default 10000
        If there are more codes, a random subset is drawn.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the shapes do not match, or a value is not finite.

    Notes
    -----
    The axes have no numbers, since t-SNE preserves neighbourhoods but not distances between groups.

    References
    ----------
    Azulay, *adversarial-autoencoder-classifier* documentation (2019), "latent features".
    """
    points = _flat_points(embedding, "an embedding")
    labels, names = _labels_of(y, classes, len(points))
    subset = np.random.default_rng(0).permutation(len(points))[:max_points]
    figure = new_figure((7.2 if names else 6, 5.6))
    drawn = f" ({len(subset)} of {len(points)})" if len(subset) < len(points) else ""
    title = f"{plain(method)} of the codes of {len(points)} samples{drawn}" + (" by class" if names else "")
    axes = new_axes(figure, title, f"{plain(method)} 1", f"{plain(method)} 2")
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
    _draw_points(axes, points[subset], None if labels is None else labels[subset], names, _point_size(len(subset)))
    _legend(axes)
    return figure


@described(
    "The same rows by several methods",
    "Look for classes in one piece and separated from the others. Compare the numbers below the names rather than the "
    "shapes: a method that draws clear islands may have separated neighbours.",
)
def embedding_comparison(
    embeddings: Mapping[str, ArrayLike],
    y: ArrayLike | None = None,
    notes: Mapping[str, str] | None = None,
    classes: Sequence[Any] | None = None,
    max_points: int = 5000,
) -> Figure:
    """Scatter plots of several embeddings of the same rows, side by side, with one legend.

    Parameters
    ----------
    embeddings : mapping of str to array-like of shape (n, 2)
        By name of the method; row i belongs to the same row of data in all of them.
    y : array-like of shape (n,), optional
        Labels; -1 is drawn in grey as "unlabelled".
    notes : mapping of str to str, optional
        By name of the method, a line to show below it, for instance "trustworthiness 0.98".
    classes : sequence of K names, optional
        By default the label numbers.
    max_points : int, default 5000
        If there are more rows, a random subset is drawn, the same for all methods.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If there is no embedding, their lengths differ, or a note has no embedding.
    """
    points = {name: _flat_points(z, f"the embedding {name!r}") for name, z in embeddings.items()}
    if len({len(z) for z in points.values()}) != 1:
        raise InputError(
            "expected at least one embedding, and the same number of rows in all, got "
            f"{', '.join(f'{len(z)} of {name!r}' for name, z in points.items()) or 'none'}"
        )
    for name in notes or {}:
        if name not in points:
            raise InputError(f"expected notes for {', '.join(points)}, got one for {name!r}")
    n = len(next(iter(points.values())))
    labels, names = _labels_of(y, classes, n)
    subset = np.random.default_rng(0).permutation(n)[:max_points]
    drawn_labels = None if labels is None else labels[subset]
    n_columns = min(3, len(points))
    rows = -(-len(points) // n_columns)
    figure = new_figure((3.5 * n_columns + (1.2 if names else 0.2), (4.0 if notes else 3.75) * rows + 0.6))
    for place, (name, z) in enumerate(points.items()):
        axes = new_axes(figure, plain(name), place=(rows, n_columns, place + 1))
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(f"{plain(name)} 1", fontsize=9, color=INK)
        axes.set_ylabel(f"{plain(name)} 2", fontsize=9, color=INK)
        axes.set_box_aspect(1)
        if notes and name in notes:
            _title_and_note(axes, plain(name), plain(notes[name]))
        _draw_points(axes, z[subset], drawn_labels, names, 0.6 * _point_size(len(subset)))
    drawn = f" ({len(subset)} of them drawn)" if len(subset) < n else ""
    figure.suptitle(f"Embeddings of {n} rows{drawn}", fontsize=12, color=INK, x=0.01, ha="left")
    handles, entries = figure.axes[0].get_legend_handles_labels()
    if len(entries) > 1:
        legend = figure.legend(
            handles, entries, loc="outside right upper", frameon=False, fontsize=9, handletextpad=0.3,
            ncols=1 + (len(entries) - 1) // 22, labelcolor=INK,
        )  # fmt: skip
        _plain_handles(legend)
    return figure


def _flat_points(z: ArrayLike, name: str) -> NDArray[np.float64]:
    """Points (n, 2), checked."""
    points = check_codes(z, name)
    if points.shape[1] != 2:
        raise InputError(f"expected {name} of shape (n, 2), got {points.shape}")
    return points


def _labels_of(
    y: ArrayLike | None, classes: Sequence[Any] | None, n: int
) -> tuple[NDArray[np.int64] | None, list[str]]:
    """Labels of n points as numbers, and the names of the classes."""
    if y is None:
        return None, []
    (labels,), names = class_numbers([y], classes)
    if len(labels) != n:
        raise InputError(f"expected one label per code, got {len(labels)} labels and {n} codes")
    return labels, names


def _point_size(n: int) -> float:
    """Marker area for a plot of n points."""
    return float(np.clip(420 / np.sqrt(n), 5, 26))


def _draw_points(
    axes: Axes, points: NDArray[np.float64], labels: NDArray[np.int64] | None, names: list[str], size: float
) -> None:
    """Points coloured by class; from the thirteenth class on, the marker changes, too."""
    if labels is None:
        axes.scatter(*points.T, s=size, color=BLUE, alpha=0.7, linewidths=0, label="codes $q(z)$")
        return
    if (labels < 0).any():
        axes.scatter(*points[labels < 0].T, s=size, color=GREY, alpha=0.5, linewidths=0, label="unlabelled")
    present = [k for k in range(len(names)) if (labels == k).any()]
    colours = palette(len(names))
    for k in present:
        axes.scatter(
            *points[labels == k].T, s=size, color=colours[k], marker=MARKERS[k // 12 % len(MARKERS)], alpha=0.8,
            linewidths=0, label=names[k],
        )  # fmt: skip
    _name_groups(axes, points, labels, present, names)


def _legend(axes: Axes) -> None:
    """A legend at the right, if there is more than one group."""
    _, entries = axes.get_legend_handles_labels()
    if len(entries) > 1:
        legend = axes.legend(
            loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9, borderaxespad=0, handletextpad=0.3,
            ncols=1 + (len(entries) - 1) // 22, labelcolor=INK,
        )  # fmt: skip
        _plain_handles(legend)


def _plain_handles(legend: Legend) -> None:
    """Make the markers of a legend large and opaque."""
    for handle in legend.legend_handles:
        handle.set(alpha=1, sizes=[36])  # pyright: ignore[reportOptionalMemberAccess]


def _title_and_note(axes: Axes, title: str, note: str) -> None:
    """A title with a smaller line between it and the axes."""
    axes.set_title(title, fontsize=11.5, color=INK, loc="left", pad=21)
    axes.annotate(
        note, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", fontsize=9, color="#555555",
        va="bottom",
    )  # fmt: skip


def _plane(
    z: NDArray[np.float64], prior: NDArray[np.float64] | None, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, str, str]:
    """Codes and prior samples in two dimensions, and the labels of the axes."""
    d = z.shape[1]
    if d == 2:
        return z, prior, "$z_1$", "$z_2$"
    if d == 1:

        def jittered(a: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.column_stack([a, random.uniform(0, 1, len(a))])

        return jittered(z), None if prior is None else jittered(prior), "$z_1$", "(random height)"
    if len(z) < 2:  # a single code has no principal components
        return z[:, :2], None if prior is None else prior[:, :2], f"$z_1$ of {d} dimensions", "$z_2$"
    centre = z.mean(axis=0)
    _, s, axes = np.linalg.svd(z - centre, full_matrices=False)
    axes = axes[:2] * np.where(axes[:2].sum(axis=1, keepdims=True) < 0, -1, 1)  # the sign is arbitrary
    share = 100 * s**2 / max(float((s**2).sum()), 1e-30)
    names = [f"principal component {k + 1} of {d} dimensions ({share[k]:.0f} % of variance)" for k in range(2)]
    return (z - centre) @ axes.T, None if prior is None else (prior - centre) @ axes.T, names[0], names[1]


def _name_groups(
    axes: Axes, points: NDArray[np.float64], labels: NDArray[np.int64], present: list[int], names: list[str]
) -> None:
    """Write the name of each class where it is densest, unless most names would overlap."""
    if not 2 <= len(present) <= 20:
        return
    scale = np.maximum(np.ptp(points, axis=0), 1e-12)
    centres = np.array([_densest(points[labels == k], scale) for k in present])
    min_distance = 0.03 + 0.012 * max(len(names[k]) for k in present)
    placed: list[int] = []
    for i, centre in enumerate(centres):
        if all(np.linalg.norm((centre - centres[j]) / scale) > min_distance for j in placed):
            placed.append(i)
    if 2 * len(placed) <= len(centres):
        return
    for i in placed:
        x, y = centres[i]
        axes.text(x, y, names[present[i]], fontsize=11, weight="bold", color=INK, ha="center", va="center", bbox=HALO)


def _densest(points: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """The centre of the densest group of points `(n, 2)`."""
    points = points[:: max(1, len(points) // 500)]
    distances = np.linalg.norm((points[:, None] - points) / scale, axis=2)
    densest = np.exp(-((distances / 0.1) ** 2)).sum(axis=1).argmax()
    return np.median(points[distances[densest] < 0.1], axis=0)
