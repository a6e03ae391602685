"""Tables in files: text (CSV), Excel, Parquet, Feather, JSON lines and AnnData, as people bring them."""

import csv
import gzip
import io
import re
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aaekit._extras import require
from aaekit._files import check_regular, from_text_cell, whole_number
from aaekit.cells import MISSING, parse_numbers, text_of
from aaekit.columns import Schema
from aaekit.data.store import MAX_BYTES, read_at_most, too_large
from aaekit.errors import ColumnWarning, InputError, nearest, repeated
from aaekit.labels import UNLABELLED

TARGETS = ("y", "label", "labels", "class", "target")  # names of the column of labels, unless `target` names it
TEXT_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
SUFFIXES = (*TEXT_SUFFIXES, ".parquet", ".feather", ".xlsx", ".jsonl", ".ndjson", ".h5ad")
N_FIRST = 200  # lines by which it is decided whether the first one has names
N_LEAST, N_CELLS = 20, 200_000  # fewer of wide tables: as many as have so many cells, but at least so many
LEAST_FOR_LABELS = 20  # labelled rows from which at most half of the labels may differ


def read_table(
    path: Path,
    target: str | None = None,
    drop: str | Sequence[str] = (),
    empty: str = "fill",
    header: bool | None = None,
    schema: Schema | None = None,
    classes: Sequence[str] | None = None,
    pixels: bool = False,
    max_bytes: int = MAX_BYTES,
    features: str | None = None,
    text: str | Sequence[str] = (),
) -> dict[str, Any]:
    """Read a table from a file, by the suffix of its name.

    A .csv or .tsv, also with .gz, has one line per row, cells separated by commas, semicolons or tabs, in UTF-8, UTF-16
    or Latin-1. The others are .parquet, .feather, .xlsx (the first sheet), .jsonl or .ndjson (an object per line), and
    .h5ad (AnnData: the matrix and the annotations of its rows).

    `Schema` says what becomes of each column.

    Parameters
    ----------
    path : Path
        The file.
    target : str, optional
        The column of labels; cells that are empty, -1, ?, NaN or None are unlabelled. Default: the column called y,
        label, labels, class or target, if there is one.
    drop : str or sequence of str, optional
        Columns to ignore.
    empty : "fill" or "refuse", default="fill"
        Whether rows may have empty cells. They count as the median of their column or as a category of their own, and
        whether a cell is empty is a value, too.
    header : bool, optional
        Whether the first line of a text file has the names of the columns; without names they are called 0, 1, ...
        Default: by how the first line differs from the others.
    schema : Schema, optional
        Of an earlier table: how columns become values. The file needs the columns that are used there, in any order,
        and neither `target` nor `drop`. Default: learned from the file.
    classes : sequence of str, optional
        The names of the labels 0, 1, ...; if it is empty, labels are not read. Default: the labels in the file,
        sorted, numbers by their value.
    pixels : bool, default=False
        Whether each column is a value as it is, also where all cells are the same.
    max_bytes : int, default=2 GiB
        What a file may hold once it is decompressed.
    features : str, optional
        The encoder of free texts, see `aaekit.encoders.find`. Default: free texts are left out.
    text : str or sequence of str, optional
        Columns of texts to encode. Default: all that look like free texts.

    Returns
    -------
    dict
        X (n, n_values), a `TableRows` with its schema, y (n,) int64 or None, classes, a tuple of str, target, the name
        of the column of labels, or None, and originals (n,), the texts of each row if they are encoded, or None.

    Raises
    ------
    InputError
        If the file cannot be read or has no rows, a line has more cells than the first, a column is missing, cells are
        empty and that is refused, no column can be used, or labels are not classes.

    Warns
    -----
    ColumnWarning
        If the column of labels was guessed, the file is in Latin-1, and as in `Schema`.
    """
    require("pandas", extra="data")
    if not isinstance(header, bool | None):
        raise InputError(f"{path}: expected header=yes or header=no, got {header}")
    if empty not in ("fill", "refuse"):
        raise InputError(f"{path}: expected fill or refuse for empty cells, got {empty}: write empty=refuse")
    drop, text = ([names] if isinstance(names, str) else list(names) for names in (drop, text))
    if text and features is None and schema is None:
        raise InputError(f"{path}: expected features with text={text[0]}, got none: add for instance --features minilm")
    as_texts = ("category", "encoded text")
    texts = text if schema is None else [column.name for column in schema.columns if column.kind in as_texts]
    frame, decimal = read_frame(path, header, [*TARGETS, *([target] if target else []), *texts], max_bytes)
    names = list(frame.columns)
    if schema is None:
        for name in drop:
            _check_column(path, names, name)
    target, y, names_of_classes = read_labels(path, frame, target, drop, classes, optional=schema is not None)
    columns = frame.drop(columns=[c for c in [*drop, target] if c in names])
    if empty == "refuse":
        _refuse_empty(path, columns)
    try:
        if schema is None:
            if not len(columns.columns):
                raise InputError("expected columns beside the labels, got none: check target and drop")
            names = list(columns.columns)
            schema = (
                Schema.of_numbers(columns.to_numpy(), names) if pixels else Schema.fit(columns, decimal, features, text)
            )
        X = schema.transform(columns, decimal)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return {
        "X": X, "y": y, "classes": names_of_classes, "target": target, "originals": _originals(columns, schema)
    }  # fmt: skip


