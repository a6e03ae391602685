"""Figures of simulated frames: the stages side by side, intensities by tissue, divergences, the Turing test."""

from collections.abc import Mapping, Sequence

from aaekit._extras import require

require("matplotlib", extra="plots")

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from aaekit.errors import InputError
from aaekit.plots.base import BLUE, GREY, INK, ORANGE, VERMILION, bare, new_axes, new_figure, set_title
from aaekit.ultrasound.tissues import TISSUES
from aaekit.ultrasound.turing import SIDES

STAGE_COLOURS = {"stage 0": GREY, "stage I": ORANGE, "stage II": BLUE, "real": INK}


def stage_strip(maps: NDArray[np.uint8], frames: Mapping[str, NDArray[np.floating]]) -> Figure:
    """Draw one row per tissue map: the map, its frame after each stage, and the real frame.

    Parameters
    ----------
    maps : ndarray of shape (n, h, w), uint8
        Tissue maps.
    frames : mapping of str to ndarray of shape (n, h, w)
        Frames in [0, 1] by the title of their column.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If the shapes of maps and frames differ.
    """
    palette = np.array([to_rgb(t.colour) for t in TISSUES])
    if not len(maps) or any(f.shape != maps.shape for f in frames.values()):
        raise InputError(f"expected frames of the maps' shape {maps.shape}, got {[f.shape for f in frames.values()]}")
    n, n_columns = len(maps), 1 + len(frames)
    figure = new_figure((2.3 * n_columns + 0.1, 2.3 * n + 0.9))
    for row in range(n):
        cells = [("tissue map", palette[maps[row]]), *((name, f[row]) for name, f in frames.items())]
        for column, (name, image) in enumerate(cells):
            axes = figure.add_subplot(n, n_columns, row * n_columns + column + 1)
            axes.imshow(image, cmap="gray", vmin=0, vmax=1)
            bare(axes)
            if row == 0:
                set_title(axes, name)
    present = [t for t in TISSUES[1:] if (maps == t.tissue_id).any()]
    handles = [Patch(facecolor=t.colour, edgecolor=GREY, label=t.name) for t in present]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), fontsize=9, frameon=False)
    return figure


def intensity_histograms(histograms: Mapping[str, Mapping[str, NDArray[np.floating]]]) -> Figure:
    """Draw the distribution of intensities of each tissue: one curve per stage, the real one filled.

    Parameters
    ----------
    histograms : mapping of str to mapping of str to ndarray of shape (bins,)
        By "stage 0", "stage I", "stage II" and "real", then by tissue: frequencies over [0, 1], as returned by
        `aaekit.ultrasound.tissue_histograms`.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If there is no tissue.
    """
    names = list(dict.fromkeys(name for h in histograms.values() for name in h))
    if not names:
        raise InputError("expected the histogram of at least one tissue, got none")
    bins = len(next(h[names[0]] for h in histograms.values() if names[0] in h))
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
        heights = [h[tissue] * bins for h in histograms.values() if tissue in h]
        for name, histogram in histograms.items():
            if tissue in histogram:
                real = name == "real"
                axes.stairs(
                    histogram[tissue] * bins, edges, fill=real, alpha=0.25 if real else 1, lw=1.5,
                    color=STAGE_COLOURS.get(name, VERMILION), label=name if place == 0 else None,
                )  # fmt: skip
        top = max(min(float(h.max()), 3 * float(np.sort(h)[-2])) for h in heights)
        axes.set_ylim(0, 1.1 * top)  # cuts off a spike at black
        axes.set_xlim(0, 1)
    figure.legend(loc="outside lower left", ncols=len(histograms), fontsize=9.5, frameon=False)
    return figure


def divergence_bars(divergences: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw the Jensen-Shannon divergence from real intensities: one bar per tissue and stage, the mean last.

    Parameters
    ----------
    divergences : mapping of str to mapping of str to float
        By stage, then by tissue and "mean", in bits, as returned by `TwoStageSimulator.divergences`.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If there is no stage, or the stages differ in their tissues.
    """
    stages = list(divergences)
    tissues = list(divergences[stages[0]]) if stages else []
    if not tissues or any(list(divergences[s]) != tissues for s in stages):
        raise InputError(
            f"expected at least one stage, all with the same tissues, got {[list(d) for d in divergences.values()]}"
        )
    figure = new_figure((max(5.0, 1.05 * len(tissues) + 1.2), 3.4))
    axes = new_axes(figure, "Divergence from real intensities", "", "Jensen-Shannon\ndivergence (bits)")
    width = 0.8 / len(stages)
    for k, stage in enumerate(stages):
        x = np.arange(len(tissues)) + (k - (len(stages) - 1) / 2) * width
        heights = [divergences[stage][t] for t in tissues]
        axes.bar(x, heights, 0.92 * width, color=STAGE_COLOURS.get(stage, VERMILION), label=stage)
    axes.set_xticks(range(len(tissues)), tissues)
    axes.axvline(len(tissues) - 1.5, color=GREY, lw=0.8, ls=":")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=9, frameon=False, ncols=len(stages))
    return figure


def turing_sheet(a: NDArray[np.uint8], b: NDArray[np.uint8], names: Sequence[str], n_columns: int = 2) -> Figure:
    """Draw all pairs of a visual Turing test on one page, without the answers.

    Parameters
    ----------
    a, b : ndarray of shape (n, h, w), uint8
        The frames of each pair.
    names : sequence of str
        Names of the pairs.
    n_columns : int, default 2
        Pairs per row.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If there is no pair, or the numbers of frames and names differ.
    """
    if not len(a) or a.shape != b.shape or len(names) != len(a):
        raise InputError(
            f"expected one frame a, one frame b and one name per pair, got {len(a)}, {len(b)}, {len(names)}"
        )
    n_columns = min(n_columns, len(a))
    rows = -(-len(a) // n_columns)
    figure = new_figure((4.3 * n_columns + 0.1, 2.3 * rows + 0.5))
    for k, name in enumerate(names):
        for side, frames in enumerate((a, b)):
            axes = figure.add_subplot(rows, 2 * n_columns, 2 * k + side + 1)
            axes.imshow(frames[k], cmap="gray", vmin=0, vmax=255)
            bare(axes)
            set_title(axes, f"{name}-{SIDES[side]}")
    figure.suptitle("One frame of each pair is real. Which?", fontsize=12, color=INK, x=0.01, ha="left")
    return figure
