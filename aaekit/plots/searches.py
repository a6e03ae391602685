"""Searches for hyper-parameters: scores trial by trial, and by the values that were tried."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from aaekit.errors import InputError
from aaekit.plots.base import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    described,
    message,
    new_axes,
    new_figure,
    plain,
    span,
)

__all__ = ["parameter_importances", "parameter_scores", "search_history"]

N_COLUMNS = 3  # of panels
BAR = 0.38  # height in inches of a bar
GIVEN: dict[str, Any] = {"marker": "^", "color": GREY}
BEST: dict[str, Any] = {"marker": "o", "markerfacecolor": "none", "markeredgecolor": ORANGE, "markeredgewidth": 2}


@described(
    "Scores of the trials",
    "A point is a trial, a cross one that was pruned, at its last intermediate score; both are at the upper edge if "
    "they are far above. The line is the lowest score so far, the dashed line the score of the configuration as it was "
    "given. A line that still falls at the end asks for more trials; points that are all within the bar of the best "
    "one differ by chance.",
)
def search_history(
    scores: ArrayLike, pruned: ArrayLike, name: str, default: float | None = None, std_error: float | None = None
) -> Figure:
    """Scores by the number of the trial.

    Parameters
    ----------
    scores : array-like of shape (n,)
        Of each trial, the lower the better; of a pruned trial its last intermediate score; NaN of one that failed.
    pruned : array-like of bool, shape (n,)
        Which trials were pruned.
    name : str
        What is minimised.
    default : float, optional
        The score of the configuration as it was given.
    std_error : float, optional
        Of the best score.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If there is no trial, or not as many of both.
    """
    values, is_pruned = np.asarray(scores, float), np.asarray(pruned, bool)
    if not len(values) or values.shape != is_pruned.shape:
        raise InputError(
            f"expected a score of each of at least one trial, got {len(values)} for {len(is_pruned)} trials"
        )
    figure = new_figure((7.2, 3.6))
    axes = new_axes(figure, "Scores", "trial", plain(name))
    number = np.arange(len(values))
    complete = ~is_pruned & np.isfinite(values)
    if default is not None:
        axes.axhline(default, color=GREY, linewidth=1, linestyle="--", label="as given", zorder=1)
    if complete.any():
        so_far = np.where(complete, values, np.nan)
        best = np.fmin.accumulate(so_far)
        axes.step(number, best, where="post", color=ORANGE, linewidth=1.8, label="best so far", zorder=1)
        k, error = int(np.nanargmin(so_far)), std_error or 0.0
        if error:
            axes.errorbar(number[k], values[k], error, color=BLUE, capsize=4, linewidth=1.2)
        drawn = values[complete & (values <= _top(values[complete]))]
        ends = [values[k] - error, values[k] + error, values[k] if default is None else default]
        axes.set_ylim(*span(np.r_[drawn, ends], 0.08))
        heights = np.minimum(values, axes.get_ylim()[1])
        axes.plot(number[complete], heights[complete], "o", color=BLUE, markersize=6, label="trial", clip_on=False)
    if is_pruned.any():
        heights = np.minimum(values[is_pruned], axes.get_ylim()[1]) if complete.any() else values[is_pruned]
        axes.plot(number[is_pruned], heights, "x", color=GREY, markersize=5, label="pruned", clip_on=False)
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    figure.legend(loc="outside lower left", ncols=4, frameon=False, fontsize=9)
    return figure


@described(
    "Importance of the parameters",
    "The share of the differences between scores that each parameter explains (fANOVA), in trials that were not "
    "pruned. Parameters at the top are worth a finer search; those at the bottom can stay as they are. The shares of a "
    "few trials are rough.",
)
def parameter_importances(importances: Mapping[str, float]) -> Figure:
    """Bars of importances, the largest at the top.

    Parameters
    ----------
    importances : mapping of str to float
        The share of each parameter, in [0, 1]; a message is drawn if there is none.

    Returns
    -------
    Figure
    """
    if not importances:
        return message("too few trials to tell parameters apart")
    names = sorted(importances, key=lambda name: importances[name])
    figure = new_figure((6.4, 1.2 + BAR * len(names)))
    axes = new_axes(figure, "Importance", "share of the differences between scores (%)")
    shares = [100 * importances[name] for name in names]
    axes.barh(range(len(names)), shares, height=0.6, color=BLUE)
    for k, share in enumerate(shares):
        axes.text(share + 0.8, k, f"{share:.0f}", va="center", fontsize=9, color=INK)
    axes.set_yticks(range(len(names)), [plain(name) for name in names], color=INK)
    axes.set_xlim(0, max(shares) * 1.1 + 2)
    return figure


@described(
    "Scores by parameter",
    "A point is a trial that was not pruned; darker ones came later. The triangle is the configuration as it was "
    "given, the ring the best trial. Look for a best trial at the edge of a panel: then search a wider range. A cloud "
    "without a slope says that the parameter hardly matters.",
)
def parameter_scores(
    values: Mapping[str, Sequence[Any]],
    scores: ArrayLike,
    name: str,
    default: int | None = None,
    logarithmic: Sequence[str] = (),
) -> Figure:
    """Scores by the values that were tried, a panel for each parameter.

    Parameters
    ----------
    values : mapping of str to sequence of length n
        What each trial tried of each parameter: numbers, or texts; None where it did not vary it.
    scores : array-like of shape (n,)
        Scores of the trials.
    name : str
        What is minimised.
    default : int, optional
        Which trial is that of the configuration as it was given.
    logarithmic : sequence of str
        Parameters on a logarithmic axis.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If there is no parameter or no trial, or a parameter has another number of values.
    """
    y = np.asarray(scores, float)
    if not values or not len(y) or any(len(tried) != len(y) for tried in values.values()):
        raise InputError(
            f"expected a value of each parameter for each of at least one trial, got {len(values)} parameters and "
            f"{len(y)} trials"
        )
    n_columns = min(N_COLUMNS, len(values))
    n_rows = -(-len(values) // n_columns)
    figure = new_figure((0.6 + 2.9 * n_columns, 0.3 + 2.5 * n_rows))
    top = _top(y)
    for k, (parameter, tried) in enumerate(values.items()):
        label = plain(name) if k % n_columns == 0 else ""
        axes = new_axes(figure, plain(parameter), "", label, (n_rows, n_columns, k + 1))
        rows = np.array([row for row, value in enumerate(tried) if value is not None], int)
        x = _places(axes, [tried[row] for row in rows])
        if parameter in logarithmic:
            axes.set_xscale("log")
            is_short = len(x) and x.max() < 10 * x.min()
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if is_short else (1,)))
            axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        shade = 0.25 + 0.75 * rows / max(1, len(y) - 1)
        axes.scatter(x, y[rows], s=30, color=[to_rgba(BLUE, alpha) for alpha in shade.tolist()], linewidths=0)
        for row, style in ((default, GIVEN), (int(y.argmin()), BEST)):
            if row is not None and row in rows:
                axes.plot(x[rows == row], y[[row]], linestyle="none", markersize=9, **style)
        axes.set_ylim(*span(y[y <= top], 0.08))
    return figure


def _places(axes: Axes, values: Sequence[Any]) -> NDArray[np.float64]:
    """Where values are along an axis: numbers where they are, texts at ticks."""
    if not any(isinstance(value, str) for value in values):
        return np.asarray(values, float)
    names = sorted(set(values))
    axes.set_xticks(range(len(names)), [plain(name) for name in names], rotation=25, ha="right")
    axes.set_xlim(-0.5, len(names) - 0.5)
    return np.asarray([names.index(value) for value in values], float)


def _top(scores: NDArray[np.float64]) -> float:
    """Up to where scores are drawn: a trial that went wrong does not flatten the others."""
    low, middle = scores.min(), np.percentile(scores, 75)
    return float(min(scores.max(), middle + 2 * (middle - low) + 1e-9))
