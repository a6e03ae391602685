"""Published figures and ours beside them: one YAML file per experiment, and the runner that logs what it measured.

A YAML file holds only what differs from the defaults of its system, and keys of its own: `title`, `published` (the
figure to compare with, in words), `family` (see `FAMILIES`), `protocol` (how it is measured, see `protocols`),
`measure` (the number that counts; error in percent by default), `unit`, `target` (ours to reach, with its sign:
"<= 1.5"), and `variants` (of an ablation: what each changes).
"""

import json
import multiprocessing
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aaekit import plots
from aaekit._files import write_json
from aaekit.core.callbacks import Callback
from aaekit.data.sets import SETS
from aaekit.errors import InputError, nearest
from aaekit.estimators._base import json_value
from aaekit.runs import run as runs

FOLDER = Path(__file__).parent
LOGS = FOLDER / "logs"
UP_TO_ONE = {"nmi", "ari", "auc", "trustworthiness", "two_sample_auc", "mmd", "sliced_wasserstein", "marginal_entropy"}
UP_TO_ONE |= {"jsd"}
OWN_KEYS = ("title", "family", "published", "target", "protocol", "measure", "unit", "variants")
FAMILIES = {  # kept apart in every table
    "ours": "whatever works best with the same labels: the defaults, convolutions and augmentation included",
    "as published": "the networks of the source, no augmentation; no knowledge of images goes in",
}


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
    settings.setdefault("family", "ours")
    if settings["family"] not in FAMILIES:
        raise InputError(f"{name}.yaml: family: expected {' or '.join(FAMILIES)}, found {settings['family']!r}")
    for changed in ({}, *(settings.get("variants") or {}).values()):
        _complete(given | changed, f"{name}.yaml")
    return settings


def measure(
    name: str,
    seeds: Sequence[int],
    data_dir: str | None = None,
    callbacks: Sequence[Callback] = (),
    folder: Path | None = None,
    pictures: Path | None = None,
    jobs: int = 1,
    **changed: Any,
) -> dict[str, Any]:
    """Run an experiment once for each seed, which draws the labels, the held-out rows of small sets, and the rest.

    Test rows are scored each epoch for the curve; nothing is trained, chosen or stopped by them. With a `folder`, the
    log is written there after each seed, which tells the commit that ran it; seeds that it already has, by the same
    configuration, are kept and not run again, and one that was stopped goes on, if it is still of the same
    configuration, commit and versions. Into `pictures` go those that the protocol draws, of seed 0. With `jobs`,
    so many seeds run side by side and share the threads; callbacks are told of one at a time only. `changed` are
    settings in place of the experiment's.

    Raises
    ------
    InputError
        When the log in the folder is of another configuration: it is not written over.
    """
    settings = read(name) | {"name": name}
    given = {k: v for k, v in settings.items() if k not in (*OWN_KEYS, "name")} | changed
    complete = _complete(given)
    log: dict[str, Any] = {
        "experiment": name,
        **{k: settings.get(k) for k in OWN_KEYS},
        "command": "",
        "configuration": {k: json_value(v) for k, v in complete.items() if k != "data_dir"},
        "versions": runs.versions(),
        "machine": machine(),
        "side_by_side": jobs,
        "seeds": [],
    }
    path = log_path(name, folder) if folder else None
    before = json.loads(path.read_text(encoding="utf-8")) if path and path.exists() else {}
    results = {r["seed"]: r for r in _continued(before, log)}
    if before and not results:
        raise InputError(
            f"{path}: the log there is of another configuration, and its seeds would be lost: choose another folder "
            "(--out), or delete it first"
        )

    def varied(seed: int) -> dict[str, Any]:
        found: dict[str, Any] = {"random_state": seed}
        if "data" in given:
            found |= {"split_random_state": seed, "data_dir": data_dir}
        if "test_random_state" in getattr(SETS.get(given.get("data", "")), "options", ()):
            found["data_options"] = (f"test_random_state={seed}",)
        return complete | found

    left = {seed: varied(seed) for seed in seeds if seed not in results}
    for seed, result in _side_by_side(left, jobs, callbacks, settings, pictures, folder):
        results[seed] = {"seed": seed, "git": log["versions"].get("git"), **result}
        log["seeds"] = [results[k] for k in sorted(results)]
        log["command"] = f"aae reproduce {name} --seeds {len(results)}"
        log |= _summary(log["seeds"]) | {"date": datetime.now().isoformat(timespec="seconds")}
        if folder:
            write_log(log, folder)
    return log if left else before


