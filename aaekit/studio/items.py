"""The items of a run: the rows of its data, what is known of each, and how each is shown."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aaekit.columns import Schema, table_lines
from aaekit.evaluation.heldout import HeldOut, as_samples, for_plots, reconstruct
from aaekit.runs.data import targets
from aaekit.runs.run import Run
from aaekit.studio.labelled import LabelledRun

__all__ = ["PARTS", "Items", "View", "visible"]

PARTS = ("unlabelled", "labelled", "validation", "test")  # what the training used an item for
N_RANGE = 500  # items from which the range of grey values is taken


def visible(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures of 1 or 3 channels; other numbers of channels are averaged."""
    return pictures if pictures.shape[1] in (1, 3) else pictures.mean(1, keepdims=True).astype(np.uint8)


class View:
    """How rows are shown: as pictures, as the cells of a table, or as texts.

    Attributes
    ----------
    kind : "image", "table" or "text"
        Of an item.
    decoded : "image", "table" or None
        Of a decoded row; None where rows are features, which nobody can look at.
    shape : (channels, height, width) or None
        Of a picture of an item.
    """

    schema: Schema | None
    model: Any
    low: float
    high: float

    def __init__(self, run: Run | LabelledRun, model: Any) -> None:
        self.schema, self.model, originals = run.schema, model, run.data.originals
        self.low, self.high = 0.0, 1.0
        self.shape: tuple[int, ...] | None = None
        rows_are_images = len(model.shape_) == 3
        if originals is not None:
            self.kind = "image" if originals.ndim == 4 else "text"
            has_cells = self.schema is not None and any(c.kind != "encoded text" for c in self.schema.used)
            self.decoded = "table" if has_cells else None
        else:
            self.kind = self.decoded = "image" if rows_are_images else "table"
        if not hasattr(model, "inverse_transform"):
            self.decoded = None
        if self.kind == "image":
            channels, *size = model.shape_ if originals is None else originals.shape[1:]
            self.shape = (channels if channels in (1, 3) else 1, *size)
            if originals is None and not model.unit_range_:
                values = as_samples(model, run.data.X[:N_RANGE])
                self.low, self.high = (float(v) for v in np.quantile(values, [0.001, 0.999]))

    def pictures(self, rows: NDArray[Any]) -> NDArray[np.uint8]:
        """Images as bytes, shape `(n, 1 or 3, height, width)`; other numbers of channels are averaged."""
        if rows.dtype != np.uint8:
            scale = 255 / max(self.high - self.low, 1e-9)
            rows = ((rows - self.low) * scale).round().clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(visible(rows))

    def pictures_of(self, rows: HeldOut) -> NDArray[np.uint8]:
        """Pictures of rows, or of what they are features of."""
        return self.pictures(as_samples(self.model, rows.X) if rows.originals is None else rows.originals)

    def samples(self, rows: Any) -> NDArray[Any]:
        """Rows that a model made, as they are sent: bytes of pictures, or values of a table."""
        rows = as_samples(self.model, rows)
        return self.pictures(rows) if self.decoded == "image" else rows

    def lines(self, rows: NDArray[Any]) -> list[list[str]]:
        """Rows of a table in its columns, the header first."""
        return table_lines(rows, self.schema)


class Items:
    """The rows of a run by one number each: those of the training file first, then the test rows."""

    model: Any
    view: View
    n_first: int

    def __init__(self, run: Run | LabelledRun, model: Any) -> None:
        data, self.model = run.data, model
        self.view = View(run, model)
        self._parts = [HeldOut("", data.X, targets(run.config, data.y, data.domain), data.originals)]
        if data.X_test is not None:
            y_test = targets(run.config, data.y_test, data.domain_test)
            self._parts.append(HeldOut("", data.X_test, y_test, data.originals_test))
        self.files: tuple[str, ...] = (*data.files, *data.files_test)
        self.n_first = len(data.X)
        self.n: int = sum(len(part.X) for part in self._parts)
        self.part: NDArray[np.uint8] = np.zeros(self.n, np.uint8)
        self.part[run.split.labelled] = PARTS.index("labelled")
        self.part[run.split.validation] = PARTS.index("validation")
        self.part[self.n_first :] = PARTS.index("test")
        self.class_names: list[str] = run.labels
        self.order: NDArray[np.uint32] = np.random.default_rng(0).permutation(self.n).astype(np.uint32)

    def at(self, index: NDArray[Any]) -> HeldOut:
        """Items by their numbers, in this order; each of the two parts is read once."""
        index = np.asarray(index, np.int64)
        if len(self._parts) == 1 or (index < self.n_first).all():
            return self._parts[0].at(index)
        if (index >= self.n_first).all():
            return self._parts[1].at(index - self.n_first)
        in_first = index < self.n_first
        parts = (self._parts[0].at(index[in_first]), self._parts[1].at(index[~in_first] - self.n_first))

        def joined(first: Any, second: Any) -> Any:
            if first is None or second is None:
                return None
            values = np.empty((len(index), *first.shape[1:]), first.dtype)
            values[in_first], values[~in_first] = first, second
            return values

        return HeldOut("", *(joined(a, b) for a, b in zip(parts[0][1:4], parts[1][1:4], strict=True)))

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The label of each item, of several conditions the first; -1 where it is unknown."""
        labels = [np.full(len(p.X), -1) if p.y is None else p.y if p.y.ndim == 1 else p.y[:, 0] for p in self._parts]
        return np.concatenate(labels).astype(np.int64)

    def pictures(self, index: NDArray[Any]) -> NDArray[np.uint8]:
        """Pictures of items."""
        return self.view.pictures_of(self.at(index))

    def texts(self, index: NDArray[Any]) -> list[list[str]]:
        """Items as the cells of a table, or their texts; the header first."""
        rows = self.at(index)
        lines = self.view.lines(rows.X) if self.view.kind == "table" or self.view.decoded == "table" else []
        if self.view.kind != "text" or rows.originals is None:
            return lines
        lines = lines or [[] for _ in range(len(index) + 1)]
        texts = ["text", *map(str, rows.originals)]
        return [[text, *cells] for text, cells in zip(texts, lines, strict=True)]

    def errors(self, index: NDArray[Any]) -> NDArray[np.float32]:
        """The mean squared error of the reconstruction of items."""
        rows = self.at(index)
        difference = for_plots(self.model, reconstruct(self.model, rows)) - for_plots(self.model, rows.X)
        return np.square(difference.reshape(len(difference), -1), dtype=np.float32).mean(1)
