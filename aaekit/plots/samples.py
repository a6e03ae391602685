"""Samples, reconstructions and decoded codes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from aaekit.errors import InputError
from aaekit.plots.base import (
    FAINT,
    GREY,
    INK,
    VERMILION,
    bare,
    check_codes,
    check_samples,
    class_names,
    class_numbers,
    colour_bar,
    described,
    integer_ticks,
    new_axes,
    new_figure,
    number,
    palette,
    plain,
    set_title,
    span,
)
from aaekit.plots.mosaic import draw_mosaic, mosaic_figure, tile

__all__ = [
    "code_grid",
    "code_grid_points",
    "domain_translation",
    "first_layer_features",
    "learned_modes",
    "modes_and_samples",
    "predicted_rows",
    "reconstruction_pairs",
    "roll_walk",
    "sample_grid",
    "style_grid",
    "style_label_grid",
]


@described(
    "Samples",
    "Decoded samples of the prior. They should be diverse, and each should belong to a class; if they do not, the "
    "prior covers regions without codes of data.",
)
def sample_grid(images: ArrayLike, n_columns: int = 10, title: str = "Samples") -> Figure:
    """Samples side by side.

    Parameters
    ----------
    images : array-like of shape (n, c, h, w) or (n, d)
        Samples, row by row.
    n_columns : int, default 10
        Samples per row.
    title : str, default "Samples"
        Title of the figure.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the shape is not that of images or table rows.
    """
    x = check_samples(images)
    figure, axes = mosaic_figure(x, n_columns)
    draw_mosaic(axes, x, n_columns)
    set_title(axes, title)
    return figure


def code_grid_points(n: int = 10, extent: tuple[float, float] = (-1, 1)) -> NDArray[np.float32]:
    """The codes to decode for `code_grid`: an n x n grid over a square of the latent plane.

    Parameters
    ----------
    n : int, default 10
        Points per row and column.
    extent : (float, float), default (-1, 1)
        Smallest and largest z_1 and z_2.

    Returns
    -------
    ndarray of shape (n * n, 2)
        (z_1, z_2), row by row from the top left: z_1 increases to the right, z_2 upwards, as in a plot.
    """
    z = np.linspace(*extent, n, dtype=np.float32)
    z1, z2 = np.meshgrid(z, z[::-1])
    return np.stack([z1.ravel(), z2.ravel()], axis=1)


@described(
    "The latent plane",
    "A regular grid of codes, decoded. Neighbours should resemble each other and change smoothly from class to class; "
    "a sudden blur is a hole in the latent space.",
)
def code_grid(images: ArrayLike, extent: tuple[float, float] = (-1, 1)) -> Figure:
    """A regular grid over a two-dimensional latent space, decoded.

    Parameters
    ----------
    images : array-like of shape (n * n, c, h, w) or (n * n, d)
        Decoded `code_grid_points(n, extent)`, in the same order.
    extent : (float, float), default (-1, 1)
        Smallest and largest z_1 and z_2.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the number of images is not a square.

    References
    ----------
    Sheet, *Deep Learning for Visual Computing* (NPTEL), lecture 54.
    """
    x = check_samples(images)
    n = round(np.sqrt(len(x)))
    if n * n != len(x):
        raise InputError(f"expected a square number of images, got {len(x)}: decode code_grid_points(n)")
    figure, axes = mosaic_figure(x, n, extra=(0.5, 0.7))
    pitch = draw_mosaic(axes, x, n)
    z = np.linspace(*extent, n).tolist()
    ticks = np.arange(0, n, 1 + n // 13)
    axes.set_xticks(ticks + pitch[0] / 2, [number(z[k]) for k in ticks])
    axes.set_yticks(n - 1 - ticks + pitch[1] / 2, [number(z[k]) for k in ticks])
    axes.set_xlabel("$z_1$", fontsize=11, color=INK)
    axes.set_ylabel("$z_2$", fontsize=11, color=INK)
    set_title(axes, f"Decoded from a {n} \u00d7 {n} grid of codes")
    return figure


@described(
    "Reconstructions",
    "Inputs above, their reconstructions below. Missing details are those that the code cannot represent; a "
    "reconstruction of another class is a sample that the model confuses.",
)
def reconstruction_pairs(X: ArrayLike, X_hat: ArrayLike, n: int = 10) -> Figure:
    """Inputs above, their reconstructions below.

    Parameters
    ----------
    X, X_hat : array-like of one shape, (n, c, h, w) or (n, d)
        Inputs and reconstructions.
    n : int, default 10
        Number of pairs to draw, from the first on.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the shapes differ.
    """
    x, x_hat = check_samples(X), check_samples(X_hat)
    if x.shape != x_hat.shape:
        raise InputError(f"expected inputs and reconstructions of the same shape, got {x.shape} and {x_hat.shape}")
    error = float(np.mean((x - x_hat) ** 2))
    n = min(n, len(x))
    both = np.concatenate([x[:n], x_hat[:n]])
    figure, axes = mosaic_figure(both, n, extra=(1.2, 0.5))
    pitch = draw_mosaic(axes, both, n, gap=(2, 1))
    axes.set_yticks([pitch[1] / 2, 1 + pitch[1] / 2], ["input", "reconstruction"])
    set_title(axes, f"Inputs and their reconstructions (mean squared error {error:.3g})")
    return figure


@described(
    "Class and style",
    "Each row is a class, each column a style. If class and style are separated, the class is constant along a row, "
    "and what changes along it (slant, stroke width) is the same in all rows.",
)
def style_grid(
    images: ArrayLike,
    n_rows: int,
    n_columns: int,
    row_labels: Sequence[Any] | None = None,
    z_values: ArrayLike | None = None,
    title: str = "One class per row, one style per column",
    xlabel: str = "$z_1$; the other style dimensions are constant",
) -> Figure:
    """One row per class y, along which the style z_1 varies over the prior.

    Parameters
    ----------
    images : array-like of shape (n_rows * n_columns, c, h, w) or (n_rows * n_columns, d)
        Row by row.
    n_rows, n_columns : int
        Number of classes and of styles.
    row_labels : sequence of n_rows names, optional
        By default 0, 1, ...
    z_values : array-like of shape (n_columns,), optional
        z_1 of each column.
    title, xlabel : str
        Title of the figure, and label of the horizontal axis.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the numbers of images, labels or values do not match.

    References
    ----------
    Azulay, *adversarial-autoencoder-classifier* documentation (2019), "learned latent features".
    """
    x = check_samples(images)
    labels = [str(k) for k in range(n_rows)] if row_labels is None else [plain(k) for k in row_labels]
    z = None if z_values is None else np.asarray(z_values, dtype=float)
    if len(x) != n_rows * n_columns or len(labels) != n_rows or (z is not None and z.shape != (n_columns,)):
        raise InputError(
            f"expected {n_rows} x {n_columns} images, {n_rows} row labels and {n_columns} z values, got {len(x)}, "
            f"{len(labels)} and {'none' if z is None else z.shape}"
        )
    figure, axes = mosaic_figure(x, n_columns, extra=(0.3 + 0.08 * max(map(len, labels)), 0.8))
    pitch = draw_mosaic(axes, x, n_columns)
    axes.set_yticks(np.arange(n_rows) + pitch[1] / 2, labels)
    axes.set_ylabel("$y$", fontsize=11, color=INK)
    if z is not None:
        ticks = np.arange(0, n_columns, 1 + n_columns // 13)
        axes.set_xticks(ticks + pitch[0] / 2, [number(z[k]) for k in ticks])
    axes.set_xlabel(xlabel, fontsize=11, color=INK)
    set_title(axes, title)
    return figure


FIRST_COLUMN_GAP = 0.35  # between the first column and the others, in cells


@described(
    "Modes, and rows with this prediction",
    "First column: the decoded class y = k with style z = 0. The other columns: real rows with this prediction. They "
    "should look alike and resemble the mode; a mixed row is a label that represents several classes, a mode without "
    "rows a label that is not used.",
)
def modes_and_samples(
    modes: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    row_labels: Sequence[Any] | None = None,
    n: int = 10,
    title: str = "The mode of each label, and rows with this prediction",
) -> Figure:
    """The decoded mode of each value of y, followed by real rows that are predicted as this label or cluster.

    Parameters
    ----------
    modes : array-like of shape (K, c, h, w) or (K, d)
        Decoded codes [y = k, z = 0].
    X : array-like of shape (m, c, h, w) or (m, d)
        Real rows.
    y : array-like of shape (m,)
        The predicted label or cluster of each row, 0 ... K - 1; rows with -1 are ignored.
    row_labels : sequence of K names, optional
        By default the number k and how many rows have it.
    n : int, default 10
        Maximum number of rows of each label, from the first on. A label without rows has only its mode.
    title : str
        Title of the figure.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the shapes do not match.

    References
    ----------
    Azulay, *adversarial-autoencoder-classifier* documentation (2019), "modes and samples".
    """
    first, x = check_samples(modes), check_samples(X)
    K = len(first)
    ((labels,), _) = class_numbers([y], range(K))
    if first.shape[1:] != x.shape[1:] or len(labels) != len(x):
        raise InputError(
            f"expected modes and rows of the same shape and one label per row, got {first.shape}, {x.shape} and "
            f"{len(labels)} labels"
        )
    counts = np.bincount(labels[labels >= 0], minlength=K)
    if row_labels is None:
        row_labels = [f"{k} ({count})" for k, count in enumerate(counts)]
    cells, blank = _by_label(x, labels, K, n)
    cells, blank = np.concatenate([first[:, None], cells], 1), np.concatenate([np.zeros((K, 1), bool), blank], 1)
    column_labels = ["mode", *[""] * (cells.shape[1] - 1)]
    return _first_column_and_rows(cells, class_names(row_labels, K), column_labels, title, "$y$", blank, "real rows")


def _by_label(
    x: NDArray[np.float32], labels: NDArray[np.intp], K: int, n: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The first n rows of each label `(K, n, ...)`, at least one column, and which of the cells have none."""
    n = max(1, min(n, int(np.bincount(labels[labels >= 0], minlength=K).max())))
    cells, blank = np.zeros((K, n, *x.shape[1:]), np.float32), np.ones((K, n), bool)
    for k in range(K):
        rows = np.flatnonzero(labels == k)[:n]
        cells[k, : len(rows)], blank[k, : len(rows)] = x[rows], False
    return cells, blank


