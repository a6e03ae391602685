"""What all figures share: colours, checks, axes in one style, and files."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from aaekit._files import write_bytes
from aaekit.errors import InputError
from aaekit.labels import label_indices, split_labels

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
    return write_bytes(path, to_png(figure))


def palette(n: int) -> list[str]:
    """Colours for n classes, from the start again after 12."""
    return [PALETTE[k % len(PALETTE)] for k in range(n)]


def check_samples(x: ArrayLike) -> NDArray[np.float32]:
    """Images or tables as float32, checked; images of neither one nor three channels as their mean, in grey."""
    x = np.asarray(x, dtype=np.float32)
    if x.ndim not in (2, 4) or not x.size:
        raise InputError(f"Expected samples of shape (n, channels, h, w) or (n, d), got {x.shape}.")
    return x.mean(axis=1, keepdims=True) if x.ndim == 4 and x.shape[1] not in (1, 3) else x


def check_codes(z: ArrayLike, name: str) -> NDArray[np.float64]:
    """Codes as a float table with at least one row; rows that are not finite cannot be drawn."""
    z = np.asarray(z, dtype=float)
    if z.ndim != 2 or not z.size:
        raise InputError(f"Expected {name} of shape (n, d), got {z.shape}.")
    if not np.isfinite(z).all():
        raise InputError(f"Expected finite {name}, got NaN or infinity: training has probably diverged.")
    return z


def plain(value: Any) -> str:
    """A name as matplotlib should print it: a dollar sign is no formula."""
    return str(value).replace("$", r"\$")


def number(value: float, digits: int = 2) -> str:
    """A short number with a real minus sign, and none before zero."""
    return f"{round(float(value), digits) + 0.0:.{digits}f}".replace("-", "\u2212")


def class_names(classes: Sequence[Any] | None, n_classes: int) -> list[str]:
    """Names of the classes 0 ... n_classes - 1."""
    if classes is None:
        return [str(k) for k in range(n_classes)]
    if len(classes) != n_classes:
        raise InputError(f"Expected {n_classes} class names, got {len(classes)}.")
    return [plain(name) for name in classes]


def class_numbers(
    labels: Sequence[ArrayLike], classes: Sequence[Any] | None
) -> tuple[list[NDArray[np.int64]], list[str]]:
    """Labels as numbers 0 ... K - 1 (-1: unlabelled) and the names of the classes."""
    arrays = [split_labels(y, "labels") for y in labels]
    present = np.concatenate([y[labelled] for y, labelled in arrays])
    values = None if classes is None else np.asarray(classes)
    if present.dtype.kind in "iu" and (values is None or values.dtype.kind not in "iu"):
        n_classes = int(present.max(initial=-1)) + 1 if classes is None else len(classes)
        if len(present) and not 0 <= present.min() <= present.max() < n_classes:
            raise InputError(
                f"expected labels -1 ... {n_classes - 1}, got {present.min()} ... {present.max()}: check the classes"
            )
        return [np.where(labelled, y, -1).astype(np.int64) for y, labelled in arrays], class_names(classes, n_classes)
    names = np.unique(present) if values is None else values
    return [label_indices(y, names, "labels") for y in labels], class_names(names.tolist(), len(names))


def new_figure(size: tuple[float, float]) -> Figure:
    """An empty figure, size in inches."""
    return Figure(figsize=size, dpi=110, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))


def new_axes(
    figure: Figure,
    title: str,
    xlabel: str = "",
    ylabel: str = "",
    place: tuple[int, int, int] | SubplotSpec = (1, 1, 1),
) -> Axes:
    """Axes in the common style."""
    axes = figure.add_subplot(*place) if isinstance(place, tuple) else figure.add_subplot(place)
    set_title(axes, title)
    axes.set_xlabel(xlabel, fontsize=10, color=INK)
    axes.set_ylabel(ylabel, fontsize=10, color=INK)
    axes.tick_params(labelsize=9, colors="#444444", length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    return axes


def set_title(axes: Axes, title: str) -> None:
    """A title at the left, where reading starts."""
    axes.set_title(title, fontsize=11.5, color=INK, loc="left", pad=7)


def bare(axes: Axes) -> None:
    """No frame and no ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labelsize=10, colors=INK)


def message(text: str) -> Figure:
    """A figure that has nothing to draw and says so."""
    figure = new_figure((5.6, 1.6))
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=12, color=INK)
    return figure


def span(values: NDArray[Any], margin: float) -> tuple[float, float]:
    """Smallest and largest value with a margin; never empty."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    room = margin * (high - low) if high > low else 0.5
    return low - room, high + room


def integer_ticks(axes: Axes) -> None:
    """Ticks at whole numbers only."""
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))


def class_ticks(axes: Axes, names: list[str], axis: str, room: int) -> None:
    """Class names as ticks: upright where they fit in `room` characters, else turned; thinned out beyond 40."""
    step = 1 + (len(names) - 1) // 40
    shown = range(0, len(names), step)
    if axis == "x":
        turned = sum(len(names[k]) + 2 for k in shown) > room
        axes.set_xticks(list(shown), [names[k] for k in shown], rotation=90 if turned else 0)
    else:
        axes.set_yticks(list(shown), [names[k] for k in shown])


def colour_bar(figure: Figure, axes: Axes, drawn: ScalarMappable, label: str, shrink: float = 0.7) -> None:
    """What the colours of an image stand for."""
    bar = figure.colorbar(drawn, ax=axes, shrink=shrink, pad=0.02)
    bar.set_label(label, fontsize=10, color=INK)
    bar.ax.tick_params(labelsize=9, colors=INK)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
