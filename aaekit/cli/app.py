"""The command line, `aae`: the order of its commands, and how errors are printed.

torch is loaded only by the commands that need it, so that help and misspelt commands are answered at once.
"""

import errno
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from aaekit.cli import runs, samples, search, train
from aaekit.cli.data import data_app
from aaekit.cli.label import label_app
from aaekit.cli.launch import Ended, exit_code, is_silent
from aaekit.cli.options import Stopped, new_app, say
from aaekit.cli.reproduce import reproduce
from aaekit.cli.studio import studio
from aaekit.cli.suite import suite
from aaekit.errors import InputError, TrainingError, nearest
from aaekit.ultrasound.cli import simulate_app

USAGE_ERROR: Any = typer.BadParameter.__base__  # click's own, wherever this version of typer keeps it
COMMANDS = (
    "train resume search studio evaluate doctor plot predict transform name label sample reconstruct translate "
    "simulate data suite reproduce"
)


class InOrder(TyperGroup):
    """Lists the commands in the order in which they are needed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS.split())


app: typer.Typer = new_app(
    cls=InOrder,
    help="Adversarial autoencoders: new samples, classification from few labels.\n\n"
    "A first try, about a minute: [bold]aae train classifier --data digits --labels 50 --out runs/first[/bold]",
)
app.add_typer(train.trainers, name="train", help="Train a model into a new run directory.")
app.add_typer(search.searchers, name="search", help="Search for the parameters of a model, by Optuna.")
app.add_typer(label_app, name="label")
app.add_typer(simulate_app, name="simulate")
app.add_typer(data_app, name="data", help="List, describe and prepare data sets.")
for _command in (
    train.resume,
    runs.evaluate,
    runs.doctor,
    runs.plot,
    runs.predict,
    runs.transform,
    runs.name,
    samples.sample,
    samples.reconstruct,
    samples.translate,
    suite,
    reproduce,
    studio,
):
    app.command()(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; errors are printed in one line each, with exit code 2."""
    code: Any = 2

    def tell(text: str) -> None:
        if not is_silent():
            say(text)

    try:
        code = typer.main.get_command(app).main(
            args=None if arguments is None else list(arguments), prog_name="aae", standalone_mode=False
        )
        if code == 130:  # typer's own answer to an interrupt
            tell("stopped")
    except USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
        else:
            message = error.format_message().rstrip(".")
            if possible := getattr(error, "possibilities", None):
                message = f"no such option {error.option_name}{nearest(error.option_name, possible)}"
            place = f" (see `{error.ctx.command_path} --help`)" if error.ctx is not None else ""
            tell(f"error: {message[0].lower()}{message[1:].replace('. Did', ': did')}{place}")
    except (InputError, TrainingError) as error:
        for line in str(error).splitlines():
            tell(f"error: {line}")
    except (KeyboardInterrupt, typer.Abort):
        tell("stopped")
        code = 130
    except Stopped as stop:
        tell(str(stop))
        code = 130
    except Ended as end:
        if end.is_failure:
            sys.exit(end.code)
        code = end.code
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        hint = ": free some space or choose another place" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        tell(f"error: {place}{error.strerror or error}{hint}")
    sys.exit(exit_code(code if isinstance(code, int) else 0))