@described(
    "Rows by prediction",
    "Real rows of each predicted label or cluster, the most confident ones first. They should look alike; a mixed row "
    "is a label that represents several classes.",
)
def predicted_rows(X: ArrayLike, y: ArrayLike, confidence: ArrayLike, row_labels: Sequence[Any], n: int = 10) -> Figure:
    """Real rows of each predicted label or cluster, in descending order of confidence.

    Parameters
    ----------
    X : array-like of shape (m, c, h, w) or (m, d)
        Real rows.
    y : array-like of shape (m,)
        The predicted label or cluster of each row, 0 ... K - 1.
    confidence : array-like of shape (m,)
        Probability of the predicted label, 0 to 1.
    row_labels : sequence of K names
        Of the labels or clusters.
    n : int, default 10
        Maximum number of rows of each label.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the lengths differ.
    """
    x, p, K = check_samples(X), np.asarray(confidence, dtype=float), len(row_labels)
    ((labels,), _) = class_numbers([y], range(K))
    if not len(x) == len(labels) == len(p):
        raise InputError(f"expected one label and confidence per row, got {len(labels)} and {len(p)} for {len(x)} rows")
    order = np.argsort(-p, kind="stable")
    cells, blank = _by_label(x[order], labels[order], K, n)
    names, n = class_names(row_labels, K), cells.shape[1]
    samples = cells.reshape(-1, *x.shape[1:])
    figure, axes = mosaic_figure(samples, n, extra=(0.3 + 0.085 * max(map(len, names)), 0.4))
    _, height = draw_mosaic(axes, samples, n, blank=blank.ravel())
    axes.set_yticks(np.arange(K) + height / 2, names)
    axes.tick_params(length=0)
    set_title(axes, "Rows by prediction, the most confident first")
    return figure


