"""`aae train SYSTEM` and `aae resume`. The options of `train` are the estimators' parameters, declared there alone."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NamedTuple

import typer

from aaekit._imports import load
from aaekit.cli.launch import Ended, check_devices, is_launched, is_restarted, joined, start
from aaekit.cli.options import (
    DataDir,
    MovedData,
    Quiet,
    RunPath,
    Stopped,
    callbacks,
    default_text,
    new_app,
    notes,
    print_table,
    say,
)
from aaekit.cli.studio import check_studio
from aaekit.cli.systems import Config, SystemsGroup, chosen_options, complete_configuration, system_command
from aaekit.errors import InputError
from aaekit.systems import SYSTEMS, System, find

EPILOG = "Options of model, data and training can also be given in a YAML file: see --print-config and --config."
Compare = Annotated[
    bool,
    typer.Option("--compare", help="Then train other methods, too; cross-fitted if no labelled rows are held out."),
]
Devices = Annotated[
    int | None,
    typer.Option(
        "--devices",
        min=1,
        help="Number of processes on this machine: each has a graphics card, or a share of the cores.",
        show_default="1; resume: as before",
    ),
]
Restarts = Annotated[
    int, typer.Option("--max-restarts", min=0, help="With --devices: how often all start again when one has died.")
]
Watch = Annotated[bool, typer.Option("--studio", help="Watch the training in the browser; see `aae studio`.")]
OPTIONS: dict[str, tuple[Any, Any]] = {  # of the command itself: type and default
    "out": (
        Annotated[
            Path | None,
            typer.Option(help="Directory to make for the run. [red]Required[/red]", show_default=False),
        ],
        None,
    ),
    "config": (Config, None),
    "print_config": (
        Annotated[bool, typer.Option("--print-config", help="Print all options as YAML for --config, and exit.")],
        False,
    ),
    "plan": (
        Annotated[
            bool,
            typer.Option(
                "--plan",
                help='Print what each "auto" stands for, the phases, and how long a training takes, and exit.',
            ),
        ],
        False,
    ),
    "compare": (Compare, False),
    "profile": (
        Annotated[
            bool,
            typer.Option("--profile", help="Write where the time of a step goes: OUT/profile, a trace and a table."),
        ],
        False,
    ),
    "studio": (Watch, False),
    "devices": (Devices, None),
    "max_restarts": (Restarts, 0),
    "quiet": (Quiet, False),
}


class TrainGroup(SystemsGroup):
    """The commands `aae train SYSTEM`."""

    def make(self, system: System) -> Any:
        own = {name: option for name, option in OPTIONS.items() if name != "compare" or system.comparable}
        return system_command(system, _train, own, EPILOG)


trainers: typer.Typer = new_app(cls=TrainGroup)


def _train(
    system: System,
    *,
    out: Path | None,
    config: Path | None,
    print_config: bool,
    plan: bool,
    quiet: bool,
    profile: bool,
    studio: bool,
    devices: int | None,
    max_restarts: int,
    compare: bool = False,
    **options: Any,
) -> None:
    load("aaekit.runs.run")
    from aaekit.data import chosen_folder
    from aaekit.runs.config import config_text

    complete = complete_configuration(system, chosen_options(system, config, options))
    if print_config:
        typer.echo(config_text(complete), nl=False)
    elif plan:
        _print_plan(complete)
    elif out is None:
        raise InputError("expected a directory for the run, got none: give --out, for instance --out runs/first")
    else:
        if studio:
            check_studio()  # before there is a directory
        complete["data_dir"] = chosen_folder(complete["data_dir"])  # so that later commands need no variable
        flags = {"--compare": compare, "--studio": studio, "--profile": profile, "--quiet": quiet}
        if _is_for_several(devices, complete["device"]):
            _started_run(out, complete)  # refused before anything is started
            with TemporaryDirectory() as folder:
                path = Path(folder, "config.yaml")
                path.write_text(config_text(complete), encoding="utf-8")
                arguments = ["train", system.name, "--config", str(path), "--out", str(out)]
                raise Ended(start(devices or 1, max_restarts, arguments + [f for f in flags if flags[f]], out))
        _work_together(lambda: _started_run(out, complete), quiet, compare, studio, profile)


def _started_run(out: Path, config: dict[str, Any]) -> Any:
    """A new run; for a launcher, which may start the same command again, also one that has begun."""
    from aaekit.runs.run import Run

    if is_launched() and (out / "config.yaml").is_file() and (run := Run.open(out)).config == config:
        if not is_restarted():
            say(f"note: {out} has the same configuration: going on with it")
        return run
    return Run.create(out, config)


def _is_for_several(devices: int | None, device: str) -> bool:
    """Whether this process has to start several ones."""
    if devices is None or is_launched():
        if devices is not None:
            raise InputError(f"--devices: expected none in a process of torchrun, got {devices}: leave it out")
        return False
    check_devices(devices, device)
    return devices > 1


def _work_together(make: Callable[[], Any], *how: bool) -> None:
    """Finish the run that `make` returns: alone, as the first of several processes, or beside it."""
    from aaekit.core.distributed import rank_and_world_size
    from aaekit.runs.run import Run

    with joined() as rank:
        if rank:
            Run.follow()
            return
        if is_restarted():
            say("note: a process has died, and all have started again")
        run, n = make(), rank_and_world_size()[1]
        if is_launched():
            check_devices(int(os.environ["LOCAL_WORLD_SIZE"]), run.config["device"])
        if not run.fresh and n != run.n_processes:
            say(
                f"note: the run began with {run.n_processes} processes, and goes on with {n}: its numbers are not "
                "exactly those of an uninterrupted one"
            )
        if is_launched() and run.complete:
            print_results(run)  # of the same command, given again, or of one whose processes died afterwards
        else:
            _finish(run, *how)


# --- what a training will do -----------------------------------------------------------------------------------------
class TextTable(NamedTuple):
    """A table of texts to print."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def _print_plan(config: dict[str, Any]) -> None:
    """Print what each "auto" of a configuration stands for, and the phases of the training."""
    from aaekit._progress import time_text
    from aaekit.estimators._timing import timing_of
    from aaekit.runs.config import estimator_of
    from aaekit.runs.data import by_class_number, load_data, split_of, training_rows

    with notes():
        data = load_data(config)
        X, y, _ = training_rows(config, data, split_of(config, data))
        estimator = estimator_of(config, **by_class_number(config, data))
        plan = estimator.plan_for(X, y)
        settings, timing = plan.as_dict(), timing_of(estimator, plan, X, y)
    phases = [
        [p["name"], f"{p['weight']:.4g}", f"{p['learning_rate']:.4g}", ", ".join(p["moves"])]
        for p in settings.pop("phases")
    ]
    if data := settings.get("data"):
        data["groups"] = len(data["groups"])
    print_table(TextTable("Plan", ["setting", "value"], _settings_lines(settings)))
    print_table(TextTable("Phases", ["phase", "weight", "learning rate", "moves"], phases))
    if timing is not None:
        memory = "" if timing.memory is None else f", {timing.memory / 2**30:.1f} GiB of memory"
        n_init = settings.get("n_init", 1)
        what = f"{timing.n_steps:,} steps" + f", those of {n_init} initialisations included" * (n_init > 1)
        typer.echo(f"on this machine: about {time_text(timing.seconds)}{memory} ({what}; by the first few of them)")


