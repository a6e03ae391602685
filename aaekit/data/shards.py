"""Parts of a data set and of lists of tasks, for processes that share work without talking to each other."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from aaekit._extras import require
from aaekit._files import check_regular, replacing, write_csv
from aaekit.columns import Schema
from aaekit.data.dataset import Dataset, checked
from aaekit.data.store import open_rows
from aaekit.errors import InputError

__all__ = ["BLOCK", "Block", "Shard", "blocks_of", "npy_blocks", "parquet_blocks", "write_blocks"]

BLOCK = 1000  # rows: as many as estimators compute at a time, so that a row has the same neighbours in each sharding
TEXT = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})")

T = TypeVar("T")
Block = tuple[int, NDArray[Any]]  # the number of the first row, and the rows


@dataclass(frozen=True)
class Shard:
    """One of several parts of equal size; by default all of it.

    Parameters
    ----------
    number, count : int
        Which part, from 1, and of how many.
    """

    number: int = 1
    count: int = 1

    @classmethod
    def of(cls, text: str | None) -> "Shard":
        """Read "3/16"; None is all.

        Raises
        ------
        InputError
            For other texts.
        """
        if text is None:
            return cls()
        match = TEXT.fullmatch(text.strip())
        if not match or int(match[1]) > int(match[2]):
            raise InputError(f"--shard: expected K/N with K from 1 to N, got {text!r}: write for instance 3/16")
        return cls(int(match[1]), int(match[2]))

    @property
    def is_all(self) -> bool:
        """Whether there is no other part."""
        return self.count == 1

    @property
    def name(self) -> str:
        """As in the names of files."""
        return f"part-{self.number:0{len(str(self.count))}}-of-{self.count}"

    def rows(self, n: int) -> range:
        """Its rows of `n`: a run of whole blocks."""
        n_blocks = -(-n // BLOCK)
        first, last = (n_blocks * k // self.count * BLOCK for k in (self.number - 1, self.number))
        return range(min(first, n), min(last, n))

    def items(self, tasks: Sequence[T]) -> list[T]:
        """Its tasks: every `count`-th, so that parts take about the same time."""
        return list(tasks[self.number - 1 :: self.count])

    def path(self, out: Path) -> Path:
        """Return the file that it is written to: `out`, or, if there are other parts, one in a folder of that name.

        Raises
        ------
        InputError
            If the folder has parts of another number.
        """
        if self.is_all:
            return out
        for other in sorted(out.glob("part-*-of-*")):
            count = other.stem.rpartition("-of-")[2]
            if count != str(self.count):
                raise InputError(
                    f"{out}: expected parts of {self.count}, got one of {count}: delete them, or choose another folder"
                )
        return out / f"{self.name}{out.suffix}"


# --- reading ---------------------------------------------------------------------------------------------------------
def blocks_of(X: NDArray[Any], shard: Shard) -> Iterator[Block]:
    """Yield the blocks of a part of rows."""
    rows = shard.rows(len(X))
    for first in range(rows.start, rows.stop, BLOCK):
        yield first, X[first : min(first + BLOCK, rows.stop)]


def npy_blocks(path: Path, shard: Shard, image_shape: Sequence[int] | None = None) -> Iterator[Block]:
    """Yield the blocks of a part of a .npy file, each checked as `load` checks rows; never more of them is read.

    Raises
    ------
    InputError
        If the file or a block cannot be used.
    """
    for first, rows in blocks_of(open_rows(path), shard):
        yield first, checked(Dataset(path.stem, np.array(rows)), image_shape).X


def parquet_blocks(path: Path, shard: Shard, schema: Schema) -> Iterator[Block]:
    """Yield the blocks of a part of a Parquet file as values of a schema; only row groups of the part are read.

    Raises
    ------
    InputError
        If the file is damaged, or a column of the schema is missing.
    """
    require("pyarrow", extra="data")
    from pyarrow import parquet

    check_regular(path, "a table")
    try:
        with parquet.ParquetFile(path) as file:
            for first, frame in _frames(file, shard, [column.name for column in schema.used]):
                yield first, checked(Dataset(path.stem, schema.transform(frame), schema=schema)).X
    except FileNotFoundError:
        raise InputError(f"{path}: expected a table, got no such file: check the path") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # pyarrow raises its own, OSError and others
        text = " ".join(str(error).split())
        raise InputError(f"{path}: expected a .parquet file, got a damaged one ({text}): write it again") from error


def _frames(file: Any, shard: Shard, names: Sequence[str]) -> Iterator[tuple[int, Any]]:
    """The blocks of a part as data frames of the columns that are needed, with the number of their first row."""
    import pyarrow as pa

    sizes = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
    ends, rows = np.cumsum(sizes), shard.rows(sum(sizes))
    if not len(rows):
        return
    groups = [k for k, end in enumerate(ends) if end > rows.start and end - sizes[k] < rows.stop]
    place, first = int(ends[groups[0]] - sizes[groups[0]]), rows.start
    columns = [name for name in file.schema_arrow.names if name.strip() in names]
    waiting: list[Any] = []
    for batch in file.iter_batches(BLOCK, row_groups=groups, columns=columns):
        inside = slice(max(0, rows.start - place), max(0, min(len(batch), rows.stop - place)))
        waiting.append(batch.slice(inside.start, max(0, inside.stop - inside.start)))
        place += len(batch)
        while (n := min(BLOCK, rows.stop - first)) and sum(map(len, waiting)) >= n:
            table = pa.Table.from_batches(waiting)
            frame = table.slice(0, n).to_pandas()
            frame.columns = [name.strip() for name in frame.columns]
            yield first, frame
            first, waiting = first + n, table.slice(n).to_batches()


# --- writing ---------------------------------------------------------------------------------------------------------
def write_blocks(
    path: Path, tables: Iterable[tuple[Sequence[str], list[Sequence[Any]]]], texts: Sequence[str] = ()
) -> int:
    """Write tables of the same columns one below the other, one at a time in memory.

    Parameters
    ----------
    path : Path
        A file whose name ends in .parquet, or else a CSV file; it appears when it is complete.
    tables : iterable of (columns, lines)
        The names of the columns, and a line for each row.
    texts : sequence of str
        Columns that are texts in Parquet; "row" is int64 there, and the others are float64.

    Returns
    -------
    int
        The number of rows; without any, no file is written.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    parts, n = iter(tables), 0
    if (head := next(parts, None)) is None:
        return 0

    def counted() -> Iterator[list[Sequence[Any]]]:
        nonlocal n
        for _, lines in chain([head], parts):
            n += len(lines)
            yield lines

    if path.suffix == ".parquet":
        _write_parquet(path, head[0], counted(), texts)
    else:
        write_csv(path, chain([head[0]], chain.from_iterable(counted())))
    return n


def _write_parquet(
    path: Path, names: Sequence[str], blocks: Iterable[list[Sequence[Any]]], texts: Sequence[str]
) -> None:
    """Write blocks of lines as row groups of a Parquet file."""
    pa = require("pyarrow", extra="data")
    from pyarrow import parquet

    kinds = [int if name == "row" else str if name in texts else float for name in names]
    types = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    schema = pa.schema([(name, types[kind]) for name, kind in zip(names, kinds, strict=True)])
    with replacing(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for lines in blocks:
            columns = [[kind(line[k]) for line in lines] for k, kind in enumerate(kinds)]
            writer.write_table(pa.table(columns, schema=schema))
