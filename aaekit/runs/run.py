"""The run directory: what was asked, what happened and what came of it; and trainings that stop and go on."""

import copy
import csv
import json
import math
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin

import numpy as np
import torch
import yaml
from pydantic import Field

from aaekit.evaluation import heldout
from aaekit.plots import draw
import aaekit
from aaekit import data as datasets
from aaekit.core.checkpoints import Checkpoints
from aaekit.data import Dataset, Split
from aaekit.errors import InputError, TrainingError, nearest
from aaekit.estimators import AAEOutlierDetector, AdversarialAutoencoder, ClusteringAAE, EmbeddingAAE, PretrainedClassifier, SemiSupervisedAAE, SupervisedAAE, SupervisedBaseline
from aaekit.estimators.autoencoder import Autoencoder
from aaekit.estimators._base import UNLABELLED, Classifier, Estimator, json_value
from aaekit._files import write_atomically, write_text
from aaekit.estimators._hyperparameters import Hyperparameter, hyperparameters, hyperparameters_of, validated
from aaekit.core.callbacks import Callback
from aaekit.core.loop import Training

if TYPE_CHECKING:  # what draws and judges is imported where it is used: matplotlib takes a second before the first step
    from aaekit.evaluation.heldout import HeldOut

SYSTEMS: dict[str, type[Estimator]] = {
    "generator": AdversarialAutoencoder,
    "classifier": SemiSupervisedAAE,
    "clusters": ClusteringAAE,
    "embedding": EmbeddingAAE,
    "style": SupervisedAAE,
    "pretrained": PretrainedClassifier,
    "outliers": AAEOutlierDetector,
    "baseline": SupervisedBaseline,
}
NEED_LABELS = {"classifier", "style", "pretrained", "baseline"}
System = Literal["generator", "classifier", "clusters", "embedding", "style", "pretrained", "outliers", "baseline"]


# --- configuration ---------------------------------------------------------------------------------------------------
@hyperparameters
class DataOptions:
    """What a run needs to know beside the parameters of its estimator."""

    system: Annotated[System, Field(description="what to train")] = "classifier"
    data: Annotated[
        str,
        Field(
            description="a named data set (`aae data list`), several joined by +, a .npz, .npy or .csv file, or a "
            "folder of images, a subfolder for each class"
        ),
    ] = "digits"
    data_dir: Annotated[
        str | None, Field(description="where named sets live; else AAE_DATA_DIR, else the user's cache directory")
    ] = None
    data_options: Annotated[
        tuple[str, ...],
        Field(
            description="options of the data as name=value, for digits test_random_state=1, for tables target=COLUMN"
        ),
    ] = ()
    labels: Annotated[
        int | None,
        Field(ge=0, description="labelled rows, class-balanced; none takes every label there is, 0 takes no label"),
    ] = None
    condition: Annotated[
        Literal["class", "domain", "domain,class"],
        Field(description="what the decoder of a style model is told: the class, for joined sets the domain, or both"),
    ] = "class"
    validation: Annotated[
        int, Field(ge=0, description="rows set aside and scored each epoch; they never train, choose or stop anything")
    ] = 0
    split_random_state: Annotated[
        int | None, Field(ge=0, description="seed of which rows are labelled; none takes random_state")
    ] = None


def options_of(system: str) -> dict[str, Hyperparameter]:
    """All options of a run by name: those of the data, then the estimator's that text can give."""
    ours, its = hyperparameters_of(DataOptions), hyperparameters_of(SYSTEMS[system])
    if system != "style":
        ours.pop("condition")  # the other decoders are told no label
    return ours | {name: h for name, h in its.items() if h.from_text and name != "verbose"}