def _settings_lines(settings: dict[str, Any], prefix: str = "") -> list[list[str]]:
    """Return a line for each setting, those of inner mappings as `outer.inner`."""
    lines = []
    for name, value in settings.items():
        if isinstance(value, dict):
            lines += _settings_lines(value, f"{prefix}{name}.")
        else:
            value = f"{value:.4g}" if isinstance(value, float) else default_text(value)
            lines.append([prefix + name, value])
    return lines


# --- training --------------------------------------------------------------------------------------------------------
def _finish(run: Any, quiet: bool, compare: bool, studio: bool, profile: bool = False) -> None:
    """Train a run to its end and print its results; with a studio, leave it open until it is closed."""
    with open_studio(run.path) if studio else nullcontext():
        _train_to_the_end(run, quiet, compare, profile)


@contextmanager
def open_studio(path: Path) -> Iterator[None]:
    """Have a studio of a run while the block works, and until Ctrl-C afterwards; it is a process of its own."""
    process = subprocess.Popen([sys.executable, "-m", "aaekit", "studio", str(path), "--wait"])
    try:
        yield
        say("the studio is still open; Ctrl-C ends it")
        process.wait()
    finally:
        process.terminate()
        process.wait()


def _train_to_the_end(run: Any, quiet: bool, compare: bool, profile: bool) -> None:
    """Train a run, and print its results and where its profile is."""
    from aaekit.core.profiling import StepProfile

    try:
        with notes():
            observers = [StepProfile(run.path / "profile")] if profile else []
            estimator = run.train([*callbacks(quiet), *observers])
        if compare:
            from aaekit.core.distributed import alone
            from aaekit.evaluation.measures import evaluate

            with alone():
                add_comparison(run, estimator, evaluate(estimator, run.held_out))
    except KeyboardInterrupt as stop:
        again = f"stopped; compare with: aae evaluate {run.path}" if run.complete else "stopped"
        resumed = " --compare" if compare and str(stop).endswith(f"aae resume {run.path}") else ""
        raise Stopped((str(stop) or again) + resumed) from None
    if not quiet:
        print_results(run)
        if profile:
            typer.echo(f"profile: {run.path / 'profile' / 'operations.txt'}")


