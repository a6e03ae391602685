"""The figure of a log for the documentation."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from matplotlib.figure import Figure

from aaekit.plots.base import BLUE, GREY, INK, ORANGE, new_axes, new_figure


def speeds(log: Mapping[str, Any]) -> Figure:
    """Steps per second of each side: bars are medians, lines reach from the slowest to the fastest round."""
    parts = [(part, batch, sides) for part in ("vanilla", "semi-supervised") for batch, sides in log[part].items()]
    heights = [len(sides) for _, _, sides in parts]
    figure = new_figure((7.2, 0.34 * sum(heights) + 0.75 * len(parts)))
    grid = figure.add_gridspec(len(parts), 1, height_ratios=heights)
    for k, (part, batch, sides) in enumerate(parts):
        rows = f"{batch} rows" if part == "vanilla" else f"{batch} + {batch} rows"
        last = "steps per second" if k == len(parts) - 1 else ""
        axes = new_axes(figure, f"{part.capitalize()}, {rows} a step", last, "", grid[k, 0])
        for at, (name, values) in enumerate(sides.items()):
            colour = BLUE if name.startswith("ours") else ORANGE if name == "pythae" else GREY
            middle = median(values)
            axes.barh(at, middle, 0.7, color=colour)
            axes.plot([min(values), max(values)], [at, at], color=INK, lw=1.2)
            axes.annotate(
                f"{middle:.1f}", (max(values), at), (5, 0), textcoords="offset points", va="center", fontsize=9
            )
        axes.set_yticks(range(len(sides)), list(sides))
        axes.invert_yaxis()
        axes.set_xlim(0, 1.12 * max(max(v) for v in sides.values()))
    return figure
