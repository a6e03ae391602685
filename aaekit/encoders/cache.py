"""The cache of features: one memory-mapped array per set of items, found by the content of the items.

A folder per encoder holds, for each set that was encoded, ``DIGEST.npy`` with the features and ``DIGEST-items.npy``
with a digest of each item. Items of earlier sets are not encoded again, so that a few new photos, or another split of
the same ones, take seconds. Files are written once and never changed, so that processes can share them.
"""

import hashlib
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aaekit._files import replacing, user_cache
from aaekit.encoders.base import Encoder
from aaekit.encoders.items import Items, digests
from aaekit.errors import InputError

__all__ = ["encoded"]

QUIET_SECONDS = 5.0  # before lines of progress, where there is no bar


def encoded(items: Items, encoder: Encoder, cache_dir: str | Path | None = None) -> NDArray[np.float32]:
    """Return the features of items.

    Parameters
    ----------
    items : Items
        Images or texts.
    encoder : Encoder
        The encoder.
    cache_dir : str or Path, optional
        Folder of the cache. Default: ``features`` in the user's cache folder.

    Returns
    -------
    ndarray of shape (n, n_features), float32
        Memory-mapped read-only; in memory if the encoder has no checksum.

    Raises
    ------
    InputError
        If there are no items, the encoder is for other items, features are not finite, or the cache cannot be written.
    """
    if encoder.kind not in (None, items.kind):
        other = "minilm" if items.kind == "texts" else "efficientnet-lite0"
        raise InputError(
            f"expected an encoder of {items.kind}, got {encoder.name}, which encodes {encoder.kind}: choose for "
            f"instance {other}"
        )
    if not len(items):
        raise InputError(f"expected {items.kind} to encode, got none")
    keys = digests(items)
    if not encoder.checksum:
        return _features(items, encoder, np.unique(keys, return_index=True)[1], None, keys)
    folder = user_cache() / "features" if cache_dir is None else Path(cache_dir).expanduser()
    folder = folder / f"{re.sub(r'[^a-z0-9]+', '-', Path(encoder.name).name.lower())}-{encoder.checksum[:16]}"
    path = _path(folder, keys)
    if (stored := _opened(path, len(keys))) is None:
        _write(folder, keys, _features(items, encoder, *_missing(folder, keys), keys, folder))
        stored = _opened(path, len(keys))
    assert stored is not None
    return stored


def _features(
    items: Items,
    encoder: Encoder,
    missing: NDArray[np.int64],
    cached: NDArray[np.float32] | None,
    keys: NDArray[np.void],
    folder: Path | None = None,
) -> NDArray[np.float32]:
    """The features of all items: those that are `cached`, NaN elsewhere, and those of the `missing` rows.

    If it is interrupted, what is done is written to the folder.
    """
    from aaekit.core.threads import SharedThreads

    lengths = np.array([items.length(k) for k in missing])
    order = missing[np.argsort(-lengths, kind="stable")]  # texts of one length are a batch; the longest first
    features, n_done = cached, 0
    try:
        with _Progress(items.kind, len(order)) as progress, SharedThreads() as threads:
            while n_done < len(order):
                rows = order[n_done : n_done + encoder.batch_size]
                batch = encoder(items.batch(rows, encoder.size))
                if not np.isfinite(batch).all():
                    raise InputError(
                        f"{encoder.name}: expected finite features, got NaN or infinity: check the encoder"
                    )
                if features is None:
                    features = np.full((len(keys), batch.shape[1]), np.nan, np.float32)
                features[rows] = batch
                n_done += len(rows)
                progress.update(n_done)
                threads.adjust()
    except BaseException:
        if folder is not None and features is not None and n_done:
            is_done = ~np.isnan(features[:, 0])
            with suppress(InputError):
                _write(folder, keys[is_done], features[is_done])
        raise
    assert features is not None
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return features[first][inverse]  # items that are the same


# --- files -----------------------------------------------------------------------------------------------------------
def _path(folder: Path, keys: NDArray[np.void]) -> Path:
    """The file of the features of a set."""
    return folder / f"{hashlib.sha256(keys.tobytes()).hexdigest()[:32]}.npy"


def _opened(path: Path, n: int) -> NDArray[np.float32] | None:
    """The array in a file; None if there is none, or it is damaged."""
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return stored if isinstance(stored, np.memmap) and stored.ndim == 2 and len(stored) == n else None


def _missing(folder: Path, keys: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.float32] | None]:
    """Rows that no earlier set has, one of each content, and the features of the others (None if there are none)."""
    unique, first = np.unique(keys, return_index=True)
    cached, is_missing = None, np.ones(len(unique), bool)
    for path in sorted(folder.glob("*-items.npy")):
        items = _items(path)
        stored = None if items is None else _opened(path.with_name(path.name.replace("-items", "")), len(items))
        if items is None or stored is None:
            continue
        _, here, there = np.intersect1d(unique[is_missing], items, return_indices=True)
        if len(here):
            if cached is None:
                cached = np.full((len(keys), stored.shape[1]), np.nan, np.float32)
            rows = np.flatnonzero(is_missing)[here]
            cached[first[rows]] = stored[there]
            is_missing[rows] = False
    return first[is_missing], cached


def _items(path: Path) -> NDArray[np.void] | None:
    """The digests of the items of a set; None if the file is damaged."""
    try:
        items = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return items if items.dtype == np.dtype("V16") else None


def _write(folder: Path, keys: NDArray[np.void], features: NDArray[np.float32]) -> None:
    """Write the features of a set, behind its items: where there are features, the set is complete."""
    path = _path(folder, keys)
    for name, array in ((path.with_name(f"{path.stem}-items.npy"), keys), (path, features)):
        with replacing(name) as temporary, open(temporary, "wb") as handle:
            np.save(handle, array, allow_pickle=False)


# --- progress --------------------------------------------------------------------------------------------------------
class _Progress:
    """How many items are encoded and the time left, on the standard error stream: a bar on a terminal, else lines."""

    def __init__(self, what: str, n: int) -> None:
        self.what, self.n, self.tenth, self.bar = what, n, 0, None
        self.began = time.monotonic()

    def __enter__(self) -> "_Progress":
        if self.n and sys.stderr.isatty():
            self.bar = self._new_bar()
        return self

    def _new_bar(self) -> Any:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        except ImportError:
            return None
        columns = (TextColumn(f"encoding {self.what}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
        bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task = bar.add_task("", total=self.n)
        bar.start()
        return bar

    def update(self, n_done: int) -> None:
        """Move the bar, or print a line for each tenth of what takes long."""
        if self.bar is not None:
            self.bar.update(self.task, completed=n_done)
            return
        seconds = time.monotonic() - self.began
        if seconds > QUIET_SECONDS and n_done < self.n and 10 * n_done // self.n > self.tenth:
            self.tenth = 10 * n_done // self.n
            left = seconds * (self.n - n_done) / n_done
            print(f"encoding: {n_done} of {self.n} {self.what}, {left:.0f} s left", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()