@described(
    "Styles and labels",
    "Each row has the style of the sample in its first column, combined with all labels. Slant and stroke width "
    "should be constant along a row, and the class should be that of the column; if the class of the first column is "
    "still visible, it is contained in z.",
)
def style_label_grid(
    sources: ArrayLike,
    images: ArrayLike,
    labels: Sequence[Any] | None = None,
    row_labels: Sequence[Any] | None = None,
    title: str = "The style of the first column, with every label",
) -> Figure:
    """One row per style, taken from the sample in the first column and decoded with every label.

    Parameters
    ----------
    sources : array-like of shape (m, c, h, w) or (m, d)
        The samples that the styles are taken from.
    images : array-like of shape (m * K, c, h, w) or (m * K, d)
        Decoded with every label: first the K of source 0, then the K of source 1, ...
    labels : sequence of K names, optional
        Names of the columns, by default 0, 1, ...
    row_labels : sequence of m names, optional
        For instance the true labels of the sources.
    title : str
        Title of the figure.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the numbers or shapes of sources and images do not match.

    References
    ----------
    Makhzani et al., *Adversarial Autoencoders*, arXiv:1511.05644, section 2.4.
    """
    first, x = check_samples(sources), check_samples(images)
    m = len(first)
    K = len(x) // m if labels is None else len(labels)
    if len(x) != m * K or not K or first.shape[1:] != x.shape[1:]:
        raise InputError(
            f"expected images of every label for each of {m} sources, in their shape {first.shape[1:]}, got {x.shape} "
            f"for {K} labels: decode the first source with all labels, then the second, and so on"
        )
    cells = np.concatenate([first[:, None], x.reshape(m, K, *x.shape[1:])], axis=1)
    names = [""] * m if row_labels is None else class_names(row_labels, m)
    return _first_column_and_rows(cells, names, ["source", *class_names(labels, K)], title, "")


