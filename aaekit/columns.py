"""The columns of a table: what each is, how it becomes numbers for a model, and how it is written again.

A `Schema` is learned from one table and applied to others, so that the same column means the same everywhere.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from aaekit._files import built, checked
from aaekit.cells import cells_of, missing, parse_dates, parse_numbers, text_of, written_dates
from aaekit.encoders import Encoder, Texts, encoded, find
from aaekit.errors import ColumnWarning, InputError, nearest, repeated

__all__ = ["Column", "Schema", "TableRows", "is_frame", "table_lines"]

Kind = Literal["number", "boolean", "category", "date", "constant", "empty", "identifier", "text", "encoded text"]

LEFT_OUT = ("constant", "empty", "identifier", "text")  # kinds that give no values
BOOLEANS = (("false", "true"), ("no", "yes"), ("f", "t"), ("n", "y"))
SHARE_OF_KIND = 0.95  # of the cells of a column must be numbers (or dates) for the others to be gaps
LEAST_FOR_KIND = 5  # numbers (or dates) beside which one cell of another kind is a gap
MIN_CATEGORIES, MAX_CATEGORIES = 10, 100  # of a column that become a value each; between them a tenth of the rows
LEAST_FOR_UNIQUE = 20  # rows from which texts that (nearly) all differ are identifiers
MAX_DECIMALS = 6
N_AT_ONCE = 10**6  # cells of numbers that are learned or transformed together
DAY = 86400


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name : str
        As in the table.
    kind : str
        "number", "boolean", "category", "date" or "encoded text"; or what left out: "constant", "empty", "identifier"
        (different in each row), "text" (free text).
    categories : tuple
        The values of a category, the two of a boolean with the positive one last, or the one of a constant.
    other : str or None
        The most frequent of the rarer categories that share one value; None if there are none.
    fill : float
        What replaces an empty cell among numbers or dates: the median.
    low, high : float
        The range of numbers; of dates in days since 1970.
    decimals : int or None
        Of the numbers; None for more than six.
    decimal : "." or ","
        The decimal separator of numbers that are texts.
    written : str
        How dates are written: a format of `strptime`, "iso", or "" where they are no texts.
    has_time : bool
        Whether dates have a time of day, which becomes a value of its own.
    n_gaps : int
        Cells that are empty or not of this kind; if there are some, it is a value whether a cell is.
    n_unread : int
        Those of them that are not empty, but not of this kind.
    n_distinct : int
        Different cells.
    encoder, checksum : str
        The encoder of an encoded text, see `aaekit.encoders.find`, and the checksum that it has.
    n_features : int
        The number of values that it makes of a text.
    remark : str
        What a user should know about how the column was understood, or why it left out.
    """

    name: str
    kind: Kind
    categories: tuple[Any, ...] = ()
    other: str | None = None
    fill: float = 0.0
    low: float = 0.0
    high: float = 0.0
    decimals: int | None = None
    decimal: str = "."
    written: str = ""
    has_time: bool = False
    n_gaps: int = 0
    n_unread: int = 0
    n_distinct: int = 0
    encoder: str = ""
    checksum: str = ""
    n_features: int = 0
    remark: str = ""

    @property
    def value_names(self) -> list[str]:
        """The names of its values in a row."""
        if self.kind in LEFT_OUT:
            return []
        if self.kind == "category":
            names = [f"{self.name}={text_of(c)}" for c in self.categories]
            return names + [f"{self.name}: other"] * (self.other is not None) + self._gap_name
        if self.kind == "encoded text":
            return [*(f"{self.name}: {k}" for k in range(self.n_features)), *self._gap_name]
        return [self.name, *[f"{self.name}: hour"] * self.has_time, *self._gap_name]

    @property
    def groups(self) -> list[tuple[int, int]]:
        """Which of its values are one choice: (first, behind the last), one value for yes or no."""
        n = len(self.value_names)
        if self.kind == "category":
            return [(0, n)]
        numbers = {"boolean": 0, "encoded text": self.n_features}.get(self.kind, 1 + self.has_time)
        return [(k, k + 1) for k in range(numbers, n)]

    @property
    def _gap_name(self) -> list[str]:
        return [f"{self.name}: empty"] * (self.n_gaps > 0)

    def encode(
        self, cells: NDArray[Any], decimal: str | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], list[str]]:
        """Return values (n, n_values), which cells are empty or not of its kind, and examples of the latter."""
        is_empty = missing(cells)
        if self.kind == "category":
            return self._encode_category(cells, is_empty)
        if self.kind == "encoded text":
            return self._encode_texts(cells, is_empty)
        numbers, unread = self._numbers(cells, decimal)
        is_gap = np.isnan(numbers)
        values = [np.where(is_gap, self.fill, numbers)]
        if self.has_time:
            values = [np.floor(values[0]), values[0] % 1 * 24]
        if self.n_gaps:
            values.append(is_gap.astype(np.float64))
        return np.stack(values, 1), is_gap, unread

    def _numbers(self, cells: NDArray[Any], decimal: str | None = None) -> tuple[NDArray[np.float64], list[str]]:
        """Cells as numbers, NaN where they are none, and the texts that are none."""
        if self.kind == "boolean":
            return self._truth(cells)
        if cells.dtype.kind == "M":
            days = cells.astype("datetime64[s]").astype(np.int64) / DAY
            return np.where(np.isnat(cells), np.nan, days), []
        if cells.dtype.kind == "f":
            return (cells, []) if self.kind == "number" else (np.full(len(cells), np.nan), [])

        def parsed(texts: list[str]) -> NDArray[np.float64]:
            if self.kind == "number":
                return parse_numbers(texts, decimal or self.decimal)[0]
            return Column("", "date")._numbers(parse_dates(texts, self.written or None)[0])[0]

        return _each_text(cells, parsed)

    def _truth(self, cells: NDArray[Any]) -> tuple[NDArray[np.float64], list[str]]:
        index = {text_of(c).casefold(): float(k) for k, c in enumerate(self.categories)}
        index = {b: k for pair in BOOLEANS for k, b in enumerate(pair)} | {"0": 0.0, "1": 1.0} | index

        def parsed(texts: list[str]) -> NDArray[np.float64]:
            return np.array([index.get(text.casefold(), np.nan) for text in texts])

        return _each_text(cells, parsed)

    def _encode_category(
        self, cells: NDArray[Any], is_empty: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], list[str]]:
        index = {text_of(c): float(k) for k, c in enumerate(self.categories)}
        other = np.nan if self.other is None else float(len(index))
        places, unseen = _each_text(cells, lambda texts: np.array([index.get(text, other) for text in texts]))
        if self.n_gaps:
            places[is_empty] = len(self.value_names) - 1
        return (places[:, None] == np.arange(len(self.value_names))).astype(np.float64), np.isnan(places), unseen

    def _encode_texts(
        self, cells: NDArray[Any], is_empty: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], list[str]]:
        """Features of the texts, 0 where a cell is empty."""
        encoder = _encoder_of(self.encoder)
        if encoder.checksum != self.checksum:
            raise InputError(
                f"column {self.name}: expected the encoder {self.encoder} of the training rows, checksum "
                f"{self.checksum[:16]}, got {encoder.checksum[:16]}: install the same one"
            )
        values = np.zeros((len(cells), len(self.value_names)))
        if not is_empty.all():
            texts = [text_of(cell) for cell in cells[~is_empty]]
            values[~is_empty, : self.n_features] = encoded(Texts(texts), encoder)
        if self.n_gaps:
            values[:, -1] = is_empty
        return values, is_empty, []

    def decode(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return cells of the table made of values (n, n_values): valid ones, the likeliest of a category."""
        values = np.asarray(values, np.float64)
        if self.kind == "constant":
            return np.array([self.categories[0]] * len(values))
        is_gap: NDArray[np.bool_] = np.zeros(len(values), bool)
        if self.kind == "category":
            choices = [*self.categories, *[self.other] * (self.other is not None), *[None] * (self.n_gaps > 0)]
            return _column([choices[k] for k in values.argmax(1)])
        if self.n_gaps:
            is_gap = values[:, -1] > 0.5
        if self.kind == "boolean":
            return _column(
                [None if g else self.categories[int(v > 0.5)] for g, v in zip(is_gap, values[:, 0], strict=True)]
            )
        numbers = values[:, 0]
        if self.has_time:
            numbers = np.floor(numbers + 0.5) + np.clip(values[:, 1], 0, 24 - 1 / 3600) / 24
        numbers = np.clip(numbers, self.low, self.high)
        if self.kind == "date":
            return self._dates(numbers, is_gap)
        if self.decimals is not None:
            numbers = np.clip(np.round(numbers, self.decimals), self.low, self.high)
        if self.decimals == 0 and not is_gap.any() and np.abs(numbers).max(initial=0) < 2**53:
            return numbers.astype(np.int64)
        return np.where(is_gap, np.nan, numbers)

    def _dates(self, days: NDArray[np.float64], is_gap: NDArray[np.bool_]) -> NDArray[Any]:
        days = days if self.has_time else np.clip(np.round(days), self.low, self.high)
        instants = np.round(days * DAY).astype(np.int64).astype("datetime64[s]")
        instants[is_gap] = np.datetime64("NaT")
        return written_dates(instants, self.written) if self.written else instants


@dataclass(frozen=True)
class Schema:
    """The columns of a table, in their order.

    Attributes
    ----------
    columns : tuple of Column
        All columns, those that are left out among them.
    """

    columns: tuple[Column, ...]

    @classmethod
    def fit(cls, frame: Any, decimal: str = ".", features: str | None = None, texts: Sequence[str] = ()) -> Self:
        """Learn what the columns of a table are.

        Parameters
        ----------
        frame : DataFrame, or mapping from names to arrays of shape (n,)
            Of pandas or polars. Columns may hold numbers, texts, booleans, dates, categories and empty cells.
        decimal : "." or ",", default="."
            The decimal separator of texts such as "1,000" in columns whose other cells do not say it.
        features : str, optional
            An encoder of texts, see `aaekit.encoders.find`: free texts become its features. Default: they are left out.
        texts : sequence of str, optional
            The columns of texts to encode. Default: those of texts of more than two words, of which most differ.

        Returns
        -------
        Schema

        Raises
        ------
        InputError
            If two columns have the same name or columns are of several lengths, a number is infinite, no column can be
            used, or there is no text to encode.

        Warns
        -----
        ColumnWarning
            For each column that left out or in which a cell is not of the kind of the others.
        """
        items = list(_items(frame))
        _common_length(column for _, column in items)
        columns = _all_learned(items, decimal)
        if features is not None:
            columns = _with_encoded_texts(columns, dict(items), features, texts)
        schema = cls(columns)
        if not schema.n_values:
            encode = any(column.kind == "text" for column in columns)
            raise InputError(
                f"expected a column to learn from, got {_listed([f'{c.name} ({c.kind})' for c in columns]) or 'none'}: "
                + ("encode the texts by --features minilm" if encode else "add columns of numbers, dates or categories")
            )
        for line in schema.remarks:
            warnings.warn(line, ColumnWarning, stacklevel=2)
        return schema

    @classmethod
    def of_numbers(cls, X: NDArray[Any], names: Sequence[str] = ()) -> Self:
        """Return the schema of numbers (n, n_columns), NaN where empty, each of which is a value."""
        names = names or [f"x{k}" for k in range(X.shape[1])]
        return cls(tuple(_of_numbers(names, X.T.astype(np.float64))))

    @property
    def used(self) -> list[Column]:
        """The columns that are not left out."""
        return [column for column in self.columns if column.kind not in LEFT_OUT]

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self.columns]

    @property
    def first_values(self) -> list[int]:
        """Where the (first) value of each column is in a row."""
        return [first for first, last in self._places() if last > first]

    @property
    def value_names(self) -> list[str]:
        """The names of the values of a row."""
        return [name for column in self.columns for name in column.value_names]

    @property
    def plain_values(self) -> list[int]:
        """Where values are in a row that are not features of texts."""
        places = zip(self.columns, self._places(), strict=True)
        return [k for column, (first, last) in places if column.kind != "encoded text" for k in range(first, last)]

    @property
    def n_values(self) -> int:
        """How many values a row has."""
        return len(self.value_names)

    @property
    def remarks(self) -> list[str]:
        """What a user should know about how the columns were understood, a line each."""
        names: dict[str, list[str]] = {}
        for column in self.columns:
            if column.remark:
                names.setdefault(column.remark, []).append(column.name)
        return [f"column{'s' * (len(c) > 1)} {_listed(c, 5)}: {remark}" for remark, c in names.items()]

    @property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """Which values are one choice: (first, behind the last), one value for yes or no, several for a category."""
        groups: list[tuple[int, int]] = []
        for column, (first, _) in zip(self.columns, self._places(), strict=True):
            groups += [(first + a, first + b) for a, b in column.groups]
        return tuple(groups)

    def transform(self, frame: Any, decimal: str | None = None) -> "TableRows":
        """Return the values of the rows of a table.

        Parameters
        ----------
        frame : DataFrame or mapping
            As in `fit`; columns in any order, and more of them.
        decimal : "." or ",", optional
            As in `fit`. Default: that of the column in `fit`.

        Returns
        -------
        TableRows of shape (n, n_values), float64
            Numbers, 0 and 1 for booleans and categories. A category that was not in the table of `fit` is 0 in all
            values of its column, or the value of the rarer ones; an empty cell is the median.

        Raises
        ------
        InputError
            If a column is missing or of another length, or a number is infinite.

        Warns
        -----
        ColumnWarning
            If cells are empty or not of their kind where that did not occur in the table of `fit`; one line.
        """
        table = dict(_items(frame))
        used = [(c, place) for c, place in zip(self.columns, self._places(), strict=True) if c.kind not in LEFT_OUT]
        if absent := [column.name for column, _ in used if column.name not in table]:
            raise InputError(f"expected the columns of the training rows, got none called {_listed(absent)}: add them")
        rows = np.empty((_common_length(table[column.name] for column, _ in used), self.n_values))
        plain = [
            (column, first) for column, (first, _) in used if column.kind == "number" and _is_plain(table[column.name])
        ]
        lines = _write_numbers(rows, plain, table)
        for column, (first, last) in used:
            if column.name in lines:
                continue
            cells = cells_of(table[column.name])
            _check_finite(column.name, cells)
            rows[:, first:last], is_gap, unread = column.encode(cells, decimal)
            n_empty = 0 if column.n_gaps else int(missing(cells).sum())
            n_unread = 0 if column.n_unread else int((is_gap & ~missing(cells)).sum())
            counts = [f"{n_empty} empty"] * (n_empty > 0)
            counts += [f"{n_unread} new, such as {unread[0]!r}" if unread else f"{n_unread} new"] * (n_unread > 0)
            lines[column.name] = "; ".join(counts)
        if remarks := [f"{column.name} ({lines[column.name]})" for column, _ in used if lines[column.name]]:
            warnings.warn(
                f"expected cells as in the training rows, got others in {_listed(remarks)}: they count as unknown",
                ColumnWarning,
                stacklevel=2,
            )
        return TableRows.of(rows, self)

    def inverse_transform(self, values: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the columns of a valid table, by name, made of values (n, n_values), for instance those of a decoder.

        Numbers are rounded as in the table of `fit` and clipped to its range. Identifiers and free texts are missing.
        """
        values = np.asarray(values)
        return {
            column.name: column.decode(values[:, first:last])
            for column, (first, last) in zip(self.columns, self._places(), strict=True)
            if column.kind not in ("empty", "identifier", "text", "encoded text")
        }

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        defaults = asdict(Column("", "number"))
        return {
            "columns": [
                {k: v for k, v in asdict(column).items() if v != defaults[k] or k == "kind"} for column in self.columns
            ]
        }

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Self:
        """Return what `as_dict` described.

        Raises
        ------
        InputError
            If it is not such a description.
        """
        try:
            columns = checked(description.get("columns"), list[dict[str, Any]])
            schema = cls(
                tuple(
                    built(Column, {"name": ""} | column | {"categories": tuple(column.get("categories", ()))})
                    for column in columns
                )
            )
        except (AttributeError, TypeError, ValueError) as error:
            raise InputError(f"expected the description of columns, got a damaged one ({error})") from error
        for column in schema.columns:
            n = {"boolean": 2, "constant": 1}.get(column.kind, len(column.categories))
            plain = all(isinstance(c, (str, int, float)) for c in column.categories)
            if not plain or len(column.categories) != n or (column.kind == "category" and not n):
                raise InputError(f"expected the categories of column {column.name!r}, got others: restore the file")
        return schema

    def _places(self) -> Iterator[tuple[int, int]]:
        """Where the values of each column begin and end in a row."""
        first = 0
        for column in self.columns:
            last = first + len(column.value_names)
            yield first, last
            first = last


class TableRows(np.ndarray):
    """The values of the rows of a table, an array that knows its schema as long as it has all values of a row."""

    schema: Schema | None = None

    @classmethod
    def of(cls, values: NDArray[Any], schema: Schema) -> "TableRows":
        """Return an array with a schema."""
        rows = np.asarray(values).view(cls)
        rows.schema = schema
        return rows

    def __array_finalize__(self, source: Any) -> None:
        """Pass the schema on to rows that are chosen or copied."""
        schema = getattr(source, "schema", None)
        if schema is not None and self.ndim == 2 and self.shape[1] == source.shape[-1]:
            self.schema = schema


def is_frame(X: object) -> bool:
    """Return whether something is a data frame of pandas or polars."""
    return hasattr(X, "columns") and hasattr(X, "dtypes") and hasattr(X, "shape")


# --- texts -----------------------------------------------------------------------------------------------------------
@lru_cache(maxsize=4)
def _encoder_of(name: str) -> Encoder:
    """An encoder, with its weights once they are loaded."""
    return find(name)


def _with_encoded_texts(
    columns: tuple[Column, ...], table: Mapping[str, Any], features: str, texts: Sequence[str]
) -> tuple[Column, ...]:
    """The same, but columns of free texts, or those that are named, become features."""
    if not isinstance(features, str):
        raise InputError(
            f"features: expected the name of an encoder of texts, got {type(features).__name__}: encode them by "
            "aaekit.features.encode, and join the features yourself"
        )
    encoder = _encoder_of(features)
    if encoder.kind != "texts":
        raise InputError(
            f"expected an encoder of texts for a table, got {features}, which encodes {encoder.kind}: choose for "
            "instance minilm"
        )
    for name in texts:
        if name not in table:
            raise InputError(f"expected a column of texts, got {name!r}, which is none{nearest(name, table)}")
    cells = {c.name: cells_of(table[c.name]) for c in columns}
    chosen = [c.name for c in columns if (c.name in texts if texts else _is_free_text(cells[c.name]))]
    if not chosen:
        names = _listed([f"{c.name} ({c.kind})" for c in columns])
        raise InputError(
            f"expected a column of free texts to encode by {features}, got {names}: name one by text=COLUMN "
            "(--data-options), or leave features out"
        )
    return tuple(
        _of_encoded_texts(c.name, cells[c.name], encoder, features) if c.name in chosen else c for c in columns
    )


def _is_free_text(cells: NDArray[Any]) -> bool:
    """Whether texts have more than two words on average and mostly differ."""
    present = cells[~missing(cells)]
    if cells.dtype.kind != "O" or not len(present) or not isinstance(present[0], str):
        return False
    texts = np.unique(present.astype(str))
    is_long = np.mean([len(text.split()) for text in texts]) > 2
    return bool(is_long and (len(texts) > len(present) / 2 or len(texts) > MAX_CATEGORIES))


def _of_encoded_texts(name: str, cells: NDArray[Any], encoder: Encoder, features: str) -> Column:
    """A column of texts that an encoder makes values of."""
    is_gap = missing(cells)
    texts = [text_of(cell) for cell in cells[~is_gap]]
    if not texts:
        raise InputError(f"column {name}: expected texts to encode, got empty cells alone: leave the column out")
    return Column(
        name,
        "encoded text",
        n_gaps=int(is_gap.sum()),
        n_distinct=len(set(texts)),
        encoder=features,
        checksum=encoder.checksum,
        n_features=encoded(Texts(texts), encoder).shape[1],
    )


# --- learning --------------------------------------------------------------------------------------------------------
def _items(frame: Any) -> Iterator[tuple[str, Any]]:
    """Names and columns of a table."""
    if isinstance(frame, Mapping):
        yield from frame.items()
        return
    labels = list(frame.columns)
    names = [str(name) for name in labels]
    if (name := repeated(names)) is not None:
        raise InputError(f"expected a different name for each column, got {name!r} twice: rename one")
    is_number = [isinstance(kind, np.dtype) and kind.kind in "iuf" for kind in list(frame.dtypes)]
    numbers = iter(frame.loc[:, is_number].to_numpy(np.float64).T.copy() if any(is_number) else ())
    for name, label, is_plain in zip(names, labels, is_number, strict=True):
        yield name, next(numbers) if is_plain else frame[label]  # one by one, columns of wide tables are slow


def _common_length(columns: Iterable[Any]) -> int:
    """The number of cells that each column has; columns of several lengths are refused."""
    lengths = set(map(len, columns))
    if len(lengths) > 1:
        raise InputError(f"expected columns of the same length, got {min(lengths)} and {max(lengths)} cells")
    return min(lengths, default=0)


def _is_plain(column: Any) -> bool:
    """Whether a column is an array of numbers."""
    return isinstance(column, np.ndarray) and column.dtype.kind in "iuf"


def _at_once(columns: Sequence[Any]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Columns of numbers in a few arrays (n_columns, n): which they are, and their cells."""
    n = max(1, N_AT_ONCE // max(1, len(columns[0]))) if columns else 1
    for k in range(0, len(columns), n):
        yield slice(k, k + n), np.stack(columns[k : k + n]).astype(np.float64, copy=False)


def _write_numbers(
    rows: NDArray[np.float64], columns: Sequence[tuple[Column, int]], table: Mapping[str, Any]
) -> dict[str, str]:
    """Write the values of columns of numbers, each from its first place on; return what is new in each, if anything."""
    lines: dict[str, str] = {}
    for part, cells in _at_once([table[column.name] for column, _ in columns]):
        _check_all_finite([column.name for column, _ in columns[part]], cells)
        is_gap = np.isnan(cells)
        first = np.array([first for _, first in columns[part]])
        fill = np.array([column.fill for column, _ in columns[part]])
        rows[:, first] = np.where(is_gap, fill[:, None], cells).T
        has_gaps = np.array([column.n_gaps > 0 for column, _ in columns[part]])
        rows[:, first[has_gaps] + 1] = is_gap[has_gaps].T
        n_empty = np.where(has_gaps, 0, is_gap.sum(1)).tolist()
        lines |= {c.name: f"{n} empty" if n else "" for (c, _), n in zip(columns[part], n_empty, strict=True)}
    return lines


def _all_learned(items: Sequence[tuple[str, Any]], decimal: str) -> tuple[Column, ...]:
    """What all columns of a table are; those of numbers are learned together, since wide tables have many."""
    plain = [place for place, (_, column) in enumerate(items) if _is_plain(column)]
    learned: dict[int, Column] = {}
    for part, cells in _at_once([items[place][1] for place in plain]):
        names = [items[place][0] for place in plain[part]]
        learned |= zip(plain[part], _of_columns_of_numbers(names, plain[part], cells), strict=True)
    return tuple(
        learned[place] if place in learned else _learned(name, place, column, decimal)
        for place, (name, column) in enumerate(items)
    )


def _learned(name: str, place: int, column: Any, decimal: str) -> Column:
    """What a column is."""
    cells = cells_of(column)
    _check_finite(name, cells)
    is_gap = missing(cells)
    present, n_gaps = cells[~is_gap], int(is_gap.sum())
    if not len(present):
        return _empty(name, n_gaps)
    if str(getattr(column, "dtype", "")) in ("category", "Categorical", "Enum") and cells.dtype.kind == "f":
        numbers = [int(value) if value.is_integer() else value for value in present.tolist()]
        texts = _column([text_of(value) for value in numbers])
        return _of_texts(name, texts, n_gaps, originals=dict(zip(texts, numbers, strict=True)))
    if cells.dtype.kind == "M":
        return _of_days(Column(name, "date"), Column(name, "date")._numbers(cells)[0])
    if cells.dtype.kind == "f":
        return _of_columns_of_numbers([name], [place], cells[None])[0]
    if isinstance(present[0], (bool, np.bool_)):
        return _boolean_or_constant(name, [False, True], sorted(set(map(bool, present))), n_gaps)
    return _of_text_cells(name, cells, decimal)


def _of_text_cells(name: str, cells: NDArray[np.object_], decimal: str) -> Column:
    """A column of texts: of numbers or dates if nearly all are, of booleans, or of categories."""
    is_gap = missing(cells)
    present = cells[~is_gap]
    texts, counts = np.unique(present.astype(str), return_counts=True)
    for pair in BOOLEANS:
        if len(texts) == 2 and {text.casefold() for text in texts} == set(pair):
            ordered = sorted(texts.tolist(), key=lambda text: pair.index(text.casefold()))
            return _boolean_or_constant(name, ordered, ordered, int(is_gap.sum()))
    numbers, decimal = parse_numbers(texts.tolist(), decimal)
    if _mostly(counts, np.isnan(numbers)):
        values, unread = Column(name, "number", decimal=decimal)._numbers(cells)
        learned = replace(_of_columns_of_numbers([name], [-1], values[None])[0], decimal=decimal)
    else:
        dates, written = parse_dates(texts.tolist())
        if not _mostly(counts, np.isnat(dates)):
            return _of_texts(name, present, int(is_gap.sum()))
        base = Column(name, "date", written=written)
        values, unread = base._numbers(cells)
        learned = _of_days(base, values)
    if not unread:
        return learned
    n_unread = int(np.isnan(values).sum() - is_gap.sum())
    remark = (
        f"{n_unread} of {len(present)} cells count as empty, since they are no {learned.kind}s, such as {unread[0]!r}"
    )
    return replace(learned, n_unread=n_unread, remark=remark)


def _mostly(counts: NDArray[Any], unread: NDArray[np.bool_]) -> bool:
    """Whether nearly all cells could be read, so that the others are gaps."""
    n_bad, n = int(counts[unread].sum()), int(counts.sum())
    if n_bad == 0:
        return True
    n_read = int((~unread).sum())
    return n - n_bad >= LEAST_FOR_KIND and n_read > int(unread.sum()) and n_bad <= max(1, (1 - SHARE_OF_KIND) * n)


def _of_columns_of_numbers(names: Sequence[str], places: Sequence[int], cells: NDArray[np.float64]) -> list[Column]:
    """Columns of numbers (n_columns, n): booleans if they are 0 and 1, constants, identifiers, or measurements."""
    _check_all_finite(names, cells)
    columns = _of_numbers(names, cells)
    return [_of_meaning(*of_column) for of_column in zip(columns, places, cells, strict=True)]


def _of_meaning(learned: Column, place: int, numbers: NDArray[np.float64]) -> Column:
    """A column of numbers as what they mean: nothing, a constant, an identifier, yes or no, or a measurement."""
    name, n_gaps, n = learned.name, learned.n_gaps, len(numbers)
    if n_gaps == n:
        return _empty(name, n)
    if learned.low == learned.high and not n_gaps:
        value = int(learned.low) if learned.decimals == 0 else learned.low
        return Column(name, "constant", (value,), n_distinct=1, remark="left out, since all cells are the same")
    is_identifier = not n_gaps and learned.decimals == 0 and learned.n_distinct == n
    if is_identifier and (remark := _identifier(name, place, numbers)):
        return Column(name, "identifier", n_distinct=n, remark=remark)
    if (learned.low, learned.high, learned.n_distinct) == (0, 1, 2):
        return _boolean_or_constant(name, [0, 1], [0, 1], n_gaps)
    if is_identifier and n >= LEAST_FOR_UNIQUE and (np.diff(numbers) == 1).all():
        return replace(learned, remark="counts the rows: drop it if it is an identifier")
    return learned


def _empty(name: str, n: int) -> Column:
    return Column(name, "empty", n_gaps=n, remark="left out, since all cells are empty")


def _identifier(name: str, place: int, numbers: NDArray[np.float64]) -> str:
    """Why a column of different whole numbers is an identifier; "" if it is none."""
    if place == 0 and name.casefold() in ("", "unnamed: 0") and (np.diff(numbers) == 1).all() and numbers[0] in (0, 1):
        return "left out, since it counts the rows"
    words = name.casefold().replace("-", "_").replace(" ", "_").split("_")
    is_named = {"id", "index", "uuid", "guid"} & {words[0], words[-1]} or name.endswith(("Id", "ID"))
    return "left out as an identifier, since it has another value in each row" if is_named else ""


def _of_numbers(names: Sequence[str], numbers: NDArray[np.float64]) -> list[Column]:
    """Columns of numbers (n_columns, n) as they are."""
    n = numbers.shape[1]
    n_present = n - np.isnan(numbers).sum(1)
    ordered = np.sort(numbers, 1)  # NaN last
    decimals = _decimals(numbers)
    is_new = (ordered[:, 1:] != ordered[:, :-1]) & (np.arange(1, n) < n_present[:, None])
    n_distinct = (1 + is_new.sum(1)).tolist()
    columns = []
    for k, (name, m) in enumerate(zip(names, n_present.tolist(), strict=True)):
        if not m:
            columns.append(Column(name, "number", n_gaps=n))
            continue
        cells = ordered[k]
        columns.append(
            Column(
                name,
                "number",
                fill=float(cells[(m - 1) // 2] / 2 + cells[m // 2] / 2),
                low=float(cells[0]),
                high=float(cells[m - 1]),
                decimals=decimals[k],
                n_gaps=n - m,
                n_distinct=n_distinct[k],
            )
        )
    return columns


def _decimals(numbers: NDArray[np.float64]) -> list[int | None]:
    """The decimals of each column of numbers (n_columns, n), None for more than six."""
    decimals: list[int | None] = [None] * len(numbers)
    with np.errstate(invalid="ignore"):
        left = np.flatnonzero(~(np.abs(numbers) >= 2**53).any(1))
    for n in range(MAX_DECIMALS + 1):
        cells = numbers[left]
        fits = ((np.round(cells, n) == cells) | np.isnan(cells)).all(1)
        for k in left[fits].tolist():
            decimals[k] = n
        left = left[~fits]
    return decimals


def _of_days(base: Column, days: NDArray[np.float64]) -> Column:
    """A column of dates, given in days since 1970."""
    hours = np.unique(np.round(days[~np.isnan(days)] % 1, 6))
    (learned,) = _of_numbers([base.name], days[None])
    learned = replace(learned, kind="date", decimals=None, written=base.written)
    return replace(learned, has_time=len(hours) > 1)


def _boolean_or_constant(name: str, pair: Sequence[Any], present: Sequence[Any], n_gaps: int) -> Column:
    if len(present) == 1 and not n_gaps:
        return Column(name, "constant", (present[0],), n_distinct=1, remark="left out, since all cells are the same")
    return Column(name, "boolean", tuple(pair), n_gaps=n_gaps, n_distinct=len(present))


def _of_texts(name: str, texts: NDArray[np.object_], n_gaps: int, originals: Mapping[str, Any] | None = None) -> Column:
    """A column of categories, or of texts of which (nearly) each is another."""
    names, counts = np.unique(texts.astype(str), return_counts=True)
    n, n_distinct = len(texts), len(names)
    original = (lambda text: text) if originals is None else originals.__getitem__
    if n_distinct == 1 and not n_gaps:
        remark = "left out, since all cells are the same"
        return Column(name, "constant", (original(str(names[0])),), n_distinct=1, remark=remark)
    if n >= LEAST_FOR_UNIQUE and n_distinct > n / 2:
        n_words = float(np.mean([len(text.split()) for text in names]))
        kind, what = ("text", "free text") if n_words > 2 else ("identifier", "an identifier")
        remark = f"left out as {what}, since {n_distinct} of {n} cells are different, such as {str(names[0])[:40]!r}"
        remark += "; features encode it, for instance --features minilm" * (kind == "text")
        return Column(name, kind, n_gaps=n_gaps, n_distinct=n_distinct, remark=remark)
    bound = min(MAX_CATEGORIES, max(MIN_CATEGORIES, (n + n_gaps) // 10))
    if n_distinct <= bound:
        categories = tuple(original(str(text)) for text in names)
        return Column(name, "category", categories, n_gaps=n_gaps, n_distinct=n_distinct)
    by_count = names[np.argsort(-counts, kind="stable")]
    frequent = tuple(original(text) for text in sorted(by_count[: bound - 1].tolist()))
    return Column(
        name,
        "category",
        frequent,
        other=original(str(by_count[bound - 1])),
        n_gaps=n_gaps,
        n_distinct=n_distinct,
        remark=f"of {n_distinct} categories the {bound - 1} frequent ones are values; the others share one",
    )


def _each_text(cells: NDArray[Any], parsed: Any) -> tuple[NDArray[np.float64], list[str]]:
    """A number for the text of each cell, NaN where it is empty or not understood, and the texts that are not."""
    is_empty = missing(cells)
    texts, inverse = np.unique(np.array([text_of(cell) for cell in cells[~is_empty]], str), return_inverse=True)
    numbers = np.full(len(cells), np.nan)
    of_text = np.asarray(parsed(texts.tolist()), np.float64) if len(texts) else np.zeros(0)
    numbers[~is_empty] = of_text[inverse]
    return numbers, texts[np.isnan(of_text)].tolist()


def _check_all_finite(names: Sequence[str], cells: NDArray[np.float64]) -> None:
    """Refuse infinity in columns (n_columns, n)."""
    for k in np.flatnonzero(np.isinf(cells).any(1)).tolist():
        _check_finite(names[k], cells[k])


def _check_finite(name: str, cells: NDArray[Any]) -> None:
    if cells.dtype.kind == "f" and (n_infinite := int(np.isinf(cells).sum())):
        raise InputError(f"column {name}: expected finite numbers, got infinity in {n_infinite} rows: correct them")


def _column(values: Sequence[Any]) -> NDArray[np.object_]:
    """Values as a column of objects."""
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _listed(names: Sequence[str], most: int = 10) -> str:
    """The first names."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def table_lines(rows: NDArray[Any], schema: Schema | None) -> list[list[str]]:
    """Rows as the lines of a table, the header first: with valid cells of the columns of a schema, if there is one."""
    if schema is None:
        return [[f"x{j + 1}" for j in range(rows.shape[1])], *([f"{value:.6g}" for value in row] for row in rows)]
    columns = schema.inverse_transform(rows)
    cells = [["" if cell is None or cell != cell else text_of(cell) for cell in column] for column in columns.values()]
    return [list(columns), *map(list, zip(*cells, strict=True))]
