"""Tables in text files (CSV), as spreadsheets and databases write them: their columns become the values of a row."""

import csv
import gzip
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aaekit._extras import require
from aaekit.errors import InputError, nearest
from aaekit.labels import UNLABELLED

TARGETS = ("y", "label", "labels", "class", "target")  # names of the column of labels, unless `target` names it
N_TEXTS = 50  # most different texts of a column that becomes one value per text


def read_table(
    path: Path,
    target: str | None = None,
    drop: str | Sequence[str] = (),
    columns: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    empty: str | Sequence[float] | None = None,
) -> dict[str, Any]:
    """Read a CSV file: one line per row, cells separated by commas, semicolons or tabs.

    The first line names the columns, unless it holds numbers other than 0, 1, ...; then the columns are called 0, 1,
    ... A column of numbers becomes one value of the row. A column of texts becomes one value for each text, called
    COLUMN=TEXT: 1 in rows with that text, else 0. A first column without a name that counts the rows, as pandas writes
    it, is ignored.

    Parameters
    ----------
    path : Path
        The file, UTF-8.
    target : str, optional
        The column of labels; cells that are empty, -1, ?, NaN or None are unlabelled. Default: the column called y,
        label, labels, class or target, if there is one.
    drop : str or sequence of str, optional
        Columns to ignore.
    columns : sequence of str, optional
        The values of a row, in this order, under the names that an earlier call returned. Other columns are ignored,
        and a text that was not in the earlier file is 0 in each value of its column. The file need not have the columns
        in `target` and `drop`. Default: all columns but `target` and `drop`.
    classes : sequence of str, optional
        The names of the labels 0, 1, ...; if it is empty, labels are not read. Default: the labels in the file,
        sorted, numbers by their value.
    empty : "mean" or sequence of float, optional
        What replaces empty cells among numbers: the mean of the other cells of the column, or a number for each of
        `columns`. Default: empty cells are refused.

    Returns
    -------
    dict
        X (n, n_columns) float64, y (n,) int64 or None, classes and columns, tuples of str, and n_empty, the number of
        cells that were filled.

    Raises
    ------
    InputError
        If the file cannot be read or has no rows, a line has more cells than the first, a column is missing, a cell is
        not a number where the others are, or is empty, all cells of a column are empty, or labels are not classes.
    """
    require("pandas", extra="data")
    if isinstance(empty, str) and empty != "mean":
        raise InputError(f"{path}: expected mean for empty cells, got {empty}: write empty=mean (--data-options)")
    names, has_names, delimiter = _heading(path)
    drop = [drop] if isinstance(drop, str) else list(drop)
    target = _target(path, names, target, drop, optional=columns is not None)
    for name in drop if columns is None else ():
        _check_column(path, names, name)
    sources = names if columns is None else _sources(path, names, columns)
    texts = {} if columns is None else _texts(columns, sources)
    frame = _frame(path, names, has_names, delimiter, {c: str for c in [*texts, target] if c})
    used = [c for c in dict.fromkeys(sources) if c != target and c not in drop]
    if columns is None and not names[0] and (frame[""].to_numpy() == np.arange(len(frame))).all():
        used.remove("")
    if not used:
        raise InputError(f"{path}: expected columns beside the labels, got none: check target and drop")
    values: dict[str, NDArray[np.float64]] = {}
    for c in used:
        n_texts = N_TEXTS if columns is None else 0
        values |= _values(path, c, frame[c], texts.get(c), n_texts, decimal_commas=delimiter != ",")
    order = list(values) if columns is None else list(columns)
    X = np.stack([values[c] for c in order], 1)
    if not (empty is None or isinstance(empty, str) or len(empty) == len(order)):
        raise InputError(
            f"{path}: expected a number for each of {len(order)} columns, got {len(empty)} for empty cells"
        )
    n_empty = _fill(path, X, order, empty, can_drop=columns is None)
    y, names_of_classes = (None, ())
    if target is not None and (classes is None or len(classes)):
        y, names_of_classes = _labels(path, target, frame[target], classes)
    return {"X": X, "y": y, "classes": names_of_classes, "columns": tuple(order), "n_empty": n_empty}


