"""Measuring methods on tasks: side by side in processes, one log per task and method, so that it can be resumed."""

import json
import multiprocessing
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, NotRequired

import torch
from threadpoolctl import threadpool_limits
from typing_extensions import TypedDict

from aaekit import data as datasets
from aaekit._files import read_json, write_json
from aaekit.data import Dataset
from aaekit.errors import ColumnWarning, InputError, TrainingError
from aaekit.estimators._io import json_value
from aaekit.evaluation.methods import Method, Setting, answer
from aaekit.evaluation.suite.tasks import FAMILIES, Task, problem
from aaekit.labels import UNLABELLED
from aaekit.shapes import Kind, kind_of

__all__ = ["FORMAT", "Cell", "Failure", "Progress", "kind_of_task", "read_logs", "run"]

FORMAT = 1


@dataclass(frozen=True)
class Cell:
    """A task and one of the methods that answer it.

    Parameters
    ----------
    task : Task
        The task.
    method : Method
        The method.
    options : mapping, optional
        Parameters of the method, if it is ours.
    data_dir : str, optional
        Folder of the named sets.
    own : mapping, optional
        What identifies the rows of one's own set, if it is one; the log then has the predictions, too.
    """

    task: Task
    method: Method
    options: Mapping[str, Any] = field(default_factory=dict)
    data_dir: str | None = None
    own: Mapping[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The name of its log."""
        task = self.task
        parts = (Path(task.data).stem, task.family, f"{task.k} labels" if task.k else "", task.variant)
        name = "-".join(filter(None, (*parts, f"draw {task.seed}", self.method.name)))
        # all signs but spaces become numbers, so that <=50K and >50K have files of their own
        return re.sub(r"[^a-zA-Z0-9.-]", lambda sign: "_" if sign[0] == " " else f"{ord(sign[0]):x}", name) + ".json"

    @property
    def asked(self) -> dict[str, Any]:
        """What a log must agree in to be of this cell."""
        options = {k: json_value(v) for k, v in self.options.items()} if self.method.is_ours else {}
        asked = {
            "format": FORMAT,
            "task": self.task.as_dict(),
            "method": self.method.name,
            "options": options,
            **self.own,
        }
        return json.loads(json.dumps(asked))

    def __str__(self) -> str:
        """As in the lines of progress."""
        task = self.task
        k = f"{task.k} labels per class" if task.k else ""
        parts = (Path(task.data).stem, task.family, k, task.variant, f"draw {task.seed}")
        return ", ".join(filter(None, parts)) + f": {self.method.name}"


class TaskOfLog(TypedDict):
    """The task that a log is of."""

    family: str
    data: str
    k: int
    seed: int
    variant: str


class Log(TypedDict):
    """What a log must have; `true` and `predicted` only that of one's own set."""

    format: int
    task: TaskOfLog
    method: str
    scores: dict[str, float]
    seconds: float
    uneven: bool
    true: NotRequired[list[int]]
    predicted: NotRequired[list[int]]


class Failure(NamedTuple):
    """A cell without a result.

    Attributes
    ----------
    cell : Cell
        The cell.
    reason : str
        Why it has none.
    """

    cell: Cell
    reason: str


class Progress(NamedTuple):
    """What `run` reports after each cell.

    Attributes
    ----------
    cell : Cell
        The cell.
    outcome : dict or Failure
        Its log, or why there is none.
    n_done, n_cells : int
        How many cells have been measured, and how many there are to measure.
    seconds_left : float
        Expected time until the end.
    """

    cell: Cell
    outcome: "dict[str, Any] | Failure"
    n_done: int
    n_cells: int
    seconds_left: float


def run(
    cells: Sequence[Cell],
    out: Path,
    jobs: int = 1,
    facts: Mapping[str, Any] | None = None,
    report: Callable[[Progress], object] = lambda progress: None,
) -> tuple[list[dict[str, Any]], list[Failure]]:
    """Measure cells that have no log in a folder, and log each of them there.

    Parameters
    ----------
    cells : sequence of Cell
        What to measure.
    out : Path
        Folder of the logs, one JSON file per cell. A command that was stopped can be given again.
    jobs : int, default=1
        Number of cells that are measured side by side, in processes of one thread each.
    facts : mapping, optional
        Added to the logs, such as versions.
    report : callable, optional
        Called with a `Progress` after each cell.

    Returns
    -------
    list of dict, list of Failure
        The logs of all cells, in their order, and the cells that failed, which the next call tries again.

    Raises
    ------
    InputError
        If there is a log of other settings under the same name.
    """
    for cell in cells:
        _log_of(cell, out)  # refuses logs of other settings before anything is measured
    waiting = [cell for cell in cells if not (out / cell.file).exists()]
    began, failures = time.perf_counter(), []
    for n_done, (cell, outcome) in enumerate(_side_by_side(waiting, jobs), 1):
        if isinstance(outcome, Failure):
            failures.append(outcome)
        else:
            outcome = cell.asked | outcome | dict(facts or {}) | {"date": datetime.now().isoformat(timespec="seconds")}
            write_json(out / cell.file, outcome)
        left = (time.perf_counter() - began) / n_done * (len(waiting) - n_done)
        report(Progress(cell, outcome, n_done, len(waiting), left))
    logs = [_log_of(cell, out) for cell in cells]
    return [log for log in logs if log is not None], failures


def read_logs(out: Path) -> list[dict[str, Any]]:
    """Read all logs in a folder.

    Raises
    ------
    InputError
        If there is none, or one is damaged.
    """
    logs = [_read(path) for path in sorted(out.glob("*.json"))]
    if not logs:
        raise InputError(f"{out}: expected logs of a suite, got none: run aae suite --out {out}")
    return logs


def _read(path: Path) -> dict[str, Any]:
    log = read_json(path, "a log of a suite", Log, "delete it to measure it again")
    n_true, n_predicted = (len(log.get(key, ())) for key in ("true", "predicted"))
    if log["task"]["family"] not in FAMILIES or "loss" not in log["scores"] or n_true != n_predicted:
        raise InputError(
            f"{path}: expected a log of a suite, with a loss and as many predictions as labels, got another: delete it "
            "to measure it again"
        )
    return log


def _log_of(cell: Cell, out: Path) -> dict[str, Any] | None:
    """The log of a cell, if it has one."""
    path = out / cell.file
    if not path.exists():
        return None
    log = _read(path)
    if differing := [key for key, value in cell.asked.items() if log.get(key) != value]:
        raise InputError(
            f"{path}: expected a log of the same settings to continue, got one that differs in {', '.join(differing)}: "
            "choose another folder (--out), or delete the file"
        )
    return log


# --- measuring -------------------------------------------------------------------------------------------------------
def _side_by_side(cells: Sequence[Cell], jobs: int) -> Iterator[tuple[Cell, "dict[str, Any] | Failure"]]:
    """Each cell and its outcome as they end."""
    if jobs == 1 or len(cells) < 2:
        for cell in cells:
            yield cell, _measured(cell)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _use_one_thread) as pool:
        running = {pool.submit(_measured, cell): cell for cell in cells}
        try:
            for done in as_completed(running):
                yield running[done], done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _use_one_thread() -> None:
    """Initialise a process."""
    torch.set_num_threads(1)
    threadpool_limits(1)


