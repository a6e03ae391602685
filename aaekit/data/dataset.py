"""A data set in arrays, whichever way it came: `load` by name or path, `prepare` to write it down."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, nearest
from .checks import check_labels, check_rows
from .sets import SETS, find, paths_of
from .splits import split
from .store import MEMORY_LIMIT, as_store, open_rows, write_npz

NPZ_KEYS = {"X": "x_train", "y": "y_train", "X_test": "x_test", "y_test": "y_test", "classes": "classes"}
FILE_OPTIONS = {".npz": (), ".npy": ("memory_limit_bytes", "cache_dir")}


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set.

    Parameters
    ----------
    name : str
        What it is called.
    X : ndarray of shape (n, channels, height, width) or (n, n_features)
        Training rows: images are uint8 (0..255) or float32 in [0, 1], tables float32.
    y : ndarray of shape (n,) or None
        Labels, int64, -1 where unlabelled.
    X_test, y_test : ndarray or None
        Held-out rows and labels, as `X` and `y`.
    classes : tuple of str
        The names of the labels 0, 1, ...; empty without labels.
    source : str
        Whom or which file it is from.
    """

    name: str
    X: np.ndarray
    y: np.ndarray | None = None
    X_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    source: str = ""

    def describe(self) -> dict[str, Any]:
        """Return name, rows, test rows, shape of a row, dtype, classes, how many rows are labelled, and source."""
        return {
            "name": self.name,
            "rows": len(self.X),
            "test_rows": 0 if self.X_test is None else len(self.X_test),
            "shape": self.X.shape[1:],
            "dtype": str(self.X.dtype),
            "classes": self.classes,
            "labelled": 0 if self.y is None else int((self.y >= 0).sum()),
            "source": self.source,
        }


def load(
    name_or_path: str | Path, data_dir: str | Path | None = None, download: bool = True, **options: Any
) -> Dataset:
    """Load a named set, or arrays from a file.

    Parameters
    ----------
    name_or_path : str or Path
        One of `names()`; or a .npz with ``X`` and optionally ``y``, ``X_test``, ``y_test``, ``classes`` (``x_train``,
        ``y_train``, ``x_test`` as in Keras' mnist.npz are understood); or a .npy with the rows alone. Images without a
        channel axis, (n, height, width), get one.
    data_dir : str or Path, optional
        Where named sets live. Default: the variable AAE_DATA_DIR, else the user's cache directory. Files are looked for
        in ``data_dir/name`` and in ``data_dir``, and downloaded, once, into the former.
    download : bool, default=True
        Whether missing files may be fetched.
    **options
        ``test_random_state`` (default 0) for "digits": the seed of its held-out rows. ``memory_limit_bytes`` (4 GiB)
        and ``cache_dir`` for .npy: beyond the limit rows stay on the disk, see `as_store`.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        If the set is unknown, its files are missing and cannot be fetched, a file is damaged or not as described, or
        its rows or labels fail `check_rows` or `check_labels`.
    """
    name, path = str(name_or_path), Path(name_or_path).expanduser()
    is_file = name not in SETS and (path.suffix in FILE_OPTIONS or path.exists())
    if is_file and path.suffix not in FILE_OPTIONS:
        found = "a folder" if path.is_dir() else path.suffix or "no suffix"
        raise InputError(f"{path}: expected a .npz or .npy file, found {found}")
    allowed = FILE_OPTIONS[path.suffix] if is_file else find(name).options
    for option in options:
        if option not in allowed:
            guess, known = nearest(option, allowed), " or ".join(allowed) or "none"
            raise InputError(f"{name}: unknown option {option!r}.{guess} Expected {known}")
    if not is_file:
        entry = SETS[name]
        arrays = entry.read(paths_of(name, data_dir, download), **options)
        return _dataset(name, *arrays, classes=entry.classes, source=entry.source)
    if path.suffix == ".npy":
        return _dataset(path.stem, open_rows(path), source=str(path), **options)
    return _dataset(path.stem, **_read_npz(path), source=str(path))