def as_bytes(X: NDArray[Any]) -> NDArray[Any]:
    """Return whole numbers in 0..255, some above 1, as uint8, because they are pixels; other numbers unchanged."""
    pixels = X.size and X.min() >= 0 and 1 < X.max() <= 255 and bool((np.rint(X) == X).all())
    return X.astype(np.uint8) if pixels else X


def _heading(path: Path) -> tuple[list[str], bool, str]:
    """The names of the columns, whether the first line holds them, and the separator of cells."""
    try:
        opener: Any = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", newline="", encoding="utf-8-sig") as file:
            line = next((line for line in file if line.strip()), "")
        delimiter = max(",;\t", key=line.count)
        names = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]
    except FileNotFoundError:
        raise InputError(f"{path}: expected a table, got no such file: check the path") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a table in a text file, CSV in UTF-8, got ({error})") from error
    if not any(names):
        raise InputError(f"{path}: expected the names of columns in the first line, got none")
    numbers = [name for name in names if _number(name) is not None]
    if numbers and numbers != [str(k) for k in range(len(numbers))]:
        return [str(k) for k in range(len(names))], False, delimiter
    if repeated := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path}: expected a different name for each column, got {repeated[0]!r} twice: rename one")
    return names, True, delimiter


def _target(path: Path, names: list[str], target: str | None, drop: list[str], optional: bool) -> str | None:
    """The column of labels, if there is one."""
    if target is not None:
        if not optional:
            _check_column(path, names, target)
        return target if target in names else None
    likely = [c for c in names if c.casefold() in TARGETS and c not in drop]
    if len(likely) > 1:
        raise InputError(
            f"{path}: expected one column of labels, got {' and '.join(likely)}: choose by target=NAME (--data-options)"
        )
    return likely[0] if likely else None


def _check_column(path: Path, names: list[str], name: str) -> None:
    """Refuse a column that is not in the file."""
    if name not in names:
        raise InputError(f"{path}: expected one of the columns {_listed(names)}, got {name!r}{nearest(name, names)}")


def _sources(path: Path, names: list[str], columns: Sequence[str]) -> list[str]:
    """The column of the file that each value of a row is from."""
    by_length = sorted(names, key=len, reverse=True)  # a text may hold "=", too
    sources = [c if c in names else next((n for n in by_length if c.startswith(f"{n}=")), "") for c in columns]
    if missing := [c for c, source in zip(columns, sources, strict=True) if source not in names]:
        raise InputError(
            f"{path}: expected the columns of the training rows, got none called {_listed(missing)}: add them"
        )
    return sources


def _texts(columns: Sequence[str], sources: list[str]) -> dict[str, list[str]]:
    """The texts of each column of the file that became one value per text."""
    texts: dict[str, list[str]] = {}
    for column, source in zip(columns, sources, strict=True):
        if column != source:
            texts.setdefault(source, []).append(column.removeprefix(f"{source}="))
    return texts


