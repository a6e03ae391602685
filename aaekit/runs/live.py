"""A training as others watch and steer it: its curves by steps, what it makes now, and a file of requests.

Everything is in files of the run directory, so that whoever watches may be another process. ``steps.csv`` is always
written. ``live/`` has what is only made while somebody watches, and is removed with the checkpoints.
"""

import csv
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from aaekit._files import read_json, whole_number, write_history, write_json
from aaekit.core.callbacks import Callback
from aaekit.core.loop import Training
from aaekit.data.store import read_npz, write_npz
from aaekit.errors import InputError
from aaekit.evaluation.heldout import as_samples

__all__ = [
    "Live",
    "LiveState",
    "Request",
    "ask",
    "grid_of_samples",
    "last_samples",
    "last_state",
    "read_history",
    "watch",
]

Request = Literal["go", "pause", "stop"]

N_ROWS = 200  # of steps.csv, about; at least half of them however short the training
WATCHED_SECONDS = 15.0  # since somebody looked, during which pictures are drawn
LOOK_SECONDS = 0.25  # between two looks at the request
DRAW_SHARE, DRAW_SECONDS = 0.03, 2.0  # of the time that pictures take, at most, and the least time between two
N_SIDE = 10  # pictures a side


class LiveState(TypedDict):
    """What a training says of itself while somebody watches."""

    state: Literal["preparing", "training", "paused"]
    what: str
    step: int
    steps: int
    epoch: int
    seconds: float
    left: float