def _originals(frame: Any, schema: Schema) -> NDArray[np.object_] | None:
    """The encoded texts of each row in one text; None if there are none."""
    names = [column.name for column in schema.columns if column.kind == "encoded text"]
    if not names:
        return None
    rows = zip(*(frame[name].fillna("").map(text_of) for name in names), strict=True)
    texts = np.empty(len(frame), object)
    texts[:] = [" | ".join(row) for row in rows]
    return texts


def read_frame(
    path: Path, header: bool | None = None, texts: Sequence[str] = (), max_bytes: int = MAX_BYTES
) -> tuple[Any, str]:
    """Return a table as a DataFrame with names of columns that are texts, and its likely decimal separator.

    The columns `texts` of a text file stay as they are written; otherwise parameters and errors are those of
    `read_table`.
    """
    suffix = suffix_of(path)
    if not path.exists():
        raise InputError(f"{path}: expected a table, got no such file: check the path")
    check_regular(path, "a table")
    if suffix in TEXT_SUFFIXES:
        frame, decimal = _read_text(path, header, texts, max_bytes)
    else:
        frame, decimal = _read_binary(path, suffix, max_bytes), "."
    names = [str(name).strip() for name in frame.columns]
    frame.columns = np.array(names, object)  # texts of Arrow are slow one by one
    _check_different(path, names)
    if not len(frame):
        raise InputError(f"{path}: expected a line for each row, got none below the names of the columns")
    return frame, decimal


