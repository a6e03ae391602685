"""Options and output that the groups of commands share.

torch is loaded only by the commands that need it.
"""

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args, get_origin

import typer

from aaekit import errors
from aaekit._files import whole_number
from aaekit.errors import InputError

if TYPE_CHECKING:
    from aaekit.estimators._hyperparameters import Hyperparameter

RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run directory, made by `aae train`.", show_default=False)
]
InputRows = Annotated[
    str,
    typer.Argument(
        metavar="INPUT", help="A table, a .npy or .npz file, a folder of images, or a named set: its test rows, if any."
    ),
]
SetName = Annotated[
    str, typer.Argument(metavar="SET", help="A named set, a file, a folder of images, or several joined by +.")
]
Predictions = Annotated[Path, typer.Option(help="CSV file to write.")]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="K/N",
        help="Only the K-th of N parts, for processes that share the work.",
        show_default="all",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no table.")]
RandomState = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the named sets; else AAE_DATA_DIR, else the user's cache directory.", show_default=False
    ),
]
MovedData = Annotated[
    str | None, typer.Option(help="The data of the run, if they are elsewhere now.", show_default=False)
]
Features = Annotated[
    str | None,
    typer.Option(
        help="Pretrained encoder of photos or texts: efficientnet-lite0, minilm, a .onnx file, or OWNER/MODEL of "
        "Hugging Face.",
        show_default="none",
    ),
]
SetOptions = Annotated[
    str | None,
    typer.Option(
        help="Options of the set as name=value; for tables target=COLUMN, drop=COLUMN (repeatable), empty=refuse, "
        "header=yes and text=COLUMN, to encode by --features; for images damaged=skip, masks=skip, class_from=last, "
        "bits=12, max_pixels=NUMBER and memory_limit_bytes=NUMBER.",
        metavar="A,B,...",
        show_default=False,
    ),
]


class Stopped(Exception):
    """The user interrupted; the message says what was saved, and how to resume."""


def new_app(**settings: Any) -> typer.Typer:
    """Make a group of commands that looks like the others."""
    return typer.Typer(
        no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]}, **settings,
    )  # fmt: skip


def image_shape_of(text: str) -> list[int]:
    """Read the value of --image-shape."""
    sizes = [whole_number(part.strip()) or 0 for part in text.split(",")]
    if len(sizes) not in (2, 3) or min(sizes) < 1:
        raise InputError(
            f"--image-shape: expected channels, height and width, or channels and length of signals, got {text}: write "
            "for instance 1,28,28"
        )
    return sizes


def callbacks(quiet: bool) -> list[Any]:
    """Return the callbacks of a training: a progress bar, unless `quiet`."""
    from aaekit.core.callbacks import Progress

    return [] if quiet else [Progress()]


@contextmanager
def notes(but: Sequence[type[Warning]] = ()) -> Iterator[None]:
    """Print the warnings of the block in one line each, except those of some kinds."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    def show(message: Any, *_: Any, **__: Any) -> None:
        say(f"note: {message}")

    with warnings.catch_warnings():
        for kind in (ConvergenceWarning, *errors.WARNINGS):
            warnings.simplefilter("always", kind)
        for kind in but:
            warnings.simplefilter("ignore", kind)
        warnings.showwarning = show
        yield


def say(text: str) -> None:
    """Print a line to the standard error stream."""
    typer.echo(text, err=True)


def with_files(lines: Sequence[Sequence[Any]], files: Sequence[str]) -> list[Sequence[Any]]:
    """Insert the file of each row behind its number, if rows come from files; the first line is the header."""
    if not files:
        return list(lines)
    return [[row, "file" if k == 0 else files[row], *rest] for k, (row, *rest) in enumerate(lines)]


def print_table(table: Any) -> None:
    """Print a table with `title`, `columns` and `rows`, such as a `report.Table`."""
    from rich.console import Console
    from rich.table import Table

    drawing = Table(title=table.title, title_justify="left")
    for k, name in enumerate(table.columns):
        drawing.add_column(name, justify="left" if k == 0 else "right")
    for row in table.rows:
        drawing.add_row(*row)
    Console().print(drawing)


# --- hyper-parameters as options -------------------------------------------------------------------------------------
RECORDED = Path(__file__).with_name("options.json")  # the options of our own systems; their declarations need torch


class Option(NamedTuple):
    """What `--help` says of a hyper-parameter: its name, description, panel, and metavar (None: a flag)."""

    name: str
    help: str
    panel: str
    metavar: str | None

    def parameter(self) -> inspect.Parameter:
        """Return an argument that typer makes an option of; None means that it was not given."""
        option = typer.Option(help=self.help, show_default=False, rich_help_panel=self.panel, metavar=self.metavar)
        kind = Annotated[(bool if self.metavar is None else str) | None, option]
        return inspect.Parameter(self.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def recorded(name: str) -> list[Option] | None:
    """Return the options of a system, or of the "simulator", without importing its estimator; None for a new one."""
    options = json.loads(RECORDED.read_text(encoding="utf-8")).get(name)
    return None if options is None else [Option(*option) for option in options]


def option_of(h: "Hyperparameter", panel: str | None = None, default: str | None = None) -> Option:
    """Describe a hyper-parameter; `panel` replaces its group, and `default` the text of its default."""
    flag = set(h.types) <= {bool, type(None)}
    text = f"{h.description} [{', '.join(h.choices)}]" if len(h.choices) > 1 else h.description
    text = f"{text} [default: {default or default_text(h.default)}]".replace("[", r"\[")
    return Option(h.name, text, panel or h.group, None if flag else _metavar(h))


def default_text(default: Any) -> str:
    """Write a value as one would type it."""
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, Mapping):
        return ",".join(f"{name}={value:g}" for name, value in default.items()) or "none"
    if isinstance(default, tuple):
        return ",".join(map(str, default)) or "none"
    return "none" if default is None else str(default)


def _holds_objects(kind: Any) -> bool:
    """Whether a tuple is of torch's modules, which no text can give."""
    return any(getattr(item, "__module__", "").startswith("torch") for item in get_args(kind))


def _metavar(h: "Hyperparameter") -> str:
    kinds = {"A,B,...": tuple, "INTEGER": int, "NUMBER": float}
    types = [t for t in h.types if not (get_origin(t) is tuple and _holds_objects(t))]
    names = [name for name, kind in kinds.items() if any((get_origin(t) or t) is kind for t in types)]
    if bool in h.types:
        names.insert(0, "yes|no")
    if h.is_mapping:
        names.insert(0, "NAME=NUMBER,...")
    return "|".join(names[::-1]) or "TEXT"