def _measured(cell: Cell) -> "dict[str, Any] | Failure":
    """The measures of a cell."""
    try:
        data = _loaded(cell.task.data, cell.data_dir, cell.task.options, cell.task.test, cell.task.seed)
        return _scores(cell, data)
    except (InputError, TrainingError) as error:
        return Failure(cell, str(error))
    except Exception as error:  # of any method: the others are measured all the same, and the error is reported
        return Failure(cell, f"{type(error).__name__}: {error}")


def kind_of_task(task: Task, data_dir: str | None) -> Kind:
    """What the rows of a task are: table, signal or image."""
    return kind_of(_loaded(task.data, data_dir, task.options, task.test, task.seed).X.shape[1:])


@lru_cache(maxsize=2)
def _loaded(
    data: str, data_dir: str | None, options: tuple[tuple[str, Any], ...], test: str | None, seed: int
) -> Dataset:
    """The data set of a task; test rows that are drawn are drawn by its seed."""
    all_options: dict[str, Any] = dict(options)
    if "test_random_state" in datasets.options_of(data):
        all_options["test_random_state"] = seed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ColumnWarning)  # of one's own set they are printed once, before
        loaded = datasets.load(data, data_dir, **all_options)
        return (
            loaded
            if test is None
            else datasets.with_test_rows(loaded, test, data_dir, target=all_options.get("target"))
        )


def _scores(cell: Cell, data: Dataset) -> dict[str, Any]:
    """Train the method of a cell and score its answer."""
    rows, family = problem(cell.task, data), FAMILIES[cell.task.family]
    setting = Setting(rows.y, rows.n_classes, rows.X.shape[1:], cell.task.seed, options=cell.options)
    values, seconds, note = answer(cell.method, rows.X, rows.X_test, setting)
    scores = {name: float(f"{value:.6g}") for name, value in family.score(values, rows).items()}
    log = {
        "scores": scores,
        "seconds": round(seconds, 3),
        "uneven": rows.uneven,
        "n_rows": len(rows.X),
        "n_labelled": int((rows.y != UNLABELLED).sum()),
        "n_test": len(rows.X_test),
        "n_features": setting.n_features,
        "note": note,
    }
    if cell.own:
        log |= {"true": rows.y_test.tolist(), "predicted": values.argmax(1).tolist()}
    return log
