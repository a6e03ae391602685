"""What the groups of commands share.

torch is loaded only by the commands that need it.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no table.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Where named sets live; else AAE_DATA_DIR, else the user's cache directory.", show_default=False),
]


def new_app(**settings: Any) -> typer.Typer:
    """A group of commands that looks like the others."""
    return typer.Typer(
        no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]}, **settings,
    )  # fmt: skip


def listeners(quiet: bool) -> list[Any]:
    """Who is told of a training: a progress bar, unless it is to be quiet."""
    from aaekit.progress import Progress

    return [] if quiet else [Progress()]


def write_csv(path: Path, lines: Iterable[Sequence[Any]]) -> None:
    """Write lines, the header first."""
    from aaekit.files import write_atomically

    def write(temporary: str) -> None:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines)

    write_atomically(path, write)