def _first_column_and_rows(
    cells: NDArray[np.float32],
    row_labels: list[str],
    column_labels: list[str],
    title: str,
    ylabel: str,
    blank: NDArray[np.bool_] | None = None,
    heading: str = "",
) -> Figure:
    """A table of samples `(rows, 1 + columns, ...)` with a gap after the first column; labels or one heading above."""
    n_rows, n_columns = cells.shape[:2]
    samples = cells.reshape(-1, *cells.shape[2:])
    labels = [column_labels[0], heading] if heading else column_labels
    longest = max(map(len, labels))
    rotated = not heading and longest > 80 / n_columns
    extra = 0.3 + 0.085 * max(map(len, row_labels)), 0.5 + (0.07 * longest if rotated else 0.15)
    figure, axes = mosaic_figure(samples, n_columns, extra=extra)
    hide = np.zeros((n_rows, n_columns), dtype=bool) if blank is None else blank
    finite = samples[~hide.ravel() & np.isfinite(samples).reshape(len(samples), -1).all(axis=1)]
    limits = span(finite, 0.0)
    draw_mosaic(axes, cells[:, 0], 1, blank=hide[:, 0], limits=limits)
    rest = cells[:, 1:].reshape(-1, *cells.shape[2:])
    start = (1 + FIRST_COLUMN_GAP, 0)
    pitch = draw_mosaic(axes, rest, n_columns - 1, at=start, blank=hide[:, 1:].ravel(), limits=limits)
    axes.set_xlim(-0.03, n_columns + FIRST_COLUMN_GAP)
    axes.set_ylim(n_rows, -0.03)
    centres = np.arange(n_columns) + pitch[0] / 2 + np.where(np.arange(n_columns) > 0, FIRST_COLUMN_GAP, 0)
    if heading:
        centres = np.array([centres[0], centres[1:].mean()])
    axes.xaxis.tick_top()
    axes.set_xticks(centres, labels, rotation=90 if rotated else 0)
    axes.set_yticks(np.arange(n_rows) + pitch[1] / 2, row_labels)
    axes.tick_params(length=0)
    axes.set_ylabel(ylabel, fontsize=11, color=INK)
    set_title(axes, title)
    return figure


