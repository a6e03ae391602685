"""Running an experiment for several seeds, with a log after each; an interrupted one continues."""

import json
import multiprocessing
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aaekit import plots
from aaekit._files import read_json, write_json
from aaekit.core.callbacks import Callback
from aaekit.data.sets import SETS
from aaekit.errors import InputError
from aaekit.estimators._io import json_value
from aaekit.runs.config import machine, versions
from reproduction import experiments, logs, protocols, simulation, trials

FORMAT = 2  # logs without a format are older: their settings have other names, their seeds draw other numbers


def run(
    name: str,
    seeds: Sequence[int],
    data_dir: str | None = None,
    callbacks: Sequence[Callback] = (),
    folder: Path | None = None,
    pictures: Path | None = None,
    jobs: int = 1,
    **replaced: Any,
) -> dict[str, Any]:
    """Run an experiment once per seed and return its log.

    Held-out rows are scored each epoch for the learning curve; they are never used for training, model selection or
    early stopping.

    Parameters
    ----------
    name : str
        An experiment, see `experiments.names`.
    seeds : sequence of int
        A seed draws the labels, the held-out rows of small data sets, the weights, the minibatches and the noise.
    data_dir : str, optional
        Folder of the named data sets.
    callbacks : sequence of Callback
        Called during training; not if several seeds run side by side.
    folder : Path, optional
        Where the log is written, after each seed. Seeds that are in the log there, or in that of a part in a folder
        `part-K-of-N` there, are not run again, and an interrupted seed continues if its configuration, commit and
        versions are the same.
    pictures : Path, optional
        Where the figures of seed 0 are written.
    jobs : int
        Number of seeds that run side by side, in processes that share the threads.
    **replaced
        Settings that replace those of the experiment.

    Returns
    -------
    dict
        The log: settings, `plan` of the estimator, versions, machine, and the numbers of each seed with their mean and
        standard deviation.

    Raises
    ------
    InputError
        If the log in the folder is of another configuration or of an earlier version: it is not overwritten.
    """
    experiment = experiments.read(name)
    experiments.check(name)
    given = experiments.settings(experiment) | replaced
    config = experiments.complete(given, f"{name}.yaml")
    log: dict[str, Any] = {
        "format": FORMAT,
        "experiment": name,
        **{key: experiment.get(key) for key in experiments.OWN_KEYS},
        "command": "",
        "configuration": {k: json_value(v) for k, v in config.items() if k != "data_dir"},
        "plan": {},
        "versions": versions(),
        "machine": machine(),
        "side_by_side": jobs,
        "seeds": [],
    }
    previous, results = _previous(name, folder, log)
    n_logged = len(previous.get("seeds", ()))

    def of_seed(seed: int) -> dict[str, Any]:
        drawn: dict[str, Any] = {"random_state": seed}
        if "data" in given:
            drawn |= {"split_random_state": seed, "data_dir": data_dir}
        if "test_random_state" in getattr(SETS.get(given.get("data", "")), "options", ()):
            drawn["data_options"] = (f"test_random_state={seed}",)
        return config | drawn

    def record() -> None:
        log["seeds"] = [results[k] for k in sorted(results)]
        log["command"] = f"aae reproduce {name} --seeds {len(results)}"
        log.update(_summary(log["seeds"]), date=datetime.now().isoformat(timespec="seconds"))
        if folder:
            logs.write(log, folder)

    if len(results) > n_logged:
        record()
    to_run = {seed: of_seed(seed) for seed in seeds if seed not in results}
    for seed, (numbers, plan) in _side_by_side(to_run, jobs, callbacks, name, experiment, pictures, folder):
        log["plan"] = log["plan"] or plan
        own_plan = {} if plan == log["plan"] else {"plan": plan}
        results[seed] = {"seed": seed, "git": log["versions"].get("git"), **numbers, **own_plan}
        record()
    return log if len(results) > n_logged else previous


