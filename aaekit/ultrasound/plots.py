"""Figures of simulated ultrasound: frames side by side, intensities by tissue, how far they are from real ones."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from aaekit.errors import InputError
from aaekit.plots.base import BLUE, GREY, INK, ORANGE, VERMILION, bare, new_axes, new_figure, set_title

COLOURS = {"stage 0": GREY, "stage I": ORANGE, "stage II": BLUE, "real": INK}


def stage_strip(
    maps: NDArray[np.uint8], frames: Mapping[str, NDArray[np.floating]], colours: Mapping[str, str]
) -> Figure:
    """A row for each tissue map: the map, its frames by stage, and the real one.

    Parameters
    ----------
    maps : ndarray of shape (n, h, w), uint8
        Tissue maps.
    frames : mapping of str to ndarray of shape (n, h, w)
        Frames in [0, 1] by the title of their column.
    colours : mapping of str to str
        The colour of each tissue by its name, in the order of the codes.
    """
    painted = np.array([to_rgb(c) for c in colours.values()])
    if not len(maps) or any(f.shape != maps.shape for f in frames.values()):
        raise InputError(f"expected frames of the maps' shape {maps.shape}, got {[f.shape for f in frames.values()]}")
    n, n_columns = len(maps), 1 + len(frames)
    figure = new_figure((2.3 * n_columns + 0.1, 2.3 * n + 0.9))
    for row in range(n):
        cells = [("tissue map", painted[maps[row]]), *((name, f[row]) for name, f in frames.items())]
        for column, (name, image) in enumerate(cells):
            axes = figure.add_subplot(n, n_columns, row * n_columns + column + 1)
            axes.imshow(image, cmap="gray", vmin=0, vmax=1)
            bare(axes)
            if row == 0:
                set_title(axes, name)
    there = [(name, c) for code, (name, c) in enumerate(colours.items()) if code and (maps == code).any()]
    handles = [Patch(facecolor=c, edgecolor=GREY, label=name) for name, c in there]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), fontsize=9, frameon=False)
    return figure


def intensity_histograms(histograms: Mapping[str, Mapping[str, NDArray[np.floating]]]) -> Figure:
    """How intensities are distributed within each tissue: a curve for each stage, the real one filled.

    Parameters
    ----------
    histograms : mapping of str to mapping of str to ndarray of shape (bins,)
        By "stage 0", "stage I", "stage II" and "real", then by tissue: shares of intensities over [0, 1], as
        `aaekit.ultrasound.tissue_histograms` gives them.
    """
    found = histograms
    names = list(dict.fromkeys(name for h in found.values() for name in h))
    if not names:
        raise InputError("expected the histogram of at least one tissue, got none")
    bins = len(next(h[names[0]] for h in found.values() if names[0] in h))
    n_columns = min(4, len(names))
    rows = -(-len(names) // n_columns)
    figure = new_figure((2.8 * n_columns + 0.2, 2.1 * rows + 0.7))
    edges = np.linspace(0, 1, bins + 1)
    for place, tissue in enumerate(names):
        last_row = place + n_columns >= len(names)
        axes = new_axes(
            figure,
            tissue,
            "intensity" if last_row else "",
            "density" if place % n_columns == 0 else "",
            (rows, n_columns, place + 1),
        )
        heights = [h[tissue] * bins for h in found.values() if tissue in h]
        for name, histogram in found.items():
            if tissue in histogram:
                real = name == "real"
                axes.stairs(
                    histogram[tissue] * bins, edges, fill=real, alpha=0.25 if real else 1, lw=1.5,
                    color=COLOURS.get(name, VERMILION), label=name if place == 0 else None,
                )  # fmt: skip
        axes.set_ylim(
            0, 1.1 * max(min(float(h.max()), 3 * float(np.sort(h)[-2])) for h in heights)
        )  # a spike at black is cut
        axes.set_xlim(0, 1)
    figure.legend(loc="outside lower left", ncols=len(found), fontsize=9.5, frameon=False)
    return figure


def divergence_bars(divergences: Mapping[str, Mapping[str, float]]) -> Figure:
    """Jensen-Shannon divergence from real intensities, tissue by tissue, a bar for each stage; the mean last.

    Parameters
    ----------
    divergences : mapping of str to mapping of str to float
        By stage, then by tissue and "mean", in bits, as `TwoStageSimulator.divergences` gives it.
    """
    stages = list(divergences)
    tissues = list(divergences[stages[0]]) if stages else []
    if not tissues or any(list(divergences[s]) != tissues for s in stages):
        raise InputError("expected the same tissues of every stage, and at least one stage")
    figure = new_figure((max(5.0, 1.05 * len(tissues) + 1.2), 3.4))
    axes = new_axes(figure, "How far intensities are from real ones", "", "Jensen-Shannon\ndivergence (bits)")
    width = 0.8 / len(stages)
    for k, stage in enumerate(stages):
        x = np.arange(len(tissues)) + (k - (len(stages) - 1) / 2) * width
        heights = [divergences[stage][t] for t in tissues]
        axes.bar(x, heights, 0.92 * width, color=COLOURS.get(stage, VERMILION), label=stage)
    axes.set_xticks(range(len(tissues)), tissues)
    axes.axvline(len(tissues) - 1.5, color=GREY, lw=0.8, ls=":")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=9, frameon=False, ncols=len(stages))
    return figure


def turing_sheet(a: NDArray[np.uint8], b: NDArray[np.uint8], names: Sequence[str], n_columns: int = 2) -> Figure:
    """All pairs of a visual Turing test on one page; which of a and b is real is not told.

    Parameters
    ----------
    a, b : ndarray of shape (n, h, w), uint8
        The frames of each pair.
    names : sequence of str
        Names of the pairs.
    n_columns : int, default 2
        Pairs in a row.
    """
    if not len(a) or a.shape != b.shape or len(names) != len(a):
        raise InputError(f"expected as many frames a as b and as names, got {len(a)}, {len(b)}, {len(names)}")
    n_columns = min(n_columns, len(a))
    rows = -(-len(a) // n_columns)
    figure = new_figure((4.3 * n_columns + 0.1, 2.3 * rows + 0.5))
    for k, name in enumerate(names):
        for side, frames in enumerate((a, b)):
            axes = figure.add_subplot(rows, 2 * n_columns, 2 * k + side + 1)
            axes.imshow(frames[k], cmap="gray", vmin=0, vmax=255)
            bare(axes)
            set_title(axes, f"{name}-{'ab'[side]}")
    figure.suptitle("One of each pair is real. Which?", fontsize=12, color=INK, x=0.01, ha="left")
    return figure
