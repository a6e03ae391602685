"""The logs of experiments: files, and their figures as texts and tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NotRequired

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from aaekit._files import read_json, write_json
from aaekit.errors import InputError
from reproduction import experiments

FOLDER = Path(__file__).parent / "logs"
UP_TO_ONE = {"nmi", "ari", "auc", "trustworthiness", "two_sample_auc", "mmd", "sliced_wasserstein", "marginal_entropy"}
UP_TO_ONE |= {"jsd"}  # measures that are printed with three digits


class Seed(TypedDict):
    """The results of a seed, besides its measures."""

    seed: int
    history: NotRequired[list[dict[str, float]] | None]


class Log(TypedDict):
    """What each log has, besides other things."""

    experiment: str
    title: str
    published: str | float | None
    target: str | float | None
    measure: NotRequired[str | None]
    seconds: float
    seeds: Annotated[list[Seed], Field(min_length=1)]


# --- files -----------------------------------------------------------------------------------------------------------
def path_of(name: str, folder: Path = FOLDER) -> Path:
    """The path of an experiment's log."""
    return folder / f"{name}.json"


def read(path: Path) -> dict[str, Any]:
    """Read a log.

    Raises
    ------
    InputError
        If the file is damaged, or a seed has no number where the others have one.
    FileNotFoundError
        If there is no such file.
    """
    log = read_json(path, "the log of an experiment", Log, "restore it, or delete it")
    values = [seed.get(log.get("measure") or "error") for seed in log["seeds"]]
    if {type(value) for value in values} - {int, float} and any(value is not None for value in values):
        raise InputError(f"{path}: expected a number for each seed, got others: restore it, or delete it")
    return log


def read_all(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Read all logs, sorted by name."""
    return [read(path) for path in sorted(folder.glob("*.json"))]


def write(log: Mapping[str, Any], folder: Path = FOLDER) -> Path:
    """Write the log of an experiment."""
    return write_json(path_of(log["experiment"], folder), log)


# --- figures as texts ------------------------------------------------------------------------------------------------
def mean_and_std(values: Sequence[float]) -> dict[str, float]:
    """The mean and, of two or more values, the standard deviation."""
    mean = {"mean": float(np.mean(values))}
    return mean | {"sd": float(np.std(values, ddof=1))} if len(values) > 1 else mean


def measured(log: Mapping[str, Any], name: str | None = None) -> str:
    """A number of a log as text: mean, standard deviation, seeds.

    Parameters
    ----------
    log : mapping
        A log.
    name : str, optional
        A number that the seeds have, or "time"; by default the experiment's `measure`.

    Raises
    ------
    KeyError
        If the log has no such number.
    """
    if name == "time":
        return duration(log)
    name = str(name or log.get("measure") or "error")
    values = [seed[name] for seed in log["seeds"]]
    digits = 3 if name.split()[-1] in UP_TO_ONE else 2
    stats, n = mean_and_std(values), len(values)
    plus_minus = f" ± {stats['sd']:.{digits}f}" if n > 1 else ""
    return f"{stats['mean']:.{digits}f}{plus_minus} ({n} seed{'s' if n > 1 else ''})"


def duration(log: Mapping[str, Any]) -> str:
    """The mean time of a seed."""
    seconds = log["seconds"]
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def effort(log: Mapping[str, Any]) -> str:
    """The mean time of a seed and, if it was a single training, its epochs."""
    history = log["seeds"][0].get("history") or [{}]
    epochs = history[-1].get("epoch")
    return duration(log) + (f", {epochs:.0f} epochs" if epochs else "")


# --- tables ----------------------------------------------------------------------------------------------------------
def described(log: Mapping[str, Any]) -> dict[str, Any]:
    """A log with the title, family, published figure and target that its experiment has now."""
    name = log["experiment"]
    experiment = experiments.read(name) if name in experiments.names() else {}
    return {**log, **{k: experiment[k] for k in ("title", "family", "published", "target") if k in experiment}}


def table(logs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str, str]]:
    """One line per log, as texts: title, published figure, target, measured figure, time and epochs."""
    return [_line(described(log)) for log in logs]


def _line(log: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    target = "" if log["target"] is None else str(log["target"])
    if target and target[0] not in "<>":
        target = f"<= {target}"
    target = target.replace("<=", "≤").replace(">=", "≥")
    has_measure = (log.get("measure") or "error") in log["seeds"][0]
    figure = measured(log) if has_measure else "see the log"
    return log["title"], str(log["published"] or ""), target, figure, effort(log)


def markdown(logs: Sequence[Mapping[str, Any]]) -> str:
    """All logs as tables in Markdown, one per family."""
    parts, complete = [], [described(log) for log in logs]
    columns = ["experiment", "published", "target", "measured", "time per seed", "log"]
    for family, meaning in experiments.FAMILIES.items():
        lines = ["| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]
        for log in complete:
            if (log.get("family") or "ours") == family:
                cells = [cell.replace("|", "/") for cell in _line(log)]
                lines.append("| " + " | ".join([*cells, log["experiment"]]) + " |")
        parts += [f"**{family[0].upper()}{family[1:]}**: {meaning}.", "", *lines, ""]
    return "\n".join(parts)