def _listed(names: Sequence[str]) -> str:
    """The first twenty names."""
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _frame(path: Path, names: list[str], has_names: bool, delimiter: str, dtypes: Any) -> Any:
    """The file as a pandas.DataFrame."""
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a line is longer than the first
            frame = pd.read_csv(
                path, sep=delimiter, header=0 if has_names else None, names=names, index_col=False, dtype=dtypes,
                na_values=["?"], skipinitialspace=True, encoding="utf-8-sig", low_memory=False,
            )  # fmt: skip
    except pd.errors.ParserWarning:
        raise InputError(
            f"{path}: expected {len(names)} cells in every line, as in the first, got more in others: repair the file"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a table, got ({' '.join(str(error).split())}): repair the file") from error
    if not len(frame):
        raise InputError(f"{path}: expected a line for each row, got none below the names of the columns")
    return frame


def _values(
    path: Path, name: str, column: Any, texts: list[str] | None, n_texts: int, decimal_commas: bool
) -> dict[str, NDArray[np.float64]]:
    """The values of a column: its numbers, or for each text (those in `texts`, if given) whether a row has it."""
    import pandas as pd

    if texts is None:
        numbers: Any = pd.to_numeric(column, errors="coerce")
        if decimal_commas and column.dtype.kind not in "biuf":
            numbers = pd.to_numeric(column.str.replace(",", "."), errors="coerce")
        if (numbers.notna() == column.notna()).all():
            return {name: numbers.to_numpy(np.float64)}
    cells = column.fillna("").astype(str).str.strip().to_numpy()
    if texts is None:
        texts = sorted(set(cells) - {""})
        if len(texts) > n_texts:
            no_numbers = [text for text in texts if _number(text) is None]
            got = "numbers and " if len(no_numbers) < len(texts) else ""
            or_texts = f", or at most {n_texts} different texts" if n_texts else ""
            or_drop = f", or ignore the column: drop={name} (--data-options)" if n_texts else ""
            raise InputError(
                f"{path}: column {name}: expected numbers{or_texts}, got {got}{len(no_numbers)} texts, such as "
                f"{no_numbers[0]!r}: correct them{or_drop}"
            )
    return {f"{name}={text}": (cells == text).astype(np.float64) for text in texts}


def _fill(
    path: Path, X: NDArray[np.float64], names: Sequence[str], empty: str | Sequence[float] | None, can_drop: bool
) -> int:
    """Replace NaN in `X` as `empty` says, and return how many there were; refuse them if it is None."""
    n_filled = 0
    for k, (name, column) in enumerate(zip(names, X.T, strict=True)):
        is_empty: NDArray[np.bool_] = np.isnan(column)
        if not (n_empty := int(is_empty.sum())):
            continue
        if empty is None:
            or_drop = f", or ignore the column: empty=mean, drop={name} (--data-options)" if can_drop else ""
            raise InputError(
                f"{path}: row {int(is_empty.argmax()) + 1}, column {name}: expected a number, got an empty cell "
                f"({n_empty} in this column): fill them in or use their mean{or_drop}"
            )
        if empty == "mean" and n_empty == len(column):
            drop = f": ignore it, drop={name} (--data-options)" if can_drop else ""
            raise InputError(f"{path}: column {name}: expected numbers, got only empty cells{drop}")
        column[is_empty] = column[~is_empty].mean() if isinstance(empty, str) else empty[k]
        n_filled += n_empty
    return n_filled


def _number(text: str) -> float | None:
    """The number that a text stands for, if it does."""
    try:
        return float(text)
    except ValueError:
        return None


def _labels(
    path: Path, name: str, column: Any, classes: Sequence[str] | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The indices of the labels, -1 in unlabelled rows, and the names of the classes."""
    cells = column.fillna(str(UNLABELLED)).str.strip().tolist()  # in a text file, -1 cannot be told from the text "-1"
    numbers = {cell: _number(cell) for cell in set(cells)}
    if None not in numbers.values():  # 1.0 is the class 1: whole numbers are written so where labels are missing
        whole = {cell: f"{number:.0f}" for cell, number in numbers.items()}
        if fractions := sorted(cell for cell, number in numbers.items() if number != float(whole[cell])):
            raise InputError(
                f"{path}: column {name}: expected classes, got the number {fractions[0]}: choose another column of "
                "labels, or none: target=NAME, drop=NAME (--data-options)"
            )
        cells = [whole[cell] for cell in cells]
    labels = sorted(
        set(cells) - {str(UNLABELLED)}, key=lambda c: (0, int(c), c) if c.lstrip("-").isdecimal() else (1, 0, c)
    )
    n_labelled = len(cells) - cells.count(str(UNLABELLED))
    if n_labelled > 20 and len(labels) > n_labelled / 2:
        raise InputError(
            f"{path}: column {name}: expected classes of several rows each, got {len(labels)} different labels in "
            f"{n_labelled} rows: check that it is the column of labels"
        )
    if classes is not None:
        if unknown := [c for c in labels if c not in classes]:
            raise InputError(f"{path}: column {name}: expected the classes {_listed(classes)}, got {_listed(unknown)}")
        labels = list(classes)
    index = {c: k for k, c in enumerate(labels)} | {str(UNLABELLED): UNLABELLED}
    return np.array([index[c] for c in cells], np.int64), tuple(labels)
