"""How training went."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from aaekit.errors import InputError
from aaekit.plots.base import BLUE, GREY, INK, MARKERS, message, new_axes, new_figure, palette, plain, set_title


def learning_curves(history: Mapping[str, ArrayLike]) -> Figure:
    """How training went, one panel for each kind of quantity in the history.

    Parameters
    ----------
    history : mapping of str to array-like of shape (n_epochs,)
        `epoch` and any of: `reconstruction`; `<code>/D(real)` and `<code>/D(fake)`, the discriminator's mean outputs;
        `<code>/discriminator` and `<code>/generator`, the adversarial losses; `<set>/error`, in percent; `rate`, the
        factor of the learning rate; `confident`, a share; the names of the phases; any other loss. Missing values are
        NaN or None. Panels without data are left out, and so is `<set>/score` where it repeats another series.

    Notes
    -----
    The dashed line at 0.5 is where a discriminator is at chance: stop when its outputs stay there and the
    reconstruction no longer falls (Sheet, *Deep Learning for Visual Computing* (NPTEL), lecture 54).

    Raises
    ------
    InputError (a ValueError)
        If `epoch` is missing, or a series is not as long as it.
    """
    if "epoch" not in history:
        raise InputError(f"Expected the history to have 'epoch', got {', '.join(history) or 'nothing'}.")
    epoch = np.asarray(history["epoch"], dtype=float)
    series: dict[str, NDArray[np.float64]] = {}
    for key, values in history.items():
        if key == "epoch" or key.rsplit("/", 1)[-1] in NOT_LOSSES:
            continue
        array = np.asarray(values, dtype=float)  # None becomes NaN
        if array.shape != epoch.shape:
            raise InputError(f"Expected {len(epoch)} values of {key!r}, one an epoch, got shape {array.shape}.")
        if np.isfinite(array).any():
            series[key] = array
    for key in [key for key in series if key.rsplit("/", 1)[-1] == "score" and _repeats(key, series)]:
        del series[key]
    panels: dict[str, list[str]] = {}
    for key in series:
        panels.setdefault(BELONGS.get(key.rsplit("/", 1)[-1], "Other losses"), []).append(key)
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
            there = np.isfinite(series[key])
            marker = "o" if there.sum() <= 12 else None
            x, values = epoch[there], series[key][there]
            axes.plot(x, values, color=colour, ls=dashes, lw=1.7, marker=marker, ms=3.5, label=plain(key))
        if name not in NOT_LOGARITHMIC and _far_apart([series[key] for key in keys]):
            axes.set_yscale("log")
        if name == ERRORS:
            lasts = [f"{plain(key.rpartition('/')[0])} {_last(series[key]):.2f} %".strip() for key in keys]
            set_title(axes, f"Error at the end: {', '.join(lasts)}")
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
    "Learning without labels": "loss (nats)",
    "Mutual information of $y$ and $x$": "loss (nats)",
    "Layout of the codes": "loss",
    "Rows sure enough to teach": "share",
    ERRORS: "error (%)",
    "Other losses": "loss",
    "Learning rate": "factor",
}
BELONGS = {  # the last part of a series' name: its panel; all others are losses of their own
    "reconstruction": "Reconstruction",
    "D(real)": DISCRIMINATORS,
    "D(fake)": DISCRIMINATORS,
    "discriminator": "Adversarial losses",
    "generator": "Adversarial losses",
    "classification": "Learning from labels",
    "agreement": "Learning without labels",
    "consistency": "Learning without labels",
    "smoothness": "Learning without labels",
    "balance": "Learning without labels",
    "decision": "Learning without labels",
    "cyclic": "Mutual information of $y$ and $x$",
    "mode": "Mutual information of $y$ and $x$",
    "style": "Layout of the codes",
    "separation": "Layout of the codes",
    "heads": "Layout of the codes",
    "confident": "Rows sure enough to teach",
    "error": ERRORS,
    "rate": "Learning rate",
}
NOT_LOSSES = {"epoch", "step", "seconds", "time", "samples_per_second", "steps_per_second"}
NOT_LOGARITHMIC = {DISCRIMINATORS, "Rows sure enough to teach", ERRORS, "Learning rate"}


def finetune_curves(
    errors: Mapping[str, ArrayLike],
    published: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    published_ranges: Mapping[str, tuple[float, float]] | None = None,
    title: str = "Fine-tuning a classifier on a trained encoder",
) -> Figure:
    """Error after each epoch of fine-tuning, by what the encoder was trained as, beside published figures.

    Parameters
    ----------
    errors : mapping of str to array-like of shape (n_epochs,) or (n_runs, n_epochs)
        In percent; of several runs the mean is drawn, and a band from the best to the worst.
    published : mapping of str to sequence of (epoch, error), optional
        Single points, drawn hollow; in the colour of our curve of the same name, where there is one.
    published_ranges : mapping of str to (error, error), optional
        From where to where an error is said to lie, whatever the epoch; a band across.
    title : str
        What is seen.

    Raises
    ------
    InputError (a ValueError)
        If there are no errors, or their shape is another.

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
    curves = {name: np.atleast_2d(np.asarray(values, dtype=float)) for name, values in errors.items()}
    if not curves or any(curve.ndim != 2 or not curve.size for curve in curves.values()):
        shapes = ", ".join(f"{curve.shape} for {name!r}" for name, curve in curves.items())
        raise InputError(f"Expected errors of shape (n_epochs,) or (n_runs, n_epochs), got {shapes or 'none'}.")
    published, published_ranges = published or {}, published_ranges or {}
    names = list(dict.fromkeys([*curves, *published, *published_ranges]))
    colours = dict(zip(names, palette(len(names)), strict=True))
    figure = new_figure((6.8, 4.6))
    axes = new_axes(figure, title, "epoch", "error (%)")
    for k, (name, curve) in enumerate(curves.items()):
        epoch = np.arange(1, curve.shape[1] + 1)
        mean = curve.mean(axis=0)
        marker = MARKERS[k % len(MARKERS)]
        label = f"{plain(name)}: {mean[-1]:.2f} % at the end"
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


