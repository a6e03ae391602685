"""The commands `aae data ...`: which data sets there are, and how to prepare them."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from aaekit.cli.options import DataDir, RandomState, SetName, SetOptions, new_app

data_app: typer.Typer = new_app()


class LabelDraw(StrEnum):
    """How many of the labelled rows are of each class."""

    balanced = "balanced"
    proportional = "proportional"


@data_app.command("list")
def list_sets(data_dir: DataDir = None) -> None:
    """List the named data sets."""
    from rich.console import Console
    from rich.table import Table

    from aaekit import data

    table = Table()
    for heading in ("name", "content", "download"):
        table.add_column(heading)
    for name in data.names():
        facts = data.info(name, data_dir)
        table.add_row(name, facts["summary"], "present" if facts["present"] else f"{facts['megabytes']} MB")
    Console().print(table)


@data_app.command()
def info(name: SetName, data_dir: DataDir = None, data_options: SetOptions = None) -> None:
    """Describe a data set, and say where its files are; nothing is downloaded."""
    from aaekit import data

    options = _data_options(data_options)
    if options or not set(name.split("+")) <= set(data.names()):
        facts = data.load(name, data_dir, download=False, **options).describe()
    else:
        facts = data.info(name, data_dir)
        for file in facts.pop("files"):
            facts[file["name"]] = f"{file['state']}{' at ' + str(file['path']) if file['path'] else ''}"
    for key, value in facts.items():
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        typer.echo(f"{key + ':':<12} {text}")


@data_app.command()
def prepare(
    name: SetName,
    out: Annotated[Path, typer.Option(help="Folder for SET.npz (and SET-split.npz).")] = Path("."),
    labels: Annotated[
        int | None,
        typer.Option(help="Number of labelled rows, see --label-draw: also writes the split.", show_default="no split"),
    ] = None,
    label_draw: Annotated[
        LabelDraw, typer.Option(help="As many labelled rows of each class, or in proportion to the classes.")
    ] = LabelDraw.balanced,
    validation: Annotated[int, typer.Option(help="Number of rows set aside for validation.")] = 0,
    random_state: RandomState = 0,
    data_dir: DataDir = None,
    data_options: SetOptions = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Download a set, check it, and write it to one .npz file, with a split of its rows on request."""
    from aaekit import data

    options = _data_options(data_options)
    counts = {"labels": labels, "validation": validation, "random_state": random_state, "label_draw": label_draw.value}
    for path in data.prepare(name, data_dir, out, overwrite=overwrite, **counts, **options):
        typer.echo(str(path))


def _data_options(text: str | None) -> dict[str, Any]:
    """Read the value of --data-options."""
    if text is None:
        return {}
    from aaekit.runs.data import data_options

    return data_options(text.split(","))