class Live(Callback):
    """Write ``steps.csv``; while somebody watches, also the state and samples; pause and stop when asked to.

    Parameters
    ----------
    path : Path
        The run directory.
    samples : callable
        From a training to pictures `(n, channels, height, width)` of what it makes now, or None.
    stop : callable
        Stops the training after the present step.
    is_stopping : callable
        Whether it was stopped otherwise.
    """

    path: Path

    def __init__(
        self,
        path: Path,
        samples: Callable[[Training], NDArray[Any] | None],
        stop: Callable[[], None],
        is_stopping: Callable[[], bool],
    ) -> None:
        self.path, self._samples, self._stop, self._is_stopping = path, samples, stop, is_stopping

    def prepare(self, what: str) -> None:
        """Say what is done before the first step."""
        value: LiveState = {
            "state": "preparing", "what": what, "step": 0, "steps": 0, "epoch": 0, "seconds": 0.0, "left": 0.0,
        }  # fmt: skip
        write_json(self.path / "live" / "state.json", value)

    def start(self, training: Training) -> None:
        """Drop the rows of steps that will be made again, and old requests.

        A training that was chosen among several initialisations has made steps that nobody recorded: their rows are
        its epochs.
        """
        self._interval = max(1, training.settings.n_steps // N_ROWS)
        self._rows = [row for row in read_history(self.path / "steps.csv") if row["step"] <= training.n_done]
        self._rows = self._rows or [_without_scores(row) for row in training.history]
        self._columns = write_history(self.path / "steps.csv", self._rows) if self._rows else []
        self._sums, self._n_summed = self._recorded(training)
        self._next_look = self._next_drawing = 0.0
        self._start, self._n_before = time.monotonic(), training.n_done
        (self.path / "live" / "request.json").unlink(missing_ok=True)

    def step(self, training: Training) -> None:
        """Record the step, and do what is asked for."""
        if training.n_done % self._interval == 0 or training.n_done == training.settings.n_steps:
            self._record(training)
        if not training.n_summed:  # an epoch has ended
            self._sums, self._n_summed = {}, 0
        if time.monotonic() >= self._next_look:
            self._look(training)

    # --- curves ------------------------------------------------------------------------------------------------------
    def _recorded(self, training: Training) -> tuple[dict[str, float], int]:
        """The sums of the epoch so far that are in rows already, and of how many steps."""
        if self._rows and self._rows[-1]["step"] == training.n_done:
            return {name: float(total) for name, total in training.sums.items()}, training.n_summed
        first = training.n_done - training.n_summed
        sums: dict[str, float] = {}
        before = first
        for row in self._rows:
            if row["step"] > first:
                for name in training.sums:
                    sums[name] = sums.get(name, 0.0) + row.get(name, 0.0) * (row["step"] - before)
                before = int(row["step"])
        return sums, before - first

    def _record(self, training: Training) -> None:
        """Add a row: means over the steps since the last one, or since the epoch began."""
        if training.n_summed:
            n, sums = training.n_summed, {name: float(total) for name, total in training.sums.items()}
        else:
            n = training.n_done % training.steps_per_epoch or training.steps_per_epoch
            epoch = _without_scores(training.history[-1])
            sums = {name: n * epoch[name] for name in epoch.keys() - {"epoch", "step", "learning_rate", "seconds"}}
        row = {"epoch": training.n_done / training.steps_per_epoch, "step": training.n_done}
        row |= {k: (v - self._sums.get(k, 0.0)) / (n - self._n_summed) for k, v in sorted(sums.items())}
        row |= {"learning_rate": training.settings.factor_at(training.n_done - 1), "seconds": training.seconds}
        self._rows.append(row)
        if set(row) <= set(self._columns):
            with open(self.path / "steps.csv", "a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns).writerow(row)
        else:
            self._columns = write_history(self.path / "steps.csv", self._rows)
        self._sums, self._n_summed = sums, n

    # --- watching and steering ---------------------------------------------------------------------------------------
    def _look(self, training: Training) -> None:
        """Answer requests, and show the present state to whoever watches."""
        request, is_watched = self._request()
        while request == "pause" and not self._is_stopping():
            if is_watched:
                self._write_state(training, "paused")
            began = time.monotonic()
            time.sleep(LOOK_SECONDS)
            request, is_watched = self._request()
            self._start += time.monotonic() - began
        if request == "stop":
            self._stop()
        now = time.monotonic()
        self._next_look = now + LOOK_SECONDS
        if is_watched:
            self._write_state(training, "training")
            if now >= self._next_drawing:
                if (pictures := self._samples(training)) is not None:
                    write_npz(self.path / "live" / "samples.npz", pictures=pictures, step=np.array(training.n_done))
                self._next_drawing = now + max(DRAW_SECONDS, (time.monotonic() - now) / DRAW_SHARE)

    def _request(self) -> tuple[Request, bool]:
        """What is asked for, and whether somebody watches."""
        path = self.path / "live" / "request.json"
        try:
            is_watched = time.time() - path.stat().st_mtime < WATCHED_SECONDS
            return read_json(path, "a request", Request), is_watched
        except (OSError, InputError):
            return "go", False

    def _write_state(self, training: Training, state: Literal["training", "paused"]) -> None:
        n_new = max(1, training.n_done - self._n_before)
        rest = training.settings.n_steps - training.n_done
        value: LiveState = {
            "state": state,
            "what": "",
            "step": training.n_done,
            "steps": training.settings.n_steps,
            "epoch": training.n_done // training.steps_per_epoch,
            "seconds": training.seconds,
            "left": (time.monotonic() - self._start) * rest / n_new,
        }
        write_json(self.path / "live" / "state.json", value)


def _without_scores(epoch: Mapping[str, float]) -> dict[str, float]:
    """A row of an epoch without the scores of held-out rows, which steps do not have."""
    return {name: value for name, value in epoch.items() if not name.startswith(("validation/", "eval/"))}


def _number(cell: str) -> float:
    """A cell of a history; whole numbers stay whole, so that they are written as they were."""
    whole = whole_number(cell)
    return float(cell) if whole is None else whole


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a history, without a last one that was not written completely."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            text = file.read()
        lines = list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
    rows = []
    for line in lines:
        try:
            rows.append({name: _number(cell) for name, cell in line.items() if cell})
        except (TypeError, ValueError):
            break
    return [row for row in rows if "step" in row]


def grid_of_samples(estimator: Any) -> NDArray[np.uint8] | None:
    """Ten by ten pictures of what an estimator makes: classes by styles, the plane of codes, or samples.

    The plane is that of lecture 54 (Sheet, *Deep Learning for Visual Computing* (NPTEL)). None if rows are no images.
    """
    if len(estimator.shape_) != 3 or not hasattr(estimator, "sample_prior"):
        return None
    if estimator.n_code > estimator.latent_dim and not hasattr(estimator, "conditions_"):
        K = min(estimator.n_classes, N_SIDE)
        z = estimator.sample_prior(N_SIDE, random_state=0)
        y = np.repeat(np.eye(estimator.n_classes, dtype=np.float32)[:K], N_SIDE, axis=0)
        rows = estimator.inverse_transform(np.concatenate([y, np.tile(z, (K, 1))], 1))
    elif estimator.n_code == 2:
        extent = 2 * float(np.abs(estimator.sample_prior(2000, random_state=0)).std())
        side = np.linspace(-extent, extent, N_SIDE, dtype=np.float32)
        rows = estimator.inverse_transform(np.stack(np.meshgrid(side, side[::-1]), -1).reshape(-1, 2))
    else:
        rows = estimator.sample(N_SIDE**2, random_state=0)
    rows = as_samples(estimator, rows)
    low, high = (0.0, 1.0) if estimator.unit_range_ else (float(rows.min()), float(rows.max()))
    return (255 * (rows - low) / max(high - low, 1e-9)).round().clip(0, 255).astype(np.uint8)


# --- for those who watch ---------------------------------------------------------------------------------------------
def ask(path: Path, request: Request) -> None:
    """Ask the training in a run directory to pause, to go on, or to stop.

    Raises
    ------
    InputError
        For another request.
    """
    if request not in get_args(Request):
        raise InputError(f"expected a request of {', '.join(get_args(Request))}, got {request!r}")
    write_json(path / "live" / "request.json", request)


def watch(path: Path) -> None:
    """Say that somebody watches, for the next seconds."""
    try:
        os.utime(path / "live" / "request.json")
    except FileNotFoundError:
        ask(path, "go")


def last_state(path: Path) -> LiveState | None:
    """The last state that a training has written; None if there is none."""
    try:
        return read_json(path / "live" / "state.json", "the state of a training", LiveState)
    except (FileNotFoundError, InputError):
        return None


def last_samples(path: Path) -> tuple[NDArray[np.uint8], int] | None:
    """The last pictures that a training has made, `(n, channels, height, width)`, and at which step."""
    try:
        arrays = read_npz(path / "live" / "samples.npz", ["pictures", "step"])
    except (OSError, InputError):
        return None
    return arrays["pictures"], int(arrays["step"])
