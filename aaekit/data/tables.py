"""Tables in text files (CSV), as spreadsheets and databases write them: their columns become the values of a row."""

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aaekit.errors import InputError, nearest

TARGETS = ("y", "label", "labels", "class", "target")  # what a column of labels is called, if nothing else is said
N_TEXTS = 50  # different texts, at most, that a column may hold to become as many values


def read_table(
    path: Path,
    target: str | None = None,
    drop: str | Sequence[str] = (),
    columns: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    empty: str | Sequence[float] | None = None,
) -> dict[str, Any]:
    """Read a CSV file: a line for each row, cells separated by commas, semicolons or tabs.

    The first line names the columns, unless there are numbers in it that do not just count; then they are called 0, 1,
    ... A column of numbers is a value of the row; one of texts is a value for each text, called COLUMN=TEXT, 1 where it
    stands and 0 elsewhere. A first column without a name that counts the rows, as pandas writes, is left out.

    Parameters
    ----------
    path : Path
        The file, UTF-8.
    target : str, optional
        The column of labels; cells that are empty, -1, ?, NaN or None are unlabelled. Default: the column called y,
        label, labels, class or target, if there is one.
    drop : str or sequence of str, optional
        Columns to leave out.
    columns : sequence of str, optional
        Which values make a row, in this order, as an earlier reading called them; other columns are left out, and
        texts that were not seen then are 0 in each value. The file need have no labels then, nor what is in `drop`.
        Default: all but `target` and `drop`.
    classes : sequence of str, optional
        The names of the labels 0, 1, ...; without any, labels are not read. Default: the labels there are, sorted,
        numbers as numbers.
    empty : "mean" or sequence of float, optional
        What stands in empty cells among numbers: the mean of the other cells of the column, or a number for each of
        `columns`. Default: they are refused.

    Returns
    -------
    dict
        X (n, n_columns) float64, y (n,) int64 or None, classes and columns, tuples of str, and n_empty, how many cells
        were filled.

    Raises
    ------
    InputError
        If the file cannot be read or holds no rows, a line has more cells than the first, a column that is asked for is
        not there, a cell is no number where the others are, or is empty, all of a column are empty, or what is to be a
        label is none.
    """
    if isinstance(empty, str) and empty != "mean":
        raise InputError(f"{path}: expected mean for empty cells, found {empty}; write empty=mean (--data-options)")
    names, has_names, delimiter = _heading(path)
    drop = [drop] if isinstance(drop, str) else list(drop)
    target = _target(path, names, target, drop, columns is not None)
    sources = names if columns is None else [c if c in names else c.rpartition("=")[0] for c in columns]
    if columns is not None and (missing := [c for c, s in zip(columns, sources, strict=True) if s not in names]):
        raise InputError(f"{path}: expected the columns of the training, found none for {_some(missing)}")
    for name in drop if columns is None else ():
        _check_column(path, names, name)
    used = [c for c in dict.fromkeys(sources) if c != target and c not in drop]
    texts = [] if columns is None else [s for c, s in zip(columns, sources, strict=True) if c != s]
    frame = _frame(path, names, has_names, delimiter, {c: str for c in [*texts, target] if c})
    if columns is None and not names[0] and (frame[""].to_numpy() == np.arange(len(frame))).all():
        used.remove("")
    if not used:
        raise InputError(f"{path}: expected columns beside the labels, found none")
    values: dict[str, np.ndarray] = {}
    for c in used:
        known = None if columns is None else [k.removeprefix(f"{c}=") for k in columns if k.startswith(f"{c}=")]
        n_texts = N_TEXTS if columns is None else 0
        values |= _values(path, c, frame[c], delimiter != ",", known if c in texts else None, n_texts)
    order = list(values) if columns is None else columns
    X = np.stack([values[c] for c in order], 1)
    if not (empty is None or isinstance(empty, str) or len(empty) == len(order)):
        raise InputError(
            f"{path}: expected a number for each of {len(order)} columns, found {len(empty)} for empty cells"
        )
    n_empty = _fill(path, X, order, empty, columns is None)
    y, found = (None, ()) if target is None or classes == () else _labels(path, target, frame[target], classes)
    return {"X": X, "y": y, "classes": found, "columns": tuple(order), "n_empty": n_empty}


def as_bytes(X: np.ndarray) -> np.ndarray:
    """Whole numbers in 0..255, some above 1, as the bytes of images that they are; others as they came."""
    whole = X.size and X.min() >= 0 and 1 < X.max() <= 255 and bool((np.rint(X) == X).all())
    return X.astype(np.uint8) if whole else X


