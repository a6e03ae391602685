"""What `aae train` and `aae search` share: a command for each system, whose options are its estimator's parameters."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from aaekit.cli.options import Option, new_app, option_of, recorded
from aaekit.systems import SYSTEMS, System, find

__all__ = [
    "Config",
    "Options",
    "SystemsGroup",
    "chosen_options",
    "complete_configuration",
    "declared_options",
    "system_command",
]

DATA = "Data"  # the panel of options that are not the estimator's
DEFAULTS = {"random_state": "0", "split_random_state": "random_state"}  # of a run, which must be repeatable
Options = Mapping[str, tuple[Any, Any]]  # of a command besides those of the system: type and default
Config = Annotated[
    Path | None, typer.Option(help="YAML file of options; the command line takes precedence.", show_default=False)
]


class SystemsGroup(TyperGroup):
    """Lists the registered systems, and makes the command of one when it is called."""

    def make(self, system: System) -> Any:
        """Make the command of a system."""
        raise NotImplementedError

    def list_commands(self, ctx: Any) -> list[str]:
        return list(SYSTEMS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a placeholder, which has the help of the list."""
        return TyperCommand(cmd_name, help=SYSTEMS[cmd_name].help) if cmd_name in SYSTEMS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return args[0], self.make(find(args[0])), args[1:]


def system_command(system: System, work: Callable[..., Any], own: Options, epilog: str) -> Any:
    """Make a command that calls `work(system, **options)`, with an option for each parameter of the system."""

    def run(**options: Any) -> None:
        work(system, **options)

    options = recorded(system.name) or declared_options(system.name)
    parameters = [option.parameter() for option in options if option.panel == DATA]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in own.items()
    ]
    parameters += [option.parameter() for option in options if option.panel != DATA]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    alone = new_app()
    alone.command(system.name, help=system.help, epilog=epilog)(run)
    return typer.main.get_command(alone)


def declared_options(system: str) -> list[Option]:
    """Return the options of a system as its declarations say them; this imports its estimator, and so torch."""
    from aaekit.estimators._hyperparameters import hyperparameters_of
    from aaekit.runs.config import DataOptions, options_of

    of_data = hyperparameters_of(DataOptions)
    return [
        option_of(h, DATA if name in of_data else None, DEFAULTS.get(name))
        for name, h in options_of(system).items()
        if name != "system"
    ]


def chosen_options(system: System, config: Path | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a file and the command line give, checked."""
    from aaekit.runs.config import configuration, read_config

    from_line = {name: text for name, text in options.items() if text is not None}
    from_file = read_config(config) if config is not None else {}
    return configuration(system.name, from_file, str(config)) | configuration(system.name, from_line)


def complete_configuration(system: System, values: Mapping[str, Any]) -> dict[str, Any]:
    """Add the defaults to checked options; paths become absolute, so that they mean the same in other directories."""
    from aaekit.data import whole_path
    from aaekit.encoders import absolute
    from aaekit.runs.config import completed

    complete = completed(system.name, values)
    complete |= {name: whole_path(complete[name]) for name in ("data", "test") if complete[name] is not None}
    if complete["features"] is not None:
        complete["features"] = absolute(complete["features"])
    for name in ("data_dir", "autoencoder"):
        if complete.get(name) is not None:
            complete[name] = str(Path(complete[name]).expanduser().resolve())
    return complete