def _continued(before: Mapping[str, Any], log: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The seeds of a log that `log` goes on with: of one configuration, newer options at their defaults."""
    if not before:
        return []
    defaults = {k: json_value(v) for k, v in _complete({"system": log["configuration"]["system"]}).items()}
    was = {k: v for k, v in {**defaults, **before["configuration"]}.items() if k != "data_dir"}
    now = json.loads(json.dumps([log["configuration"], log["variants"]]))
    if [json.loads(json.dumps(was)), before["variants"]] != now:
        return []
    seeds = before["seeds"]  # of several, an older log told only the commit of the last
    return [{"git": before["versions"].get("git"), **seeds[0]}] if len(seeds) == 1 else list(seeds)


def _side_by_side(
    left: Mapping[int, dict[str, Any]], jobs: int, callbacks: Sequence[Callback], *more: Any
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Seed and result of each configuration, as they end; several at a time in processes that share the threads."""
    if jobs == 1 or len(left) < 2:
        for seed, config in left.items():
            yield seed, _once(config, callbacks, *more)
        return
    context, threads = multiprocessing.get_context("spawn"), max(1, torch.get_num_threads() // jobs)
    with ProcessPoolExecutor(jobs, context, torch.set_num_threads, (threads,)) as pool:
        seeds = {pool.submit(_once, config, (), *more): seed for seed, config in left.items()}
        for done in as_completed(seeds):
            yield seeds[done], done.result()


def _complete(given: Mapping[str, Any], source: str = "") -> dict[str, Any]:
    """All settings of an experiment, checked; the simulator has pairs of its own in place of a data set."""
    from reproduction import simulation

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
    config: dict[str, Any],
    callbacks: Sequence[Callback],
    settings: Mapping[str, Any],
    pictures: Path | None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """One seed, by the protocol of the experiment; what is left of an earlier attempt in the folder is gone on with."""
    from reproduction import protocols, simulation

    kept = _unfinished(config, settings["name"], folder) if folder else None
    if config["system"] == simulation.SYSTEM:
        trial: Any = simulation.SimulationTrial(config, callbacks)
    else:
        trial = protocols.Trial(config, callbacks, settings.get("variants") or {}, kept)
    protocols.find(settings.get("protocol", "held_out"))(trial)
    if pictures is not None and config["random_state"] == 0:
        for name, figure in trial.pictures.items():
            plots.save(figure, pictures / f"{settings['name']}-{name}.png")
    if kept is not None:
        shutil.rmtree(kept, ignore_errors=True)
    return trial.numbers


def _unfinished(config: Mapping[str, Any], name: str, folder: Path) -> Path:
    """Where the checkpoints of one seed are; those of another configuration, commit or library are deleted."""
    path = folder / f"{name}-{config['random_state']}-unfinished"
    of = json.loads(json.dumps({"configuration": {k: json_value(v) for k, v in config.items()}} | runs.versions()))
    try:
        same = json.loads((path / "of.json").read_text(encoding="utf-8")) == of
    except (OSError, ValueError):
        same = False
    if not same:
        shutil.rmtree(path, ignore_errors=True)
        write_json(path / "of.json", of)
    return path


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
    write_json(path, log)
    return path


def read_logs(folder: Path = LOGS) -> list[dict[str, Any]]:
    """All logs, by name."""
    return [json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.json"))]


def measured(log: Mapping[str, Any], name: str | None = None) -> str:
    """A number of a log as a text: mean, standard deviation, seeds. Without a name, the one that counts."""
    if name == "time":
        return duration(log)
    name = str(name or log.get("measure") or "error")
    values = [r[name] for r in log["seeds"]]
    digits = 3 if name.split()[-1] in UP_TO_ONE else 2
    found, n = spread(values), len(values)
    plus_minus = f" ± {found['sd']:.{digits}f}" if n > 1 else ""
    return f"{found['mean']:.{digits}f}{plus_minus} ({n} seed{'s' if n > 1 else ''})"


def described(log: Mapping[str, Any]) -> dict[str, Any]:
    """A log, with title, target and the like as its experiment has them now."""
    known = read(log["experiment"]) if log["experiment"] in names() else {}
    return {**log, **{k: known[k] for k in ("title", "family", "published", "target") if k in known}}


def table(logs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str, str]]:
    """Experiment, published, target, ours (mean +- standard deviation over seeds), time and epochs; as texts."""
    return [_line(described(log)) for log in logs]


def _line(log: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    known = (log.get("measure") or "error") in log["seeds"][0]
    target = log["target"] if isinstance(log["target"], str) else f"<= {log['target'] or ''}"
    target = target.replace("<=", "≤").replace(">=", "≥") if log["target"] is not None else ""
    return log["title"], str(log["published"] or ""), target, measured(log) if known else "see the log", effort(log)


def duration(log: Mapping[str, Any]) -> str:
    """The mean time of a seed."""
    seconds = log["seconds"]
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def effort(log: Mapping[str, Any]) -> str:
    """The mean time of a seed and, where one training is what was measured, its epochs."""
    history = log["seeds"][0].get("history") or [{}]
    epochs = history[-1].get("epoch")
    return duration(log) + (f", {epochs:.0f} epochs" if epochs else "")


def markdown(logs: Sequence[Mapping[str, Any]]) -> str:
    """All logs as tables in Markdown, one for each family."""
    parts, every = [], [described(log) for log in logs]
    columns = ["experiment", "published", "target", "measured", "a seed took", "log"]
    for family, meaning in FAMILIES.items():
        lines = ["| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]
        for log in every:
            if (log.get("family") or "ours") == family:
                cells = [cell.replace("|", "/") for cell in _line(log)]
                lines.append("| " + " | ".join([*cells, log["experiment"]]) + " |")
        parts += [f"**{family[0].upper()}{family[1:]}**: {meaning}.", "", *lines, ""]
    return "\n".join(parts)
