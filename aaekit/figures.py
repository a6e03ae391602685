"""Every plot, one function each: arrays in, a `matplotlib.figure.Figure` out.

Nothing here touches pyplot or any global setting, so figures can be drawn from any thread and without a display.

Samples are images of shape (n, channels, height, width) with 1 or 3 channels and values in [0, 1], or tables of shape
(n, d); a row of a table is drawn as a small profile, value over feature number. Labels `y` are integers 0 ... K - 1, or
the values in `classes`; -1 means "unlabelled".
"""

import base64
import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

# From Okabe and Ito's and Paul Tol's colour-blind-safe sets, ordered so that each next colour is as far as possible
# from those before it, the page and the prior's grey, in the worst of normal, protan and deutan vision.
PALETTE = (
    "#0072B2", "#E69F00", "#661100", "#009E73", "#CC3311", "#DDCC77",
    "#33BBEE", "#332288", "#882255", "#CC79A7", "#EE7733", "#EE6677",
)  # fmt: skip
BLUE, ORANGE, VERMILION, SKY = "#0072B2", "#E69F00", "#CC3311", "#56B4E9"
INK, GREY, FAINT = "#222222", "#888888", "#D4D4D4"
MARKERS = "osD^v"
HALO = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}


# --- samples ---------------------------------------------------------------------------------------------------------


