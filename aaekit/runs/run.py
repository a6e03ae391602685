"""The run directory: configuration, data, metrics, checkpoints, model and report of a training that can be resumed."""

import copy
import csv
import json
import math
import os
import shutil
import socket
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field

from aaekit import data as datasets
from aaekit._extras import check_installed, require
from aaekit._files import (
    TEMPORARY,
    cannot_write,
    check_writable,
    checked,
    is_full,
    parsed_json,
    read_json,
    write_history,
    write_json,
    write_text,
)
from aaekit._locks import LOCK, locked, owner
from aaekit.columns import Schema
from aaekit.core.callbacks import Callback
from aaekit.core.checkpoints import Checkpoints
from aaekit.core.distributed import alone, broadcast_text, rank_and_world_size
from aaekit.core.loop import Training
from aaekit.data import Dataset, Split
from aaekit.data.shards import Block, Shard, blocks_of, npy_blocks, parquet_blocks
from aaekit.errors import InputError, TrainingError
from aaekit.estimators._base import Estimator
from aaekit.estimators._plan import Plan
from aaekit.evaluation import heldout
from aaekit.evaluation.heldout import HeldOut
from aaekit.runs.config import (
    completed,
    config_text,
    config_values,
    configuration,
    estimator_of,
    read_config,
    versions,
)
from aaekit.runs.data import by_class_number, data_options, held_out, load_data, split_of, training_rows
from aaekit.runs.live import Live, grid_of_samples, read_history
from aaekit.systems import find

__all__ = ["Run"]

# what draws and evaluates is imported where it is used: matplotlib takes a second before the first step

BEFORE_CONFIG = {"versions.json"}  # written before the directory is a run
DATA_FACTS, PLAN, NEW_RUN = "facts about the data of the run", "its plan", "restore it, or start a new run"
RESULTS, EVALUATE = "the results of a run", "run aae evaluate again"