def add_comparison(run: Any, estimator: Any, results: dict[str, Any], cross_fit: bool = True) -> None:
    """Add other methods to the results of a classifier's run: on its held-out rows, else cross-fitted if allowed."""
    from aaekit.evaluation.compare import compare, cross_fitted

    if "error" in results:
        results["comparison"] = compare(run.config, run.data, run.split, estimator, run.held_out)
    elif cross_fit and find(run.config["system"]).comparable:
        results["comparison"] = cross_fitted(run.config, run.data, run.split, estimator)
        results["n_compared"] = len(run.split.labelled)
        results["comparison_rows"] = f"cross-fitted on {len(run.split.labelled)} labelled rows"
    run.conclude(estimator, results)


def check_comparable(run: Any) -> None:
    """Refuse a comparison with other methods of a run that is no classifier."""
    system = run.config["system"]
    if not find(system).comparable:
        names = " or ".join(s.name for s in SYSTEMS.values() if s.comparable)
        raise InputError(f"{run.path}: --compare: expected a {names}, got a {system}: leave --compare out")


def print_results(run: Any) -> None:
    """Print the results of a complete run, its findings and where the report is."""
    from aaekit.evaluation.measures import tables

    results = run.results
    for table in tables(results):
        print_table(table)
    if find(run.config["system"]).comparable and not {"error", "comparison"} & set(results):
        say(
            "note: the error is unknown, since no labelled rows were held out: see --test and --validation, or "
            f"measure it on the labelled rows, beside other methods: aae evaluate {run.path} --compare"
        )
    names = ", ".join(f["name"] for f in results["findings"])
    typer.echo(f"health: {names}; for details: aae doctor {run.path}" if names else "health: nothing looks wrong")
    typer.echo(f"report: {run.path / 'report.html'}")


def resume(
    run: RunPath,
    compare: Compare = False,
    quiet: Quiet = False,
    data: MovedData = None,
    data_dir: DataDir = None,
    studio: Watch = False,
    devices: Devices = None,
    max_restarts: Restarts = 0,
) -> None:
    """Resume a training that was stopped; the results are the same as without the interruption."""
    from aaekit.runs.run import Run

    if studio:
        check_studio()

    def opened() -> Run:
        directory = Run.open(run, data, data_dir)
        if not is_restarted():
            directory.check_state()
        if compare:
            check_comparable(directory)
        return directory

    directory, device = None, "auto"
    if not is_launched():
        directory = opened()
        devices, device = devices or directory.n_processes, directory.config["device"]
    if _is_for_several(devices, device):
        flags = {"--compare": compare, "--studio": studio, "--quiet": quiet}
        places = {"--data": data, "--data-dir": data_dir}
        arguments = ["resume", str(run), *[f for f in flags if flags[f]]]
        arguments += [text for name, value in places.items() if value is not None for text in (name, str(value))]
        raise Ended(start(devices or 1, max_restarts, arguments, run))
    _work_together(lambda: directory or opened(), quiet, compare, studio)
