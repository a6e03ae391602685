"""The commands `aae data ...`: which data sets there are, and how to prepare them."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from aaekit.cli.options import DataDir, Features, RandomState, SetName, SetOptions, image_shape_of, new_app, notes
from aaekit.errors import ColumnWarning, ImageWarning, InputError

if TYPE_CHECKING:
    from aaekit.columns import Column, Schema
    from aaekit.data import Dataset
    from aaekit.data.images import Pictures

N_COLUMNS = 40  # lines of columns that are printed
N_SHEET, N_SHEET_ROWS = 12, 20  # images in a row of a sheet, and its rows
N_CLASSES, N_NAMES = 12, 5  # classes of a set and categories of a column that are named

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
        table.add_row(name, facts["summary"], _state(facts))
    Console().print(table)


def _state(facts: dict[str, Any]) -> str:
    """Say whether the files of a set are there, or how much there is to download."""
    if facts["present"]:
        return "present"
    return f"{facts['megabytes']} MB" if all(file["urls"] for file in facts["files"]) else "put into --data-dir"


@data_app.command()
def info(
    name: SetName,
    data_dir: DataDir = None,
    data_options: SetOptions = None,
    labels: Annotated[
        int | None,
        typer.Option(min=0, help="Number of labelled rows, as in `aae train`: shows the split.", show_default="all"),
    ] = None,
    validation: Annotated[int, typer.Option(min=0, help="Number of rows set aside for validation.")] = 0,
    label_draw: Annotated[LabelDraw, typer.Option(help="How --labels are drawn, as in `aae train`.")] = (
        LabelDraw.balanced
    ),
    split_random_state: Annotated[int, typer.Option(min=0, help="Seed of the choice of these rows.")] = 0,
    test: Annotated[str | None, typer.Option(help="Labelled test rows, as in `aae train`.", show_default=False)] = None,
    image_shape: Annotated[
        str | None,
        typer.Option(
            help="Channels, height and width of images, or channels and length of signals, as in `aae train`: of flat "
            "rows, or to resize files to.",
            show_default=False,
        ),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            help="PNG to draw images or signals into, some of each class, as a model sees them.", show_default=False
        ),
    ] = None,
    features: Features = None,
) -> None:
    """Describe a data set: its rows, labels, columns or images, and where its files are; nothing is downloaded."""
    from aaekit import data

    options: dict[str, Any] = _data_options(data_options)
    if features is not None:
        options["features"] = features
    shape = None if image_shape is None else image_shape_of(image_shape)
    with_split = labels is not None or validation > 0
    if options or with_split or shape or test or sheet or not set(name.split("+")) <= set(data.names()):
        with notes(but=(ColumnWarning, ImageWarning)):  # what is said of columns and files stands in what is printed
            dataset = data.load(name, data_dir, download=False, image_shape=shape, **options)
            if test is not None:
                dataset = data.with_test_rows(dataset, test, data_dir, **options)
        _describe(dataset)
        if with_split and dataset.y is not None:
            split = data.split(dataset.y, labels, validation, split_random_state, label_draw.value)
            counts = _counts(dataset.y[split.labelled], dataset.classes)
            _line("split", f"{len(split.labelled)} labelled ({counts}), {validation} validation")
        if sheet is not None:
            _line("sheet", _draw_sheet(dataset, sheet))
        return
    facts = data.info(name, data_dir)
    for file in facts.pop("files"):
        facts[file["name"]] = f"{file['state']}{' at ' + str(file['path']) if file['path'] else ''}"
    for key, value in facts.items():
        _line(key, ", ".join(map(str, value)) if isinstance(value, tuple) else value)


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
    with notes():
        paths = data.prepare(name, data_dir, out, overwrite=overwrite, **counts, **options)
    for path in paths:
        typer.echo(str(path))


def _data_options(text: str | None) -> dict[str, Any]:
    """Read the value of --data-options."""
    if text is None:
        return {}
    from aaekit.runs.data import data_options

    return data_options(text.split(","))


# --- a data set as text ----------------------------------------------------------------------------------------------
def _describe(dataset: "Dataset") -> None:
    """Print the facts about a data set, its labels, and the columns of a table."""
    facts = dataset.describe()
    schema = dataset.schema
    for key in ("columns", "classes", "labelled") + ("shape", "dtype") * (schema is not None):
        facts.pop(key, None)
    for key, value in facts.items():
        _line(key, ", ".join(map(str, value)) if isinstance(value, tuple) else value)
    if dataset.y is None:
        _line("labels", "none" if schema is None else "none; choose their column by --data-options target=NAME")
    else:
        _line("labels", dataset.target and f"column {dataset.target}" or f"{len(dataset.classes)} classes")
        _line("classes", f"{len(dataset.classes)}: {_counts(dataset.y, dataset.classes)}")
        _line("unlabelled", f"{int((dataset.y < 0).sum())} rows")
    if dataset.X.ndim == 3:
        _print_signals(dataset.X)
    if dataset.pictures is not None:
        _print_pictures(dataset, dataset.pictures)
    if schema is not None:
        _line("values", f"{schema.n_values} in a row, of {len(schema.used)} of {len(schema.columns)} columns")
        _print_columns(schema)


def _print_signals(X: Any) -> None:
    """Print the length of signals and the range of each channel."""
    ranges = [f"{X[:, k].min():.4g} to {X[:, k].max():.4g}" for k in range(min(X.shape[1], N_CLASSES))]
    more = f" and {X.shape[1] - N_CLASSES} more" if X.shape[1] > N_CLASSES else ""
    _line("signals", f"{X.shape[1]} channel{'s' * (X.shape[1] > 1)} of {X.shape[2]} values")
    _line("ranges", "; ".join(ranges) + more)


def _print_pictures(dataset: "Dataset", pictures: "Pictures") -> None:
    """Print the sizes of images and what becomes of them, and every file that is left out or read in another way."""
    by_count = sorted(pictures.sizes.items(), key=lambda item: -item[1])
    sizes = ", ".join(f"{w}x{h} ({n})" for (w, h), n in by_count[:N_CLASSES])
    if more := by_count[N_CLASSES:]:
        sides = [side for size, _ in by_count for side in size]
        sizes += f" and {len(more)} more from {min(sides)} to {max(sides)} pixels a side"
    _line("images", f"width x height: {sizes}")
    if dataset.features is not None:
        _line("become", f"features by {dataset.features}")
    else:
        channels, height, width = dataset.X.shape[1:]
        is_unchanged = list(pictures.sizes) == [(width, height)]
        becomes = "kept" if is_unchanged else f"fitted into {width}x{height}"
        _line("become", f"{becomes}, {'grey' if channels == 1 else 'colours'}")
        if not is_unchanged and max(width, height) < max(map(max, pictures.sizes)):
            _line("", "what is lost cannot be learned: see --sheet, and --image-shape for another size")
    images = dataset.X if dataset.features is None else dataset.originals
    if isinstance(images, np.memmap) and images.filename is not None:
        size = Path(images.filename).stat().st_size
        _line("decoded", f"{size / 1e6:.{0 if size > 1e7 else 2}f} MB in {images.filename}")
    if pictures.bits > 8:
        _line("bits", f"{pictures.bits} of the 16 in files; choose by bits=16 (--data-options)")
    for key, pairs in (("left out", pictures.left_out), ("remarks", pictures.remarks)):
        for k, (file, reason) in enumerate(pairs):
            _line(key if k == 0 else "", f"{file}: {reason}")


def _draw_sheet(dataset: "Dataset", path: Path) -> str:
    """Draw images or signals as a model sees them, a row for each class, and say what is drawn."""
    from aaekit import plots

    if dataset.X.ndim == 2:
        raise InputError(f"--sheet: expected images or signals, got rows of {dataset.X.shape[1]} values: leave it out")
    if path.suffix.casefold() != ".png":
        raise InputError(f"--sheet: expected a file with .png, got {path}: name it so")
    rng = np.random.default_rng(0)
    X, y = dataset.X, np.full(len(dataset.X), -1) if dataset.y is None else dataset.y
    kinds = [k for k in (*range(len(dataset.classes)), -1) if (y == k).any()][:N_SHEET_ROWS]
    names = [dataset.classes[k] if k >= 0 else "unlabelled" for k in kinds]
    chosen = [np.flatnonzero(y == k) for k in kinds]
    if len(kinds) == 1:
        images = X[np.sort(rng.permutation(chosen[0])[: N_SHEET**2])]
    else:
        white = np.nan if X.ndim == 3 else 255 if X.dtype == np.uint8 else 1
        blank = np.full((1, *X.shape[1:]), white, X.dtype)
        rows = [X[np.sort(rng.permutation(rows)[:N_SHEET])] for rows in chosen]
        images = np.concatenate([part for row in rows for part in (row, *[blank] * (N_SHEET - len(row)))])
    scaled = images / np.float32(255) if images.dtype == np.uint8 else images
    if X.ndim == 3:
        deviation = X.std((0, 2), keepdims=True)
        scaled = (images - X.mean((0, 2), keepdims=True)) / np.where(deviation > 0, deviation, 1)
    plots.save(plots.sample_grid(scaled, N_SHEET, title="As a model sees them"), path)
    return f"{path}, rows from the top: {', '.join(names)}" if len(kinds) > 1 else str(path)


def _line(key: str, value: object) -> None:
    typer.echo(f"{key + ':' if key else '':<12} {value}")


def _counts(y: Any, classes: Sequence[str]) -> str:
    """The number of rows of each class, the largest first where not all are named."""
    counts = {name: int((y == k).sum()) for k, name in enumerate(classes)}
    most = sorted(counts, key=lambda name: -counts[name])[:N_CLASSES] if len(counts) > N_CLASSES else list(counts)
    more = f" and {len(counts) - N_CLASSES} more" if len(counts) > N_CLASSES else ""
    return ", ".join(f"{name} {counts[name]}" for name in most) + more


def _print_columns(schema: "Schema") -> None:
    """Print what each column is, the used ones first, and what should be known about it."""
    from rich.console import Console
    from rich.table import Table

    table = Table("column", "kind", "content", "empty", "remark")
    groups = _alike([*schema.used, *(c for c in schema.columns if c not in schema.used)])
    for columns in groups[:N_COLUMNS]:
        first, more = columns[0], f" and {len(columns) - 1} more" * (len(columns) > 1)
        empty = str(first.n_gaps or "")
        table.add_row(first.name + more, first.kind, "" if more else _content(first), empty, first.remark)
    Console().print(table)
    if len(groups) > N_COLUMNS:
        typer.echo(f"and {sum(map(len, groups[N_COLUMNS:]))} more columns")


def _alike(columns: Sequence["Column"]) -> list[list["Column"]]:
    """Columns one by one; of wide tables those of one kind of which the same is to be said together."""
    if len(columns) <= N_COLUMNS:
        return [[column] for column in columns]
    groups: dict[tuple[Any, ...], list[Column]] = {}
    for column in columns:
        groups.setdefault((column.kind, column.remark, column.n_gaps), []).append(column)
    return list(groups.values())


def _content(column: "Column") -> str:
    """The range or the categories of a column."""
    if column.kind == "number":
        return f"{column.low:.7g} to {column.high:.7g}"
    if column.kind == "encoded text":
        return f"{column.n_features} features by {column.encoder}"
    if column.kind == "date":
        first, last = (str(day)[:10] for day in np.array([column.low, column.high]).astype("datetime64[D]"))
        return f"{first} to {last}"
    if not column.categories:  # of texts that are not kept, such as identifiers
        return f"{column.n_distinct} texts" if column.n_distinct else ""
    names = [str(c) for c in column.categories]
    return ", ".join(names[:N_NAMES]) + f" and {column.n_distinct - N_NAMES} more" * (column.n_distinct > N_NAMES)
