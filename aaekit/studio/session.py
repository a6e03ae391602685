"""A run as the rooms of the studio see it: read when it is needed, read again when it has changed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from aaekit.errors import InputError
from aaekit.labelling import SETTINGS
from aaekit.runs.run import Run
from aaekit.studio.codes import Space
from aaekit.studio.items import Items, View
from aaekit.studio.labelled import LabelledRun
from aaekit.studio.neighbourhoods import Neighbourhoods
from aaekit.studio.processes import Command
from aaekit.studio.worker import Ahead, Batched, Worker
from aaekit.ultrasound.turing import ANSWERS, TuringTest, read_pairs

__all__ = ["Kind", "Session", "Trained", "kind_of"]

Kind = Literal["run", "labelling", "pairs"]

T = TypeVar("T")

MODELS = ("model.safetensors", "clusters.safetensors")  # the second of a labelling session that has no classifier yet
N_FIRST = 2000  # items by whose codes the plane is chosen


class Trained:
    """A trained model and its items, with their codes as far as they are computed.

    Attributes
    ----------
    run, model, items, space
        What they say.
    n_done : int
        Items, in the order `items.order`, whose codes are computed.
    z, value, probability : ndarray
        The codes of all items by number: z `(n, d)`, the value of y and its probability `(n,)`.
    places : dict of str to ndarray of shape (n, 2)
        In each plane of the space.
    neighbourhoods : Neighbourhoods or None
        A further plane; None if another one shows the whole codes.
    """

    run: Run | LabelledRun
    worker: Worker
    n_done: int

    def __init__(self, run: Run | LabelledRun, worker: Worker) -> None:
        self.run, self.worker = run, worker
        self.model: Any = run.fitted()
        self.items: Items = Items(run, self.model)
        n = self.items.n
        labels = run.labels
        self.space: Space = Space(self.model, labels, self.items.at(np.sort(self.items.order[:N_FIRST])))
        self.z: NDArray[np.float32] = np.zeros((n, self.space.n_dims), np.float32)
        self.value: NDArray[np.int64] = np.full(n, -1)
        self.probability: NDArray[np.float32] = np.ones(n, np.float32)
        self.places: dict[str, NDArray[np.float32]] = {p.name: np.zeros((n, 2), np.float32) for p in self.space.planes}
        self.decode: Batched = Batched(worker, lambda codes: self.view.samples(self.space.decode(codes)))
        self.columns: dict[str, Column] = {name: Column(n, f) for name, f in self._column_functions().items()}
        self.neighbourhoods: Neighbourhoods | None = None
        if self.space.n_dims > 2 or self.space.n_values > 1:
            self.neighbourhoods = Neighbourhoods(worker, self.items.order, self.whole_codes)
        self.n_done = 0
        self._encoding = Ahead(worker, self.items.order, self.encode)

    def begin(self) -> None:
        """Begin to compute the codes of all items."""
        self._encoding.start()

    @property
    def view(self) -> View:
        """How rows are shown."""
        return self.items.view

    def encode(self, index: NDArray[Any]) -> None:
        """Compute the codes of items."""
        codes = self.space.encode(self.items.at(index))
        self.z[index], self.value[index] = codes.z, codes.value
        if codes.p is not None:
            self.probability[index] = codes.p.max(1)
        for plane in self.space.planes:
            self.places[plane.name][index] = self.space.project(plane, codes)
        self.n_done += len(index)

    def whole_codes(self, index: NDArray[Any]) -> NDArray[np.float32]:
        """The codes of encoded items in one space: z and, of models with y, a direction for each of its values.

        Two values of y are as far apart as two styles.
        """
        z = self.z[index] - self.space.origin
        if self.space.n_values < 2:
            return z
        radius = np.sqrt(np.square(self.space.deviations).sum())
        y = (self.value[index, None] == np.arange(self.space.n_values)) * radius
        return np.concatenate([y.astype(np.float32), z], 1)

    # --- what items are coloured by ----------------------------------------------------------------------------------
    def _column_functions(self) -> "dict[str, Callable[[NDArray[Any]], NDArray[Any]]]":
        functions: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {}
        if self.items.view.decoded is not None:
            functions["error"] = self.items.errors
        if hasattr(self.model, "offset_"):  # of an outlier detector
            functions["outlier"] = lambda index: -self.model.score_samples(self.items.at(index).X)
        return functions

    def column(self, name: str) -> "Column":
        """A column of numbers, which begins to be computed when it is asked for the first time.

        Raises
        ------
        InputError
            If there is no such column.
        """
        if name not in self.columns:
            raise InputError(f"expected a column of {', '.join(self.columns)}, got {name!r}")
        column = self.columns[name]
        if column.ahead is None:
            column.ahead = Ahead(self.worker, self.items.order, column.compute)
            column.ahead.start()
        return column

    def neighbours(self, z: NDArray[Any], value: int, n: int) -> NDArray[np.int64]:
        """The items, of those that are encoded, whose codes are nearest to one; of models with y, among its value."""
        is_near = np.ones(self.items.n, bool)
        is_near[self.items.order[self.n_done :]] = False
        if self.space.joint and value >= 0 and (is_near & (self.value == value)).any():
            is_near &= self.value == value
        difference = self.z - np.asarray(z, np.float32)
        distance = np.where(is_near, np.einsum("ij,ij->i", difference, difference), np.inf)
        nearest = np.argpartition(distance, n)[:n] if n < len(distance) else np.arange(len(distance))
        nearest = nearest[is_near[nearest]]
        return nearest[np.argsort(distance[nearest], kind="stable")]


@dataclass
class Column:
    """Numbers of all items, as far as they are computed."""

    n: int
    function: Callable[[NDArray[Any]], NDArray[Any]]
    n_done: int = 0
    ahead: "Ahead | None" = None
    values: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self.values = np.zeros(self.n, np.float32)

    def compute(self, index: NDArray[Any]) -> None:
        """Compute those of some items."""
        self.values[index] = self.function(index)
        self.n_done += len(index)


def kind_of(path: Path) -> Kind:
    """What a directory holds: a labelling session, pairs of `aae simulate pairs`, or a run, perhaps a future one."""
    return "labelling" if (path / SETTINGS).is_file() else "pairs" if (path / ANSWERS).is_file() else "run"


class Session:
    """The run of a studio.

    Parameters
    ----------
    path : Path
        Its directory, which may still be empty when its training begins.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.worker: Worker = Worker()
        self.commands: dict[str, Command] = {}  # that rooms have started, by the room
        self.rooms: dict[str, Any] = {}  # what rooms keep from one request to the next
        self._version: tuple[int, int] | None = None
        self._trained: Trained | None = None

    @property
    def kind(self) -> Kind:
        """What the directory holds."""
        return kind_of(self.path)

    @cached_property
    def pairs(self) -> TuringTest | None:
        """The pairs of a visual Turing test, if the directory holds them."""
        return read_pairs(self.path) if self.kind == "pairs" else None

    @property
    def run(self) -> Run:
        """The run, as its directory says now."""
        return Run.open(self.path)

    @property
    def source(self) -> Run | LabelledRun:
        """The run, or the labelling session as a run."""
        return LabelledRun(self.path) if self.kind == "labelling" else self.run

    @property
    def version(self) -> tuple[int, int] | None:
        """Time and size of the file of the trained model; None before there is one."""
        for name in MODELS if self.kind == "labelling" else MODELS[:1]:
            try:
                facts = (self.path / name).stat()
            except OSError:
                continue
            return facts.st_mtime_ns, facts.st_size
        return None

    def trained_now(self) -> Trained:
        """The trained model, loaded if it is new; to be called in the worker."""
        version = self.version
        if self._trained is None or version != self._version:
            self._trained, self._version = Trained(self.source, self.worker), version
            self._trained.begin()
        return self._trained

    async def trained(self) -> Trained:
        """The trained model.

        Raises
        ------
        InputError
            If there is none yet.
        """
        trained = self._trained
        if trained is not None and self.version == self._version:
            return trained
        return await self.worker.run(self.trained_now)

    async def work(self, job: Callable[[Trained], T]) -> T:
        """What a function of the trained model returns, called in the thread of torch."""
        trained = await self.trained()
        return await self.worker.run(lambda: job(trained))
