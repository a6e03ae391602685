"""Comparisons with other methods."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from aaekit.errors import InputError
from aaekit.plots.base import GREY, INK, MARKERS, described, new_axes, new_figure, palette, plain

__all__ = ["regrets"]

ROW = 0.42  # height in inches of a set


@described(
    "Regrets",
    "The difference between the error of the adversarial autoencoder and that of the best simple method, on each data "
    "set. Left of the line the adversarial autoencoder is better. A small point is a draw of labels, a large one the "
    "mean over draws. Look for sets far to the right: there another method should be used.",
)
def regrets(values: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Differences in error between a method and the best simple one, a line per data set.

    Parameters
    ----------
    values : mapping of str to mapping of str to sequence of float
        For each data set and each question, such as "5 labels per class", the differences in points, one per draw.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If there is no difference.
    """
    questions = list(dict.fromkeys(question for of_set in values.values() for question in of_set))
    if not questions or not all(len(draws) for of_set in values.values() for draws in of_set.values()):
        raise InputError("expected differences in error of at least one data set, got none")
    figure = new_figure((7.2, 1.5 + ROW * len(values)))
    axes = new_axes(figure, "Regret by data set", "regret (points; below 0 the adversarial autoencoder is better)")
    axes.axvline(0, color=GREY, linewidth=1, zorder=1)
    colours = dict(zip(questions, palette(len(questions)), strict=True))
    for row, of_set in enumerate(values.values()):
        for k, question in enumerate(questions):
            if question not in of_set:
                continue
            draws = np.asarray(of_set[question], dtype=float)
            y = row + 0.5 * ((k + 0.5) / len(questions) - 0.5)
            style: Any = {"color": colours[question], "marker": MARKERS[k % len(MARKERS)], "linestyle": "none"}
            axes.plot(draws, np.full(len(draws), y), markersize=3.5, alpha=0.45, **style)
            axes.plot([draws.mean()], [y], markersize=8, markeredgecolor="white", **style)
    for k, question in enumerate(questions):
        axes.plot([], [], color=colours[question], marker=MARKERS[k % len(MARKERS)], linestyle="none", label=question)
    axes.set_yticks(range(len(values)), [plain(name) for name in values], color=INK)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.grid(axis="y", color="#EEEEEE", zorder=0)
    figure.legend(loc="outside lower left", ncols=min(4, len(questions)), frameon=False, fontsize=9)
    return figure
