"""Caches of rows: one memory-mapped array per set of items, in a folder for all sets whose rows are made alike.

``DIGEST.npy`` has the rows of a set, ``DIGEST-items.npy`` a digest of each item, and ``DIGEST.json`` what was noted of
its items, if anything. Rows of items that are in earlier sets are not made again, so that a few new photos, or another
split of the same ones, take seconds. Files are written once and never changed, so that processes can share them.

``DIGEST.part`` is the folder of a set that is being made block by block: `journal` says which blocks are in the file,
so that whoever comes after a killed process goes on where it was.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from aaekit._files import cannot_write, read_json, replacing, write_json
from aaekit._locks import FolderInUse, locked
from aaekit._progress import Progress
from aaekit.errors import InputError

__all__ = ["ITEM", "Notes", "RowCache", "item_digest"]

ITEM = np.dtype("V16")  # a digest
BLOCK_BYTES = 64 * 2**20  # of rows that are made and written at a time
ABANDONED = 7 * 86400.0  # seconds after which nobody goes on with what was begun
WAIT = 0.5  # seconds between two looks at what another process makes

Notes = dict[int, str]  # of rows by their number


def item_digest(content: bytes) -> bytes:
    """Return the digest of an item."""
    return hashlib.sha256(content).digest()[: ITEM.itemsize]


class RowCache:
    """A folder of sets whose rows are made alike.

    Parameters
    ----------
    folder : Path
        Made when a set is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, keys: NDArray[np.void]) -> Path:
        """Return the file of the rows of a set of items."""
        return self.folder / f"{hashlib.sha256(keys.tobytes()).hexdigest()[:32]}.npy"

    def opened(self, keys: NDArray[np.void]) -> NDArray[Any] | None:
        """Return the rows of a set, memory-mapped; None if they are not there, or damaged."""
        return _opened(self.path(keys), len(keys))

    def notes(self, keys: NDArray[np.void]) -> Notes | None:
        """Return what was noted of the rows of a set that was made block by block; None if that is damaged."""
        try:
            texts = read_json(self.path(keys).with_suffix(".json"), "notes on rows", dict[str, str])
            return {int(row): text for row, text in texts.items()}
        except (FileNotFoundError, ValueError):
            return None

    def earlier(self, keys: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.int64], list[NDArray[Any]]]:
        """Return where rows are in earlier sets: in which one (-1: in none), in which row of it, and these sets."""
        unique, inverse = np.unique(keys, return_inverse=True)
        source, row, sets = np.full(len(unique), -1), np.full(len(unique), -1), list[NDArray[Any]]()
        for path in sorted(self.folder.glob("*-items.npy")):
            items = _items(path)
            stored = None if items is None else _opened(path.with_name(path.name.replace("-items", "")), len(items))
            if items is None or stored is None:
                continue
            absent = np.flatnonzero(source < 0)
            _, here, there = np.intersect1d(unique[absent], items, return_indices=True)
            if len(here):
                source[absent[here]], row[absent[here]] = len(sets), there
                sets.append(stored)
        return source[inverse], row[inverse], sets

    def write(self, keys: NDArray[np.void], rows: NDArray[Any]) -> None:
        """Write a set that is in memory, its items first: where there are rows, the set is complete."""
        self._write_items(keys, keys)
        with replacing(self.path(keys)) as temporary, open(temporary, "wb") as handle:
            np.save(handle, rows, allow_pickle=False)

    def _write_items(self, keys: NDArray[np.void], items: NDArray[np.void]) -> None:
        path = self.path(keys)
        with replacing(path.with_name(f"{path.stem}-items.npy")) as temporary, open(temporary, "wb") as handle:
            np.save(handle, items, allow_pickle=False)

    def discard(self, keys: NDArray[np.void]) -> None:
        """Delete a set; whoever has it open keeps it."""
        path = self.path(keys)
        for file in (path, path.with_name(f"{path.stem}-items.npy"), path.with_suffix(".json")):
            with suppress(OSError):
                file.unlink()

    def made(
        self,
        keys: NDArray[np.void],
        shape: Sequence[int],
        dtype: DTypeLike,
        make: Callable[[NDArray[np.int64], NDArray[Any]], Notes],
        doing: str,
        what: str,
    ) -> tuple[NDArray[Any], Notes]:
        """Return the rows of a set, which are made block by block if they are not there.

        Parameters
        ----------
        keys : ndarray of shape (n,)
            Digests of the items.
        shape, dtype
            Of a row.
        make : callable
            Fills an array of zeros with the rows of these numbers, and returns notes on some of them. A row with a note
            is not used in later sets.
        doing, what : str
            What is done to what, for the progress: "decoding", "images".

        Returns
        -------
        rows : ndarray of shape (n, *shape)
            Memory-mapped read-only.
        notes : dict of int to str

        Raises
        ------
        InputError
            If the disk has no room, or the files cannot be written.
        """
        work = self.path(keys).with_suffix(".part")
        while True:
            rows, notes = self.opened(keys), self.notes(keys)
            if rows is not None and notes is not None:
                return rows, notes
            try:
                with locked(work):
                    if self.opened(keys) is None or self.notes(keys) is None:  # not by the process that had the lock
                        _remove_abandoned(self.folder)
                        self._make(work, keys, (len(keys), *shape), np.dtype(dtype), make, doing, what)
            except FolderInUse:
                time.sleep(WAIT)
            except OSError as error:
                raise cannot_write(work, error) from error
            else:
                with suppress(OSError):
                    work.rmdir()

    def _make(
        self,
        work: Path,
        keys: NDArray[np.void],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        make: Callable[[NDArray[np.int64], NDArray[Any]], Notes],
        doing: str,
        what: str,
    ) -> None:
        """Make the blocks that are missing, and give the file its name when all are there."""
        file, journal = work / "rows.npy", work / "journal"
        if not file.exists():
            journal.unlink(missing_ok=True)
        done = _read_journal(journal)
        n_bytes = int(np.prod(shape[1:])) * dtype.itemsize
        step = max(1, BLOCK_BYTES // n_bytes)
        blocks = [range(first, min(first + step, len(keys))) for first in range(0, len(keys), step)]
        is_done = np.zeros(len(keys), bool)
        for first, last in done:
            is_done[first:last] = True
        source, there, sets = self.earlier(keys)
        with (
            open(file, "r+b" if file.exists() else "w+b") as rows,
            open(journal, "ab") as lines,
            Progress(doing, what, len(keys), int(is_done.sum())) as progress,
        ):
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(rows, header)
            start = rows.tell()
            _check_room(work, (~is_done).sum() * n_bytes)
            for block in blocks:
                if is_done[block.start : block.stop].all():
                    continue
                numbers = np.arange(block.start, block.stop)
                content, sources = np.zeros((len(numbers), *shape[1:]), dtype), source[numbers]
                for k, stored in enumerate(sets):
                    content[sources == k] = stored[there[numbers[sources == k]]]
                absent = numbers[sources < 0]
                fresh = content if len(absent) == len(numbers) else np.zeros((len(absent), *shape[1:]), dtype)
                notes = make(absent, fresh)
                if fresh is not content:
                    content[sources < 0] = fresh
                rows.seek(start + block.start * n_bytes)
                rows.write(content.data)
                _flush(rows)
                line = [block.start, block.stop, {str(row): text for row, text in notes.items()}]
                lines.write(json.dumps(line).encode() + b"\n")
                _flush(lines)
                done[block.start, block.stop] = notes
                progress.advance(int((~is_done[block.start : block.stop]).sum()))
        notes = {row: text for of_block in done.values() for row, text in of_block.items()}
        items = keys.copy()
        items[list(notes)] = np.zeros((), ITEM)
        self._write_items(keys, items)
        write_json(self.path(keys).with_suffix(".json"), {str(row): text for row, text in notes.items()})
        os.replace(file, self.path(keys))
        journal.unlink()


def _flush(file: Any) -> None:
    """Wait until what was written is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def _read_journal(path: Path) -> dict[tuple[int, int], Notes]:
    """The blocks that are in a file, (first, last + 1), with their notes; a line that was cut off says nothing."""
    blocks: dict[tuple[int, int], Notes] = {}
    with suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines():
            with suppress(ValueError, TypeError, AttributeError):
                first, last, notes = json.loads(line)
                blocks[int(first), int(last)] = {int(row): str(text) for row, text in notes.items()}
    return blocks


def _check_room(folder: Path, n_bytes: int) -> None:
    """Refuse to begin what the disk has no room for."""
    if (free := shutil.disk_usage(folder).free) < n_bytes:
        raise InputError(
            f"{folder}: expected {n_bytes / 1e9:.1f} GB of free disk space, got {free / 1e9:.1f}: free some space, or "
            "choose another place by cache_dir=FOLDER (--data-options)"
        )


def _remove_abandoned(folder: Path) -> None:
    """Delete what was begun, but not ended, a week ago."""
    for work in folder.glob("*.part"):
        with suppress(OSError):
            if time.time() - max(p.stat().st_mtime for p in (work, *work.iterdir())) > ABANDONED:
                shutil.rmtree(work)


def _opened(path: Path, n: int) -> NDArray[Any] | None:
    """The array in a file; None if there is none, or it is damaged."""
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return stored if isinstance(stored, np.memmap) and stored.ndim > 1 and len(stored) == n else None


def _items(path: Path) -> NDArray[np.void] | None:
    """The digests of the items of a set; None if the file is damaged."""
    try:
        items = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return items if items.dtype == ITEM and items.ndim == 1 else None
