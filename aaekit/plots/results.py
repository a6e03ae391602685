"""Results: mistakes, clusters, outliers."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from sklearn import metrics
from sklearn.metrics.cluster import contingency_matrix

from aaekit.errors import InputError
from aaekit.plots.base import (
    FAINT,
    GREY,
    INK,
    MARKERS,
    check_samples,
    class_names,
    class_numbers,
    class_ticks,
    colour_bar,
    described,
    message,
    new_axes,
    new_figure,
    palette,
    plain,
)
from aaekit.plots.mosaic import draw_mosaic

__all__ = ["auc_by_class", "cluster_matrix", "confident_mistakes", "confusion_matrix", "questions", "roc_curves"]


@described(
    "Most confident mistakes",
    "The wrong predictions with the highest probability. If most of them are easy to recognise, the model has a gap; "
    "if not, the labels may be wrong or the samples ambiguous.",
)
def confident_mistakes(
    X: ArrayLike,
    y_true: ArrayLike,
    y_pred: ArrayLike,
    confidence: ArrayLike,
    classes: Sequence[Any] | None = None,
    n: int = 24,
) -> Figure:
    """The most confident wrong predictions, in descending order of confidence.

    Parameters
    ----------
    X : array-like of shape (m, c, h, w), (m, d) or (m,)
        Samples: images, rows of numbers, or texts.
    y_true, y_pred : array-like of shape (m,)
        Labels; rows where `y_true` is -1 are ignored.
    confidence : array-like of shape (m,)
        Probability of the predicted label, 0 to 1.
    classes : sequence of K names, optional
        By default the label numbers.
    n : int, default 24
        Maximum number of samples to draw.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the lengths differ.
    """
    p, is_text = np.asarray(confidence, dtype=float), np.asarray(X).dtype.kind in "OU"
    x = np.asarray(X) if is_text else check_samples(X)
    (true, predicted), names = class_numbers([y_true, y_pred], classes)
    if not len(x) == len(true) == len(predicted) == len(p):
        raise InputError(
            f"expected one label, prediction and confidence per sample, got {len(true)}, {len(predicted)} and {len(p)} "
            f"for {len(x)} samples"
        )
    labelled = true >= 0
    wrong = np.flatnonzero(labelled & (true != predicted))
    wrong = wrong[np.argsort(-p[wrong], kind="stable")]
    n_wrong, wrong = len(wrong), wrong[:n]
    if not n_wrong:
        return message(f"No mistakes among {labelled.sum()} samples")
    split = "\n" if max(map(len, names)) > 3 and not is_text else ""
    captions = [f"{names[true[k]]} \u2192 {split}{names[predicted[k]]}\n{100 * p[k]:.0f} %" for k in wrong]
    subset = "" if n_wrong == len(wrong) else f", the {len(wrong)} most confident"
    title = f"{n_wrong} of {labelled.sum()} wrong{subset} (true \u2192 predicted)"
    return _text_list(x[wrong], captions, title) if is_text else _captioned(x[wrong], captions, title)


@described("Samples to label", "The row number is below each sample.")
def questions(X: ArrayLike, rows: Sequence[int]) -> Figure:
    """Samples to label, each with its row number.

    Parameters
    ----------
    X : array-like of shape (n, c, h, w) or (n, d)
        The samples, in the order of `rows`.
    rows : sequence of n int
        Row numbers.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If there is no sample, or the lengths differ.
    """
    x = check_samples(X)
    if not len(x) or len(x) != len(rows):
        raise InputError(f"expected one row number per sample, got {len(x)} samples and {len(rows)} numbers")
    return _captioned(x, [str(k) for k in rows], "Samples to label, by row number")


def _text_list(texts: NDArray[Any], captions: list[str], title: str) -> Figure:
    """Texts below each other, each below its caption."""
    figure = new_figure((8.2, 0.42 * len(texts) + 0.5))
    axes = figure.add_subplot()
    axes.set_axis_off()
    for k, (text, caption) in enumerate(zip(texts, captions, strict=True)):
        heading = textwrap.shorten(caption.replace("\n", ", "), 110, placeholder="…")
        place: dict[str, Any] = {"transform": axes.transAxes, "va": "top", "parse_math": False}
        axes.text(0, 1 - k / len(texts), heading, fontsize=8, color=GREY, **place)
        line = textwrap.shorten(str(text), 110, placeholder="…")
        axes.text(0, 1 - (k + 0.42) / len(texts), line, fontsize=10, color=INK, **place)
    figure.suptitle(title, fontsize=12, color=INK, x=0.01, ha="left")
    return figure


def _captioned(x: NDArray[np.float32], captions: list[str], title: str) -> Figure:
    """Samples side by side, each with a caption; the longest caption determines the number of columns."""
    lines = max(caption.count("\n") for caption in captions) + 1
    longest = max(len(line) for caption in captions for line in caption.split("\n"))
    cell = max(0.8, 0.09 * longest)
    n_columns = max(1, min(len(x), 8, int(9.6 // cell)))
    rows = -(-len(x) // n_columns)
    size = (max(n_columns * cell, 5.6) + 0.2, rows * (cell + 0.08 + 0.14 * lines) + 0.5)
    figure = new_figure(size)
    for k, caption in enumerate(captions):
        axes = figure.add_subplot(rows, n_columns, k + 1)
        draw_mosaic(axes, x[k : k + 1], 1)
        axes.set_xlabel(caption, fontsize=9, color=INK, labelpad=2)
    figure.suptitle(title, fontsize=12, color=INK, x=0.01, ha="left")
    return figure


@described(
    "Confusion matrix",
    "Rows are true classes, columns predictions. A dark cell off the diagonal is a pair of classes that are confused, "
    "a dark column a class that is predicted too often.",
)
def confusion_matrix(y_true: ArrayLike, y_pred: ArrayLike, classes: Sequence[Any] | None = None) -> Figure:
    """Confusion matrix of a classifier.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n,)
        Labels; rows where `y_true` is -1 are ignored.
    classes : sequence of K names, optional
        By default the label numbers.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the lengths differ, no row is labelled, or a prediction is negative.

    Notes
    -----
    The numbers are counts. The colours are percentages of the row, so that rare classes are as visible as frequent
    ones.
    """
    (true, predicted), names = class_numbers([y_true, y_pred], classes)
    if len(true) != len(predicted):
        raise InputError(f"expected as many predictions as true labels, got {len(predicted)} and {len(true)}")
    labelled = true >= 0
    true, predicted = true[labelled], predicted[labelled]
    if not len(true):
        raise InputError("expected at least one labelled row, got none: -1 means unlabelled")
    if (predicted < 0).any():
        raise InputError("expected predictions of 0 or more, got -1: every row needs a predicted class")
    n_classes = len(names)
    counts = metrics.confusion_matrix(true, predicted, labels=range(n_classes))
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    side = float(np.clip(0.52 * n_classes, 3.6, 10))
    figure = new_figure((side + 1.5, side + 0.9))
    wrong = int((true != predicted).sum())
    title = f"{wrong} of {len(true)} wrong: error {100 * wrong / len(true):.2f} %"
    axes = new_axes(figure, title, "predicted class", "true class")
    drawn = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    if n_classes <= 20:
        for i, j in zip(*np.nonzero(counts), strict=True):
            axes.text(
                j, i, str(counts[i, j]), ha="center", va="center", color="white" if share[i, j] > 55 else INK,
                fontsize=9 if counts.max() < 1000 else 8,
            )  # fmt: skip
    class_ticks(axes, names, axis="x", room=40)
    class_ticks(axes, names, axis="y", room=1000)
    for spine in axes.spines.values():
        spine.set_visible(False)
    colour_bar(figure, axes, drawn, "share of the true class (%)")
    return figure


@described(
    "Clusters and classes",
    "Rows are clusters, sorted by their most frequent class. A row with one dark cell is a pure cluster, a row with "
    "two a cluster that two classes share. A column without a dark cell is a class that no cluster represents.",
)
def cluster_matrix(
    y_true: ArrayLike,
    clusters: ArrayLike,
    classes: Sequence[Any] | None = None,
    cluster_names: Sequence[Any] | None = None,
) -> Figure:
    """Class counts of each cluster, sorted by the most frequent class of the cluster.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True labels; rows with -1 are ignored.
    clusters : array-like of shape (n,)
        The cluster of each row, 0 ... K - 1.
    classes : sequence of names, optional
        Names of the true classes; by default the label numbers.
    cluster_names : sequence of K names, optional
        By default the cluster numbers. It determines K; clusters without rows are last.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the lengths differ, no row is labelled, or a cluster is negative.

    Notes
    -----
    The error in the title is that of assigning each cluster to its most frequent class, as in Azulay,
    *adversarial-autoencoder-classifier* documentation (2019).
    """
    (true,), names = class_numbers([y_true], classes)
    (cluster,), cluster_labels = class_numbers([clusters], None if cluster_names is None else range(len(cluster_names)))
    if cluster_names is not None:
        cluster_labels = class_names(cluster_names, len(cluster_names))
    if len(true) != len(cluster):
        raise InputError(f"expected one cluster per true label, got {len(cluster)} and {len(true)}")
    labelled = true >= 0
    true, cluster = true[labelled], cluster[labelled]
    if not len(true):
        raise InputError("expected at least one labelled row, got none: -1 means unlabelled")
    if (cluster < 0).any():
        raise InputError("expected clusters of 0 or more, got -1: every row needs a cluster")
    K, n_classes = len(cluster_labels), len(names)
    counts = np.zeros((K, n_classes), dtype=int)
    counts[np.ix_(np.unique(cluster), np.unique(true))] = contingency_matrix(cluster, true)
    size = counts.sum(axis=1)
    share = 100 * counts / np.maximum(size, 1)[:, None]
    order = np.lexsort((-share.max(axis=1), counts.argmax(axis=1), size == 0))  # clusters without rows last
    counts, share, size = counts[order], share[order], size[order]
    wrong = int((size - counts.max(axis=1)).sum())

    cell = float(np.clip(9.6 / K, 0.22, 0.5))
    figure = new_figure((max(0.55 * n_classes + 2.4, 4.6), cell * K + 1.2))
    title = f"{K} clusters, assigned by majority:\nerror {100 * wrong / len(true):.2f} % of {len(true)}"
    axes = new_axes(figure, title, "true class", "cluster (rows)")
    drawn = axes.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    if n_classes <= 20 and K <= 40:
        for i, j in zip(*np.nonzero(counts), strict=True):
            axes.text(
                j, i, str(counts[i, j]), ha="center", va="center", color="white" if share[i, j] > 55 else INK,
                fontsize=8 if cell > 0.3 else 7,
            )  # fmt: skip
    major = counts.argmax(axis=1)
    for i in np.flatnonzero((major[1:] != major[:-1]) & (size[1:] > 0)):
        axes.axhline(i + 0.5, color=GREY, lw=0.7)
    class_ticks(axes, names, axis="x", room=round(5.5 * n_classes))
    class_ticks(axes, [f"{cluster_labels[k]} ({n})" for k, n in zip(order, size, strict=True)], axis="y", room=1000)
    axes.spines[["left", "bottom"]].set_visible(False)
    colour_bar(figure, axes, drawn, "share of the cluster (%)")
    return figure


@described(
    "Outliers: ROC curves",
    "The steeper a curve rises at the left, the more outliers are detected before the first false alarms. On the "
    "dashed diagonal the score is uninformative; below it, it is reversed.",
)
def roc_curves(scores: Mapping[str, tuple[ArrayLike, ArrayLike]], title: str = "Outlier detection") -> Figure:
    """ROC curves of outlier scores, one per method, in descending order of the area under the curve.

    Parameters
    ----------
    scores : mapping of str to (score, is_outlier), each array-like of shape (n,)
        By name of the method; a higher score means more of an outlier.
    title : str
        Title of the figure.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If there is no method, lengths differ, a score is not finite, or the rows are all outliers or all inliers.
    """
    curves: list[tuple[float, str, NDArray[np.float64], NDArray[np.float64]]] = []
    for name, (score, is_outlier) in scores.items():
        s, outlier = np.asarray(score, dtype=float), np.asarray(is_outlier).astype(bool)
        if s.ndim != 1 or s.shape != outlier.shape or not np.isfinite(s).all() or len(np.unique(outlier)) != 2:
            raise InputError(
                f"expected finite scores of shape (n,) for {name!r}, and both outliers and inliers, got shapes "
                f"{s.shape} and {outlier.shape} with {outlier.sum()} outliers"
            )
        false_positives, true_positives, _ = metrics.roc_curve(outlier, s)
        area = float(metrics.auc(false_positives, true_positives))
        curves.append((area, name, false_positives, true_positives))
    if not curves:
        raise InputError("expected the scores of at least one method, got none")
    figure = new_figure((5.6, 5.2))
    axes = new_axes(figure, title, "false positive rate (%)", "true positive rate (%)")
    axes.plot([0, 100], [0, 100], color=GREY, ls="--", lw=1.1, label="chance: AUC 0.5")
    colours, dashes = palette(len(curves)), ["-", "--", "-.", ":"]
    for k, (area, name, x, y) in enumerate(sorted(curves, key=lambda curve: -curve[0])):
        label = f"{plain(name)}: AUC {area:.3f}"
        axes.plot(100 * x, 100 * y, color=colours[k], ls=dashes[k % 4], lw=1.9, label=label)
    axes.set(xlim=(-1, 100), ylim=(0, 101))
    axes.set_aspect("equal")
    handles, names = axes.get_legend_handles_labels()
    axes.legend(
        [*handles[1:], handles[0]], [*names[1:], names[0]], loc="lower right", fontsize=9, labelcolor=INK,
        frameon=True, framealpha=0.85, edgecolor="none", handlelength=2.6,
    )  # fmt: skip
    return figure


@described(
    "Outliers: area under the ROC curve by class",
    "One line for each class that was excluded from training and had to be detected as outliers. Look at the worst "
    "line of a method, not only at its mean: a class that resembles others is reconstructed well and remains "
    "undetected.",
)
def auc_by_class(
    areas: Mapping[str, ArrayLike],
    classes: Sequence[Any] | None = None,
    title: str = "Detection of each class when it is excluded from training",
) -> Figure:
    """Area under the ROC curve of each method, one line for each class that served as outliers.

    Parameters
    ----------
    areas : mapping of str to array-like of shape (K,)
        By name of the method; 0 to 1, NaN if not measured.
    classes : sequence of K names, optional
        By default the class numbers.
    title : str
        Title of the figure.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If there is no method, or the methods have different numbers of classes.
    """
    table = {name: np.asarray(values, dtype=float) for name, values in areas.items()}
    shapes = {values.shape for values in table.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1 or not all(np.isfinite(a).any() for a in table.values()):
        raise InputError(f"expected areas of one shape (K,) for at least one method, got {sorted(shapes) or 'none'}")
    values = np.stack(list(table.values()))
    K = values.shape[1]
    names = class_names(classes, K)
    figure = new_figure((6.6, 0.32 * (K + 1) + 1.7))
    axes = new_axes(figure, title, "area under the ROC curve", "excluded class")
    rows = np.append(np.arange(K), K + 0.5)  # a gap before the mean
    values = np.column_stack([values, np.nanmean(values, axis=1)])
    measured, colours = np.isfinite(values).any(axis=0), palette(len(table))
    lows, highs = np.nanmin(values[:, measured], axis=0), np.nanmax(values[:, measured], axis=0)
    axes.hlines(rows[measured], lows, highs, color=FAINT, lw=2.5, zorder=1)
    for k, (name, area) in enumerate(zip(table, values, strict=True)):
        label = f"{plain(name)} (mean {area[-1]:.3f})"
        axes.plot(area, rows, ls="", marker=MARKERS[k % len(MARKERS)], color=colours[k], ms=7, label=label)
    low = np.nanmin(values)
    if low < 0.6:
        axes.axvline(0.5, color=GREY, ls="--", lw=1.1)
        axes.annotate("chance", (0.5, 1), (3, -3), xycoords=("data", "axes fraction"), textcoords="offset points",
                      fontsize=9, color="#555555", va="top")  # fmt: skip
    axes.axhline(K - 0.25, color=GREY, lw=0.8)
    axes.set_yticks(rows, [*names, "mean"])
    axes.set_ylim(K + 1, -0.6)
    axes.set_xlim(right=1 + 0.02 * (1 - low))
    axes.grid(axis="x", color="#E8E8E8", lw=0.8)
    axes.set_axisbelow(True)
    n_columns = min(len(table), max(1, 75 // (14 + max(map(len, table)))))
    figure.legend(loc="outside lower center", ncols=n_columns, frameon=False, fontsize=9, labelcolor=INK)
    return figure
