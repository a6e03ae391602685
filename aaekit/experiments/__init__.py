"""Published figures and ours beside them: one YAML file per experiment, and the runner that logs what it measured.

A YAML file holds only what differs from the defaults of its system, and three keys of its own: `title`, `published`
(the figure to compare with, in words) and `target` (ours to reach, in percent of error).
"""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from aaekit import metrics, runs
from aaekit.errors import InputError, nearest
from aaekit.estimators.base import json_value, write_atomically
from aaekit.training import Listener

FOLDER = Path(__file__).parent
LOGS = FOLDER / "logs"
OWN_KEYS = ("title", "published", "target")


def names() -> list[str]:
    """The experiments there are."""
    return sorted(p.stem for p in FOLDER.glob("*.yaml"))


def read(name: str) -> dict[str, Any]:
    """The settings of an experiment.

    Raises
    ------
    InputError
        For an unknown name, or a setting that is not known.
    """
    if name not in names():
        raise InputError(f"no experiment {name!r}: expected one of {', '.join(names())}.{nearest(name, names())}")
    settings = runs.read_config(FOLDER / f"{name}.yaml")
    given = {k: v for k, v in settings.items() if k not in OWN_KEYS}
    runs.configuration(given["system"], given, f"{name}.yaml")
    return settings


def measure(
    name: str,
    seeds: Sequence[int],
    data_dir: str | None = None,
    listeners: Sequence[Listener] = (),
    folder: Path | None = None,
) -> dict[str, Any]:
    """Run an experiment once for each seed, which draws the labels, the held-out rows of the digits, and the rest.

    Test rows are scored each epoch for the curve; nothing is trained, chosen or stopped by them. With a `folder`, the
    log is written there after each seed, and seeds that it already has, by the same configuration, are not run again.
    """
    settings = read(name)
    given = {k: v for k, v in settings.items() if k not in OWN_KEYS}
    complete = runs.completed(given["system"], runs.configuration(given["system"], given))
    log: dict[str, Any] = {
        "experiment": name,
        **{k: settings.get(k) for k in OWN_KEYS},
        "command": f"aae reproduce {name} --seeds {len(seeds)}",
        "configuration": {k: json_value(v) for k, v in complete.items() if k != "data_dir"},
        "versions": runs.versions(),
        "machine": _machine(),
        "seeds": [],
    }
    path = log_path(name, folder) if folder else None
    before = json.loads(path.read_text(encoding="utf-8")) if path and path.exists() else {}
    known = {r["seed"]: r for r in before.get("seeds", ()) if before.get("configuration") == log["configuration"]}
    for seed in seeds:
        varied = {"random_state": seed, "split_random_state": seed, "data_dir": data_dir}
        if given["data"] == "digits":
            varied["data_options"] = (f"test_random_state={seed}",)
        config = complete | varied
        log["seeds"].append(known.get(seed) or {"seed": seed, **_once(config, listeners)})
        log |= _summary(log["seeds"]) | {"date": datetime.now().isoformat(timespec="seconds")}
        if folder:
            write_log(log, folder)
    return log


def _summary(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation of the error over seeds, and the mean time."""
    errors = [r["error"] for r in results if "error" in r]
    spread = {"mean": float(np.mean(errors)), "sd": float(np.std(errors, ddof=1))} if len(errors) > 1 else {}
    return {"error": spread, "seconds": float(np.mean([r["seconds"] for r in results]))}


def _once(config: Mapping[str, Any], listeners: Sequence[Listener]) -> dict[str, Any]:
    data = runs.load_data(config)
    split = runs.split_of(config, data)
    estimator = runs.estimator_of(config)
    _, X_test, y_test = runs.held_out(data, split)
    y = None if data.y is None else split.masked(data.y)[split.unlabelled]
    estimator.fit(data.X[split.unlabelled], y, evaluation=(X_test, y_test), listeners=listeners)
    found: dict[str, Any] = {"seconds": round(estimator.training_seconds_, 1), "n_steps": estimator.n_steps_}
    if hasattr(estimator, "predict") and y_test is not None:
        found["error"] = round(metrics.error_rate(y_test, estimator.predict(X_test)), 4)
    found["history"] = [{k: float(f"{v:.4g}") for k, v in row.items()} for row in estimator.history_]
    return found


def _machine() -> dict[str, Any]:
    """What it ran on."""
    model = platform.processor()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def log_path(name: str, folder: Path = LOGS) -> Path:
    """Where the log of an experiment is."""
    return folder / f"{name}.json"


def write_log(log: Mapping[str, Any], folder: Path = LOGS) -> Path:
    """Write the log of an experiment."""
    path = log_path(log["experiment"], folder)
    text = json.dumps(log, indent=1)
    write_atomically(path, lambda p: Path(p).write_text(text + "\n", encoding="utf-8"))
    return path


def read_logs(folder: Path = LOGS) -> list[dict[str, Any]]:
    """All logs, by name."""
    return [json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.json"))]


def table(logs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str, str]]:
    """Experiment, published, target, ours (mean +- standard deviation over seeds), mean training time; as texts."""
    lines = []
    for log in logs:
        error = log["error"]
        ours = f"{error['mean']:.2f} ± {error['sd']:.2f} ({len(log['seeds'])} seeds)" if error else "see the log"
        target = "" if log["target"] is None else f"≤ {log['target']}"
        lines.append((log["title"], str(log["published"] or ""), target, ours, f"{log['seconds']:.0f} s"))
    return lines