def suffix_of(path: Path) -> str:
    """Return the suffix of a file, with that of the file inside if it is compressed."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return "".join(suffixes) if suffixes[-1:] == [".gz"] else "".join(suffixes[-1:])


def as_bytes(X: NDArray[Any]) -> NDArray[Any]:
    """Return whole numbers in 0..255, some above 1, as uint8, because they are pixels; other numbers unchanged."""
    pixels = X.size and X.min() >= 0 and 1 < X.max() <= 255 and bool((np.rint(X) == X).all())
    return X.astype(np.uint8) if pixels else X


# --- files -----------------------------------------------------------------------------------------------------------
def _read_text(path: Path, header: bool | None, texts: Sequence[str], max_bytes: int) -> tuple[Any, str]:
    """A text file as a DataFrame, and its likely decimal separator: the comma, if it separates no cells."""
    import pandas as pd

    content = _decoded(path, max_bytes=max_bytes)
    delimiter = _delimiter(content)
    lines = _first_lines(path, content, delimiter)
    has_names = _has_names(lines) if header is None else header
    names = lines[0] if has_names else [str(k) for k in range(len(lines[0]))]
    _check_different(path, names)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a line is longer than the first
            frame = pd.read_csv(
                io.StringIO(content), sep=delimiter, header=0 if has_names else None, names=names, index_col=False,
                dtype={name: str for name in names if name in texts or name.casefold() in texts},
                keep_default_na=False, na_values=sorted(MISSING), skipinitialspace=True, low_memory=False,
            )  # fmt: skip
    except pd.errors.ParserWarning:
        raise InputError(
            f"{path}: expected {len(names)} cells in every line, as in the first, got more in others: repair the file"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected a table, got ({' '.join(str(error).split())[:300]}): repair the file"
        ) from error
    frame = frame.copy()  # in one block
    if "'" in content:
        names = [from_text_cell(name) for name in names]
        for k in np.flatnonzero([not isinstance(kind, np.dtype) or kind.kind == "O" for kind in frame.dtypes]).tolist():
            column = frame.iloc[:, k]
            frame.isetitem(k, column.map(lambda cell: from_text_cell(cell) if isinstance(cell, str) else cell))
    frame.columns = names
    return frame, "." if delimiter == "," else ","


def first_lines(path: Path, n_bytes: int = 2**16) -> list[list[str]]:
    """Return the cells of the first lines of a text file, but for a line that may be cut off."""
    content = _decoded(path, n_bytes)
    end = content.rfind("\n") + 1
    return _first_lines(path, content[:end] if end else content, _delimiter(content))


def _delimiter(content: str) -> str:
    """What separates cells: that of which there are most in the first line."""
    return max(",;\t", key=next((line for line in io.StringIO(content) if line.strip()), "").count)


def _decoded(path: Path, n_bytes: int | None = None, max_bytes: int = MAX_BYTES) -> str:
    """The content of a text file, or its beginning: UTF-8, or UTF-16 if it says so, or Latin-1, which is said."""
    check_regular(path, "a table")
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as file:
            content = read_at_most(file, n_bytes or max_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: expected a table, got a file that cannot be read ({error}): check it") from error
    if n_bytes is None and len(content) > max_bytes:
        raise too_large(path, "of text", max_bytes)
    has_mark = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    if n_bytes is not None and len(content) == n_bytes:  # a character may be cut off
        content = content[: max(1, content.rfind(b"\n"))]
    if b"\0" in content and not has_mark:
        few = content[:1000]
        is_wide = few[::2].count(0) > len(few) // 3 or few[1::2].count(0) > len(few) // 3
        got = "UTF-16 without a byte order mark: save it as UTF-8" if is_wide else "bytes that are no text: check it"
        raise InputError(f"{path}: expected a table in a text file, got {got}")
    try:
        return content.decode("utf-16" if has_mark else "utf-8-sig", "ignore" if has_mark and n_bytes else "strict")
    except UnicodeDecodeError:
        if has_mark:
            raise InputError(f"{path}: expected a table in a text file, got bytes that are no text: check it") from None
        warnings.warn(f"{path}: expected UTF-8, got other bytes: it is read as Latin-1", ColumnWarning, stacklevel=4)
        return content.decode("cp1252", errors="replace")


def _first_lines(path: Path, content: str, delimiter: str) -> list[list[str]]:
    """The cells of the first lines that are not empty."""
    try:
        reader = csv.reader(io.StringIO(content), delimiter=delimiter, skipinitialspace=True)
        filled = (line for line in ([cell.strip() for cell in cells] for cells in reader) if any(line))
        first = list(islice(filled, 1))
        first += islice(filled, max(N_LEAST, min(N_FIRST, N_CELLS // len(first[0]))) if first else 0)
    except csv.Error as error:
        raise InputError(f"{path}: expected a table in a text file, got ({error}): repair the file") from error
    if not first:
        raise InputError(f"{path}: expected the names of columns in the first line, got none")
    return first


def _has_names(lines: list[list[str]]) -> bool:
    """Whether the first line has the names of the columns.

    It has if a text stands above numbers; it has none if a text in it stands in its column again, or a number in the
    range of its column. A line of numbers alone has names if they count or rise, and do not fit their columns.
    """
    first, others = lines[0], lines[1:]
    numbers = parse_numbers(first)[0]
    is_number = ~np.isnan(numbers)
    columns: list[list[str]] = []
    values: list[NDArray[np.float64]] = []
    for k, cell in enumerate(first):
        columns.append([line[k] for line in others if k < len(line) and line[k] not in MISSING])
        values.append(parse_numbers(columns[k])[0])
        if cell not in MISSING and not is_number[k] and len(values[k]) and not np.isnan(values[k]).any():
            return True
    if not others:
        return True
    if [str(k) for k in range(len(first))] == first:
        return True
    if not is_number.any():
        return len(set(first)) == len(first) and not all(
            cell in column for cell, column in zip(first, columns, strict=True)
        )
    rises = bool(is_number.all() and (np.diff(numbers) > 0).all() and len(others) > 2)
    return rises and bool(np.mean([_is_unlike(n, column) for n, column in zip(numbers, values, strict=True)]) > 0.9)


def _is_unlike(number: float, column: NDArray[np.float64]) -> bool:
    """Whether a number is outside of a column, or whole where that has fractions."""
    column = column[~np.isnan(column)]
    if not len(column):
        return True
    return not column.min() <= number <= column.max() or (number % 1 == 0 and bool((column % 1 != 0).any()))


def _read_binary(path: Path, suffix: str, max_bytes: int) -> Any:
    """A file of another format as a DataFrame."""
    import pandas as pd

    if suffix in (".parquet", ".feather"):
        require("pyarrow", extra="data")
    elif suffix == ".xlsx":
        require("openpyxl", extra="data")
    try:
        _check_size(path, suffix, max_bytes)
        if suffix == ".h5ad":
            return _read_anndata(path)
        if suffix in (".jsonl", ".ndjson"):
            return pd.read_json(path, lines=True, dtype=False)  # pyright: ignore
        if suffix == ".xlsx":
            return pd.read_excel(path, dtype=object)  # texts stay texts, such as 001
        from pyarrow import feather, parquet

        table = parquet.ParquetFile(path).read() if suffix == ".parquet" else feather.read_table(path, memory_map=False)
        table.validate(full=True)  # damaged offsets of texts would end the process
        return table.to_pandas()
    except InputError:
        raise
    except Exception as error:  # of pyarrow, zipfile, openpyxl, h5py and more
        text = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: expected a {suffix} file, got a damaged one ({text}): write it again") from error


def _check_size(path: Path, suffix: str, max_bytes: int) -> None:
    """Refuse a file that says that it holds more than so many bytes."""
    if suffix == ".xlsx":
        with zipfile.ZipFile(path) as archive:
            n_bytes = sum(member.file_size for member in archive.infolist())
    elif suffix == ".parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            n_bytes = max(8 * file.metadata.num_rows, 1) * file.metadata.num_columns
    else:
        return
    if n_bytes > max_bytes:
        raise too_large(path, f"of {suffix[1:]}", max_bytes)


def _read_anndata(path: Path) -> Any:
    """The matrix of an AnnData file and the annotations of its rows."""
    import pandas as pd

    data = require("anndata", extra="anndata").read_h5ad(path)
    X = data.X.toarray() if hasattr(data.X, "toarray") else np.asarray(data.X)
    frame = pd.DataFrame(X, columns=data.var_names)
    return pd.concat([data.obs.reset_index(drop=True), frame], axis=1)


# --- labels ----------------------------------------------------------------------------------------------------------
def read_labels(
    path: Path, frame: Any, target: str | None, drop: list[str], classes: Sequence[str] | None, optional: bool
) -> tuple[str | None, NDArray[np.int64] | None, tuple[str, ...]]:
    """Return the column of labels, the labels and the names of the classes; parameters are those of `read_table`."""
    target = _target(path, frame, target, drop, optional, labels_are_read=classes != ())
    if target is None or (classes is not None and not len(classes)):
        return target, None, ()
    return target, *_labels(path, target, frame[target], classes)


def _target(
    path: Path, frame: Any, target: str | None, drop: list[str], optional: bool, labels_are_read: bool
) -> str | None:
    """The column of labels, if there is one."""
    names = list(frame.columns)
    if target is not None:
        if not optional:
            _check_column(path, names, target)
        return target if target in names else None
    likely = [c for c in names if c.casefold() in TARGETS and c not in drop]
    if len(likely) > 1:
        raise InputError(
            f"{path}: expected one column of labels, got {' and '.join(likely)}: choose by target=NAME (--data-options)"
        )
    if not likely or optional:
        return likely[0] if likely else None
    cells = [cell for cell in map(text_of, frame[likely[0]].dropna()) if cell not in (*MISSING, "-1")]
    if problem := _no_classes(cells):
        raise InputError(
            f"{path}: expected classes in the column {likely[0]}, got {problem}: choose the column of labels, "
            f"target=NAME, or use no labels, drop={likely[0]} (--data-options)"
        )
    if labels_are_read:
        warnings.warn(
            f"{path}: labels are those of the column {likely[0]}, {len(set(cells))} classes; choose another by "
            "target=NAME (--data-options)",
            ColumnWarning,
            stacklevel=3,
        )
    return likely[0]


def _labels(
    path: Path, name: str, column: Any, classes: Sequence[str] | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The indices of the labels, -1 in unlabelled rows, and the names of the classes."""
    cells = [str(UNLABELLED) if cell is None or cell in MISSING else cell for cell in _label_texts(column)]
    present = [cell for cell in cells if cell != str(UNLABELLED)]
    if problem := _no_classes(present):
        raise InputError(
            f"{path}: column {name}: expected classes, got {problem}: choose another column of labels, or none: "
            "target=NAME, drop=NAME (--data-options)"
        )
    numbers = {label: whole_number(label) for label in set(present)}
    labels = sorted(numbers, key=lambda label: (numbers[label] is None, numbers[label] or 0, label))
    if classes is not None:
        if unknown := [c for c in labels if c not in classes]:
            raise InputError(f"{path}: column {name}: expected the classes {_listed(classes)}, got {_listed(unknown)}")
        labels = list(classes)
    index = {c: k for k, c in enumerate(labels)} | {str(UNLABELLED): UNLABELLED}
    return np.array([index[c] for c in cells], np.int64), tuple(labels)


