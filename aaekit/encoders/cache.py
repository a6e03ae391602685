"""The cache of features: a folder of sets for each encoder, found by the content of the items."""

import re
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aaekit._cache import RowCache
from aaekit._files import user_cache
from aaekit._progress import Progress
from aaekit.encoders.base import Encoder
from aaekit.encoders.items import Items, digests
from aaekit.errors import InputError

__all__ = ["encoded"]


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
    cache = RowCache(folder)
    if (stored := cache.opened(keys)) is None:
        cache.write(keys, _features(items, encoder, *_missing(cache, keys), keys, cache))
        stored = cache.opened(keys)
    assert stored is not None
    return stored


def _features(
    items: Items,
    encoder: Encoder,
    missing: NDArray[np.int64],
    cached: NDArray[np.float32] | None,
    keys: NDArray[np.void],
    cache: RowCache | None = None,
) -> NDArray[np.float32]:
    """The features of all items: those that are `cached`, NaN elsewhere, and those of the `missing` rows.

    If it is interrupted, what is done is written to the cache.
    """
    from aaekit.core.threads import SharedThreads

    lengths = np.array([items.length(k) for k in missing])
    order = missing[np.argsort(-lengths, kind="stable")]  # texts of one length are a batch; the longest first
    features, n_done = cached, 0
    try:
        with Progress("encoding", items.kind, len(order)) as progress, SharedThreads() as threads:
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
                progress.advance(len(rows))
                threads.adjust()
    except BaseException:
        if cache is not None and features is not None and n_done:
            is_done = ~np.isnan(features[:, 0])
            with suppress(InputError):
                cache.write(keys[is_done], features[is_done])
        raise
    assert features is not None
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return features[first][inverse]  # items that are the same


def _missing(cache: RowCache, keys: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.float32] | None]:
    """Rows that no earlier set has, one of each content, and the features of the others (None if there are none)."""
    source, there, sets = cache.earlier(keys)
    absent = np.flatnonzero(source < 0)
    missing = absent[np.unique(keys[absent], return_index=True)[1]]
    if not sets:
        return missing, None
    cached = np.full((len(keys), sets[0].shape[1]), np.nan, np.float32)
    for k, stored in enumerate(sets):
        cached[source == k] = stored[there[source == k]]
    return missing, cached