def _read_npz(path: Path) -> dict[str, Any]:
    """Read the arrays that a data set is made of."""
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as archive:
            keys = {key: name for key, other in NPZ_KEYS.items() for name in (other, key) if name in archive.files}
            arrays: dict[str, Any] = {key: archive[name] for key, name in keys.items()}
            found = ", ".join(archive.files)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: expected a .npz archive of plain arrays, found ({error})") from error
    if "X" not in arrays:
        raise InputError(f"{path}: expected an array X or x_train, found {found or 'none'}")
    classes = arrays.pop("classes", None)
    return arrays | {"classes": None if classes is None else tuple(str(c) for c in np.atleast_1d(classes))}


def _dataset(
    name: str,
    X: np.ndarray,
    y: np.ndarray | None = None,
    X_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    *,
    classes: tuple[str, ...] | None = None,
    source: str = "",
    memory_limit_bytes: int = MEMORY_LIMIT,
    cache_dir: str | Path | None = None,
) -> Dataset:
    """Check arrays and bring them to the dtypes that `Dataset` promises."""
    if y_test is not None and X_test is None:
        raise InputError(f"{name}: expected X_test beside y_test, found none")

    def rows(array: np.ndarray, key: str) -> np.ndarray:
        array = array[:, None] if array.ndim == 3 else array
        check_rows(array, f"{name}: {key}")
        dtype = np.uint8 if array.ndim == 4 and array.dtype.kind in "iu" else np.float32
        return as_store(array, cache_dir, memory_limit_bytes, dtype)

    def labels(array: np.ndarray, n: int, key: str) -> np.ndarray:
        check_labels(array, n, len(classes) if classes else None, f"{name}: {key}")
        return array.astype(np.int64)

    X = rows(X, "X")
    y = None if y is None else labels(y, len(X), "y")
    if X_test is not None:
        X_test = rows(X_test, "X_test")
        if X_test.shape[1:] != X.shape[1:] or X_test.dtype != X.dtype:
            raise InputError(
                f"{name}: expected X_test as X, {X.dtype} of shape (n, {str(X.shape[1:])[1:-1].rstrip(',')}), "
                f"found {X_test.dtype} {X_test.shape}"
            )
        y_test = None if y_test is None else labels(y_test, len(X_test), "y_test")
    if classes is None:
        top = max((int(array.max()) for array in (y, y_test) if array is not None), default=-1)
        classes = tuple(str(k) for k in range(top + 1))
    return Dataset(name, X, y, X_test, y_test, classes, source)


def prepare(
    name: str | Path,
    data_dir: str | Path | None = None,
    out: str | Path = ".",
    labels: int | None = None,
    validation: int = 0,
    random_state: int = 0,
    overwrite: bool = False,
    download: bool = True,
    **options: Any,
) -> list[Path]:
    """Write a set down as one .npz and, when asked for, its split beside it.

    Parameters
    ----------
    name, data_dir, download, **options
        As in `load`.
    out : str or Path, default="."
        The folder to write ``<name>.npz`` into (arrays X, y, X_test, y_test, classes; uncompressed).
    labels, validation, random_state
        As in `split`; with `labels` or `validation` the split is written to ``<name>-split.npz``.
    overwrite : bool, default=False
        Whether existing files may be replaced.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    InputError
        If a file exists already, or as `load` and `split` do; nothing is written then.
    """
    stem = str(name) if str(name) in SETS else Path(name).stem
    wants_split = labels is not None or validation != 0
    paths = [Path(out).expanduser() / f"{stem}{end}.npz" for end in ("", "-split")[: 1 + wants_split]]
    for path in paths:
        if path.exists() and not overwrite:
            raise InputError(f"{path}: exists already; choose another folder, or allow overwriting")
    data = load(name, data_dir, download, **options)
    if wants_split and data.y is None:
        raise InputError(f"{name}: expected labels to split by, found none; leave labels and validation out")
    chosen = split(data.y, labels, validation, random_state) if wants_split and data.y is not None else None
    arrays = {"X": data.X, "y": data.y, "X_test": data.X_test, "y_test": data.y_test}
    present = {key: array for key, array in arrays.items() if array is not None}
    write_npz(paths[0], **present, **({"classes": np.array(data.classes)} if data.classes else {}))
    if chosen is not None:
        chosen.save(paths[1])
    return paths