@described(
    "Modes of the mode decoder",
    "Each is decoded from y alone. A sharp, typical member of a class means that y represents the class; the same "
    "blurred average for all y, that the information is in z; two that look alike, that two labels share a class.",
)
def learned_modes(
    modes: ArrayLike,
    labels: Sequence[Any] | None = None,
    n_columns: int = 10,
    title: str = "Modes of the mode decoder for each $y$",
) -> Figure:
    """One sample for each value of y, with its name above, from a decoder that sees y alone.

    Parameters
    ----------
    modes : array-like of shape (K, c, h, w) or (K, d)
        Output of the mode decoder, or of the decoder at z = 0.
    labels : sequence of K names, optional
        By default 0, 1, ...
    n_columns : int, default 10
        Samples per row.
    title : str
        Title of the figure.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the shape is not that of images or table rows, or the number of labels is not K.

    References
    ----------
    Azulay, *adversarial-autoencoder-classifier* documentation (2019), "mode decoder".
    """
    x = check_samples(modes)
    names = class_names(labels, len(x))
    rows, n_columns = -(-len(x) // n_columns), min(n_columns, len(x))
    step = 1.35  # leaves space for the names
    figure, axes = mosaic_figure(x, n_columns, extra=(0.0, 0.3 + 0.22 * rows))
    limits = span(x[np.isfinite(x)], 0.0)
    for k, name in enumerate(names):
        left, top = k % n_columns, step * (k // n_columns)
        pitch = draw_mosaic(axes, x[k : k + 1], 1, at=(left, top), limits=limits)
        size = 9 if len(name) <= 9 else 7
        axes.text(left + pitch[0] / 2, top - 0.06, name, fontsize=size, color=INK, ha="center", va="bottom")
    axes.set_xlim(-0.03, n_columns)
    axes.set_ylim(step * (rows - 1) + 1, 1 - step)
    set_title(axes, title)
    return figure


@described(
    "A walk along the roll",
    "Each row is an arc of the roll, from its centre outwards. Each row should be one class, and the class should "
    "change with the row; a class that continues in the next row extends beyond its arc.",
)
def roll_walk(
    images: ArrayLike,
    n_rows: int = 10,
    row_labels: Sequence[Any] | None = None,
    path: ArrayLike | None = None,
    codes: ArrayLike | None = None,
    title: str = "A walk along the Swiss roll",
) -> Figure:
    """Samples decoded along a path through the latent plane, one row per arc, with a plot of the path.

    Parameters
    ----------
    images : array-like of shape (n, c, h, w) or (n, d)
        Decoded in the order of the walk; n is a multiple of `n_rows`.
    n_rows : int, default 10
        Number of arcs of equal length, that is, of classes.
    row_labels : sequence of n_rows names, optional
        By default 0, 1, ...
    path : array-like of shape (n, 2), optional
        The codes that were decoded; drawn at the right in the colours of the rows.
    codes : array-like of shape (m, 2), optional
        Codes of data, drawn in grey behind the path.
    title : str
        Title of the figure.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the numbers or shapes of images and codes do not match.

    References
    ----------
    Makhzani et al., *Adversarial Autoencoders*, arXiv:1511.05644, section 2.3; Sheet, *Deep Learning for Visual
    Computing* (NPTEL), lecture 53.
    """
    x = check_samples(images)
    n_columns = len(x) // n_rows
    if not n_columns or len(x) != n_rows * n_columns:
        raise InputError(f"expected a multiple of {n_rows} images, one row per arc, got {len(x)}")
    names = class_names(row_labels, n_rows)
    z = None if path is None else check_codes(path, "path")
    behind = None if codes is None else check_codes(codes, "codes")
    if z is not None and z.shape != (len(x), 2):
        raise InputError(f"expected a path of shape ({len(x)}, 2), one code per image, got {z.shape}")
    if behind is not None and behind.shape[1] != 2:
        raise InputError(f"expected codes of shape (m, 2), got {behind.shape}")

    h, w = x.shape[2:] if x.ndim == 4 else (3, 4)
    side = n_rows * min(0.55, 5.5 / n_columns) * h / w
    width = side * n_columns * w / (n_rows * h) + 0.5 + 0.08 * max(map(len, names))
    panel = 0.0 if z is None else float(np.clip(side, 3.6, 5.0))
    figure = new_figure((max(width + panel + 0.3, 4.6), max(side, panel) + 0.7))
    grid = figure.add_gridspec(1, 1 if z is None else 2, width_ratios=[1] if z is None else [width, panel])
    axes = figure.add_subplot(grid[0])
    pitch = draw_mosaic(axes, x, n_columns)
    colours = palette(n_rows)
    for k, colour in enumerate(colours):
        axes.add_patch(Rectangle((-0.32, k), 0.2, pitch[1], facecolor=colour, edgecolor="none"))
    axes.set_anchor("N")
    axes.set_xlim(-0.34, n_columns)
    axes.set_yticks(np.arange(n_rows) + pitch[1] / 2, names)
    axes.set_xlabel("along the arc \u2192", fontsize=10, color=INK)
    set_title(axes, title)
    if z is not None:
        axes = new_axes(figure, "The codes that were decoded", "$z_1$", "$z_2$", place=grid[1])
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.12)  # leaves space for the names outside the roll
        if behind is not None:
            axes.scatter(*behind.T, s=3, color=FAINT, linewidths=0, label="codes of data")
            axes.legend(loc="lower right", frameon=False, fontsize=8.5, labelcolor=INK, markerscale=2.5)
        axes.plot(*z.T, color=GREY, lw=1)
        arcs = z.reshape(n_rows, n_columns, 2)
        for arc, colour, name in zip(arcs, colours, names, strict=True):
            axes.scatter(*arc.T, s=16, color=colour, linewidths=0, zorder=3)
            middle = arc[n_columns // 2]
            outwards = (middle - z.mean(axis=0)) / max(float(np.linalg.norm(middle - z.mean(axis=0))), 1e-12)
            across = "left" if outwards[0] > 0.3 else "right" if outwards[0] < -0.3 else "center"
            axes.annotate(
                name, tuple(middle), tuple(9 * outwards), textcoords="offset points", fontsize=9, color=INK, ha=across,
                va="center" if across != "center" else "bottom" if outwards[1] > 0 else "top", zorder=4,
            )  # fmt: skip
    return figure


@described(
    "Translation between domains",
    "The source above, its translation into the other domain below. The content should be the same and the appearance "
    "that of the other domain. A cross marks a translation in which an independent classifier does not recognise the "
    "class of the source.",
)
def domain_translation(
    X: ArrayLike,
    X_translated: ArrayLike,
    from_name: str,
    to_name: str,
    labels: Sequence[Any] | ArrayLike | None = None,
    correct: ArrayLike | None = None,
    n: int = 20,
) -> Figure:
    """Samples of one domain above their translations into another.

    Parameters
    ----------
    X, X_translated : array-like of one shape, (m, c, h, w) or (m, d)
        Sources and translations.
    from_name, to_name : str
        Names of the two domains.
    labels : array-like of shape (m,), optional
        Text below each pair, for instance the class of the source.
    correct : array-like of bool, of shape (m,), optional
        Whether an independent classifier recognises the class of the source in the translation; if not, the
        translation is framed and marked by a cross. The numbers in the title are of all m.
    n : int, default 20
        Number of pairs to draw, from the first on, ten per row.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the shapes do not match.

    References
    ----------
    Sheet, *Deep Learning for Visual Computing* (NPTEL), lecture 53.
    """
    x, translated = check_samples(X), check_samples(X_translated)
    same_class = None if correct is None else np.asarray(correct, dtype=bool)
    names = None if labels is None else [plain(name) for name in labels]  # pyright: ignore[reportGeneralTypeIssues]
    sizes = {len(values) for values in (names, same_class) if values is not None}
    if x.shape != translated.shape or sizes - {len(x)}:
        raise InputError(
            f"expected translations in the shape of the sources, and one label and mark per pair, got {x.shape}, "
            f"{translated.shape}{''.join(f', {size}' for size in sorted(sizes))}"
        )
    limits = span(np.concatenate([a[np.isfinite(a)] for a in (x, translated)]), 0.0)
    n = min(n, len(x))
    n_columns = min(n, 10)
    blocks = -(-n // n_columns)
    step = 2.15 if names is None else 2.45
    figure, axes = mosaic_figure(
        np.concatenate([x[:n], translated[:n]]),
        n_columns,
        extra=(0.3 + 0.08 * max(len(from_name), len(to_name)), 0.45 + 0.22 * blocks),
    )
    ticks: list[float] = []
    for block in range(blocks):
        chosen = slice(block * n_columns, min((block + 1) * n_columns, n))
        top = step * block
        draw_mosaic(axes, x[chosen], n_columns, at=(0, top), limits=limits)
        pitch = draw_mosaic(axes, translated[chosen], n_columns, at=(0, top + 1), limits=limits)
        ticks += [top + pitch[1] / 2, top + 1 + pitch[1] / 2]
        for left, k in enumerate(range(chosen.start, chosen.stop)):
            for y in (top, top + 1) if x.ndim == 4 else ():  # a bright image would not have a visible edge
                axes.add_patch(Rectangle((left, y), *pitch, fill=False, edgecolor=FAINT, lw=0.6))
            lost = same_class is not None and not same_class[k]
            if lost:
                axes.add_patch(
                    Rectangle((left, top + 1), *pitch, fill=False, edgecolor=VERMILION, lw=2.2, clip_on=False)
                )
            name = "" if names is None else names[k]
            if lost or name:
                axes.text(
                    left + pitch[0] / 2, top + 2 + 0.02, f"{name} \u2717".strip() if lost else name, fontsize=9,
                    color=VERMILION if lost else INK, weight="bold" if lost else "normal", ha="center", va="top",
                )  # fmt: skip
    axes.set_xlim(-0.03, n_columns)
    axes.set_ylim(step * (blocks - 1) + (2.0 if names is None and same_class is None else 2.35), -0.03)
    axes.set_yticks(ticks, [plain(from_name), plain(to_name)] * blocks)
    axes.tick_params(length=0)
    title = f"{plain(from_name)} \u2192 {plain(to_name)}"
    if same_class is not None:
        title += f": {same_class.sum()} of {len(same_class)} keep their class (\u2717: lost)"
    set_title(axes, title)
    return figure


@described(
    "First layer",
    "Each tile is the weights of one unit: red is positive, blue negative. Strokes and spots are learned features; "
    "noise is a unit that has hardly changed in training.",
)
def first_layer_features(weights: ArrayLike, image_shape: tuple[int, ...] | None = None, n: int = 64) -> Figure:
    """The weights of the units of the first layer, drawn as images.

    Parameters
    ----------
    weights : array-like of shape (n_units, n_features), (n_units, c, k) or (n_units, c, kh, kw)
        Weights of a dense layer, or convolution kernels.
    image_shape : (c, h, w) or (c, length), optional
        Shape of the image or signal that the features of a dense layer form; without it they are drawn as rows of a
        table.
    n : int, default 64
        Number of units to draw, in descending order of their norm.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the shape is not that of a layer, or the features do not form an image of `image_shape`.

    Notes
    -----
    With one channel, red is positive, blue negative and white zero; with three channels, grey is zero. Weights over
    time are curves.
    """
    w = np.nan_to_num(np.asarray(weights, dtype=float))
    if w.ndim == 2 and image_shape is not None:
        if w.shape[1] != np.prod(image_shape):
            raise InputError(f"expected an image of {w.shape[1]} features, got image_shape={image_shape}")
        w = w.reshape(len(w), *image_shape)
    if w.ndim not in (2, 3, 4) or not len(w):
        raise InputError(
            f"expected weights of shape (units, features), (units, c, k) or (units, c, kh, kw), got {w.shape}"
        )
    n_units = len(w)
    order = np.argsort(-np.linalg.norm(w.reshape(n_units, -1), axis=1), kind="stable")[:n]
    w = w[order]
    limit = float(np.quantile(np.abs(w), 0.995)) or 1.0  # a few large weights must not dominate the scale
    which = f"all {n_units}" if n_units <= n else f"the {len(w)} strongest of {n_units}"
    title = f"Weights of the first layer, {which} units"
    if w.ndim == 2:
        figure = new_figure((7, 5))
        axes = new_axes(figure, title, "input feature", "unit, strongest first")
        drawn = axes.imshow(w, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
        integer_ticks(axes)
    elif w.ndim == 3:
        n_columns = int(np.ceil(np.sqrt(len(w))))
        figure, axes = mosaic_figure(w, n_columns)
        draw_mosaic(axes, w.astype(np.float32), n_columns, limits=(-limit, limit))
        set_title(axes, title)
        return figure
    else:
        if w.shape[1] not in (1, 3):
            w = w.mean(axis=1, keepdims=True)
        n_columns = int(np.ceil(np.sqrt(len(w) * w.shape[2] / w.shape[3])))
        figure, axes = mosaic_figure(w, n_columns, extra=(0.9, 0.4), inches=6.0)
        scale = -(-48 // w.shape[-1])
        mosaic = tile(0.5 + w / (2 * limit), n_columns, 3, scale)
        colours = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if mosaic.ndim == 2 else {}
        if mosaic.ndim == 2:  # back to weights, for the units of the colour bar
            gaps = tile(np.zeros_like(w), n_columns, 3, scale) == 1
            mosaic = np.where(gaps, np.nan, (mosaic - 0.5) * 2 * limit)
        drawn = axes.imshow(mosaic, interpolation="nearest", **colours)
        bare(axes)
        axes.set_facecolor("#B0B0B0")  # white is a weight of zero, so the gaps are grey
        set_title(axes, title)
    if w.ndim == 2 or w.shape[1] == 1:
        colour_bar(figure, axes, drawn, "weight", shrink=0.6)
    return figure
