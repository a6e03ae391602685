"""What all figures share: colours, checks, axes in one style, files, and the registry of titles and captions."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

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
from aaekit.labels import as_integers, label_indices, split_labels

__all__ = ["DESCRIPTIONS", "Description", "described", "palette", "save", "to_png"]

# From the colour-blind-safe sets of Okabe and Ito and of Paul Tol, ordered so that each colour is as far as possible
# from the previous ones, from white and from the prior's grey, in the worst of normal, protan and deutan vision.
PALETTE = (
    "#0072B2", "#E69F00", "#661100", "#009E73", "#CC3311", "#DDCC77",
    "#33BBEE", "#332288", "#882255", "#CC79A7", "#EE7733", "#EE6677",
)  # fmt: skip
BLUE, ORANGE, VERMILION, SKY = "#0072B2", "#E69F00", "#CC3311", "#56B4E9"
INK, GREY, FAINT = "#222222", "#888888", "#D4D4D4"
MARKERS = "osD^v"
HALO = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}


F = TypeVar("F", bound=Callable[..., Figure])


class Description(NamedTuple):
    """What a report says of a figure: its heading, and what to look for."""

    title: str
    caption: str


DESCRIPTIONS: dict[str, Description] = {}  # by the name of the function that draws the figure


def described(title: str, caption: str) -> Callable[[F], F]:
    """Decorator of a function that draws a figure: register its title and caption under the function's name."""

    def register(function: F) -> F:
        DESCRIPTIONS[function.__name__] = Description(title, caption)
        return function

    return register


def to_png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure as a PNG file, atomically; missing folders are created.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    return write_bytes(path, to_png(figure))


def palette(n: int) -> list[str]:
    """Colours for n classes, repeated after 12."""
    return [PALETTE[k % len(PALETTE)] for k in range(n)]


def check_samples(x: ArrayLike) -> NDArray[np.float32]:
    """Images, signals or table rows as float32; images that have neither 1 nor 3 channels are averaged to grey."""
    x = np.asarray(x, dtype=np.float32)
    if x.ndim not in (2, 3, 4) or not x.size:
        raise InputError(
            f"expected samples of shape (n, channels, h, w), (n, channels, length) or (n, d), got {x.shape}"
        )
    return x.mean(axis=1, keepdims=True) if x.ndim == 4 and x.shape[1] not in (1, 3) else x


def check_codes(z: ArrayLike, name: str) -> NDArray[np.float64]:
    """Codes `(n, d)` as float64, checked to be finite and not empty."""
    z = np.asarray(z, dtype=float)
    if z.ndim != 2 or not z.size:
        raise InputError(f"expected {name} of shape (n, d), got {z.shape}")
    if not np.isfinite(z).all():
        raise InputError(f"expected finite {name}, got NaN or infinity: the training has probably diverged")
    return z


def plain(value: Any) -> str:
    """A name as text for matplotlib: a dollar sign does not start a formula."""
    return str(value).replace("$", r"\$")


def number(value: float, digits: int = 2) -> str:
    """A short number with a typographic minus sign, and without a sign before zero."""
    return f"{round(float(value), digits) + 0.0:.{digits}f}".replace("-", "\u2212")


def class_names(classes: Sequence[Any] | None, n_classes: int) -> list[str]:
    """Names of the classes 0 ... n_classes - 1."""
    if classes is None:
        return [str(k) for k in range(n_classes)]
    if len(classes) != n_classes:
        raise InputError(f"expected {n_classes} class names, got {len(classes)}")
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
                f"expected labels from -1 to {n_classes - 1}, got {present.min()} to {present.max()}: check the classes"
            )
        return [as_integers(y, labelled) for y, labelled in arrays], class_names(classes, n_classes)
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
    """A left-aligned title."""
    axes.set_title(title, fontsize=11.5, color=INK, loc="left", pad=7)


def bare(axes: Axes) -> None:
    """No frame and no ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labelsize=10, colors=INK)


def message(text: str) -> Figure:
    """A figure that consists of a message."""
    figure = new_figure((5.6, 1.6))
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=12, color=INK)
    return figure


def span(values: NDArray[Any], margin: float) -> tuple[float, float]:
    """An interval around all values, extended by `margin` times its length; never of length zero."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    extra = margin * (high - low) if high > low else 0.5
    return low - extra, high + extra


def integer_ticks(axes: Axes) -> None:
    """Ticks at whole numbers only."""
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))


def class_ticks(axes: Axes, names: list[str], axis: str, room: int) -> None:
    """Class names as ticks, at most 40; names on the x axis are rotated if they need more than `room` characters."""
    ticks = range(0, len(names), 1 + (len(names) - 1) // 40)
    if axis == "x":
        rotated = sum(len(names[k]) + 2 for k in ticks) > room
        axes.set_xticks(list(ticks), [names[k] for k in ticks], rotation=90 if rotated else 0)
    else:
        axes.set_yticks(list(ticks), [names[k] for k in ticks])


def colour_bar(figure: Figure, axes: Axes, drawn: ScalarMappable, label: str, shrink: float = 0.7) -> None:
    """A colour bar for an image."""
    bar = figure.colorbar(drawn, ax=axes, shrink=shrink, pad=0.02)
    bar.set_label(label, fontsize=10, color=INK)
    bar.ax.tick_params(labelsize=9, colors=INK)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