class Run(Callback):
    """A training and its directory, which is made before anything else.

    ``config.yaml`` all options · ``versions.json`` · ``data.json`` · ``split.npz`` which rows are labelled ·
    ``plan.json`` what each "auto" stands for · ``metrics.csv`` a line an epoch · ``steps.csv`` a line for each
    two-hundredth of the steps · ``tensorboard/`` · ``checkpoints/`` the newest three, and ``live/`` for those who
    watch, until the run is complete · ``profile/`` with `--profile` · ``log.txt`` · ``model.safetensors`` the fitted
    estimator, read by its `load` · ``results.json`` · ``figures/`` · ``report.html``.

    A run that is interrupted (Ctrl-C, SIGTERM) completes its step and writes a checkpoint. Resumed, it gives the same
    numbers as if it had not been interrupted. Make runs by `create` and `open`.
    """

    def __init__(self, path: str | os.PathLike[str], config: Mapping[str, Any], fresh: bool) -> None:
        self.path: Path = Path(path)
        self.config: dict[str, Any] = dict(config)
        self.fresh = fresh
        self._new = False
        self.estimator: Any = estimator_of(self.config)
        self._columns: list[str] = []
        self._writer: Any = None  # of TensorBoard, False if that is missing; its import would delay the first step
        self._first_event: int | None = None
        self.checkpoints: Checkpoints = Checkpoints(self.path / "checkpoints", self.log)
        self._live = Live(
            self.path,
            lambda training: grid_of_samples(self._now(training)),
            self.checkpoints.request_stop,
            lambda: self.checkpoints.stop_requested,
        )
        self.n_done = self.n_steps = 0

    @classmethod
    def create(cls, path: str | os.PathLike[str], config: Mapping[str, Any]) -> "Run":
        """Make a new run of a complete configuration; nothing is written before `train`.

        Raises
        ------
        InputError
            If there is something at `path` already, other than what a killed run wrote before its first step; if
        nothing can be written there.
        """
        path = Path(path)
        if path.exists() and not (path.is_dir() and (not any(path.iterdir()) or _was_killed(path))):
            resume = f", or resume it: aae resume {path}" if (path / "config.yaml").exists() else ""
            raise InputError(f"expected a new directory, got {path}, which exists: choose another one{resume}")
        check_writable(path, is_folder=True)
        run = cls(path, config, fresh=True)
        run._new = True
        return run

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        data: str | None = None,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> "Run":
        """Open a run that was started earlier.

        Parameters
        ----------
        path : str or PathLike
            Its directory.
        data : str, optional
            Its data, if they are elsewhere now; rows and labels must be the same.
        data_dir : str or PathLike, optional
            The folder of the named sets. Default: as when the run was made, if that folder is still there.

        Raises
        ------
        InputError
            If `path` is no run directory, or its configuration is damaged.
        """
        path = Path(path)
        if not (path / "config.yaml").is_file():
            problem = (
                "a directory without config.yaml" if path.is_dir() else "a file" if path.exists() else "no directory"
            )
            if who := owner(path):
                raise InputError(f"{path}: expected a run that has begun, got one that {who} is starting: wait for it")
            again = "it was stopped before its first step, so give the same command again"
            advice = again if path.is_dir() and _was_killed(path) else "make one with `aae train`"
            raise InputError(f"{path}: expected a run directory, got {problem}: {advice}")
        values = read_config(path / "config.yaml")
        if "system" not in values and "low_size" in values:
            raise InputError(
                f"{path}: expected a run of `aae train`, got one of the simulator: use `aae simulate apply` or "
                "`aae simulate pairs`"
            )
        try:
            system = find(str(values.get("system"))).name
        except InputError as error:
            raise InputError(f"{path}/config.yaml: {error}") from error
        config = completed(system, configuration(system, values, str(path / "config.yaml")))
        if data is not None:
            config["data"] = datasets.whole_path(data)
        if data_dir is not None:
            config["data_dir"] = str(data_dir)
        elif config["data_dir"] is not None and not Path(config["data_dir"]).is_dir():
            config["data_dir"] = None
        return cls(path, config, fresh=not (path / "data.json").is_file())

    @property
    def complete(self) -> bool:
        """Whether it was trained to the end and has its report."""
        return (self.path / "report.html").is_file()

    @cached_property
    def data(self) -> Dataset:
        """Its data set, as loaded now."""
        if missing := datasets.missing_paths(self.config["data"]):
            raise InputError(
                f"{self.path}: expected the data of the run, got nothing at {missing[0]}: put them back, or say where "
                "they are now by --data (aae doctor, plot and resume have it)"
            )
        return self._checked_features(load_data(self.config, None if self.fresh else self.schema))

    def _checked_features(self, data: Dataset) -> Dataset:
        """The same data; features of another encoder than that of the training rows are refused."""
        is_known = not self.fresh and "checksum" in self._facts
        expected = self._fact("checksum", str) if is_known else data.checksum
        if data.checksum != expected:
            raise InputError(
                f"{self.path}: expected the encoder {data.features} of the training, checksum {expected[:16]}, got "
                f"{data.checksum[:16]}: install the same one"
            )
        return data

    def other_data(self, data: str, data_dir: str | Path | None = None, labelled: bool = True) -> Dataset:
        """Load another set, its rows as those of the run, with its labels if `labelled`."""
        options = data_options(self.config["data_options"])
        if "bits" in self._facts:
            options["bits"] = self._facts["bits"]
        other = datasets.load(
            data,
            data_dir or self.config["data_dir"],
            image_shape=self.shape if len(self.shape) > 1 else None,
            schema=self.schema,
            classes=(self.class_labels or None) if labelled else (),
            features=self.features,
            **{name: options[name] for name in datasets.options_of(data) if name in options and name != "drop"},
        )
        return self._checked_features(other)

    def blocks(
        self, data: str, shard: Shard, data_dir: str | Path | None = None
    ) -> tuple[Iterator[Block], tuple[str, ...]]:
        """The rows of a part of another set, block by block, and the files of all rows if they come from files.

        A .npy file is read block by block, and so is a Parquet file if the run is of a table; other sets are loaded
        whole. Of a set with test rows, those are the rows.
        """
        path = Path(data).expanduser()
        if self.features is None and path.suffix == ".npy" and path.is_file():
            return npy_blocks(path, shard, self.shape if len(self.shape) > 1 else None), ()
        if self.features is None and path.suffix == ".parquet" and self.schema is not None and len(self.shape) == 1:
            return parquet_blocks(path, shard, self.schema), ()
        other = self.other_data(data, data_dir, labelled=False)
        rows = held_out({}, other).X
        return blocks_of(rows, shard), other.files if other.X_test is None else other.files_test

    @cached_property
    def split(self) -> Split:
        """Which rows are labelled, unlabelled and validation rows."""
        if self.fresh:
            return split_of(self.config, self.data)
        path = self.path / "split.npz"
        try:
            split = Split.read(path)
        except InputError as error:
            raise InputError(
                f"{path}: expected the split of this run, got a damaged file: restore it, or start a new run"
            ) from error
        n = len(split.unlabelled) + len(split.validation)
        if n != len(self.data.X):
            raise InputError(
                f"{path}: expected {n} rows of {self.config['data']}, got {len(self.data.X)}: put the data back as "
                "they were, or start a new run"
            )
        now = self._fingerprints()
        if self._facts.get("fingerprints", now) != now:
            raise InputError(
                f"{self.path}: expected the rows and labels of {self.config['data']} that it started with, got other "
                "ones: put the data back as they were, or start a new run"
            )
        return split

    def _fingerprints(self) -> list[list[int]]:
        """Identify its training rows and their labels; features by what they are of, since they vary by a rounding."""
        X, y, originals, schema = self.data.X, self.data.y, self.data.originals, self.data.schema
        rows = [X] if originals is None else [originals]
        if originals is not None and schema is not None and (plain := schema.plain_values):
            rows.append(np.asarray(X)[:, plain])
        return [datasets.fingerprint(r) for r in rows] + ([] if y is None else [datasets.fingerprint(y, len(y))])

    @property
    def _facts(self) -> dict[str, Any]:
        """Contents of data.json."""
        try:
            return read_json(self.path / "data.json", DATA_FACTS, dict[str, Any], NEW_RUN)
        except FileNotFoundError as error:
            raise self._damaged_facts(error) from error

    def _fact(self, key: str, kind: Any) -> Any:
        """An entry of data.json, checked."""
        facts = self._facts
        if key not in facts:
            raise self._damaged_facts(f"no {key}")
        try:
            return checked(facts[key], kind)
        except ValueError as error:
            raise self._damaged_facts(f"{key}: {error}") from error

    def _damaged_facts(self, problem: object) -> InputError:
        return InputError(
            f"{self.path / 'data.json'}: expected {DATA_FACTS}, got a damaged file ({problem}): {NEW_RUN}"
        )

    @property
    def held_out(self) -> HeldOut:
        """The rows to evaluate on."""
        return held_out(self.config, self.data, self.split)

    @property
    def plan(self) -> dict[str, Any]:
        """What each "auto" stands for, as written when the training started; empty before."""
        path = self.path / "plan.json"
        if not path.is_file():
            return {}
        plan = read_json(path, PLAN, dict[str, Any], NEW_RUN)
        try:
            Plan.from_dict(plan)
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise InputError(f"{path}: expected {PLAN}, got a damaged file ({error}): {NEW_RUN}") from error
        return plan

    @property
    def results(self) -> dict[str, Any]:
        """What was measured, as written when the training was complete; empty before."""
        path = self.path / "results.json"
        return read_json(path, RESULTS, dict[str, Any], EVALUATE) if path.is_file() else {}

    @property
    def comparison(self) -> Any:
        """The comparison with other methods among the results, see `aaekit.evaluation.health.Comparison`, or None."""
        from aaekit.evaluation.measures import comparison_of

        try:
            return comparison_of(self.results)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            path = self.path / "results.json"
            raise InputError(f"{path}: expected {RESULTS}, got a damaged file ({error}): {EVALUATE}") from error

    def fitted(self) -> Any:
        """Load the trained estimator.

        Raises
        ------
        InputError
            If the training is not complete, or the model file is damaged.
        """
        path = self.path / "model.safetensors"
        if not path.exists():
            if who := owner(self.path):
                raise InputError(
                    f"{self.path}: expected a trained model, got a run that {who} is training: wait for it"
                )
            raise InputError(
                f"{self.path}: expected a trained model, got a run that was stopped: resume it with "
                f"aae resume {self.path}"
            )
        return find(self.config["system"]).load().load(path)

    @property
    def labels(self) -> list[str]:
        """The names of the labels that its estimator was given, by their number: classes, or domains."""
        key = "domains" if self.config.get("condition", "class") != "class" else "classes"
        return self._fact(key, list[str])

    @property
    def class_labels(self) -> list[str]:
        """The names of the classes, by their number, also where domains are the first label."""
        return self._fact("classes", list[str])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a training row."""
        return tuple(self._fact("shape", list[Annotated[int, Field(ge=1)]]))

    @property
    def features(self) -> str | None:
        """The encoder whose features the rows are; None if they are none."""
        return self._fact("features", str) if "features" in self._facts else None

    @property
    def schema(self) -> Schema | None:
        """What the columns of a table are; None if they have no names."""
        facts = self._facts
        if facts.get("columns") and "schema" not in facts:
            raise InputError(f"{self.path}: expected a run of this version of aaekit, got an older one: train it again")
        try:
            return Schema.from_dict(facts["schema"]) if facts.get("schema") else None
        except InputError as error:
            raise self._damaged_facts(error) from error

    def class_names(self, estimator: Any) -> list[str]:
        """The names of a fitted estimator's classes or clusters, in its order; empty if it has none."""
        return heldout.names_of(estimator, self.labels)

    def history(self, estimator: Any) -> list[dict[str, float]]:
        """The history of its estimator; of less than a hundred epochs, losses by steps and scores by epochs."""
        epochs = estimator.history_
        steps = read_history(self.path / "steps.csv") if len(epochs) < 100 else []
        if not steps:
            return epochs
        scores = [{k: v for k, v in row.items() if k in ("epoch", "step") or k not in steps[0]} for row in epochs]
        return sorted([*steps, *scores], key=lambda row: row["step"])

    def log(self, text: str) -> None:
        """Add a line to log.txt."""
        with open(self.path / "log.txt", "a", encoding="utf-8") as file:
            file.write(f"{datetime.now().isoformat(' ', 'seconds')} {text}\n")

    # --- training ------------------------------------------------------------------------------------------------
    def train(self, callbacks: Sequence[Callback] = ()) -> Estimator[Any]:
        """Train, from the newest checkpoint if there is one; write the model, the results and the report.

        Returns
        -------
        Estimator
            Fitted.

        Raises
        ------
        KeyboardInterrupt
            If it was stopped; the message says how to resume.
        TrainingError
            If a loss becomes infinite or NaN; the message names the last good checkpoint.
        InputError
            For options, rows or labels that cannot be trained with, a damaged directory, a full disk, or a package
            that the report needs and that is not installed.
        """
        for package in ("matplotlib", "PIL", "jinja2"):
            check_installed(package, extra="plots")  # before the training rather than after it
        with locked(self.path):
            self.check_state()
            with self._algorithms():
                return self._train(callbacks)

    @contextmanager
    def _algorithms(self) -> Iterator[None]:
        """If the run is deterministic, use such algorithms and as many threads as at its start within the block."""
        if not self.config["deterministic"]:
            yield
            return
        was_on, n_threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
        n_at_start = self._threads_at_start(n_threads)
        try:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it products on a graphics card vary
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.set_num_threads(n_at_start)
            yield
        finally:
            torch.use_deterministic_algorithms(was_on)
            torch.set_num_threads(n_threads)

    def _threads_at_start(self, n_now: int) -> int:
        """The number of threads that the run began with."""
        return n_now if self.fresh else self._number_at_start("threads", n_now)

    @property
    def n_processes(self) -> int:
        """The number of processes that the run began with."""
        return self._number_at_start("processes", 1)

    def _number_at_start(self, name: str, default: int) -> int:
        """A number of versions.json."""
        path = self.path / "versions.json"
        if not path.is_file():
            return default
        facts = read_json(path, "versions", dict[str, Any], NEW_RUN)
        try:
            return checked(facts.get(name, default), Annotated[int, Field(ge=1)])
        except ValueError as error:
            raise InputError(f"{path}: expected a number of {name}, got a damaged file ({error}): {NEW_RUN}") from error

    def check_state(self) -> None:
        """Refuse to train what another process has begun or completed since this run was made or opened."""
        if self._new and (self.path / "config.yaml").exists():
            raise InputError(
                f"expected a new directory, got {self.path}, where another run has begun: choose another one"
            )
        if not self._new and self.complete:
            raise InputError(
                f"{self.path}: expected a run that was stopped, got one that is complete: see its report, "
                f"{self.path / 'report.html'}"
            )

    def _train(self, callbacks: Sequence[Callback]) -> Estimator[Any]:
        made, self._new = self._new, False
        try:
            if made:
                write_json(self.path / "versions.json", versions())
                write_text(self.path / "config.yaml", config_text(self.config))  # it makes this a run directory
                self.log("created")
            X, y, eval_set = training_rows(self.config, self.data, self.split)
            self.estimator.set_params(**by_class_number(self.config, self.data))
            self._lead()
            self._write_facts()
            self.estimator.fit(X, y, callbacks=[self, *callbacks], eval_set=eval_set)
            with alone():
                self.estimator.save(self.path / "model.safetensors")
                self.log(f"trained: {self.estimator.n_steps_} steps in {self.estimator.training_seconds_:.1f} s")
                from aaekit.evaluation.measures import evaluate

                self.conclude(self.estimator, evaluate(self.estimator, self.held_out))
        except KeyboardInterrupt:
            where = f"stopped at step {self.n_done} of {self.n_steps}"
            if not self.n_steps:
                n_tried = len(self.checkpoints.starts())
                where = f"stopped after {n_tried} initialisations" if n_tried else "stopped before the first step"
            elif (n_saved := self.checkpoints.n_saved) != self.n_done:
                where += f", saved up to step {n_saved}" if n_saved else ", before the first checkpoint"
            raise KeyboardInterrupt(f"{where}; resume with: aae resume {self.path}") from None
        except TrainingError as error:
            newest = self.checkpoints.paths()
            checkpoint = newest[0].with_suffix(".safetensors") if newest else "none yet"
            text = f"{error}. The last good checkpoint: {checkpoint}"
            self.log(text)
            raise type(error)(text) from error
        except (InputError, OSError) as error:
            if made and not (self.path / "plan.json").exists():
                shutil.rmtree(self.path, ignore_errors=True)  # nothing was trained, and it is in the way of a next try
            if not is_full(error) and not is_full(error.__cause__):
                raise
            full = error if isinstance(error, InputError) else cannot_write(Path(error.filename or self.path), error)
            raise InputError(f"{full}; then go on with: {self._again}") from error
        return self.estimator

    def _lead(self) -> None:
        """Say to the other processes what to train, and refuse what they refuse."""
        _, world_size = rank_and_world_size()
        if world_size > 1:
            broadcast_text(json.dumps([str(self.path), config_text(self.config), self._shared_facts()]))
            problems = [broadcast_text("", source) for source in range(1, world_size)]
            if problem := next(filter(None, problems), ""):
                raise InputError(problem)

    def _shared_facts(self) -> list[Any]:
        """What all processes must agree on: rows, labels, and which of them are used."""
        used = self.split.labelled, self.split.unlabelled, self.split.validation
        return [*self._fingerprints(), *map(datasets.fingerprint, used)]

    @classmethod
    def follow(cls) -> None:
        """Train beside the first one of several processes, which alone writes the run directory.

        Raises
        ------
        InputError
            If rows or labels are not those of the first process, and for all that `train` refuses.
        """
        _, world_size = rank_and_world_size()
        path, text, facts = parsed_json(broadcast_text(""))
        values = config_values(text, path)
        config = completed(values["system"], configuration(values["system"], values, path))
        run, problem = cls(path, config, fresh=True), ""
        try:
            X, y, eval_set = training_rows(config, run.data, run.split)
            if run._shared_facts() != facts:
                problem = (
                    f"{path}: expected the same rows and labels in all {world_size} processes, got others on "
                    f"{socket.gethostname()}: copy the data there"
                )
        except InputError as error:
            problem = str(error)
        for source in range(1, world_size):
            broadcast_text(problem, source)
        if problem:
            raise InputError(problem)
        run.estimator.set_params(**by_class_number(config, run.data))
        with run._algorithms(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the first process says the same
            run.estimator.fit(X, y, eval_set=eval_set)

    @property
    def _again(self) -> str:
        """The command by which a run that was stopped goes on."""
        return f"aae resume {self.path}" if (self.path / "config.yaml").exists() else "the same command"

    def prepare(self, what: str) -> None:
        """Say what takes long before the first step."""
        self._live.prepare(what)

    def restores(self) -> bool:
        """Whether there is a checkpoint to start from."""
        return self.checkpoints.restores()

    def starts(self) -> list[float]:
        """How doubtful the initialisations are that were tried before an interruption."""
        return self.checkpoints.starts()

    def save_start(self, values: list[float], best: Training) -> None:
        """Write the least doubtful initialisation so far."""
        self._write_plan()
        self.checkpoints.save_start(values, best)
        self.log(f"initialisation {len(values)} tried")
        self._live.prepare(f"{len(values)} initialisations tried")

    def restore_start(self, training: Training) -> None:
        """Go on with the least doubtful initialisation that was tried."""
        self.checkpoints.restore_start(training)

    def _write_facts(self) -> None:
        """Write the facts about the data, once."""
        if self.fresh:
            schema = None if self.data.schema is None else self.data.schema.as_dict()
            facts = self.data.describe() | {"schema": schema, "fingerprints": self._fingerprints()}
            self.split.save(self.path / "split.npz")
            write_json(self.path / "data.json", facts)  # last: with it, the run is no longer a fresh one
            self.fresh: bool = False

    def _write_plan(self) -> None:
        path = self.path / "plan.json"
        if hasattr(self.estimator, "plan_") and not path.exists():
            write_json(path, self.estimator.plan_.as_dict())

    def start(self, training: Training) -> None:
        """Write the plan, and restore the newest checkpoint if there is one."""
        self.n_steps: int = training.settings.n_steps
        self._write_plan()
        self.checkpoints.start(training)
        self._live.start(training)
        self.n_done = training.n_done
        arithmetic = "bfloat16" if training.bfloat16 else "float32"
        self.log(f"step {self.n_done} of {self.n_steps}: started on {training.device.type} in {arithmetic}")
        self._write_metrics(training)
        self._writer = None
        self._first_event = self.n_done + 1 if self.n_done else None

    def step(self, training: Training) -> None:
        """Stop here if that was requested."""
        self.n_done = training.n_done
        self._live.step(training)
        self.checkpoints.step(training)

    def epoch(self, training: Training, row: Mapping[str, float]) -> None:
        """Record an epoch."""
        if set(row) <= set(self._columns):
            with open(self.path / "metrics.csv", "a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns).writerow(row)
        else:
            self._write_metrics(training)
        if self._writer is None:
            self._writer = self._tensorboard()
        if self._writer:
            for name, value in row.items():
                if name not in ("epoch", "step"):
                    self._writer.add_scalar(name, value, training.n_done)
            n_epochs = math.ceil(self.n_steps / training.steps_per_epoch)
            if row["epoch"] % max(1, n_epochs // 10) == 0 or row["epoch"] == n_epochs:
                self._draw_codes(training)
        self.checkpoints.epoch(training, row)

    def stop(self, training: Training, complete: bool) -> None:
        """Leave the directory so that the run can be resumed."""
        if self._writer:
            with suppress(OSError):
                self._writer.close()
        self.n_done: int = training.n_done
        self.checkpoints.stop(training, complete)
        self._write_metrics(training)
        if not complete:
            self.log(f"step {self.n_done} of {self.n_steps}: stopped")

    # --- metrics and events --------------------------------------------------------------------------------------
    def _write_metrics(self, training: Training) -> None:
        self._columns = write_history(self.path / "metrics.csv", training.history)

    def _tensorboard(self) -> Any:
        try:
            require("tensorboard", extra="tensorboard")
        except InputError as error:
            self.log(f"no TensorBoard events: {error}")
            return False
        from torch.utils.tensorboard import SummaryWriter

        if threading.excepthook is not _quietly:
            threading.excepthook = _quietly
        return SummaryWriter(str(self.path / "tensorboard"), purge_step=self._first_event)

    def _now(self, training: Training) -> Any:
        """The estimator as it would be if the training ended now."""
        now = copy.copy(self.estimator)
        now.networks_ = copy.deepcopy(training.averaged).cpu().eval()
        return now

    def _draw_codes(self, training: Training) -> None:
        """Write codes, draws of the prior and samples as they are now, without using the training's random numbers."""
        from aaekit import plots

        if not hasattr(self.estimator, "sample_prior"):
            return
        now = self._now(training)
        codes, draws = now.transform(self.data.X[:2000]), now.sample_prior(2000, random_state=0)
        for i in range(min(10, codes.shape[1])):
            self._writer.add_histogram(f"z{i + 1}/codes", codes[:, i], training.n_done)
            self._writer.add_histogram(f"z{i + 1}/prior", draws[:, i], training.n_done)
        if len(now.shape_) == 3:
            mosaic = plots.tile(heldout.as_samples(now, now.sample(100, random_state=0)))
            self._writer.add_image("samples", mosaic, training.n_done, dataformats="HWC"[: mosaic.ndim])

    def _plan_settings(self) -> dict[str, Any]:
        """The plan as the report shows it, a line a phase."""
        if not self.plan:
            return {}
        phases = {
            phase["name"]: f"weight {phase['weight']:.4g}, learning rate {phase['learning_rate']:.4g}, moves "
            + ", ".join(phase["moves"])
            for phase in self.plan["phases"]
        }
        data = self.plan["data"] | {"groups": len(self.plan["data"]["groups"])}
        return {"plan": self.plan | {"data": data, "phases": phases}}

    # --- results -------------------------------------------------------------------------------------------------
    def simple_errors(self, estimator: Any, comparison: Sequence[Mapping[str, Any]] = ()) -> dict[str, float]:
        """Errors in percent of simple methods on the held-out rows, where they are measured in a second."""
        from aaekit.evaluation.compare import simple_errors

        return simple_errors(self.config, self.data, self.split, estimator, self.held_out, comparison)

    def conclude(self, estimator: Any, results: Mapping[str, Any]) -> None:
        """Write results.json, the figures and report.html.

        Raises
        ------
        InputError
            If another process works in the directory, or a file cannot be written.
        """
        with locked(self.path):
            self._conclude(estimator, results)

    def _conclude(self, estimator: Any, results: Mapping[str, Any]) -> None:
        from aaekit import plots, report
        from aaekit.evaluation import measures
        from aaekit.plots import draw

        comparison = results.get("comparison", ()) if "error" in results else ()  # else it is cross-fitted
        compared = measures.comparison_of(results)
        findings = measures.diagnosis(estimator, self.held_out, self.simple_errors(estimator, comparison), compared)
        results = {**results, "findings": [asdict(f) for f in findings]}
        write_json(self.path / "results.json", results)
        shutil.rmtree(self.path / "figures", ignore_errors=True)
        entries = []
        for name, figure in draw.draw_all(
            estimator, self.held_out, self.labels, history=self.history(estimator)
        ).items():
            path = plots.save(figure, self.path / "figures" / f"{name}.png")
            entries.append(report.FigureEntry(*plots.DESCRIPTIONS[name], path))
        facts, n_labelled = self.data.describe(), len(self.split.labelled)
        subtitle = (
            f"{facts['rows']} rows of {'x'.join(map(str, facts['shape']))} from {facts['source'] or self.data.name}"
        )
        if hasattr(estimator, "class_counts_"):
            subtitle += f"; {n_labelled} of them labelled"
        if self.data.features is not None:
            subtitle += f"; rows are features by {self.data.features}"
        elif heldout.is_standardised(estimator):
            subtitle += "; pictures show each value in standard deviations from its mean, column by column"
        report.write_report(
            self.path / "report.html",
            f"{type(estimator).__name__} on {self.data.name}",
            measures.cards(results),
            [*measures.tables(results), measures.findings_table(findings)],
            entries,
            settings=self.config | self._plan_settings(),
            versions=versions(),
            subtitle=subtitle,
        )
        for folder in (self.checkpoints.folder, self.path / "live"):  # a complete run is not resumed
            shutil.rmtree(folder, ignore_errors=True)


def _quietly(failed: threading.ExceptHookArgs) -> None:
    """Print what ended a thread, unless it is TensorBoard's writer, which raises it again in the training."""
    if type(failed.thread).__name__ != "_AsyncWriterThread":
        threading.__excepthook__(failed)


def _was_killed(path: Path) -> bool:
    """Whether a folder has what a run wrote that was killed before its first step, and nothing else."""
    names = {entry.name for entry in path.iterdir()}
    written = BEFORE_CONFIG | {name for name in names if TEMPORARY.fullmatch(name)}
    return LOCK in names and names <= written | {LOCK}
