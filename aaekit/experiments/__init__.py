"""Published figures and ours beside them: one YAML file per experiment, and the runner that logs what it measured.

A YAML file holds only what differs from the defaults of its system, and keys of its own: `title`, `published` (the
figure to compare with, in words), `protocol` (how it is measured, see `protocols`), `measure` (the number that counts;
error in percent by default), `unit`, and `target` (ours to reach, with its sign: "<= 1.5").
"""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from aaekit import figures, runs
from aaekit.errors import InputError, nearest
from aaekit.estimators.base import json_value, write_atomically
from aaekit.training import Listener

FOLDER = Path(__file__).parent
LOGS = FOLDER / "logs"
UP_TO_ONE = {"nmi", "ari", "auc", "trustworthiness", "two_sample_auc", "mmd", "sliced_wasserstein", "marginal_entropy"}
UP_TO_ONE |= {"jsd"}
OWN_KEYS = ("title", "published", "target", "protocol", "measure", "unit")


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
    _complete(given, f"{name}.yaml")
    return settings


def measure(
    name: str,
    seeds: Sequence[int],
    data_dir: str | None = None,
    listeners: Sequence[Listener] = (),
    folder: Path | None = None,
    pictures: Path | None = None,
) -> dict[str, Any]:
    """Run an experiment once for each seed, which draws the labels, the held-out rows of the digits, and the rest.

    Test rows are scored each epoch for the curve; nothing is trained, chosen or stopped by them. With a `folder`, the
    log is written there after each seed, and seeds that it already has, by the same configuration, are not run again.
    Into `pictures` go those that the protocol draws, of the first seed that is run.
    """
    settings = read(name) | {"name": name}
    given = {k: v for k, v in settings.items() if k not in (*OWN_KEYS, "name")}
    complete = _complete(given)
    log: dict[str, Any] = {
        "experiment": name,
        **{k: settings.get(k) for k in OWN_KEYS},
        "command": f"aae reproduce {name} --seeds {len(seeds)}",
        "configuration": {k: json_value(v) for k, v in complete.items() if k != "data_dir"},
        "versions": runs.versions(),
        "machine": machine(),
        "seeds": [],
    }
    path = log_path(name, folder) if folder else None
    before = json.loads(path.read_text(encoding="utf-8")) if path and path.exists() else {}
    known = {r["seed"]: r for r in before.get("seeds", ()) if before.get("configuration") == log["configuration"]}
    for seed in seeds:
        varied: dict[str, Any] = {"random_state": seed}
        if "data" in given:
            varied |= {"split_random_state": seed, "data_dir": data_dir}
        if given.get("data") == "digits":
            varied["data_options"] = (f"test_random_state={seed}",)
        config = complete | varied
        log["seeds"].append(known.get(seed) or {"seed": seed, **_once(config, listeners, settings, pictures)})
        log |= _summary(log["seeds"]) | {"date": datetime.now().isoformat(timespec="seconds")}
        if folder:
            write_log(log, folder)
    return log


def _complete(given: Mapping[str, Any], source: str = "") -> dict[str, Any]:
    """All settings of an experiment, checked; the simulator has pairs of its own in place of a data set."""
    from aaekit.experiments import simulation

    if given["system"] == simulation.SYSTEM:
        return simulation.configuration(given, source)
    return runs.completed(given["system"], runs.configuration(given["system"], given, source))


def _summary(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation of every number over seeds, and the mean time."""
    common = [k for k, v in results[0].items() if isinstance(v, float) and all(k in r for r in results)]
    summary = {k: spread([r[k] for r in results]) for k in common if k != "seconds"}
    seconds = float(np.mean([r["seconds"] for r in results]))
    return {"error": summary.get("error", {}), "summary": summary, "seconds": seconds}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and, of several values, standard deviation."""
    found = {"mean": float(np.mean(values))}
    return found | {"sd": float(np.std(values, ddof=1))} if len(values) > 1 else found


def _once(
    config: dict[str, Any], listeners: Sequence[Listener], settings: Mapping[str, Any], pictures: Path | None
) -> dict[str, Any]:
    """One seed, by the protocol of the experiment."""
    from aaekit.experiments import protocols, simulation

    kind = simulation.SimulationTrial if config["system"] == simulation.SYSTEM else protocols.Trial
    trial = kind(config, listeners)
    protocols.find(settings.get("protocol", "held_out"))(trial)
    if pictures is not None and config["random_state"] == 0:
        for name, figure in trial.pictures.items():
            figures.save(figure, pictures / f"{settings['name']}-{name}.png")
    return trial.numbers


def machine() -> dict[str, Any]:
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


def measured(log: Mapping[str, Any], name: str | None = None) -> str:
    """A number of a log as a text: mean, standard deviation, seeds. Without a name, the one that counts."""
    name = str(name or log.get("measure") or "error")
    values = [r[name] for r in log["seeds"]]
    digits = 3 if name.split()[-1] in UP_TO_ONE else 2
    found, n = spread(values), len(values)
    plus_minus = f" ± {found['sd']:.{digits}f}" if n > 1 else ""
    return f"{found['mean']:.{digits}f}{plus_minus} ({n} seed{'s' if n > 1 else ''})"


def table(logs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str, str]]:
    """Experiment, published, target, ours (mean +- standard deviation over seeds), mean training time; as texts."""
    lines = []
    for log in logs:
        known = (log.get("measure") or "error") in log["seeds"][0]
        target = log["target"] if isinstance(log["target"], str) else f"<= {log['target'] or ''}"
        target = target.replace("<=", "≤").replace(">=", "≥") if log["target"] is not None else ""
        ours = measured(log) if known else "see the log"
        lines.append((log["title"], str(log["published"] or ""), target, ours, f"{log['seconds']:.0f} s"))
    return lines