def _heading(path: Path) -> tuple[list[str], bool, str]:
    """The names of the columns, whether the first line holds them, and what separates cells."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            line = next((line for line in file if line.strip()), "")
        delimiter = max(",;\t", key=line.count)
        names = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a table in a text file, CSV in UTF-8, cannot read it ({error})") from error
    if not any(names):
        raise InputError(f"{path}: expected the names of columns in the first line, found none")
    numbers = [name for name in names if _number(name) is not None]
    if numbers and numbers != [str(k) for k in range(len(numbers))]:
        return [str(k) for k in range(len(names))], False, delimiter
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path}: expected a name of its own for each column, found {twice[0]!r} twice; rename one")
    return names, True, delimiter


def _target(path: Path, names: list[str], given: str | None, drop: list[str], can_lack: bool) -> str | None:
    """The column of labels, if there is one."""
    if given is not None:
        if given in names or not can_lack:
            _check_column(path, names, given)
        return given if given in names else None
    likely = [c for c in names if c.casefold() in TARGETS and c not in drop]
    if len(likely) > 1:
        raise InputError(
            f"{path}: expected one column of labels, found {' and '.join(likely)}; say which: target=NAME "
            "(--data-options)"
        )
    return likely[0] if likely else None


def _check_column(path: Path, names: list[str], name: str) -> None:
    if name not in names:
        raise InputError(f"{path}: there is no column {name!r}.{nearest(name, names)} It has {_some(names)}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _frame(path: Path, names: list[str], has_names: bool, delimiter: str, kinds: Any) -> Any:
    """The file as a pandas.DataFrame."""
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a line is longer than the first
            frame = pd.read_csv(
                path, sep=delimiter, header=0 if has_names else None, names=names, index_col=False, dtype=kinds,
                na_values=["?"], skipinitialspace=True, encoding="utf-8-sig", low_memory=False,
            )  # fmt: skip
    except pd.errors.ParserWarning:
        raise InputError(
            f"{path}: expected {len(names)} cells in every line, as in the first, found more in others; mend it"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a table ({' '.join(str(error).split())}); mend it") from error
    if not len(frame):
        raise InputError(f"{path}: expected a line for each row, found none below the names of the columns")
    return frame


def _values(
    path: Path, name: str, column: Any, decimal_commas: bool, known: list[str] | None, n_texts: int
) -> dict[str, np.ndarray]:
    """What a column gives each row: its number, or whether a text is there, for each (of those `known`, if any are)."""
    import pandas as pd

    numbers: Any = pd.to_numeric(column, errors="coerce") if known is None else column
    if decimal_commas and known is None and column.dtype.kind not in "biuf":
        numbers = pd.to_numeric(column.str.replace(",", "."), errors="coerce")
    if known is None and (numbers.notna() == column.notna()).all():
        return {name: numbers.to_numpy(np.float64)}
    cells = column.fillna("").astype(str).str.strip().to_numpy()
    kinds = sorted(set(cells) - {""}) if known is None else known
    if known is None and len(kinds) > n_texts:
        broken = [kind for kind in kinds if _number(kind) is None]
        found = f"{len(kinds)} texts" if len(broken) == len(kinds) else f"numbers and {len(broken)} texts"
        or_texts = f", or at most {n_texts} different texts" if n_texts else ""
        or_drop = f", or leave it out: drop={name} (--data-options)" if n_texts else ""
        raise InputError(
            f"{path}: column {name}: expected numbers{or_texts}, found {found}, such as {broken[0]!r}; mend it{or_drop}"
        )
    return {f"{name}={kind}": (cells == kind).astype(np.float64) for kind in kinds}


def _fill(path: Path, X: np.ndarray, names: Sequence[str], empty: str | Sequence[float] | None, can_drop: bool) -> int:
    """Put numbers where X has none, and say where how many: refuse it, where nothing is said of them."""
    n_filled = 0
    for k, (name, column) in enumerate(zip(names, X.T, strict=True)):
        where: np.ndarray = np.isnan(column)
        if not (n_empty := int(where.sum())):
            continue
        if empty is None:
            drop = f", or leave the column out: empty=mean, drop={name} (--data-options)" if can_drop else ""
            raise InputError(
                f"{path}: row {int(where.argmax()) + 1}, column {name}: expected a number, found an empty cell, "
                f"{n_empty} of them in this column; fill them in, or take the mean{drop}"
            )
        if empty == "mean" and n_empty == len(column):
            drop = f"; leave it out: drop={name} (--data-options)" if can_drop else ""
            raise InputError(f"{path}: column {name}: expected numbers, found empty cells alone{drop}")
        column[where] = column[~where].mean() if isinstance(empty, str) else empty[k]
        n_filled += n_empty
    return n_filled


def _number(text: str) -> float | None:
    """The number that a text is, if it is one."""
    try:
        return float(text)
    except ValueError:
        return None


def _labels(path: Path, name: str, column: Any, classes: Sequence[str] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as numbers, -1 where there is none, and the names of the classes."""
    cells = column.fillna("-1").str.strip().tolist()
    numbers = {cell: _number(cell) for cell in set(cells)}
    if None not in numbers.values():  # 1.0 is 1: so it is written where labels are missing
        whole = {cell: f"{number:.0f}" for cell, number in numbers.items()}
        if broken := sorted(cell for cell, number in numbers.items() if number != float(whole[cell])):
            raise InputError(
                f"{path}: column {name}: expected classes, found the number {broken[0]}; if it is no label, say which "
                "column is, or leave it out: target=NAME, drop=NAME (--data-options)"
            )
        cells = [whole[cell] for cell in cells]
    found = sorted(set(cells) - {"-1"}, key=lambda c: (0, int(c), c) if c.lstrip("-").isdecimal() else (1, 0, c))
    n_known = len(cells) - cells.count("-1")
    if n_known > 20 and len(found) > n_known / 2:
        raise InputError(
            f"{path}: column {name}: expected classes of several rows each, found {len(found)} different labels in "
            f"{n_known} rows; is it the right column?"
        )
    if classes is not None:
        if new := [c for c in found if c not in classes]:
            raise InputError(f"{path}: column {name}: expected the classes {_some(classes)}; found {_some(new)}")
        found = list(classes)
    place = {c: k for k, c in enumerate(found)} | {"-1": -1}
    return np.array([place[c] for c in cells], np.int64), tuple(found)