def _previous(name: str, folder: Path | None, log: dict[str, Any]) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """The log in a folder, and its results by seed with those of the parts beside it; `log` takes over their plan."""
    previous, results = {}, {}
    if folder is None:
        return previous, results
    path = logs.path_of(name, folder)
    for place in (path, *sorted(folder.glob(f"part-*-of-*/{path.name}"))):
        if place.exists():
            logged = logs.read(place)
            _check_same(logged, log, place)
            previous = logged if place == path else previous
            log["plan"] = log["plan"] or logged["plan"]
            results = {result["seed"]: result for result in logged["seeds"]} | results
    return previous, results


def _check_same(previous: Mapping[str, Any], log: Mapping[str, Any], path: Path) -> None:
    """Raise InputError if `log` cannot continue a previous one; options that are newer than it count as defaults."""
    remedy = "choose another folder (--out), or delete the file"
    if previous.get("format") != FORMAT:
        raise InputError(
            f"{path}: expected a log of this version to continue, got one of an earlier version, with other names of "
            f"settings and other random numbers: {remedy}"
        )
    defaults = experiments.complete({"system": log["configuration"]["system"]})
    before = {k: json_value(v) for k, v in defaults.items() if k != "data_dir"} | previous["configuration"]
    before, now = (
        json.loads(json.dumps({**options, "variants": variants}))
        for options, variants in ((before, previous["variants"]), (log["configuration"], log["variants"]))
    )
    differing = [k for k in before | now if before.get(k) != now.get(k)]
    if differing:
        raise InputError(
            f"{path}: expected a log of the same configuration to continue, got one that differs in "
            f"{', '.join(differing)}: {remedy}"
        )


def _side_by_side(
    configs: Mapping[int, dict[str, Any]], jobs: int, callbacks: Sequence[Callback], *details: Any
) -> Iterator[tuple[int, tuple[dict[str, Any], dict[str, Any]]]]:
    """Seed and result of each configuration as they end, several at a time in processes that share the threads."""
    if jobs == 1 or len(configs) < 2:
        for seed, config in configs.items():
            yield seed, _run_seed(config, callbacks, *details)
        return
    context, threads = multiprocessing.get_context("spawn"), max(1, torch.get_num_threads() // jobs)
    with ProcessPoolExecutor(jobs, context, torch.set_num_threads, (threads,)) as pool:
        seeds = {pool.submit(_run_seed, config, (), *details): seed for seed, config in configs.items()}
        for done in as_completed(seeds):
            yield seeds[done], done.result()


def _run_seed(
    config: dict[str, Any],
    callbacks: Sequence[Callback],
    name: str,
    experiment: Mapping[str, Any],
    pictures: Path | None,
    folder: Path | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Numbers and plan of one seed, by the protocol of the experiment; continues an interrupted attempt."""
    checkpoints = _checkpoints(config, name, folder) if folder else None
    if config["system"] == experiments.SIMULATOR:
        trial: Any = simulation.SimulationTrial(config, callbacks)
    else:
        trial = trials.Trial(config, callbacks, experiment.get("variants") or {}, checkpoints)
    protocols.find(experiment.get("protocol", "held_out"))(trial)
    if pictures is not None and config["random_state"] == 0:
        for title, figure in trial.pictures.items():
            plots.save(figure, pictures / f"{name}-{title}.png")
    if checkpoints is not None:
        shutil.rmtree(checkpoints, ignore_errors=True)
    return trial.numbers, trial.plan


def _checkpoints(config: Mapping[str, Any], name: str, folder: Path) -> Path:
    """The folder of one seed's checkpoints; those of another configuration, commit or version are deleted."""
    path = folder / f"{name}-{config['random_state']}-unfinished"
    made_by = json.loads(json.dumps({"configuration": {k: json_value(v) for k, v in config.items()}} | versions()))
    try:
        same = read_json(path / "made_by.json", "the settings of an experiment") == made_by
    except (OSError, ValueError):
        same = False
    if not same:
        shutil.rmtree(path, ignore_errors=True)
        write_json(path / "made_by.json", made_by)
    return path


def _summary(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over seeds of every number, and the mean time."""
    common = [k for k, v in results[0].items() if isinstance(v, float) and all(k in r for r in results)]
    summary = {k: logs.mean_and_std([r[k] for r in results]) for k in common if k != "seconds"}
    seconds = float(np.mean([r["seconds"] for r in results]))
    return {"error": summary.get("error", {}), "summary": summary, "seconds": seconds}
