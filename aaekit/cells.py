"""What the cells of a column are: numbers, dates, texts or nothing, however they are stored or written."""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MISSING", "cells_of", "missing", "parse_dates", "parse_numbers", "text_of", "written_dates"]

MISSING = frozenset({"", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NaT", "NULL", "null", "None"})

GROUPS = {".": r"[, \u00a0\u202f']", ",": r"[. \u00a0\u202f']"}  # what separates thousands, by the decimal separator
UNITS = re.compile(r"^[$€£¥]\s*|\s*[%$€£¥]$")  # before or behind a number
PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
PLAIN_ONLY = re.compile(r"[\d.eE+\n-]+$", re.ASCII)  # of texts that need no closer look
ISO = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d.*)?$")
DAYS = ("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d-%m-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y")
TIMES = ("", " %H:%M", " %H:%M:%S")
MANY = 1000  # texts by which the way of writing of a column is recognised


def cells_of(column: Any) -> NDArray[Any]:
    """Return the cells of a column as float64, as datetime64, or as objects: texts, booleans, and None where empty.

    Parameters
    ----------
    column : array-like of shape (n,)
        Of NumPy, pandas or polars; numbers, booleans, texts, dates or a mixture of them.

    Returns
    -------
    ndarray of shape (n,)
        Empty cells are NaN, NaT or None. The texts of `MISSING` are empty cells. Texts have no spaces around them.
    """
    array = np.asarray(column.to_numpy() if hasattr(column, "to_numpy") else column)
    kind = array.dtype.kind
    if kind in "iuf":
        return array.astype(np.float64)
    if kind == "M":
        return array.astype("datetime64[s]")
    if kind == "m":
        return np.where(np.isnat(array), np.nan, array.astype("timedelta64[s]").astype(np.float64) / 86400)
    values = [None if _is_missing(value) else value for value in array.astype(object).tolist()]
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, (int, float, np.number)) and not _is_bool(value) for value in present):
        return np.array([np.nan if value is None else float(value) for value in values])
    if present and all(hasattr(value, "isoformat") for value in present):
        return np.array([_instant(value) for value in values], "datetime64[s]")
    if not all(_is_bool(value) for value in present):
        values = [None if value is None else text_of(value) for value in values]
    cells = np.empty(len(values), object)
    cells[:] = values
    return cells


def missing(cells: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which cells are empty, shape (n,)."""
    if cells.dtype.kind == "f":
        return np.isnan(cells)
    if cells.dtype.kind == "M":
        return np.isnat(cells)
    return np.array([cell is None for cell in cells], bool)


def text_of(value: Any) -> str:
    """Return a value as text; whole numbers have no decimals, so that 1 and 1.0 are the same."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def parse_numbers(texts: Sequence[str], decimal: str = ".") -> tuple[NDArray[np.float64], str]:
    """Return texts as numbers, NaN where they are none, and their decimal separator.

    Thousands may be separated, and a currency or a per cent sign is ignored: "1,000.5", "12 %", "$5". The separator is
    the one that reads more of the texts.

    Parameters
    ----------
    texts : sequence of str
    decimal : "." or ",", default="."
        The decimal separator if that leaves it open, as of "1,000"; without commas it is the point.
    """
    if PLAIN_ONLY.match("\n".join(texts)):
        with suppress(ValueError):
            return np.array(texts, np.float64), "."
    bare = [UNITS.sub("", text) for text in texts]
    read = {separator: _numbers(bare, separator) for separator in (".", ",")}
    n_unread = {separator: int(np.isnan(numbers).sum()) for separator, numbers in read.items()}
    if n_unread["."] == n_unread[","]:
        chosen = decimal if any("," in text for text in bare) else "."
    else:
        chosen = min(n_unread, key=lambda separator: n_unread[separator])
    return read[chosen], chosen


def parse_dates(texts: list[str], written: str | None = None) -> tuple[NDArray[Any], str]:
    """Return texts as datetime64, NaT where they are no dates, and how they are written: for strptime, or "iso".

    Parameters
    ----------
    texts : list of str
    written : str, optional
        Default: the way of writing that reads most of the texts.
    """
    if written is None:
        some = [text for text in texts[:: max(1, len(texts) // MANY)] if any(map(str.isdecimal, text))]
        formats = ["iso", *(day + time for day in DAYS for time in TIMES)]
        written = max(formats, key=lambda f: sum(_date(text, f) is not None for text in some))
    return np.array([_instant(_date(text, written)) for text in texts], "datetime64[s]"), written


def written_dates(instants: NDArray[Any], written: str) -> NDArray[np.object_]:
    """Return datetime64 as texts in a way of writing that `parse_dates` returned; None where empty."""
    texts = np.empty(len(instants), object)
    for k, instant in enumerate(instants.astype("datetime64[s]").tolist()):
        if instant is not None and written != "iso":
            texts[k] = instant.strftime(written)
        elif instant is not None:
            texts[k] = instant.isoformat(" ") if instant.time() != datetime.min.time() else str(instant.date())
    return texts


def _numbers(texts: list[str], decimal: str) -> NDArray[np.float64]:
    grouped = re.compile(rf"[+-]?\d{{1,3}}({GROUPS[decimal]}\d{{3}})+({re.escape(decimal)}\d*)?$")
    numbers = np.full(len(texts), np.nan)
    for k, text in enumerate(texts):
        if grouped.match(text):
            text = re.sub(GROUPS[decimal], "", text)
        if decimal == "," and "." not in text:
            text = text.replace(",", ".")
        if PLAIN.match(text):
            numbers[k] = float(text)
    return numbers


def _date(text: str, written: str) -> datetime | None:
    try:
        if written != "iso":
            return datetime.strptime(text, written)
        return datetime.fromisoformat(text) if ISO.match(text) else None
    except ValueError:
        return None


def _instant(value: Any) -> np.datetime64:
    """A date as datetime64; times of other zones in UTC."""
    if value is None:
        return np.datetime64("NaT")
    if getattr(value, "tzinfo", None) is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(value.isoformat(), "s")


def _is_bool(value: object) -> bool:
    return isinstance(value, (bool, np.bool_))


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, str):
        return value.strip() in MISSING
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # pandas' NA is neither equal nor unequal to anything
        return True
