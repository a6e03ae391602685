"""`aae search SYSTEM`: hyper-parameters by Optuna. What is varied is declared by the estimators alone."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from aaekit._files import check_writable, write_text
from aaekit._progress import time_text
from aaekit.cli.options import Quiet, Stopped, default_text, new_app, notes, say
from aaekit.cli.systems import Config, SystemsGroup, chosen_options, complete_configuration, system_command
from aaekit.errors import InputError
from aaekit.systems import System

EPILOG = "The other options are those of `aae train`. A parameter that is given is not searched."
ELSEWHERE = {"data", "test", "data_dir", "features", "device", "precision"}  # may differ where a study is shared
OPTIONS: dict[str, tuple[Any, Any]] = {  # of the command itself: type and default
    "out": (
        Annotated[
            Path | None,
            typer.Option(
                help="Folder for the report and the best configuration. [red]Required[/red]", show_default=False
            ),
        ],
        None,
    ),
    "config": (Config, None),
    "search": (
        Annotated[
            list[str] | None,
            typer.Option(
                help="A parameter to vary: NAME, NAME=LOW..HIGH, or NAME=A,B (choices with commas: A/B); repeatable. "
                "An entry of a mapping is NAME.ENTRY, such as loss_weights.generator=0.1..10.",
                metavar="NAME=VALUES",
                show_default="those that the system declares",
            ),
        ],
        None,
    ),
    "trials": (
        Annotated[int, typer.Option(min=1, help="Number of trials, those before an interruption included.")], 20
    ),
    "folds": (
        Annotated[int, typer.Option(min=2, help="Parts of the labelled rows, each predicted by a model of its own.")], 3
    ),
    "storage": (
        Annotated[
            str | None,
            typer.Option(
                help="Where trials are stored, if several processes share a study: a file ending in .log or .db, or "
                "the URL of a database.",
                show_default="OUT/study.log",
            ),
        ],
        None,
    ),
    "study": (
        Annotated[str | None, typer.Option(help="Name of the study.", show_default="system and data")],
        None,
    ),
    "quiet": (Quiet, False),
}  # fmt: skip


class SearchGroup(SystemsGroup):
    """The commands `aae search SYSTEM`."""

    def make(self, system: System) -> Any:
        return system_command(system, _search, OPTIONS, EPILOG)


searchers: typer.Typer = new_app(cls=SearchGroup)


def _search(
    system: System,
    *,
    out: Path | None,
    config: Path | None,
    search: list[str] | None,
    trials: int,
    folds: int,
    storage: str | None,
    study: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    import json

    from aaekit import search as searches
    from aaekit._extras import require
    from aaekit._locks import locked
    from aaekit.data import fingerprint
    from aaekit.estimators._io import json_value
    from aaekit.runs.config import config_text, estimator_of
    from aaekit.runs.data import by_class_number, load_data, split_of, training_rows

    for package, extra in (("optuna", "search"), ("matplotlib", "plots"), ("jinja2", "plots")):
        require(package, extra=extra)
    if out is None:
        raise InputError("expected a folder for the search, got none: give --out, for instance --out searches/first")
    check_writable(out, is_folder=True)
    space = searches.space_of(system.name, search or (), [name for name in options if options[name] is not None])
    complete = complete_configuration(system, chosen_options(system, config, options))
    with notes():
        data = load_data(complete)
        X, y, _ = training_rows(complete, data, split_of(complete, data))
    by_number, random_state = by_class_number(complete, data), complete["random_state"]

    def make(values: Mapping[str, Any], raised: int = 0) -> Any:
        tried = searches.with_values(system.name, complete, values)
        return estimator_of(tried, **by_number, random_state=random_state + raised)

    score = searches.score_of(make({}), X, y, random_state, folds)
    question = {
        "system": system.name,
        "rows": fingerprint(X),
        "labels": None if y is None else fingerprint(y, len(y)),
        "score": score.name,
        "folds": folds,
        "space": [str(dimension) for dimension in space],
        "options": {k: json_value(v) for k, v in complete.items() if k not in ELSEWHERE},
    }
    place, defaults = storage or str(out / "study.log"), _as_given(complete, space)
    say_progress = (lambda progress: None) if quiet else _say
    stopped = False
    with locked(out):
        name = study or f"{system.name} of {data.name}"
        opened = searches.open_study(searches.open_storage(place), name, json.loads(json.dumps(question)), place)
        if not quiet:
            say(f"minimises the {score.name}: {score.meaning}")
            say(f"searches {', '.join(map(str, space))}")
        try:
            searches.run(
                opened, trials, space, defaults, score, make, random_state, place, storage is not None, say_progress
            )
        except KeyboardInterrupt:
            stopped = True
        ended = searches.results(opened)
        if (best := searches.best_of(ended)) is not None:
            best_config = out / "best.yaml"
            write_text(best_config, config_text(searches.with_values(system.name, complete, best.values)))
            command = f"aae train {system.name} --config {shlex.quote(str(best_config))} --out runs/best"
            page = searches.write_page(
                out / "report.html", f"Search for a {system.name} of {data.name}", ended, space, score, defaults,
                searches.importances(opened, space, random_state), command, complete,
            )  # fmt: skip
            typer.echo(searches.conclusion(ended, score))
            typer.echo(f"train with the best values: {command}")
            typer.echo(f"report: {page}")
    if stopped:
        raise Stopped(f"stopped after {len(ended)} trials; give the same command again to continue")


def _as_given(config: Mapping[str, Any], space: Sequence[Any]) -> dict[str, Any]:
    """The values of a configuration by dimension: numbers, and texts as one would type them."""
    values = {}
    for dimension in space:
        base, _, entry = dimension.name.partition(".")
        value = (config[base] or {}).get(entry, "default") if entry else config[base]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        values[dimension.name] = value if is_number and not dimension.choices else default_text(value)
    return values


def _say(progress: Any) -> None:
    """Print a line for a trial."""
    from aaekit.search import value_text

    trial, best, left = progress.trial, progress.best, progress.seconds_left
    outcome = trial.state if trial.score is None else f"{trial.score:.2f}"
    outcome += f" ({trial.reason})" if trial.reason else ""
    values = ", ".join(f"{name}={value_text(value)}" for name, value in trial.values.items())
    best_text = "" if best is None else f"; best {best.score:.2f} in trial {best.number}"
    what = "as given" if trial.is_default else values
    place = f"[{progress.n_done}/{progress.n_trials}] trial {trial.number}"
    say(f"{place}: {outcome} in {trial.seconds:.1f} s, {what}{best_text}; {time_text(left)} left")
