"""A self-contained HTML page about a run: results, figures, settings. No scripts, and nothing is fetched."""

import base64
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aaekit._extras import require

require("jinja2", extra="plots")
require("matplotlib", extra="plots")

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from aaekit._files import write_text
from aaekit.errors import InputError
from aaekit.plots import to_png

__all__ = ["FigureEntry", "Table", "write_report"]

FOLDER = Path(__file__).parent
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Parameters
    ----------
    title : str
        Heading.
    columns : sequence of str
        Column names.
    rows : sequence of sequences
        One entry per column; columns of numbers are right-aligned.
    note : str, default ""
        A sentence below the table.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers, apart from missing values."""
        return [_is_numeric(row[j] for row in self.rows) for j in range(len(self.columns))]


@dataclass(frozen=True)
class FigureEntry:
    """A figure of the report.

    Parameters
    ----------
    title : str
        Heading, also part of the alternative text.
    caption : str
        What to look for; see `aaekit.plots.DESCRIPTIONS`.
    figure : Figure, str or Path
        A matplotlib figure, or the path of a PNG file.
    """

    title: str
    caption: str
    figure: Figure | str | Path


def write_report(
    path: str | Path,
    title: str,
    summary: Sequence[tuple[str, str]] = (),
    tables: Sequence[Table] = (),
    figures: Sequence[FigureEntry] = (),
    settings: Mapping[str, Any] | None = None,
    versions: Mapping[str, Any] | None = None,
    subtitle: str = "",
) -> Path:
    """Write the report atomically.

    Parameters
    ----------
    path : str or Path
        Path of the HTML file; missing folders are created.
    title : str
        Heading of the page.
    summary : sequence of (label, value)
        The main numbers, shown as cards; the first is the largest.
    tables : sequence of Table
        Shown first.
    figures : sequence of FigureEntry
        Shown after the tables.
    settings, versions : mapping of str to anything, optional
        Hyper-parameters and versions, each shown as a table. Nested mappings are flattened: `prior.sd`.
    subtitle : str, default ""
        A line below the heading.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        If a row of a table does not match its columns, a figure is not a PNG file or does not exist, or the file cannot
        be written. Nothing is written in these cases.
    """
    for table in tables:
        for row in table.rows:
            if len(row) != len(table.columns):
                raise InputError(
                    f"expected {len(table.columns)} entries in each row of table {table.title!r}, got {len(row)}: "
                    f"{list(row)}"
                )
    details = [
        Table(name, ("name", "value"), list(_flat(mapping)))
        for name, mapping in (("Settings", settings), ("Versions", versions))
        if mapping
    ]
    chapters = [("Results", tables), ("Figures", [_image(entry) for entry in figures]), ("Details", details)]
    page = _environment().get_template("template.html")
    text = page.render(
        title=title,
        subtitle=subtitle,
        summary=summary,
        chapters=[(name, entries) for name, entries in chapters if entries],
        style=Markup((FOLDER / "style.css").read_text(encoding="utf-8")),
    )
    return write_text(path, text)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["text"] = _text
    return environment


def _is_numeric(values: Iterable[Any]) -> bool:
    present = [value for value in values if value is not None]
    return bool(present) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in present)


def _image(entry: FigureEntry) -> dict[str, Any]:
    """What the template needs of a figure; a wide one takes a row of its own."""
    if isinstance(entry.figure, Figure):
        png = to_png(entry.figure)
    else:
        try:
            png = Path(entry.figure).read_bytes()
        except OSError as error:
            reason = error.strerror or error
            raise InputError(
                f"expected a PNG file for the figure {entry.title!r}, got {entry.figure}: {reason}"
            ) from error
    if not png.startswith(PNG) or len(png) < 24:
        raise InputError(f"expected a PNG file for the figure {entry.title!r}, got another format: {entry.figure}")
    width, height = struct.unpack(">II", png[16:24])
    return {
        "title": entry.title,
        "caption": entry.caption,
        "png": base64.b64encode(png).decode("ascii"),
        "width": width,
        "height": height,
        "shape": "wide" if width > 900 or width > max(700, 1.45 * height) else "square",
    }


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Name and text of every setting, those of nested mappings as `outer.inner`."""
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _text(value)


def _text(value: Any) -> str:
    """A value for readers: short numbers, and no Python spelling of None and True."""
    if value is None:
        return "\u2013"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(v) for v in value)
    return str(value)