def ablation_curves(
    curves: Mapping[str, Sequence[tuple[float, float]]], title: str = "What each change does to the error"
) -> Figure:
    """Error against steps, a panel for each change; the first curve, with nothing changed, is in all of them.

    Parameters
    ----------
    curves : mapping of str to sequence of (steps, error)
        In percent, by what was changed; nothing in the first.
    title : str
        What is seen.

    Raises
    ------
    InputError (a ValueError)
        With fewer than two curves, or an empty one.

    Examples
    --------
    >>> figure = ablation_curves({"as it is": [(50, 9.0), (100, 2.0)], "no noise": [(50, 9.5), (100, 3.1)]})
    """
    if len(curves) < 2 or not all(len(curve) for curve in curves.values()):
        raise InputError(f"Expected two curves or more, each of a point or more, got {len(curves)}.")
    (first, base), *others = [(plain(k), np.asarray(v, dtype=float).reshape(-1, 2)) for k, v in curves.items()]
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


def _repeats(key: str, series: Mapping[str, NDArray[np.float64]]) -> bool:
    """Whether another series of the same set has the same values."""
    group = key.rpartition("/")[0]
    return any(
        other != key and other.rpartition("/")[0] == group and np.array_equal(values, series[key], equal_nan=True)
        for other, values in series.items()
    )


def _far_apart(curves: list[NDArray[np.float64]]) -> bool:
    """Whether one curve would lie flat on the axis beside another, and logarithms can help."""
    middles = [float(np.nanmedian(curve)) for curve in curves]
    return all(np.nanmin(curve) > 0 for curve in curves) and max(middles) > 30 * min(middles)


def _complement(percent: Any) -> Any:
    """Error to accuracy, and back."""
    return 100 - percent
