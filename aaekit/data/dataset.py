"""A data set in arrays, and the checks of its arrays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aaekit.columns import Schema, TableRows
from aaekit.data.checks import FLOAT32_MAX, check_labels, check_rows
from aaekit.data.images import Pictures
from aaekit.data.splits import Split
from aaekit.data.store import as_store
from aaekit.errors import InputError
from aaekit.labels import UNLABELLED
from aaekit.shapes import are_signals

SMALLEST_SIDE = 8  # of grey images that come without channels
N_LOOKED_AT = 1000  # rows whose range says whether they are images


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set.

    Parameters
    ----------
    name : str
        Its name.
    X : ndarray of shape (n, channels, height, width), (n, channels, length) or (n, n_features)
        Training rows: images are uint8 (0..255) or float32 in [0, 1], signals float32, tables float32, or float64 with
        a schema.
    y : ndarray of shape (n,) or None
        Labels, int64, -1 in unlabelled rows.
    X_test, y_test : ndarray or None
        Held-out rows and labels, as `X` and `y`.
    classes : tuple of str
        The names of the labels 0, 1, ...; empty without labels.
    source : str
        Its authors, or its file.
    domain, domain_test : ndarray of shape (n,) or None
        The domain of each row of a joined set, an index into `domains`, int64.
    domains : tuple of str
        The names of the domains 0, 1, ...; empty if the set is not a joined one.
    split : Split or None
        Which training rows are labelled, unlabelled and for validation, if `prepare` wrote a split, or a set has
        images for validation.
    schema : Schema or None
        What the columns of a table are, if they have names.
    target : str or None
        The column of labels of a table.
    files, files_test : tuple of str
        The file of each row, for images in files; else empty.
    pictures : Pictures or None
        Of images in files: their sizes, and what was left out.
    features : str or None
        The encoder that made rows of images or texts, see `aaekit.features`; None if rows are not features.
    checksum : str
        That of the encoder.
    originals, originals_test : ndarray or None
        What the rows are features of: images (n, channels, height, width) uint8 as pictures show them, or texts (n,).
    """

    name: str
    X: NDArray[Any]
    y: NDArray[np.int64] | None = None
    X_test: NDArray[Any] | None = None
    y_test: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    source: str = ""
    domain: NDArray[np.int64] | None = None
    domain_test: NDArray[np.int64] | None = None
    domains: tuple[str, ...] = ()
    split: Split | None = None
    schema: Schema | None = None
    target: str | None = None
    files: tuple[str, ...] = ()
    files_test: tuple[str, ...] = ()
    pictures: Pictures | None = None
    features: str | None = None
    checksum: str = ""
    originals: NDArray[Any] | None = None
    originals_test: NDArray[Any] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the values of a row, for tables whose columns have names; else empty."""
        return () if self.schema is None else tuple(self.schema.value_names)

    def describe(self) -> dict[str, Any]:
        """Return name, rows, test_rows, shape (of a row), dtype, classes, labelled (number of rows) and source.

        Joined sets also have domains, tables with named columns have columns, sets with a split have split, and images
        in files of 16 bits have bits.
        """
        facts = {
            "name": self.name,
            "rows": len(self.X),
            "test_rows": 0 if self.X_test is None else len(self.X_test),
            "shape": self.X.shape[1:],
            "dtype": str(self.X.dtype),
            "classes": self.classes,
            "labelled": 0 if self.y is None else int((self.y != UNLABELLED).sum()),
            "source": self.source,
        }
        if self.domains:
            facts["domains"] = self.domains
        if self.columns:
            facts["columns"] = self.columns
        if self.features is not None:
            facts["features"], facts["checksum"] = self.features, self.checksum
        if self.split is not None:
            facts["split"] = f"{len(self.split.labelled)} labelled, {len(self.split.validation)} validation"
        if self.pictures is not None and self.pictures.bits > 8:
            facts["bits"] = self.pictures.bits
        return facts


def checked(
    data: Dataset,
    image_shape: Sequence[int] | None = None,
    memory_limit_bytes: int | None = None,
    cache_dir: str | Path | None = None,
) -> Dataset:
    """Return a data set whose arrays are checked and have the shapes and dtypes that `Dataset` promises.

    `classes` are the numbers of the labels if they are empty; `image_shape` is the shape of flattened images or
    signals.
    """
    _check_parts(data)

    def rows(array: NDArray[Any], key: str) -> NDArray[Any]:
        array = _with_shape(array, image_shape, f"{data.name}: {key}")
        check_rows(array, f"{data.name}: {key}", largest=np.inf if data.schema is not None else FLOAT32_MAX)
        dtype = np.uint8 if array.ndim == 4 and array.dtype.kind in "iu" else np.float32
        if array.ndim == 2 and data.schema is not None:
            return TableRows.of(np.asarray(array, np.float64), data.schema)
        return as_store(array, cache_dir, memory_limit_bytes, dtype)

    X, X_test = rows(data.X, "X"), None if data.X_test is None else rows(data.X_test, "X_test")
    if X_test is not None and (X_test.shape[1:] != X.shape[1:] or X_test.dtype != X.dtype):
        raise InputError(
            f"{data.name}: expected X_test as X, {X.dtype} of shape (n, {str(X.shape[1:])[1:-1].rstrip(',')}), "
            f"got {X_test.dtype} {X_test.shape}"
        )
    arrays: dict[str, Any] = {"X": X, "X_test": X_test}
    for key, kind, names in (("y", "label", data.classes), ("domain", "domain", data.domains)):
        for suffix, n in (("", len(X)), ("_test", 0 if X_test is None else len(X_test))):
            if (indices := getattr(data, key + suffix)) is None:
                continue
            where = f"{data.name}: {key}{suffix}"
            indices = check_labels(indices, n, len(names) if names else None, where)
            if kind == "domain" and (indices == UNLABELLED).any():
                raise InputError(f"{where}: expected a domain in each row, got -1")
            arrays[key + suffix] = indices
    schema = None if X.ndim > 2 else data.schema
    for key, texts, n in (
        ("columns", () if schema is None else data.columns, X.shape[1]),
        ("files", data.files, len(X)),
        ("files_test", data.files_test, 0 if X_test is None else len(X_test)),
        ("originals", () if data.originals is None else data.originals, len(X)),
        (
            "originals_test",
            () if data.originals_test is None else data.originals_test,
            0 if X_test is None else len(X_test),
        ),
    ):
        if len(texts) and len(texts) != n:
            raise InputError(f"{data.name}: {key}: expected {n}, as X has, got {len(texts)}")
    labels = [arrays[key] for key in ("y", "y_test") if key in arrays]
    n_classes = max((int(array.max(initial=-1)) for array in labels), default=-1) + 1
    return replace(data, **arrays, schema=schema, classes=data.classes or tuple(str(k) for k in range(n_classes)))


def _check_parts(data: Dataset) -> None:
    """Refuse a data set of which one array is missing that others need."""
    if data.y_test is not None and data.X_test is None:
        raise InputError(f"{data.name}: expected X_test beside y_test, got none")
    parts = {"domain": data.domain, "domain_test": data.domain_test, "domains": data.domains or None}
    needed = set() if data.domain is None and not data.domains else {"domain", "domains"}
    needed |= {"domain_test"} if needed and data.X_test is not None else set()
    if (present := [key for key, value in parts.items() if value is not None]) and set(present) != needed:
        raise InputError(
            f"{data.name}: expected domains, domain and, if there is X_test, domain_test, or none of them, got "
            f"{', '.join(present)}"
        )


def _with_shape(array: NDArray[Any], image_shape: Sequence[int] | None, where: str) -> NDArray[Any]:
    """Return grey images (n, height, width) with a channel, and flat rows as images or signals of `image_shape`."""
    if array.ndim == 3:
        is_grey = not _are_signals(array) if image_shape is None else len(image_shape) == 3
        return array[:, None] if is_grey else array
    if image_shape is None or array.ndim != 2:
        return array
    if len(image_shape) not in (2, 3) or array.shape[1] != math.prod(image_shape):
        raise InputError(
            f"{where}: expected rows of the size of image_shape={tuple(image_shape)}, (channels, height, width) or "
            f"(channels, length), got rows of shape {array.shape[1:]}"
        )
    return array.reshape(-1, *image_shape)


def _are_signals(array: NDArray[Any]) -> bool:
    """Whether (n, a, b) are signals, in either order, and not grey images of at least 8 pixels a side."""
    n, a, b = array.shape
    if max(a, b) < SMALLEST_SIDE or not (are_signals((n, a, b)) or are_signals((n, b, a))):
        return False
    sample = array[:: max(1, n // N_LOOKED_AT)]
    largest = 255 if array.dtype.kind in "iu" else 1
    is_dark_to_bright = bool(sample.size and sample.min() >= 0 and sample.max() <= largest)
    return min(a, b) < SMALLEST_SIDE or not is_dark_to_bright