def tile(images: ArrayLike, n_columns: int = 10, gap: int | tuple[int, int] = 1, scale: int = 1) -> NDArray[np.float32]:
    """Lay images out in rows, left to right, in one array.

    Parameters
    ----------
    images : array-like of shape (n, c, h, w)
        Values are clipped to [0, 1]; NaN becomes 0. c is 1 or 3.
    n_columns : int, default 10
        Images in a row; places that stay empty in the last row are white.
    gap : int or (int, int), default 1
        White pixels between rows and columns.
    scale : int, default 1
        Each pixel becomes scale x scale pixels (the gap does not grow).

    Returns
    -------
    ndarray of shape (H, W), or (H, W, 3) for colour
        Image k starts at row (k // n_columns) (h scale + gap) and column (k % n_columns) (w scale + gap).

    Raises
    ------
    ValueError
        If the shape is another, or there is no image.
    """
    x = _samples(images)
    if x.ndim != 4:
        raise ValueError(f"Expected images of shape (n, 1 or 3, h, w), got {x.shape}: tables cannot be tiled.")
    n, c, _, _ = x.shape
    n_columns = min(n_columns, n)
    down, right = (gap, gap) if isinstance(gap, int) else gap
    x = np.clip(np.nan_to_num(x), 0, 1).repeat(scale, axis=2).repeat(scale, axis=3)
    h, w = x.shape[2:]
    rows = -(-n // n_columns)
    cells = np.ones((rows * n_columns, c, h + down, w + right), dtype=np.float32)
    cells[:n, :, :h, :w] = x
    mosaic = cells.reshape(rows, n_columns, c, h + down, w + right).transpose(0, 3, 1, 4, 2)
    mosaic = mosaic.reshape(rows * (h + down), n_columns * (w + right), c)
    mosaic = mosaic[: mosaic.shape[0] - down, : mosaic.shape[1] - right]
    return mosaic[..., 0] if c == 1 else mosaic


def save_mosaic(images: ArrayLike, path: str | Path, n_columns: int = 10, scale: int | None = None) -> Path:
    """Write images as one PNG, without axes or title.

    Parameters
    ----------
    images : array-like of shape (n, c, h, w)
        See `tile`.
    path : str or Path
        Where to; the folder is made if need be.
    n_columns : int, default 10
        Images in a row.
    scale : int, optional
        Nearest-neighbour enlargement; by default what makes an image at least 56 pixels high.

    Returns
    -------
    Path
        The file written.
    """
    from PIL import Image

    x = _samples(images)
    scale = scale or max(1, -(-56 // x.shape[-2]))
    pixels = np.round(255 * tile(x, n_columns, gap=2, scale=scale)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return _write(path, buffer.getvalue())


def sample_grid(images: ArrayLike, n_columns: int = 10, title: str = "Samples") -> Figure:
    """Samples side by side.

    Parameters
    ----------
    images : array-like of shape (n, c, h, w) or (n, d)
        Samples, row by row.
    n_columns : int, default 10
        Samples in a row.
    title : str, default "Samples"
        What is seen.
    """
    x = _samples(images)
    figure, axes = _mosaic_figure(x, n_columns)
    _mosaic(axes, x, n_columns)
    _title(axes, title)
    return figure


def code_grid_points(n: int = 10, extent: tuple[float, float] = (-1, 1)) -> NDArray[np.float32]:
    """The codes to decode for `code_grid`: an n x n grid over a square of the latent plane.

    Returns
    -------
    ndarray of shape (n * n, 2)
        (z_1, z_2), row by row from the top left: z_1 rises to the right, z_2 falls downwards, as in a plot.
    """
    z = np.linspace(*extent, n, dtype=np.float32)
    z1, z2 = np.meshgrid(z, z[::-1])
    return np.stack([z1.ravel(), z2.ravel()], axis=1)


def code_grid(images: ArrayLike, extent: tuple[float, float] = (-1, 1)) -> Figure:
    """What the decoder makes of a square of a two-dimensional latent space.

    Parameters
    ----------
    images : array-like of shape (n * n, c, h, w) or (n * n, d)
        Decoded `code_grid_points(n, extent)`, in their order.
    extent : (float, float), default (-1, 1)
        Smallest and largest z_1 and z_2.

    Raises
    ------
    ValueError
        If the number of images is not a square.

    References
    ----------
    Sheet, *Deep Learning for Visual Computing* (NPTEL), lecture 54.
    """
    x = _samples(images)
    n = round(np.sqrt(len(x)))
    if n * n != len(x):
        raise ValueError(f"Expected a square number of images, got {len(x)}: decode code_grid_points(n).")
    figure, axes = _mosaic_figure(x, n, extra=(0.5, 0.7))
    pitch = _mosaic(axes, x, n)
    z = np.linspace(*extent, n).tolist()
    shown = np.arange(0, n, 1 + n // 13)
    axes.set_xticks(shown + pitch[0] / 2, [_number(z[k]) for k in shown])
    axes.set_yticks(n - 1 - shown + pitch[1] / 2, [_number(z[k]) for k in shown])
    axes.set_xlabel("$z_1$", fontsize=11, color=INK)
    axes.set_ylabel("$z_2$", fontsize=11, color=INK)
    _title(axes, f"Decoded from a {n} \u00d7 {n} grid of codes")
    return figure


def reconstruction_pairs(X: ArrayLike, X_hat: ArrayLike, n: int = 10) -> Figure:
    """Inputs above, their reconstructions below.

    Parameters
    ----------
    X, X_hat : array-like of one shape, (n, c, h, w) or (n, d)
        Inputs and reconstructions.
    n : int, default 10
        How many of the first pairs are drawn.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    x, x_hat = _samples(X), _samples(X_hat)
    if x.shape != x_hat.shape:
        raise ValueError(f"Expected inputs and reconstructions of one shape, got {x.shape} and {x_hat.shape}.")
    error = float(np.mean((x - x_hat) ** 2))
    n = min(n, len(x))
    both = np.concatenate([x[:n], x_hat[:n]])
    figure, axes = _mosaic_figure(both, n, extra=(1.2, 0.5))
    pitch = _mosaic(axes, both, n, gap=(2, 1))
    axes.set_yticks([pitch[1] / 2, 1 + pitch[1] / 2], ["input", "reconstruction"])
    _title(axes, f"Inputs and their reconstructions (mean squared error {error:.3g})")
    return figure


def style_grid(
    images: ArrayLike,
    n_rows: int,
    n_columns: int,
    row_labels: Sequence[Any] | None = None,
    z_values: ArrayLike | None = None,
    title: str = "One class a row, one style a column",
    xlabel: str = "$z_1$, the other style coordinates held fixed",
) -> Figure:
    """Rows of one class (y) each, along which the style z_1 runs over the prior.

    Parameters
    ----------
    images : array-like of shape (n_rows * n_columns, c, h, w) or (n_rows * n_columns, d)
        Row by row.
    n_rows, n_columns : int
        Classes and styles.
    row_labels : sequence of n_rows names, optional
        By default 0, 1, ...
    z_values : array-like of shape (n_columns,), optional
        z_1 of each column.
    title, xlabel : str
        What is seen, and what runs along the row.

    Raises
    ------
    ValueError
        If the numbers do not fit.

    References
    ----------
    Azulay, *adversarial-autoencoder-classifier* documentation (2019), "learned latent features".
    """
    x = _samples(images)
    labels = [str(k) for k in range(n_rows)] if row_labels is None else [_text(k) for k in row_labels]
    z = None if z_values is None else np.asarray(z_values, dtype=float)
    if len(x) != n_rows * n_columns or len(labels) != n_rows or (z is not None and z.shape != (n_columns,)):
        raise ValueError(
            f"Expected {n_rows} x {n_columns} images, {n_rows} row labels and {n_columns} z values, got {len(x)}, "
            f"{len(labels)} and {'none' if z is None else z.shape}."
        )
    figure, axes = _mosaic_figure(x, n_columns, extra=(0.3 + 0.08 * max(map(len, labels)), 0.8))
    pitch = _mosaic(axes, x, n_columns)
    axes.set_yticks(np.arange(n_rows) + pitch[1] / 2, labels)
    axes.set_ylabel("$y$", fontsize=11, color=INK)
    if z is not None:
        shown = np.arange(0, n_columns, 1 + n_columns // 13)
        axes.set_xticks(shown + pitch[0] / 2, [_number(z[k]) for k in shown])
    axes.set_xlabel(xlabel, fontsize=11, color=INK)
    _title(axes, title)
    return figure


def confident_mistakes(
    X: ArrayLike,
    y_true: ArrayLike,
    y_pred: ArrayLike,
    confidence: ArrayLike,
    classes: Sequence[Any] | None = None,
    n: int = 24,
) -> Figure:
    """The wrong predictions that the model was surest of, surest first.

    Parameters
    ----------
    X : array-like of shape (m, c, h, w) or (m, d)
        Samples.
    y_true, y_pred : array-like of shape (m,)
        Labels; rows where `y_true` is -1 are skipped.
    confidence : array-like of shape (m,)
        Probability of the predicted label, 0 to 1.
    classes : sequence of K names, optional
        By default the numbers.
    n : int, default 24
        At most so many.
    """
    x, sure = _samples(X), np.asarray(confidence, dtype=float)
    (true, predicted), names = _class_numbers([y_true, y_pred], classes)
    if not len(x) == len(true) == len(predicted) == len(sure):
        raise ValueError(
            f"Expected one label, prediction and confidence a sample, got {len(x)} samples, {len(true)}, "
            f"{len(predicted)} and {len(sure)}."
        )
    known = true >= 0
    wrong = np.flatnonzero(known & (true != predicted))
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")]
    total, wrong = len(wrong), wrong[:n]
    if not total:
        return _message(f"No mistakes among {known.sum()} samples")
    split = "\n" if max(map(len, names)) > 3 else ""
    captions = [f"{names[true[k]]} \u2192 {split}{names[predicted[k]]}\n{100 * sure[k]:.0f} %" for k in wrong]
    # room for the longest caption decides how many fit in a row
    longest = max(len(line) for caption in captions for line in caption.split("\n"))
    cell = max(0.8, 0.09 * longest)
    n_columns = max(1, min(len(wrong), 8, int(9.6 // cell)))
    rows = -(-len(wrong) // n_columns)
    size = (max(n_columns * cell, 5.6) + 0.2, rows * (cell + (0.5 if split else 0.36)) + 0.5)
    figure = _figure(size)
    for k, (row, caption) in enumerate(zip(wrong, captions, strict=True)):
        axes = figure.add_subplot(rows, n_columns, k + 1)
        _mosaic(axes, x[row : row + 1], 1)
        axes.set_xlabel(caption, fontsize=9, color=INK, labelpad=2)
    shown = "" if total == len(wrong) else f", the {len(wrong)} surest"
    figure.suptitle(
        f"{total} of {known.sum()} wrong{shown} (true \u2192 predicted)", fontsize=12, color=INK, x=0.01, ha="left"
    )
    return figure


def first_layer_features(weights: ArrayLike, image_shape: tuple[int, ...] | None = None, n: int = 64) -> Figure:
    """What each unit of the first layer looks for: its weights, drawn as an image.

    Parameters
    ----------
    weights : array-like of shape (n_units, n_features) or (n_units, c, kh, kw)
        Of a dense layer or of convolution kernels.
    image_shape : (c, h, w), optional
        How the features of a dense layer form an image; without it they are drawn as rows of a table.
    n : int, default 64
        Only the units of largest norm.

    Notes
    -----
    One channel: red is positive, blue negative, white zero. Three channels: grey is zero.
    """
    w = np.nan_to_num(np.asarray(weights, dtype=float))
    if w.ndim == 2 and image_shape is not None:
        if w.shape[1] != np.prod(image_shape):
            raise ValueError(f"Expected {w.shape[1]} features to form the image, got image_shape {image_shape}.")
        w = w.reshape(len(w), *image_shape)
    if w.ndim not in (2, 4) or not len(w):
        raise ValueError(f"Expected weights of shape (units, features) or (units, c, h, w), got {w.shape}.")
    n_units = len(w)
    order = np.argsort(-np.linalg.norm(w.reshape(n_units, -1), axis=1), kind="stable")[:n]
    w = w[order]
    limit = float(np.quantile(np.abs(w), 0.995)) or 1.0  # a few huge weights must not wash out the rest
    which = f"all {n_units}" if n_units <= n else f"the {len(w)} strongest of {n_units}"
    title = f"What the first layer looks for: {which} units"
    if w.ndim == 2:
        figure = _figure((7, 5))
        axes = _axes(figure, title, "input feature", "unit, strongest first")
        drawn = axes.imshow(w, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
        _integer_ticks(axes)
    else:
        if w.shape[1] not in (1, 3):
            w = w.mean(axis=1, keepdims=True)
        n_columns = int(np.ceil(np.sqrt(len(w) * w.shape[2] / w.shape[3])))
        figure, axes = _mosaic_figure(w, n_columns, extra=(0.9, 0.4), inches=6.0)
        scale = -(-48 // w.shape[-1])
        mosaic = tile(0.5 + w / (2 * limit), n_columns, 3, scale)
        colours = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if mosaic.ndim == 2 else {}
        if mosaic.ndim == 2:  # back to weights, so that the colour bar is in their units
            gaps = tile(np.zeros_like(w), n_columns, 3, scale) == 1
            mosaic = np.where(gaps, np.nan, (mosaic - 0.5) * 2 * limit)
        drawn = axes.imshow(mosaic, interpolation="nearest", **colours)
        _bare(axes)
        axes.set_facecolor("#B0B0B0")  # white is a weight of zero, so the gaps are grey
        _title(axes, title)
    if w.ndim == 2 or w.shape[1] == 1:
        bar = figure.colorbar(drawn, ax=axes, shrink=0.6, pad=0.02)
        bar.set_label("weight", fontsize=10, color=INK)
        bar.ax.tick_params(labelsize=9, colors=INK)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


# --- codes -----------------------------------------------------------------------------------------------------------


def latent_scatter(
    z: ArrayLike,
    y: ArrayLike | None = None,
    classes: Sequence[Any] | None = None,
    prior_samples: ArrayLike | None = None,
    max_points: int = 10_000,
) -> Figure:
    """Codes as points, coloured by class, before prior samples in grey.

    Parameters
    ----------
    z : array-like of shape (n, d)
        Codes. d = 2 is drawn as it is; d > 2 is projected on the two principal components of `z`; d = 1 is spread out
        at random vertically.
    y : array-like of shape (n,), optional
        Labels; -1 is drawn in grey as "unlabelled".
    classes : sequence of K names, optional
        By default the numbers.
    prior_samples : array-like of shape (m, d), optional
        Samples of p(z), projected the same way.
    max_points : int, default 10000
        Of more codes, a random choice is drawn.
    """
    z = _codes(z, "z")
    prior = None if prior_samples is None else _codes(prior_samples, "prior_samples")
    if prior is not None and prior.shape[1] != z.shape[1]:
        raise ValueError(f"Expected prior samples with the codes' {z.shape[1]} dimensions, got {prior.shape[1]}.")
    if y is not None and len(np.asarray(y)) != len(z):
        raise ValueError(f"Expected one label a code, got {len(np.asarray(y))} labels and {len(z)} codes.")
    labels, names = (None, []) if y is None else _class_numbers([y], classes)
    random = np.random.default_rng(0)
    points, prior_points, xlabel, ylabel = _plane(z, prior, random)
    keep = random.permutation(len(z))[:max_points]
    points = points[keep]

    figure = _figure((7.2 if names else 6, 5.6))
    some = f" ({len(keep)} of {len(z)})" if len(keep) < len(z) else ""
    axes = _axes(figure, f"Codes of {len(z)} samples{some}" + (" by class" if names else ""), xlabel, ylabel)
    if z.shape[1] > 1:
        axes.set_aspect("equal", adjustable="datalim")
    size = float(np.clip(420 / np.sqrt(len(points)), 5, 26))
    if prior_points is not None:
        axes.scatter(*prior_points.T, s=0.6 * size, color=FAINT, linewidths=0, label="prior $p(z)$")
    if labels is None:
        axes.scatter(*points.T, s=size, color=BLUE, alpha=0.7, linewidths=0, label="codes $q(z)$")
    else:
        labels = labels[0][keep]
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
    if z.shape[1] == 1:
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    handles, shown = axes.get_legend_handles_labels()
    if len(shown) > 1:
        legend = axes.legend(
            loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9, borderaxespad=0, handletextpad=0.3,
            ncols=1 + (len(shown) - 1) // 22, labelcolor=INK,
        )  # fmt: skip
        for handle in legend.legend_handles:
            handle.set(alpha=1, sizes=[36])  # pyright: ignore[reportOptionalMemberAccess]
    return figure


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
    z, prior = _codes(z, "z"), _codes(prior_samples, "prior_samples")
    if prior.shape[1] != z.shape[1]:
        raise ValueError(f"Expected prior samples with the codes' {z.shape[1]} dimensions, got {prior.shape[1]}.")
    d = min(z.shape[1], max_dims)
    n_columns = d if d <= 3 else 4 if d <= 4 or d in (7, 8) else 3 if d <= 6 or d == 9 else 5
    rows = -(-d // n_columns)
    figure = _figure((max(2.5 * n_columns, 4.4), 2.2 * rows + 0.8))
    for j in range(d):
        both = np.concatenate([z[:, j], prior[:, j]])
        edges = np.linspace(*_span(both, 0.02), 41).tolist()
        axes = _axes(figure, "", f"$z_{{{j + 1}}}$", "density" if j % n_columns == 0 else "", (rows, n_columns, j + 1))
        axes.hist(z[:, j], edges, density=True, color=SKY, label="codes $q(z)$")
        axes.hist(prior[:, j], edges, density=True, histtype="step", color=VERMILION, lw=1.6, label="prior $p(z)$")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        q, p = (f"{_number(side[:, j].mean())} \u00b1 {_number(side[:, j].std())}" for side in (z, prior))
        axes.set_title(f"$q$: {q}    $p$: {p}", fontsize=8.5, color=INK, loc="left")
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False, fontsize=10, labelcolor=INK)
    some = f", the first {d} of {z.shape[1]} dimensions" if d < z.shape[1] else ""
    figure.suptitle(f"Codes against the prior{some} (mean \u00b1 sd)", fontsize=12, color=INK, x=0.01, ha="left")
    return figure


def label_distribution(probabilities: ArrayLike, classes: Sequence[Any] | None = None) -> Figure:
    """How sure the class code y is, and how often each class is predicted.

    Parameters
    ----------
    probabilities : array-like of shape (n, K)
        Rows of y, each summing to 1.
    classes : sequence of K names, optional
        By default the numbers.
    """
    p = np.asarray(probabilities, dtype=float)
    if p.ndim != 2 or not len(p):
        raise ValueError(f"Expected probabilities of shape (n, K), got {p.shape}.")
    n, n_classes = p.shape
    names = _names(classes, n_classes)
    sure = p.max(axis=1)
    frequency = 100 * np.bincount(p.argmax(axis=1), minlength=n_classes) / n

    figure = _figure((9.2, 3.6))
    title = f"{100 * np.mean(sure > 0.9):.0f} % of {n} samples are surer than 0.9"
    axes = _axes(figure, title, r"largest probability, $\max_k\, y_k$", "samples (%)", (1, 2, 1))
    edges, percent = np.linspace(0, 1, 41).tolist(), np.full(n, 100 / n)
    heights, _, _ = axes.hist(np.clip(sure, 0, 1), edges, weights=percent, color=BLUE)
    axes.set_ylim(0, 1.18 * np.max(heights))
    axes.axvline(1 / n_classes, color=GREY, ls="--", lw=1.2)
    axes.annotate(
        "knows nothing: 1/K", (1 / n_classes, 0.99), (4, 0), xycoords=("data", "axes fraction"),
        textcoords="offset points", fontsize=9, color="#555555", va="top",
    )  # fmt: skip
    axes.set_xlim(0, 1)

    axes = _axes(figure, "How often each class is predicted", "predicted class", "samples (%)", (1, 2, 2))
    axes.bar(range(n_classes), frequency, color=BLUE, width=0.75)
    axes.axhline(100 / n_classes, color=ORANGE, ls="--", lw=1.4)
    axes.set_ylim(0, 1.22 * max(frequency.max(), 100 / n_classes))
    axes.text(
        0.99, 0.98, "dashed: all equally often", transform=axes.transAxes, fontsize=9, color="#555555", ha="right",
        va="top",
    )  # fmt: skip
    _class_ticks(axes, names, axis="x", room=50)
    return figure


# --- training and judgement ------------------------------------------------------------------------------------------


def learning_curves(history: Mapping[str, ArrayLike]) -> Figure:
    """How training went, one panel for each kind of quantity in the history.

    Parameters
    ----------
    history : mapping of str to array-like of shape (n_epochs,)
        `epoch` and any of: `reconstruction`; `<code>/D(real)` and `<code>/D(fake)`, the discriminator's mean outputs;
        `<code>/discriminator` and `<code>/generator`, the adversarial losses; `classification`, `consistency`;
        `<set>/error`, in percent; `rate`, the factor of the learning rate; any other loss. Missing values are NaN or
        None. Panels without data are left out.

    Notes
    -----
    The dashed line at 0.5 is where a discriminator is at chance: stop when its outputs stay there and the
    reconstruction no longer falls (Sheet, *Deep Learning for Visual Computing* (NPTEL), lecture 54).

    Raises
    ------
    ValueError
        If `epoch` is missing, or a series is not as long as it.
    """
    if "epoch" not in history:
        raise ValueError(f"Expected the history to have 'epoch', got {', '.join(history) or 'nothing'}.")
    epoch = np.asarray(history["epoch"], dtype=float)
    series: dict[str, NDArray[np.float64]] = {}
    for key, values in history.items():
        if key == "epoch" or key.rsplit("/", 1)[-1] in NOT_LOSSES:
            continue
        array = np.asarray(values, dtype=float)  # None becomes NaN
        if array.shape != epoch.shape:
            raise ValueError(f"Expected {len(epoch)} values of {key!r}, one an epoch, got shape {array.shape}.")
        if np.isfinite(array).any():
            series[key] = array
    panels: dict[str, list[str]] = {}
    for key in series:
        panels.setdefault(_panel(key), []).append(key)
    panels = {name: panels[name] for name in PANELS if name in panels}
    if not panels:
        return _message("Nothing recorded yet")

    n_columns = min(2, len(panels))
    rows = -(-len(panels) // n_columns)
    figure = _figure((4.9 * n_columns + 0.2, 2.9 * rows + 0.1))
    for place, (name, keys) in enumerate(panels.items()):
        axes = _axes(figure, name, "epoch", PANELS[name], (rows, n_columns, place + 1))
        if name == DISCRIMINATORS:
            axes.axhline(0.5, color=INK, ls="--", lw=1.1, label="0.5: at chance")
            axes.set_ylim(0, 1)
        for key, colour, dashes in _line_styles(keys):
            there = np.isfinite(series[key])
            marker = "o" if there.sum() <= 12 else None
            x, values = epoch[there], series[key][there]
            axes.plot(x, values, color=colour, ls=dashes, lw=1.7, marker=marker, ms=3.5, label=_text(key))
        if name == ERRORS:
            lasts = [f"{_text(key.rpartition('/')[0])} {_last(series[key]):.2f} %".strip() for key in keys]
            _title(axes, f"Error at the end: {', '.join(lasts)}")
            axes.set_ylim(bottom=0)
        if len(keys) > 1 or name == DISCRIMINATORS:
            few = len(axes.lines) <= 2
            axes.legend(
                fontsize=8.5, ncols=1 if few else 2, labelcolor=INK, handlelength=1.8, columnspacing=1.0,
                frameon=True, framealpha=0.85, edgecolor="none",
            )  # fmt: skip
        axes.grid(axis="y", color="#E8E8E8", lw=0.8)
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        if len(epoch) < 3:
            axes.set_xlim(epoch.min() - 0.5, epoch.max() + 0.5)
    return figure


DISCRIMINATORS = "Discriminator outputs"
ERRORS = "Error"
PANELS = {  # title: unit, in the order of drawing
    "Reconstruction": "loss",
    DISCRIMINATORS: "mean of $D$ (1: real)",
    "Adversarial losses": "loss (nats)",
    "Learning from labels": "loss (nats)",
    ERRORS: "error (%)",
    "Other losses": "loss",
    "Learning rate": "factor",
}
NOT_LOSSES = {"epoch", "step", "seconds", "time", "samples_per_second", "steps_per_second"}
LABEL_LOSSES = {"classification", "consistency", "pseudo_label", "pseudo-label", "pseudo-labels"}


def confusion_matrix(y_true: ArrayLike, y_pred: ArrayLike, classes: Sequence[Any] | None = None) -> Figure:
    """Which classes are taken for which.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Labels; rows where `y_true` is -1 are left out.
    classes : sequence of K names, optional
        By default the numbers.

    Notes
    -----
    The numbers are counts; the colours are shares of the row, so that rare classes show as well as frequent ones.
    """
    (true, predicted), names = _class_numbers([y_true, y_pred], classes)
    if len(true) != len(predicted):
        raise ValueError(f"Expected as many predictions as true labels, got {len(predicted)} and {len(true)}.")
    known = true >= 0
    true, predicted = true[known], predicted[known]
    if not len(true):
        raise ValueError("Expected at least one labelled row, got none: -1 counts as unlabelled.")
    if (predicted < 0).any():
        raise ValueError("Expected predictions of 0 or more, got -1: every row needs a predicted class.")
    n_classes = len(names)
    counts = np.zeros((n_classes, n_classes), dtype=int)
    np.add.at(counts, (true, predicted), 1)
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    side = float(np.clip(0.52 * n_classes, 3.6, 10))
    figure = _figure((side + 1.5, side + 0.9))
    wrong = int((true != predicted).sum())
    title = f"{wrong} of {len(true)} wrong: error {100 * wrong / len(true):.2f} %"
    axes = _axes(figure, title, "predicted class", "true class")
    drawn = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    if n_classes <= 20:
        for i, j in zip(*np.nonzero(counts), strict=True):
            axes.text(
                j, i, str(counts[i, j]), ha="center", va="center", color="white" if share[i, j] > 55 else INK,
                fontsize=9 if counts.max() < 1000 else 8,
            )  # fmt: skip
    _class_ticks(axes, names, axis="x", room=40)
    _class_ticks(axes, names, axis="y", room=1000)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.7, pad=0.02)
    bar.set_label("share of the true class (%)", fontsize=10, color=INK)
    bar.ax.tick_params(labelsize=9, colors=INK)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


# --- files -----------------------------------------------------------------------------------------------------------


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG file's bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def to_base64(figure: Figure) -> str:
    """The figure as base64 text of a PNG file, for HTML."""
    return base64.b64encode(to_png(figure)).decode("ascii")


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure as a PNG, all or nothing; the folder is made if need be.

    Returns
    -------
    Path
        The file written.
    """
    return _write(path, to_png(figure))


def palette(n: int) -> list[str]:
    """Colours for n classes, from the start again after 12."""
    return [PALETTE[k % len(PALETTE)] for k in range(n)]


# --- helpers ---------------------------------------------------------------------------------------------------------


def _write(path: str | Path, data: bytes) -> Path:
    """Write a file under a temporary name, then rename it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)  # mkstemp's own mode would hide the file from everyone else
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


def _samples(x: ArrayLike) -> NDArray[np.float32]:
    """Images or tables as float32, checked."""
    x = np.asarray(x, dtype=np.float32)
    if x.ndim not in (2, 4) or not x.size or (x.ndim == 4 and x.shape[1] not in (1, 3)):
        raise ValueError(f"Expected samples of shape (n, 1 or 3, h, w) or (n, d), got {x.shape}.")
    return x


def _codes(z: ArrayLike, name: str) -> NDArray[np.float64]:
    """Codes as a float table with at least one row; rows that are not finite cannot be drawn."""
    z = np.asarray(z, dtype=float)
    if z.ndim != 2 or not z.size:
        raise ValueError(f"Expected {name} of shape (n, d), got {z.shape}.")
    if not np.isfinite(z).all():
        raise ValueError(f"Expected finite {name}, got NaN or infinity: training has probably diverged.")
    return z


def _text(value: Any) -> str:
    """A name as matplotlib should print it: a dollar sign is no formula."""
    return str(value).replace("$", r"\$")


def _number(value: float, digits: int = 2) -> str:
    """A short number with a real minus sign, and none before zero."""
    return f"{round(float(value), digits) + 0.0:.{digits}f}".replace("-", "\u2212")


def _names(classes: Sequence[Any] | None, n_classes: int) -> list[str]:
    """Names of the classes 0 ... n_classes - 1."""
    if classes is None:
        return [str(k) for k in range(n_classes)]
    if len(classes) != n_classes:
        raise ValueError(f"Expected {n_classes} class names, got {len(classes)}.")
    return [_text(name) for name in classes]


def _class_numbers(
    labels: Sequence[ArrayLike], classes: Sequence[Any] | None
) -> tuple[list[NDArray[np.int64]], list[str]]:
    """Labels as numbers 0 ... K - 1 (-1: unlabelled) and the names of the classes."""
    arrays = [np.asarray(y) for y in labels]
    if any(y.ndim != 1 for y in arrays):
        raise ValueError(f"Expected labels of shape (n,), got {[y.shape for y in arrays]}.")
    together = np.concatenate(arrays)
    numbers = together.dtype.kind in "iu"
    values = None if classes is None else np.asarray(classes)
    if numbers and (values is None or values.dtype.kind not in "iu"):
        n_classes = int(together.max(initial=-1)) + 1 if classes is None else len(classes)
        if len(together) and (together.max() >= n_classes or together.min() < -1):
            raise ValueError(f"Expected labels -1 ... {n_classes - 1}, got {together.min()} ... {together.max()}.")
        return [y.astype(np.int64) for y in arrays], _names(classes, n_classes)
    known = np.unique(together).tolist() if values is None else values.tolist()
    place = {value: k for k, value in enumerate(known)} | ({-1: -1} if numbers and -1 not in known else {})
    strangers = sorted({str(value) for value in together.tolist() if value not in place})
    if strangers:
        raise ValueError(f"Expected labels among the classes {known}, got also {', '.join(strangers[:5])}.")
    return [np.array([place[v] for v in y.tolist()], dtype=np.int64) for y in arrays], _names(known, len(known))


def _figure(size: tuple[float, float]) -> Figure:
    """An empty figure, size in inches."""
    return Figure(figsize=size, dpi=110, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))


def _axes(
    figure: Figure, title: str, xlabel: str = "", ylabel: str = "", place: tuple[int, int, int] = (1, 1, 1)
) -> Axes:
    """Axes in the common style."""
    axes = figure.add_subplot(*place)
    _title(axes, title)
    axes.set_xlabel(xlabel, fontsize=10, color=INK)
    axes.set_ylabel(ylabel, fontsize=10, color=INK)
    axes.tick_params(labelsize=9, colors="#444444", length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    return axes


def _title(axes: Axes, title: str) -> None:
    """A title at the left, where reading starts."""
    axes.set_title(title, fontsize=11.5, color=INK, loc="left", pad=7)


def _bare(axes: Axes) -> None:
    """No frame and no ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labelsize=10, colors=INK)


def _message(text: str) -> Figure:
    """A figure that has nothing to draw and says so."""
    figure = _figure((5.6, 1.6))
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=12, color=INK)
    return figure


def _mosaic_figure(
    x: NDArray[Any], n_columns: int, extra: tuple[float, float] = (0.0, 0.35), inches: float = 7.0
) -> tuple[Figure, Axes]:
    """A figure whose shape suits a mosaic, with `extra` inches for labels at the left and below."""
    n_columns = min(n_columns, len(x))
    rows = -(-len(x) // n_columns)
    h, w = x.shape[2:] if x.ndim == 4 else (3, 4)
    cell = min(inches / n_columns, 1.1)  # a few small images need not fill a page
    width, height = max(cell * n_columns + extra[0], 4.6), cell * rows * h / w + extra[1]
    if height > 14:
        width, height = max(width * 14 / height, 3.0), 14
    figure = _figure((width + 0.1, height + 0.1))
    return figure, figure.add_subplot()


def _mosaic(axes: Axes, x: NDArray[np.float32], n_columns: int, gap: tuple[int, int] = (1, 1)) -> tuple[float, float]:
    """Draw samples so that sample k has its top left at (k % n_columns, k // n_columns); return a cell's inner size."""
    n_columns = min(n_columns, len(x))
    rows = -(-len(x) // n_columns)
    _bare(axes)
    if x.ndim == 4:
        scale = max(1, -(-32 // x.shape[-1]))  # so that the gap stays thin beside small images
        h, w = x.shape[2] * scale, x.shape[3] * scale
        down, right = gap[0] * 2, gap[1] * 2
        mosaic = tile(x, n_columns, (down, right), scale)
        extent = (0.0, mosaic.shape[1] / (w + right), mosaic.shape[0] / (h + down), 0.0)
        axes.imshow(
            mosaic, cmap="gray", vmin=0, vmax=1, interpolation="nearest" if w > x.shape[3] else "antialiased",
            extent=extent, aspect=(h + down) / (w + right),
        )  # fmt: skip
        return w / (w + right), h / (h + down)
    _profiles(axes, x, n_columns)
    axes.set_xlim(-0.05, n_columns)
    axes.set_ylim(rows, -0.05)
    return 0.9, 0.85


def _profiles(axes: Axes, x: NDArray[np.float32], n_columns: int) -> None:
    """Rows of a table as small curves on a common scale, each over its own base line."""
    n, d = x.shape
    low, high = _span(x[np.isfinite(x)], 0.0)
    k = np.arange(n)
    left, top = (k % n_columns)[:, None], (k // n_columns)[:, None]
    across = np.linspace(0, 0.9, d) if d > 1 else np.array([0.45])
    height = 0.85 * (1 - (np.clip(np.nan_to_num(x, nan=low), low, high) - low) / (high - low))
    curves = np.stack([np.broadcast_to(left + across, (n, d)), top + height], axis=2)
    zero = 0.85 * (1 - (np.clip(0, low, high) - low) / (high - low))
    base = np.stack([np.hstack([left, left + 0.9]), np.repeat(top + zero, 2, axis=1)], axis=2)
    axes.add_collection(LineCollection(list(base), colors=FAINT, linewidths=0.8))
    axes.add_collection(LineCollection(list(curves), colors=BLUE, linewidths=1.3))
    if d <= 16:
        axes.scatter(curves[..., 0], curves[..., 1], s=6, color=BLUE, linewidths=0)


def _span(values: NDArray[Any], margin: float) -> tuple[float, float]:
    """Smallest and largest value with a margin; never empty."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    room = margin * (high - low) if high > low else 0.5
    return low - room, high + room


def _plane(
    z: NDArray[np.float64], prior: NDArray[np.float64] | None, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, str, str]:
    """Codes and prior samples in two dimensions, and what the axes then are."""
    d = z.shape[1]
    if d == 2:
        return z, prior, "$z_1$", "$z_2$"
    if d == 1:
        spread = [None if a is None else np.column_stack([a, random.uniform(0, 1, len(a))]) for a in (z, prior)]
        assert spread[0] is not None
        return spread[0], spread[1], "$z_1$", "(random height)"
    centre = z.mean(axis=0)
    _, s, axes = np.linalg.svd(z - centre, full_matrices=False)
    axes = axes[:2] * np.where(axes[:2].sum(axis=1, keepdims=True) < 0, -1, 1)  # the sign is arbitrary: fix it
    if len(axes) < 2:
        raise ValueError(f"Expected at least 2 codes to project from {d} dimensions, got {len(z)}.")
    share = 100 * s**2 / max(float((s**2).sum()), 1e-30)
    names = [f"principal component {k + 1} of {d} dimensions ({share[k]:.0f} % of variance)" for k in range(2)]
    return (z - centre) @ axes.T, None if prior is None else (prior - centre) @ axes.T, names[0], names[1]


def _name_groups(
    axes: Axes, points: NDArray[np.float64], labels: NDArray[np.int64], present: list[int], names: list[str]
) -> None:
    """Write the classes' names at their centres where they can be read, unless most lie on top of each other."""
    if not 2 <= len(present) <= 20:
        return
    centres = np.array([np.median(points[labels == k], axis=0) for k in present])
    scale = np.maximum(np.ptp(points, axis=0), 1e-12)
    room = 0.03 + 0.012 * max(len(names[k]) for k in present)
    placed: list[int] = []
    for i, centre in enumerate(centres):
        if all(np.linalg.norm((centre - centres[j]) / scale) > room for j in placed):
            placed.append(i)
    if 2 * len(placed) <= len(centres):
        return
    for i in placed:
        x, y = centres[i]
        axes.text(x, y, names[present[i]], fontsize=11, weight="bold", color=INK, ha="center", va="center", bbox=HALO)


def _integer_ticks(axes: Axes) -> None:
    """Ticks at whole numbers only."""
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))


def _class_ticks(axes: Axes, names: list[str], axis: str, room: int) -> None:
    """Class names as ticks: upright where they fit in `room` characters, else turned; thinned out beyond 40."""
    step = 1 + (len(names) - 1) // 40
    shown = range(0, len(names), step)
    if axis == "x":
        turned = sum(len(names[k]) + 2 for k in shown) > room
        axes.set_xticks(list(shown), [names[k] for k in shown], rotation=90 if turned else 0)
    else:
        axes.set_yticks(list(shown), [names[k] for k in shown])


def _panel(key: str) -> str:
    """Which panel of the learning curves a series belongs to."""
    last = key.rsplit("/", 1)[-1]
    if last in ("D(real)", "D(fake)"):
        return DISCRIMINATORS
    if last in ("discriminator", "generator"):
        return "Adversarial losses"
    if last == "error":
        return ERRORS
    if last == "rate":
        return "Learning rate"
    if last == "reconstruction":
        return "Reconstruction"
    return "Learning from labels" if last in LABEL_LOSSES else "Other losses"


def _line_styles(keys: list[str]) -> list[tuple[str, str, str]]:
    """Colour and dashes of each series: the colour says which code or set, dashes mark the opponent."""
    opposed = {"D(real)": "-", "D(fake)": ":", "discriminator": "-", "generator": ":"}
    if all(key.rsplit("/", 1)[-1] in opposed for key in keys):
        groups = list(dict.fromkeys(key.rpartition("/")[0] for key in keys))
        colours = dict(zip(groups, palette(len(groups)), strict=True))
        return [(key, colours[key.rpartition("/")[0]], opposed[key.rsplit("/", 1)[-1]]) for key in keys]
    return [(key, colour, "-") for key, colour in zip(keys, palette(len(keys)), strict=True)]


def _last(values: NDArray[np.float64]) -> float:
    """The last value that is there."""
    return float(values[np.isfinite(values)][-1])
