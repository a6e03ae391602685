"""Curves of trainings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from aaekit import curves
from aaekit.errors import InputError
from aaekit.plots.base import (
    BLUE,
    GREY,
    INK,
    MARKERS,
    described,
    message,
    new_axes,
    new_figure,
    palette,
    plain,
    set_title,
)

__all__ = ["ablation_curves", "finetune_curves", "learning_curves"]


@described(
    "Learning curves",
    "A training has converged when D(real) and D(fake) both stay near 0.5 and the reconstruction no longer falls. "
    "With D(real) near 1 and D(fake) near 0 the discriminator has won, and the encoder learns nothing from it.",
)
def learning_curves(history: Mapping[str, ArrayLike] | Sequence[Mapping[str, float]]) -> Figure:
    """Losses, discriminator outputs and errors by epoch, one panel for each kind of quantity.

    Parameters
    ----------
    history : mapping of str to array-like of shape (n_epochs,), or sequence of mappings
        Columns, or one mapping per epoch as the `history_` of an estimator: `epoch` and any of: `<code>/D(real)` and
        `<code>/D(fake)`, the mean outputs of the discriminator;
        `<set>/error`, in percent; `learning_rate`, its factor; `confident`, a fraction; the losses of the phases, by
        name; any other loss. Missing values are NaN or None. Panels without data are omitted, and so is `<set>/score`
        if it is equal to another series. `aaekit.curves.CURVES` says which panel a series is drawn in.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If `epoch` is missing, or a series has another length.

    Notes
    -----
    At the dashed line, 0.5, a discriminator is at chance: training has converged when its outputs stay there and the
    reconstruction no longer falls (Sheet, *Deep Learning for Visual Computing* (NPTEL), lecture 54).
    """
    if not isinstance(history, Mapping):
        names = dict.fromkeys(name for row in history for name in row)
        history = {name: [row.get(name, np.nan) for row in history] for name in names}
    if "epoch" not in history:
        raise InputError(f"expected a history with 'epoch', got {', '.join(history) or 'nothing'}")
    epoch = np.asarray(history["epoch"], dtype=float)
    series: dict[str, NDArray[np.float64]] = {}
    for key, values in history.items():
        if key == "epoch" or key.rsplit("/", 1)[-1] in NOT_LOSSES:
            continue
        array = np.asarray(values, dtype=float)  # None becomes NaN
        if array.shape != epoch.shape:
            raise InputError(f"expected {len(epoch)} values of {key!r}, one per epoch, got shape {array.shape}")
        if np.isfinite(array).any():
            series[key] = array
    for key in [key for key in series if key.rsplit("/", 1)[-1] == "score" and _repeats(key, series)]:
        del series[key]
    panels: dict[str, list[str]] = {}
    for key in series:
        panels.setdefault(curves.panel(key), []).append(key)
    panels = {name: panels[name] for name in PANELS if name in panels}
    if not panels:
        return message("Nothing recorded yet")

    n_columns = min(2 if len(panels) <= 6 else 3, len(panels))
    rows = -(-len(panels) // n_columns)
    figure = new_figure((4.9 * n_columns + 0.2, 2.9 * rows + 0.1))
    for place, (name, keys) in enumerate(panels.items()):
        axes = new_axes(figure, name, "epoch", PANELS[name], (rows, n_columns, place + 1))
        if name == DISCRIMINATORS:
            axes.axhline(0.5, color=INK, ls="--", lw=1.1, label="0.5: at chance")
            axes.set_ylim(0, 1)
        for key, colour, dashes in _line_styles(keys):
            finite = np.isfinite(series[key])
            marker = "o" if finite.sum() <= 12 else None
            x, values = epoch[finite], series[key][finite]
            axes.plot(x, values, color=colour, ls=dashes, lw=1.7, marker=marker, ms=3.5, label=plain(key))
        if name not in NOT_LOGARITHMIC and _differ_in_scale([series[key] for key in keys]):
            axes.set_yscale("log")
        if name == ERRORS:
            final = [f"{plain(key.rpartition('/')[0])} {_last(series[key]):.2f} %".strip() for key in keys]
            set_title(axes, f"Final error: {', '.join(final)}")
            axes.set_ylim(bottom=0)
        if len(keys) > 1 or name == DISCRIMINATORS:
            legend_columns = 1 if len(axes.lines) <= 2 else 2
            axes.legend(
                fontsize=8.5, ncols=legend_columns, labelcolor=INK, handlelength=1.8, columnspacing=1.0,
                frameon=True, framealpha=0.85, edgecolor="none",
            )  # fmt: skip
        axes.grid(axis="y", color="#E8E8E8", lw=0.8)
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        if len(epoch) < 3:
            axes.set_xlim(epoch.min() - 0.5, epoch.max() + 0.5)
    return figure


DISCRIMINATORS, ERRORS, CONFIDENT, RATE = (
    "Discriminator outputs", "Error", "Confident pseudo-labels", "Learning rate",
)  # fmt: skip
PANELS = {  # title: label of the vertical axis, in the order of drawing
    "Reconstruction": "loss",
    DISCRIMINATORS: "mean of $D$ (1: real)",
    "Adversarial losses": "loss (nats)",
    "Losses of labelled rows": "loss (nats)",
    "Losses of unlabelled rows": "loss (nats)",
    "Mutual information of $y$ and $x$": "loss (nats)",
    "Layout of the codes": "loss",
    CONFIDENT: "fraction of rows",
    ERRORS: "error (%)",
    "Other losses": "loss",
    RATE: "factor",
}
NOT_LOSSES = {"epoch", "step", "seconds", "time", "samples_per_second", "steps_per_second"}
NOT_LOGARITHMIC = {DISCRIMINATORS, CONFIDENT, ERRORS, RATE}


@described(
    "Fine-tuning",
    "The start of a curve shows what the encoder had learned without labels, its end what the labels added. Stars and "
    "the hatched band are published results.",
)
def finetune_curves(
    errors: Mapping[str, ArrayLike],
    published: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    published_ranges: Mapping[str, tuple[float, float]] | None = None,
    title: str = "Fine-tuning a classifier on a trained encoder",
) -> Figure:
    """Error by epoch of fine-tuning, one curve per pretraining, with published results.

    Parameters
    ----------
    errors : mapping of str to array-like of shape (n_epochs,) or (n_runs, n_epochs)
        In percent, by name of the pretraining. Of several runs, the mean and the range are drawn.
    published : mapping of str to sequence of (epoch, error), optional
        Single published results, in percent, drawn as stars in the colour of the curve of the same name.
    published_ranges : mapping of str to (error, error), optional
        Published ranges of the error, in percent, drawn as bands.
    title : str
        Title of the figure.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If there is no curve, or a curve has another shape.

    Examples
    --------
    >>> figure = finetune_curves(
    ...     {"adversarial": [6.1, 3.9, 3.0], "plain": [7.0, 4.8, 3.9]},
    ...     published={"adversarial": [(1, 100 - 92.6), (10, 100 - 98)]},
    ...     published_ranges={"plain": (100 - 94, 100 - 93)},
    ... )

    References
    ----------
    Sheet, *Deep Learning for Visual Computing* (NPTEL), lecture 55: accuracy 92.6 % after the first epoch and 98 %
    after the tenth, and 93 to 94 % from a plain autoencoder.
    """
    runs = {name: np.atleast_2d(np.asarray(values, dtype=float)) for name, values in errors.items()}
    if not runs or any(curve.ndim != 2 or not curve.size for curve in runs.values()):
        shapes = ", ".join(f"{curve.shape} for {name!r}" for name, curve in runs.items())
        raise InputError(f"expected errors of shape (n_epochs,) or (n_runs, n_epochs), got {shapes or 'none'}")
    published, published_ranges = published or {}, published_ranges or {}
    names = list(dict.fromkeys([*runs, *published, *published_ranges]))
    colours = dict(zip(names, palette(len(names)), strict=True))
    figure = new_figure((6.8, 4.6))
    axes = new_axes(figure, title, "epoch", "error (%)")
    for k, (name, curve) in enumerate(runs.items()):
        epoch = np.arange(1, curve.shape[1] + 1)
        mean = curve.mean(axis=0)
        marker = MARKERS[k % len(MARKERS)]
        label = f"{plain(name)}: final error {mean[-1]:.2f} %"
        axes.plot(epoch, mean, color=colours[name], lw=1.9, marker=marker, ms=4.5, label=label)
        if len(curve) > 1:
            axes.fill_between(epoch, curve.min(axis=0), curve.max(axis=0), color=colours[name], alpha=0.2, lw=0)
    for name, points in published.items():
        x, error = np.asarray(points, dtype=float).reshape(-1, 2).T
        axes.plot(
            x, error, ls="", marker="*", ms=13, mfc="white", mec=colours[name], mew=1.6,
            label=f"{plain(name)}, published", zorder=4,
        )  # fmt: skip
    for name, (low, high) in published_ranges.items():
        label = f"{plain(name)}, published: {low:g} to {high:g} %"
        axes.axhspan(
            low, high, facecolor=colours[name], alpha=0.18, hatch="///", edgecolor=colours[name], lw=0, label=label
        )
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    accuracy = axes.secondary_yaxis("right", functions=(_complement, _complement))
    accuracy.set_ylabel("accuracy (%)", fontsize=10, color=INK)
    accuracy.tick_params(labelsize=9, colors="#444444", length=3)
    accuracy.spines["right"].set_color(GREY)
    axes.grid(axis="y", color="#E8E8E8", lw=0.8)
    axes.set_axisbelow(True)
    axes.legend(fontsize=9, labelcolor=INK, frameon=True, framealpha=0.85, edgecolor="none")
    return figure


@described(
    "Ablation",
    "Grey is the unchanged training, blue the training with the change in the title. The distance between their ends "
    "is the effect of the change.",
)
def ablation_curves(
    errors: Mapping[str, Sequence[tuple[float, float]]], title: str = "Effect of each change on the error"
) -> Figure:
    """Error by step, one panel per change; the first curve is the baseline and drawn in all panels.

    Parameters
    ----------
    errors : mapping of str to sequence of (step, error)
        In percent, by name of the change; the first is the unchanged baseline.
    title : str
        Title of the figure.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If there are fewer than two curves, or one is empty.

    Examples
    --------
    >>> figure = ablation_curves({"unchanged": [(50, 9.0), (100, 2.0)], "no noise": [(50, 9.5), (100, 3.1)]})
    """
    if len(errors) < 2 or not all(len(curve) for curve in errors.values()):
        raise InputError(f"expected at least two curves of at least one point, got {len(errors)}")
    (first, base), *others = [(plain(k), np.asarray(v, dtype=float).reshape(-1, 2)) for k, v in errors.items()]
    columns = min(4, len(others))
    rows = -(-len(others) // columns)
    figure = new_figure((2.6 * columns + 0.4, 2.3 * rows + 0.5))
    grid = figure.add_gridspec(rows, columns)
    top = 2 * float(np.median([curve[:, 1].max() for _, curve in others]))
    low = 0.8 * float(min(curve[:, 1].min() for _, curve in [(first, base), *others]))
    for k, (name, curve) in enumerate(others):
        row, column = divmod(k, columns)
        last = row == rows - 1 or k + columns >= len(others)
        axes = new_axes(figure, name, "steps" if last else "", "error (%)" if column == 0 else "", grid[row, column])
        axes.plot(*base.T, color=GREY, lw=1.6, label=f"{first}: {base[-1, 1]:.1f}")
        axes.plot(*curve.T, color=BLUE, lw=1.9, label=f"changed: {curve[-1, 1]:.1f}")
        axes.set_yscale("log")
        axes.set_ylim(max(low, 1e-2), max(top, 2 * low))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "235" else "")
        axes.grid(axis="y", which="both", color="#E8E8E8", lw=0.8)
        axes.set_axisbelow(True)
        axes.legend(fontsize=8, labelcolor=INK, frameon=True, framealpha=0.85, edgecolor="none", loc="upper right")
    figure.suptitle(title, fontsize=12, color=INK)
    return figure


def _line_styles(keys: list[str]) -> list[tuple[str, str, str]]:
    """Colour and dashes of each series; two opponents share their colour and differ in their dashes."""
    opponents = {"D(real)": "-", "D(fake)": ":", "discriminator": "-", "generator": ":"}
    if all(key.rsplit("/", 1)[-1] in opponents for key in keys):
        groups = list(dict.fromkeys(key.rpartition("/")[0] for key in keys))
        colours = dict(zip(groups, palette(len(groups)), strict=True))
        return [(key, colours[key.rpartition("/")[0]], opponents[key.rsplit("/", 1)[-1]]) for key in keys]
    return [(key, colour, "-") for key, colour in zip(keys, palette(len(keys)), strict=True)]


def _last(values: NDArray[np.float64]) -> float:
    """The last finite value."""
    return float(values[np.isfinite(values)][-1])


def _repeats(key: str, series: Mapping[str, NDArray[np.float64]]) -> bool:
    """Whether another series of the same set has equal values."""
    group = key.rpartition("/")[0]
    return any(
        other != key and other.rpartition("/")[0] == group and np.array_equal(values, series[key], equal_nan=True)
        for other, values in series.items()
    )


def _differ_in_scale(series: list[NDArray[np.float64]]) -> bool:
    """Whether the series need a logarithmic axis to be seen together, and can have one."""
    medians = [float(np.nanmedian(values)) for values in series]
    return all(np.nanmin(values) > 0 for values in series) and max(medians) > 30 * min(medians)


def _complement(percent: Any) -> Any:
    """Error to accuracy, and vice versa."""
    return 100 - percent
