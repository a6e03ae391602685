"""Images that would not fit into memory: decoded once, into memory-mapped files of the user's cache."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aaekit._cache import ITEM, Notes, RowCache, item_digest
from aaekit._extras import require
from aaekit._files import built, read_json, user_cache, write_json
from aaekit.data.checks import blocks

__all__ = ["Decoded", "Decoder", "Facts", "are_grey"]

UNREADABLE = "!"  # begins the note on an image that cannot be read


@dataclass
class Facts:
    """What is seen and noted of the images of a set.

    Attributes
    ----------
    shape : (channels, height, width)
        What they are decoded to.
    depth : int
        The bits that images in files of 16 bits fill.
    has_depth : bool
        Whether there are such files.
    sizes : list of (width, height, n)
        How many there are of each size.
    bad, remarks : dict of int to str
        Of images by their number: why they cannot be read, and what should be known about others.
    """

    shape: tuple[int, int, int]
    depth: int
    has_depth: bool
    sizes: list[tuple[int, int, int]]
    bad: dict[int, str]
    remarks: dict[int, str]


class Decoder(Protocol):
    """Decodes the images of a set."""

    facts: Facts

    def decode(self, rows: Sequence[int], images: NDArray[np.uint8]) -> None:
        """Fill an array with some of the images, and add to the facts what is noted of them."""

    def count_sizes(self) -> None:
        """Count the sizes of the images that can be read."""


class Decoded:
    """The images of a set in the cache.

    An image is known by the path of its file, its size and when it was changed, or by its content if it is no file.
    What was seen of the files is stored, too, so that they are not opened when the set is read again.

    Parameters
    ----------
    sources : sequence of Path or bytes
        Files or contents of the images.
    shape, bits, max_pixels
        As in `read_images`.
    cache_dir : str or Path, optional
        The folder. Default: ``images`` in the user's cache folder.
    """

    def __init__(
        self,
        sources: Sequence[Path | bytes],
        shape: Sequence[int] | None,
        bits: int | None,
        max_pixels: int,
        cache_dir: str | Path | None,
    ) -> None:
        version = f"Pillow {require('PIL', extra='data').__version__} ".encode()
        self.folder: Path = user_cache() / "images" if cache_dir is None else Path(cache_dir).expanduser()
        self.keys: NDArray[np.void] = np.frombuffer(b"".join(_identity(source, version) for source in sources), ITEM)
        request = f"{None if shape is None else tuple(shape)} {bits} {max_pixels} ".encode() + self.keys.tobytes()
        self._path = self.folder / f"{hashlib.sha256(request).hexdigest()[:32]}.json"

    def stored(self) -> tuple[Facts, NDArray[np.uint8]] | tuple[None, None]:
        """Return what is known of the set and its images; None if they are not there, or damaged."""
        try:
            values: dict[str, Any] = read_json(self._path, "facts about images", dict[str, Any])
            values |= {"shape": tuple(values["shape"]), "sizes": [tuple(size) for size in values["sizes"]]}
            values |= {key: {int(k): text for k, text in values[key].items()} for key in ("bad", "remarks")}
            facts = built(Facts, values)
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None, None
        images = self._rows(facts).opened(self.keys[self._good(facts)])
        return (None, None) if images is None else (facts, images)

    def made(self, decoder: Decoder, skip: bool, may_be_grey: bool) -> NDArray[np.uint8]:
        """Return the images of a set, decoded as far as they are not in the cache.

        If some cannot be read, they are left out on request; else they are zeros. Images in colours that turn out grey
        get one channel if they may.
        """
        facts, superseded = decoder.facts, list[tuple[RowCache, NDArray[np.void]]]()
        while True:
            n_bad, good, cache = len(facts.bad), self._good(facts), self._rows(facts)
            keys = self.keys[good]

            def make(places: NDArray[np.int64], images: NDArray[np.uint8], good: NDArray[np.int64] = good) -> Notes:
                rows = good[places].tolist()
                decoder.decode(rows, images)
                pairs = list(zip(places.tolist(), rows, strict=True))
                notes = {place: facts.remarks[k] for place, k in pairs if k in facts.remarks}
                return notes | {place: UNREADABLE + facts.bad[k] for place, k in pairs if k in facts.bad}

            images, notes = cache.made(keys, facts.shape, np.uint8, make, "decoding", "images")
            for place, text in notes.items():
                notes_of_kind = facts.bad if text.startswith(UNREADABLE) else facts.remarks
                notes_of_kind[int(good[place])] = text.removeprefix(UNREADABLE)
            has_failed = len(facts.bad) > n_bad
            if has_failed and (not skip or len(facts.bad) == len(self.keys)):
                return images  # which are refused; those that can be read need not be decoded again
            is_grey = may_be_grey and facts.shape[0] == 3 and are_grey(images)
            if not has_failed and not is_grey:
                decoder.count_sizes()
                write_json(self._path, asdict(facts))
                for of_shape, items in superseded:
                    of_shape.discard(items)
                return images
            superseded.append((cache, keys))
            if is_grey:
                facts.shape = (1, *facts.shape[1:])

    def _good(self, facts: Facts) -> NDArray[np.int64]:
        """The numbers of the images that can be read, as far as is known."""
        return np.setdiff1d(np.arange(len(self.keys)), list(facts.bad))

    def _rows(self, facts: Facts) -> RowCache:
        """The cache of images of one shape."""
        return RowCache(self.folder / f"{'x'.join(map(str, facts.shape))}-{facts.depth}bits")


def _identity(source: Path | bytes, version: bytes) -> bytes:
    """A digest of what an image is known by, and of the version of Pillow, since another may give other pixels."""
    if isinstance(source, bytes):
        return item_digest(version + source)
    try:
        stat = source.stat()
    except (OSError, ValueError):
        return item_digest(version + b"no file " + os.fsencode(source.absolute()))
    facts = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} ".encode()
    return item_digest(version + facts + os.fsencode(source.absolute()))


def are_grey(images: NDArray[np.uint8]) -> bool:
    """Return whether all channels are the same, looking at a few megabytes at a time."""
    return all((block[:, :1] == block).all() for _, block in blocks(images))
