"""What the groups of commands share.

torch is loaded only by the commands that need it.
"""

import csv
import inspect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_origin

import typer

from aaekit.errors import FilledWarning, RangeWarning

if TYPE_CHECKING:
    from aaekit.estimators._hyperparameters import Hyperparameter

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no table.")]
RandomState = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Where named sets live; else AAE_DATA_DIR, else the user's cache directory.", show_default=False),
]
DataOptions = Annotated[
    str | None,
    typer.Option(
        help="Options of the data as name=value; for tables target=COLUMN, drop=COLUMN (several times), empty=mean.",
        metavar="A,B,...",
        show_default=False,
    ),
]


class Stopped(Exception):
    """It was interrupted; the message says what was kept, and how to go on."""


def new_app(**settings: Any) -> typer.Typer:
    """A group of commands that looks like the others."""
    return typer.Typer(
        no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]}, **settings,
    )  # fmt: skip


def callbacks(quiet: bool) -> list[Any]:
    """Who is told of a training: a progress bar, unless it is to be quiet."""
    from aaekit.core.progress import Progress

    return [] if quiet else [Progress()]


@contextmanager
def notes() -> Iterator[None]:
    """Say in a line each what a training, or an answer, warns of."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as noted:
        for kind in (ConvergenceWarning, RangeWarning, FilledWarning):
            warnings.simplefilter("always", kind)
        yield
    for warning in noted:
        typer.echo(f"note: {warning.message}", err=True)


def write_csv(path: Path, lines: Iterable[Sequence[Any]]) -> None:
    """Write lines, the header first."""
    from aaekit._files import write_atomically

    def write(temporary: str) -> None:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines)

    write_atomically(path, write)


def column_names(columns: Sequence[str], X: Any) -> list[str]:
    """What the values of a table's rows (n, n_columns) are called, if only by number."""
    return list(columns or (f"x{j + 1}" for j in range(X.shape[1])))


def written(X: Any) -> list[list[str]]:
    """The values of rows as a table of texts holds them."""
    return [[f"{value:.6g}" for value in row] for row in X]


def with_files(lines: Sequence[Sequence[Any]], files: Sequence[str]) -> list[Sequence[Any]]:
    """Lines that begin with the number of a row, the header first, with its file behind it if rows are of files."""
    if not files:
        return list(lines)
    return [[row, "file" if k == 0 else files[row], *rest] for k, (row, *rest) in enumerate(lines)]


def print_table(found: Any) -> None:
    """Print a `report.Table`."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=found.title, title_justify="left")
    for k, name in enumerate(found.columns):
        shown.add_column(name, justify="left" if k == 0 else "right")
    for row in found.rows:
        shown.add_row(*row)
    Console().print(shown)


# --- hyper-parameters as options -------------------------------------------------------------------------------------
def option_of(h: "Hyperparameter", panel: str, default: str | None = None) -> inspect.Parameter:
    """A hyper-parameter as an argument that typer makes an option of; None means that it was not given.

    `default` is what to call its default where that of the command is another.
    """
    flag = bool in h.types
    text = f"{h.description} [{', '.join(h.choices)}]" if len(h.choices) > 1 else h.description
    text = f"{text} [default: {default or _text(h.default)}]".replace("[", r"\[")
    option = typer.Option(help=text, show_default=False, rich_help_panel=panel, metavar=None if flag else _metavar(h))
    kind = Annotated[(bool if flag else str) | None, option]
    return inspect.Parameter(h.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _text(default: Any) -> str:
    """A default as one would type it."""
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return ",".join(map(str, default)) or "none"
    return "none" if default is None else str(default)


def _metavar(h: "Hyperparameter") -> str:
    if any(get_origin(t) is tuple for t in h.types):
        return "A,B,..."
    return "INTEGER" if int in h.types else "NUMBER" if float in h.types else "TEXT"