def _label_texts(column: Any) -> list[str | None]:
    """Labels as they are written, None where empty; 1.0 is 1, since whole numbers beside gaps are written so."""
    cells = [None if is_empty else text_of(cell) for cell, is_empty in zip(column, column.isna(), strict=True)]
    present = {cell for cell in cells if cell is not None and cell not in MISSING}
    if present and all(re.fullmatch(r"-?\d+(\.0+)?", cell) for cell in present):
        return [cell and cell.partition(".")[0] for cell in cells]
    return cells


def _no_classes(cells: list[str]) -> str:
    """What is in a column that cannot be labels; "" if it can."""
    n_distinct, n = len(set(cells)), len(cells)
    numbers = parse_numbers(sorted(set(cells)))[0]
    if n_distinct and not np.isnan(numbers).any() and len(others := numbers[numbers != np.floor(numbers)]):
        return f"the number {others[0]:g}"
    if n > LEAST_FOR_LABELS and n_distinct > n / 2:
        return f"{n_distinct} different labels in {n} rows"
    return ""


# --- checks ----------------------------------------------------------------------------------------------------------
def _check_column(path: Path, names: list[str], name: str) -> None:
    """Refuse a column that is not in the file."""
    if name not in names:
        raise InputError(f"{path}: expected one of the columns {_listed(names)}, got {name!r}{nearest(name, names)}")


def _check_different(path: Path, names: list[str]) -> None:
    if (name := repeated(names)) is not None:
        raise InputError(f"{path}: expected a different name for each column, got {name!r} twice: rename one")


def _refuse_empty(path: Path, frame: Any) -> None:
    is_empty = frame.isna().to_numpy()
    for k in np.flatnonzero(is_empty.any(0)).tolist():
        name = frame.columns[k]
        raise InputError(
            f"{path}: row {int(is_empty[:, k].argmax()) + 1}, column {name}: expected no empty cell, got "
            f"{is_empty[:, k].sum()} in this column: fill them in, ignore the column, drop={name}, or allow them, "
            "empty=fill (--data-options)"
        )


def _listed(names: Sequence[str]) -> str:
    """The first twenty names."""
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