def configuration(system: str, given: Mapping[str, Any] = {}, source: str = "") -> dict[str, Any]:
    """What is `given`, by name, in the declared types.

    Raises
    ------
    InputError
        For unknown names and wrong values: all of them at once, one a line, with the nearest known name.
    """
    known, problems, values = options_of(system), [], {}
    where = f"{source}: " if source else ""
    for name in given:
        if name not in known:
            problems.append(f"{where}unknown option {name!r} for a {system}.{nearest(name, known)}")
    for part in (DataOptions, SYSTEMS[system]):
        mine = {k: _parsed(known[k], v) for k, v in given.items() if k in known and k in hyperparameters_of(part)}
        try:
            values |= validated(part, mine, source)
        except InputError as error:
            problems += str(error).splitlines()
    if problems:
        raise InputError("\n".join(problems))
    if values.get("system", system) != system:
        raise InputError(f"{where}is for system {values['system']!r}: use `aae train {values['system']}`")
    return values


def _parsed(h: Hyperparameter, value: Any) -> Any:
    """What a text says; declared types and bounds are checked later, all at once."""
    if not isinstance(value, str) or value in h.choices:
        return value
    if value.lower() == "none" and type(None) in h.types:
        return None
    if any(get_origin(t) is tuple for t in h.types):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def completed(system: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` over the defaults, random states fixed."""
    config = {name: h.default for name, h in options_of(system).items()} | dict(given) | {"system": system}
    if config["random_state"] is None:
        config["random_state"] = 0
    if config["split_random_state"] is None:
        config["split_random_state"] = config["random_state"]
    return config


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a YAML file."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected lines `name: value`, found {type(values).__name__}")
    return {str(k): tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def config_text(config: Mapping[str, Any]) -> str:
    """A configuration as YAML, each line with its meaning."""
    options, lines = options_of(config["system"]), []
    for name, value in config.items():
        text = yaml.safe_dump([json_value(value)], default_flow_style=True, width=10**6).strip()[1:-1]
        lines.append(f"{name + ': ' + text:<32}  # {options[name].description}")
    return "\n".join(lines) + "\n"


def estimator_of(config: Mapping[str, Any], **more: Any) -> Any:
    """The estimator that a configuration describes."""
    kind = SYSTEMS[config["system"]]
    return kind(**{k: v for k, v in config.items() if k in hyperparameters_of(kind)}, **more)


def versions() -> dict[str, Any]:
    """What a result depends on besides the configuration."""
    found: dict[str, Any] = {"aaekit": aaekit.__version__, "python": platform.python_version()}
    for name in ("torch", "numpy", "scikit-learn"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    found |= {"platform": platform.platform(), "cpus": os.cpu_count(), "threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    with suppress(OSError, subprocess.SubprocessError):
        folder = Path(__file__).parent
        told = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "--show-toplevel", "HEAD"],
            capture_output=True, text=True, check=True, timeout=10,
        ).stdout.split("\n")  # fmt: skip
        if Path(told[0]).resolve() == folder.parent.resolve():  # not that of somebody's project around an environment
            found["git"] = told[1]
    return found


# --- data ------------------------------------------------------------------------------------------------------------
def load_data(config: Mapping[str, Any]) -> Dataset:
    """The data set of a configuration."""
    options = data_options(config["data_options"])
    return datasets.load(config["data"], config["data_dir"], image_shape=config.get("image_shape"), **options)


def data_options(texts: Sequence[str]) -> dict[str, Any]:
    """What texts name=value say; `drop` can be there several times.

    Raises
    ------
    InputError
        For a text of another form, and another name twice.
    """
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise InputError(f"data_options: expected name=value, found {text!r}")
        if name in options and name != "drop":
            raise InputError(f"data_options: expected {name} once, found it twice")
        try:
            if name == "drop":
                options[name] = [*options.get(name, ()), value]
            else:
                options[name] = value if name == "target" else yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"data_options: expected name=value, found {text!r}, whose value is no YAML") from None
    return options


def split_of(config: Mapping[str, Any], data: Dataset) -> Split:
    """Which rows are labelled, unlabelled and validation: as prepared with the data, or drawn by the configuration.

    Raises
    ------
    InputError
        When the system needs labels and there are none, or too few rows or labels for what was asked.
    """
    n, seed, n_validation = len(data.X), config["split_random_state"], config["validation"]
    if data.split is not None and config["labels"] is None and not n_validation:
        return data.split
    known = np.flatnonzero(np.zeros(0) if data.y is None or config["labels"] == 0 else data.y != UNLABELLED)
    if config["system"] in NEED_LABELS and not len(known):
        all_hidden = "labels: 0" if config["labels"] == 0 else f"-1 (unlabelled) in all {n} rows"
        found = "none" if data.y is None else all_hidden
        raise InputError(f"{data.name}: expected labels y to learn from, found {found}; clusters need none")
    if data.y is not None and len(np.unique(data.y[known])) > 1:
        return datasets.split(data.y, config["labels"], n_validation, seed)
    if n_validation >= n:
        raise InputError(f"validation: expected fewer than the {n} rows, found {n_validation}")
    order = np.random.default_rng(seed).permutation(n)
    apart, rest = np.sort(order[:n_validation]), np.sort(order[n_validation:])
    return Split(np.intersect1d(known, rest), rest, apart, seed)


def targets(config: Mapping[str, Any], y: np.ndarray | None, domain: np.ndarray | None) -> np.ndarray | None:
    """What the estimator is told of rows: their classes, or what `condition` says, a column for each condition.

    Raises
    ------
    InputError
        When the data set has no domains.
    """
    condition = config.get("condition", "class")
    if condition == "class":
        return y
    if domain is None:
        raise InputError(f"condition={condition!r}: expected a set of several domains, for instance data: mnist+fonts")
    return domain if condition == "domain" else None if y is None else np.stack([domain, y], 1)


def held_out(config: Mapping[str, Any], data: Dataset, split: Split | None = None) -> "HeldOut":
    """The rows to judge by: test rows, else validation rows, else all; with what to call them."""
    from aaekit.evaluation.heldout import HeldOut

    if data.X_test is not None:
        return HeldOut("test", data.X_test, targets(config, data.y_test, data.domain_test))
    y = targets(config, data.y, data.domain)
    if split is not None and len(split.validation):
        return HeldOut("validation", data.X[split.validation], None if y is None else y[split.validation])
    return HeldOut("training" if split is not None else "given", data.X, y)


# --- the directory ---------------------------------------------------------------------------------------------------
class Run(Callback):
    """A training and its directory, which is made when the first step is about to be taken.

    ``config.yaml`` every option · ``versions.json`` · ``data.json`` · ``split.npz`` which rows are labelled ·
    ``metrics.csv`` a line an epoch · ``tensorboard/`` · ``checkpoints/`` the newest three · ``log.txt`` ·
    ``model.safetensors`` what `load` of the estimator reads · ``results.json`` · ``figures/`` · ``report.html``.

    A run that was interrupted (Ctrl-C, SIGTERM) ends its step, writes a checkpoint, and goes on from there with the
    same numbers as if nothing had happened. Make runs by `create` and `open`.
    """

    def __init__(self, path: str | os.PathLike[str], config: Mapping[str, Any], fresh: bool) -> None:
        self.path, self.config, self.fresh = Path(path), dict(config), fresh
        self.estimator = estimator_of(self.config)
        self._columns: list[str] = []
        self._writer: Any = None
        self.checkpoints = Checkpoints(self.path / "checkpoints", self.log)
        self.n_done = self.n_steps = 0

    @classmethod
    def create(cls, path: str | os.PathLike[str], config: Mapping[str, Any]) -> "Run":
        """A new run of a complete configuration; nothing is written before the training starts.

        Raises
        ------
        InputError
            When something is at `path` already.
        """
        path = Path(path)
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            hint = f"; go on with it: aae resume {path}" if (path / "config.yaml").exists() else ""
            raise InputError(f"{path} exists already: choose another directory{hint}")
        return cls(path, config, fresh=True)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Run":
        """A run that was started earlier.

        Raises
        ------
        InputError
            When `path` is no run directory, or its configuration is damaged.
        """
        path = Path(path)
        if not (path / "config.yaml").is_file():
            found = "has no config.yaml" if path.is_dir() else "is not there" if not path.exists() else "is a file"
            raise InputError(f"{path} is not a run directory: it {found}. `aae train` makes them")
        values = read_config(path / "config.yaml")
        system = values.get("system")
        if system is None and "low_size" in values:
            raise InputError(f"{path} is a run of the simulator: use `aae simulate apply` or `aae simulate pairs`")
        if system not in SYSTEMS:
            raise InputError(
                f"{path}/config.yaml is damaged: expected system: {' or '.join(SYSTEMS)}, found {system!r}"
            )
        given = configuration(system, values, str(path / "config.yaml"))
        return cls(path, completed(system, given), fresh=False)

    @property
    def complete(self) -> bool:
        """Whether it was trained to the end and reported on."""
        return (self.path / "report.html").is_file()

    @cached_property
    def data(self) -> Dataset:
        """Its data set, as loaded now."""
        return load_data(self.config)

    def other_data(self, data: str, data_dir: str | Path | None = None, labelled: bool = True) -> Dataset:
        """Another set, its rows taken as those of the run are, and its labels if it is to be `labelled`."""
        options: dict[str, Any] = {
            "target": data_options(self.config["data_options"]).get("target"),
            "empty": self._facts.get("means"),
        }
        return datasets.load(
            data,
            data_dir,
            image_shape=self.shape if len(self.shape) == 3 else None,
            columns=self.columns or None,
            classes=(self.class_labels or None) if labelled else (),
            **{name: value for name, value in options.items() if name in datasets.options_of(data)},
        )

    @cached_property
    def split(self) -> Split:
        """Which rows are labelled, unlabelled and validation."""
        if self.fresh:
            return split_of(self.config, self.data)
        path = self.path / "split.npz"
        try:
            split = Split.read(path)
        except InputError as error:
            raise InputError(f"{self.path} is damaged: {error}") from error
        if len(split.unlabelled) + len(split.validation) != len(self.data.X):
            n = len(split.unlabelled) + len(split.validation)
            raise InputError(f"{path} is of {n} rows, but {self.config['data']} has {len(self.data.X)} now")
        if self._facts.get("fingerprints", now := self._fingerprints()) != now:
            raise InputError(
                f"{self.config['data']} has other rows or labels now than when {self.path} began: put the file back "
                "as it was, or train anew"
            )
        return split

    def _fingerprints(self) -> list[list[int]]:
        """What tells its training rows and their labels from others."""
        X, y = self.data.X, self.data.y
        return [datasets.fingerprint(X)] + ([] if y is None else [datasets.fingerprint(y, len(y))])

    @property
    def _facts(self) -> dict[str, Any]:
        """What data.json says."""
        try:
            return dict(json.loads((self.path / "data.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{self.path} is damaged: data.json cannot be read ({error})") from error

    @property
    def held_out(self) -> "HeldOut":
        """The rows to judge by."""
        return held_out(self.config, self.data, self.split)

    def fitted(self) -> Any:
        """The trained estimator.

        Raises
        ------
        InputError
            When the training is not complete, or the model file is damaged.
        """
        path = self.path / "model.safetensors"
        if not path.exists():
            raise InputError(
                f"{self.path} has no model yet: its training was stopped; go on with: aae resume {self.path}"
            )
        return SYSTEMS[self.config["system"]].load(path)

    @property
    def labels(self) -> list[str]:
        """The names of the labels that its estimator was told of, by their number."""
        return self._names("domains" if self.config.get("condition", "class") != "class" else "classes")

    @property
    def class_labels(self) -> list[str]:
        """The names of the classes, by their number, also where the estimator was told domains first."""
        return self._names("classes")

    def _names(self, key: str) -> list[str]:
        try:
            return list(self._facts[key])
        except (KeyError, TypeError) as error:
            raise InputError(f"{self.path} is damaged: data.json cannot be read (it has no {key})") from error

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a row that it was trained on."""
        return tuple(self._facts["shape"])

    @property
    def columns(self) -> list[str]:
        """What the values of a table's row are called; empty if they have no names."""
        return list(self._facts.get("columns", ()))

    def class_names(self, estimator: Any) -> list[str]:
        """The names of what a fitted estimator tells apart, in its order; empty if it knows no classes."""

        return heldout.names_of(estimator, self.labels)

    def log(self, text: str) -> None:
        """Add a line to log.txt."""
        with open(self.path / "log.txt", "a", encoding="utf-8") as file:
            file.write(f"{datetime.now().isoformat(' ', 'seconds')} {text}\n")

    def _write(self, name: str, text: str) -> None:
        write_text(self.path / name, text)

    # --- training ------------------------------------------------------------------------------------------------
    def train(self, callbacks: Sequence[Callback] = ()) -> Any:
        """Train, from the newest checkpoint if there is one; write the model, the results and the report.

        Returns
        -------
        Estimator
            Fitted.

        Raises
        ------
        KeyboardInterrupt
            When it was stopped; the message says how to go on.
        TrainingError
            When a loss stops being finite; the message names the last good checkpoint.
        InputError
            For options, rows or labels that cannot be trained with, a damaged directory, or a full disk.
        """
        data, split = self.data, self.split
        kept = slice(None) if not len(split.validation) else split.unlabelled
        y = targets(self.config, None if data.y is None else split.masked(data.y), data.domain)
        y = None if y is None else y[kept]
        scored = None
        if len(split.validation):
            known = targets(self.config, data.y, data.domain)
            scored = data.X[split.validation], None if known is None else known[split.validation]
        try:
            self.estimator.fit(data.X[kept], y, callbacks=[self, *callbacks], eval_set=scored)
            self.estimator.save(self.path / "model.safetensors")
            self.log(f"trained: {self.estimator.n_steps_} steps in {self.estimator.training_seconds_:.1f} s")
            from aaekit.evaluation.compare import evaluate

            self.conclude(self.estimator, evaluate(self.estimator, self.held_out))
        except KeyboardInterrupt:
            if not (self.path / "config.yaml").exists():
                raise KeyboardInterrupt("stopped before the first step") from None
            where = f"stopped at step {self.n_done} of {self.n_steps}"
            if (n_kept := self.checkpoints.n_saved) != self.n_done:
                where += f", kept up to step {n_kept}" if n_kept else ", before anything was kept"
            raise KeyboardInterrupt(f"{where}; go on with: aae resume {self.path}") from None
        except TrainingError as error:
            newest = self.checkpoints.paths()
            kept = f"kept: {newest[0].with_suffix('.safetensors')}" if newest else "none yet"
            text = f"{error}. The last good checkpoint: {kept}"
            self.log(text)
            raise TrainingError(text) from error
        return self.estimator

    def restores(self) -> bool:
        """Whether there is a checkpoint to go back to."""
        return not self.fresh and self.checkpoints.restores()

    def start(self, training: Training) -> None:
        """Write what the run is, or go back to its newest checkpoint."""
        self.n_steps = training.settings.n_steps
        if self.fresh:
            self._write("versions.json", json.dumps(versions(), indent=2) + "\n")
            facts = self.data.describe() | {"means": self.data.means, "fingerprints": self._fingerprints()}
            self._write("data.json", json.dumps(facts, indent=2) + "\n")
            self.split.save(self.path / "split.npz")
            self._write("config.yaml", config_text(self.config))  # last: it makes a run directory of it
            self.fresh = False
        self.checkpoints.start(training)
        self.n_done = training.n_done
        self.log(f"step {self.n_done} of {self.n_steps}: started")
        self._write_metrics(training.history)
        self._writer = self._tensorboard()

    def step(self, training: Training) -> None:
        """Stop here, if that was asked for."""
        self.n_done = training.n_done
        self.checkpoints.step(training)

    def epoch(self, training: Training, row: Mapping[str, float]) -> None:
        """Write the epoch down."""
        if set(row) <= set(self._columns):
            with open(self.path / "metrics.csv", "a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns).writerow(row)
        else:
            self._write_metrics(training.history)
        if self._writer is not None:
            for name, value in row.items():
                if name not in ("epoch", "step"):
                    self._writer.add_scalar(name, value, training.n_done)
            n_epochs = math.ceil(self.n_steps / training.steps_per_epoch)
            if row["epoch"] % max(1, n_epochs // 10) == 0 or row["epoch"] == n_epochs:
                self._draw_codes(training)
        self.checkpoints.epoch(training, row)

    def stop(self, training: Training, complete: bool) -> None:
        """Leave the directory so that the run can go on."""
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()
        self.n_done = training.n_done
        self.checkpoints.stop(training, complete)
        self._write_metrics(training.history)
        if not complete:
            self.log(f"step {self.n_done} of {self.n_steps}: stopped")

    # --- metrics and events --------------------------------------------------------------------------------------
    def _write_metrics(self, history: Sequence[Mapping[str, float]]) -> None:
        self._columns = list(dict.fromkeys(name for row in history for name in row))

        def write(path: str) -> None:
            with open(path, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self._columns)
                writer.writeheader()
                writer.writerows(history)

        write_atomically(self.path / "metrics.csv", write)

    def _tensorboard(self) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.log("no TensorBoard events: tensorboard is not installed")
            return None
        return SummaryWriter(str(self.path / "tensorboard"), purge_step=self.n_done + 1 if self.n_done else None)

    def _draw_codes(self, training: Training) -> None:
        """Codes against prior and samples, as they are now; draws nothing from the training's random numbers."""
        from aaekit import plots

        if not isinstance(self.estimator, Autoencoder):
            return
        now = copy.copy(self.estimator)
        now.networks_ = copy.deepcopy(training.averaged).cpu().eval()
        codes, drawn = now.transform(self.data.X[:2000]), now.sample_prior(2000, random_state=0)
        for i in range(min(10, codes.shape[1])):
            self._writer.add_histogram(f"z{i + 1}/codes", codes[:, i], training.n_done)
            self._writer.add_histogram(f"z{i + 1}/prior", drawn[:, i], training.n_done)
        if len(now.shape_) == 3:
            mosaic = plots.tile(heldout.pictures(now, now.sample(100, random_state=0)))
            self._writer.add_image("samples", mosaic, training.n_done, dataformats="HWC"[: mosaic.ndim])

    # --- what came of it -----------------------------------------------------------------------------------------
    def conclude(self, estimator: Any, results: Mapping[str, Any]) -> None:
        """Write results.json, the figures and report.html."""
        from aaekit.evaluation import compare as evaluation
        from aaekit import plots, report

        findings = evaluation.diagnosis(estimator, self.held_out)
        results = {**results, "findings": [asdict(f) for f in findings]}
        self._write("results.json", json.dumps(results, indent=2) + "\n")
        shutil.rmtree(self.path / "figures", ignore_errors=True)
        entries = []
        for name, (title, figure) in draw.draw_all(estimator, self.held_out, self.labels).items():
            path = plots.save(figure, self.path / "figures" / f"{name}.png")
            entries.append(report.FigureEntry(title, report.CAPTIONS[name], path))
        facts, n_labelled = self.data.describe(), len(self.split.labelled)
        subtitle = (
            f"{facts['rows']} rows of {'x'.join(map(str, facts['shape']))} from {facts['source'] or self.data.name}"
        )
        if isinstance(estimator, Classifier):
            subtitle += f"; {n_labelled} of them labelled"
        if heldout.standardised(estimator):
            subtitle += "; pictures show each value in standard deviations from its mean, column by column"
        report.write_report(
            self.path / "report.html",
            f"{type(estimator).__name__} on {self.data.name}",
            evaluation.cards(results),
            [*evaluation.tables(results), evaluation.advice(findings)],
            entries,
            settings=self.config,
            versions=versions(),
            subtitle=subtitle,
        )
