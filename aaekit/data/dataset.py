"""A data set in arrays, whichever way it came: `load` by name or path, `prepare` to write it down."""

import math
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aaekit.data.checks import check_labels, check_rows
from aaekit.data.domains import check_same_classes, join
from aaekit.data.folders import read_folder
from aaekit.data.sets import SETS, find, paths_of
from aaekit.data.splits import Split, split
from aaekit.data.store import MEMORY_LIMIT, as_store, open_rows, remove, why, write_npz
from aaekit.data.tables import as_bytes, read_table
from aaekit.errors import FilledWarning, InputError, nearest

NPZ_KEYS = {"X": "x_train", "y": "y_train", "X_test": "x_test", "y_test": "y_test"}  # ours, and Keras'
NPZ_TEXTS = ("classes", "domains", "columns", "files", "files_test")
NPZ_KEYS |= {key: key for key in ("domain", "domain_test", *NPZ_TEXTS)}
OPTIONS = {  # of what is at a path
    ".npz": (),
    ".npy": ("memory_limit_bytes", "cache_dir"),
    ".csv": ("target", "drop", "empty"),
    ".tsv": ("target", "drop", "empty"),
    "folder": (),
}


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
    domain, domain_test : ndarray of shape (n,) or None
        Of joined sets: which of `domains` a row is of, int64.
    domains : tuple of str
        The names of the domains 0, 1, ...; empty if the set is not a joined one.
    split : Split or None
        Which training rows are labelled, unlabelled and validation, where that was written down by `prepare`.
    columns : tuple of str
        What the values of a row are called, of a table whose columns have names; else empty.
    files, files_test : tuple of str
        Which file of a folder of images each row is; else empty.
    n_empty : int
        How many cells of a table were empty and are filled now.
    """

    name: str
    X: np.ndarray
    y: np.ndarray | None = None
    X_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    source: str = ""
    domain: np.ndarray | None = None
    domain_test: np.ndarray | None = None
    domains: tuple[str, ...] = ()
    split: Split | None = None
    columns: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    files_test: tuple[str, ...] = ()
    n_empty: int = 0

    @property
    def means(self) -> list[float] | None:
        """Of a table whose columns have names, their means: what empty cells of a later table are filled with."""
        return self.X.mean(0, dtype=np.float64).tolist() if self.columns else None

    def describe(self) -> dict[str, Any]:
        """Return name, rows, test rows, shape of a row, dtype, classes, how many rows are labelled, and source.

        Of joined sets also the domains, of tables their columns, if those have names, and how many cells were empty, if
        any were; if a split was found, how many rows it labels and keeps for validation.
        """
        facts = {
            "name": self.name,
            "rows": len(self.X),
            "test_rows": 0 if self.X_test is None else len(self.X_test),
            "shape": self.X.shape[1:],
            "dtype": str(self.X.dtype),
            "classes": self.classes,
            "labelled": 0 if self.y is None else int((self.y >= 0).sum()),
            "source": self.source,
        }
        if self.domains:
            facts["domains"] = self.domains
        if self.columns:
            facts["columns"] = self.columns
        if self.n_empty:
            facts["filled"] = f"{self.n_empty} empty cells"
        if self.split is not None:
            facts["split"] = f"{len(self.split.labelled)} labelled, {len(self.split.validation)} validation"
        return facts


def load(
    name_or_path: str | Path,
    data_dir: str | Path | None = None,
    download: bool = True,
    image_shape: Sequence[int] | None = None,
    columns: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    **options: Any,
) -> Dataset:
    """Load a named set, arrays from a file, a table, or a folder of images.

    Parameters
    ----------
    name_or_path : str or Path
        One of `names()`; or a .npz with ``X`` and optionally ``y``, ``X_test``, ``y_test``, ``classes`` (``x_train``,
        ``y_train``, ``x_test`` as in Keras' mnist.npz are understood), ``domain``, ``domain_test``, ``domains``; or a
        .npy with the rows alone. Images without a channel axis, (n, height, width), get one. If ``NAME-split.npz``,
        written by `prepare`, is beside NAME.npz, it is read into `Dataset.split`.

        Or a .csv or .tsv, see `read_table`; or a folder with a subfolder of images for each class, see `read_folder`.

        Several of them joined by "+", such as ``"mnist+fonts"``, are one set of images with a domain each: uint8, of
        the largest height and width and the most channels. Smaller images are enlarged smoothly; 8x8 and 16x16 digits
        that come to 28x28 are also sharpened and centred as MNIST's are; grey is repeated in every channel. Labels stay
        as they are, so that the sets must have the same classes. Rows are neither dropped nor repeated: a larger set
        has more of them.
    data_dir : str or Path, optional
        Where named sets live. Default: the variable AAE_DATA_DIR, else the user's cache directory. Files are looked for
        in ``data_dir/name`` and in ``data_dir``, and downloaded, once, into the former.
    download : bool, default=True
        Whether missing files may be fetched.
    image_shape : (channels, height, width), optional
        What the rows of a .npz, .npy or table are if they are flattened images; without it they are a table. What the
        images of a folder are to become.
    columns, classes : sequence of str, optional
        Of tables and folders: the values of a row and the names of the labels, as an earlier set has them, so that rows
        and labels mean the same. Without any classes, labels are not read. If `empty` has a number for each of
        `columns`, it warns of cells that it fills.
    **options
        ``test_random_state`` (default 0) for "digits": the seed of its held-out rows. ``n_rows`` (20,000) and
        ``random_state`` (0) for "fonts": its training rows, and the seed it is drawn by. ``memory_limit_bytes`` (4 GiB)
        and ``cache_dir`` for .npy: beyond the limit rows stay on the disk, see `as_store`. ``target``,
        ``drop`` and ``empty`` for .csv and .tsv: the column of labels, columns to leave out, and what stands in empty
        cells, see `read_table`. Joined sets take the options that all of them have.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        If the set is unknown, its files are missing and cannot be fetched, a file is damaged or not as described, its
        rows do not fit `image_shape`, rows or labels fail `check_rows` or `check_labels`, its split is of other rows,
        or joined sets are no images, have other classes, or are the same.
    """
    name, path = str(name_or_path), Path(name_or_path).expanduser()
    if len(parts := _parts(name)) > 1:
        return _joined(name, parts, data_dir, download, image_shape, classes, **options)
    _check_options(name, options, options_of(name))
    if (kind := _kind(name)) is None:
        entry = SETS[name]
        arrays = entry.read(paths_of(name, data_dir, download), **options)
        return _dataset(name, *arrays, classes=entry.classes, source=entry.source)
    if kind == "folder":
        return _dataset(path.resolve().name, **read_folder(path, image_shape, classes), source=str(path))
    if kind in (".csv", ".tsv"):
        arrays = read_table(path, **options, columns=columns, classes=classes)
        if arrays["n_empty"] and not isinstance(options["empty"], str):
            warnings.warn(
                f"{path}: {arrays['n_empty']} empty cells, each taken as the mean of its column in the training rows",
                FilledWarning,
                stacklevel=2,
            )
        if image_shape is not None:
            arrays["X"] = as_bytes(arrays["X"])
        return _dataset(path.stem, **arrays, source=str(path), image_shape=image_shape)
    if kind == ".npy":
        return _dataset(path.stem, open_rows(path), source=str(path), image_shape=image_shape, **options)
    found = _dataset(path.stem, **_read_npz(path), source=str(path), image_shape=image_shape)
    if columns and found.columns and tuple(columns) != found.columns:
        others = [f"{b!r} where {a!r} was" for a, b in zip(columns, found.columns, strict=False) if a != b]
        raise InputError(f"{path}: expected the columns of the training, found {(others or ['more or fewer'])[0]}")
    beside = split_path(path)
    if not beside.is_file():
        return found
    chosen = Split.read(beside)
    if (n := len(chosen.unlabelled) + len(chosen.validation)) != len(found.X):
        raise InputError(f"{beside}: expected a split of the {len(found.X)} rows beside it, found {n}; write it anew")
    return replace(found, split=chosen)


def split_path(path: Path) -> Path:
    """Return where the split of a .npz is."""
    return path.with_name(f"{path.stem}-split.npz")


def whole_path(name: str) -> str:
    """Return a path, or several joined by "+", so that it is right from everywhere; names of sets stay as they are."""
    paths = {part: Path(part).expanduser() for part in _parts(name)}
    return "+".join(str(p.resolve()) if part and part not in SETS and p.exists() else part for part, p in paths.items())


def options_of(name: str) -> tuple[str, ...]:
    """Return the options that `load` takes for a set; of several joined by "+", those that all of them have."""
    kinds = [(part, _kind(part)) for part in _parts(name)]
    first, *others = [find(part).options if kind is None else OPTIONS[kind] for part, kind in kinds]
    return tuple(option for option in first if all(option in more for more in others))


def _kind(name: str) -> str | None:
    """Return what is at a path, as `OPTIONS` calls it; None for a named set."""
    path = Path(name).expanduser()
    if name in SETS:
        return None
    if name and path.is_dir():
        return "folder"
    if (suffix := path.suffix.lower()) in OPTIONS:
        return suffix
    if name and path.exists():
        known = ", ".join(kind for kind in OPTIONS if kind != "folder")
        raise InputError(
            f"{path}: expected one of {known}, or a folder of images, found {path.suffix or 'a file without suffix'}"
        )
    find(name)  # says which sets there are
    return None


def _check_options(name: str, given: dict[str, Any], allowed: tuple[str, ...]) -> None:
    """Refuse an option that is not allowed."""
    for option in given:
        if option not in allowed:
            guess, known = nearest(option, allowed), " or ".join(allowed) or "none"
            raise InputError(f"{name}: unknown option {option!r}.{guess} Expected {known}")


def _parts(name: str) -> list[str]:
    """Take "a+b" apart; a "+" in the path of a file that exists is none."""
    pieces, parts = name.split("+"), []
    while pieces:
        n = next((n for n in range(len(pieces), 1, -1) if Path("+".join(pieces[:n])).expanduser().exists()), 1)
        parts.append("+".join(pieces[:n]))
        del pieces[:n]
    return parts


def _joined(
    name: str, parts: list[str], data_dir: Any, download: bool, image_shape: Any, classes: Any, **options: Any
) -> Dataset:
    """Load sets and make one of them, each a domain."""
    _check_options(name, options, options_of(name))  # says so, before anything is read, if there is no such set
    if len(set(parts)) < len(parts):
        raise InputError(f"{name}: expected different sets to join, found {max(parts, key=parts.count)} twice")
    check_same_classes({part: SETS[part].classes for part in parts if part in SETS})  # before a download
    return Dataset(**join([load(part, data_dir, download, image_shape, None, classes, **options) for part in parts]))


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
        raise InputError(f"{path}: expected a .npz archive of plain arrays, found ({why(error)})") from error
    if "X" not in arrays:
        raise InputError(f"{path}: expected an array X or x_train, found {found or 'none'}")
    names = {key: tuple(map(str, np.atleast_1d(arrays[key]))) for key in NPZ_TEXTS if key in arrays}
    return arrays | names


def _dataset(
    name: str,
    X: np.ndarray,
    y: np.ndarray | None = None,
    X_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    *,
    classes: tuple[str, ...] | None = None,
    source: str = "",
    domain: np.ndarray | None = None,
    domain_test: np.ndarray | None = None,
    domains: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    files: tuple[str, ...] = (),
    files_test: tuple[str, ...] = (),
    n_empty: int = 0,
    image_shape: Sequence[int] | None = None,
    memory_limit_bytes: int = MEMORY_LIMIT,
    cache_dir: str | Path | None = None,
) -> Dataset:
    """Check arrays and bring them to the dtypes that `Dataset` promises."""
    if y_test is not None and X_test is None:
        raise InputError(f"{name}: expected X_test beside y_test, found none")
    if (domain is None) != (not domains) or (domain_test is None) != (domain is None or X_test is None):
        found = ", ".join(k for k, there in (("domain", domain), ("domain_test", domain_test)) if there is not None)
        raise InputError(
            f"{name}: expected domains, domain and, if there is X_test, domain_test, or none of them, found "
            f"{', '.join(filter(None, [found, 'domains' if domains else '']))}"
        )

    def rows(array: np.ndarray, key: str) -> np.ndarray:
        array = array[:, None] if array.ndim == 3 else array
        if image_shape is not None and array.ndim == 2:
            if len(image_shape) != 3 or array.shape[1] != math.prod(image_shape):
                raise InputError(
                    f"{name}: {key}: expected rows that image_shape={tuple(image_shape)} holds as (channels, height, "
                    f"width), found rows of shape {array.shape[1:]}"
                )
            array = array.reshape(-1, *image_shape)
        check_rows(array, f"{name}: {key}")
        dtype = np.uint8 if array.ndim == 4 and array.dtype.kind in "iu" else np.float32
        return as_store(array, cache_dir, memory_limit_bytes, dtype)

    def labels(array: np.ndarray, n: int, key: str) -> np.ndarray:
        check_labels(array, n, len(classes) if classes else None, f"{name}: {key}")
        return array.astype(np.int64)

    def numbers(array: np.ndarray, n: int, key: str) -> np.ndarray:
        check_labels(array, n, len(domains), f"{name}: {key}")
        if (array < 0).any():
            raise InputError(f"{name}: {key}: expected a domain in every row, found -1")
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
        domain_test = None if domain_test is None else numbers(domain_test, len(X_test), "domain_test")
    if classes is None:
        top = max((int(array.max()) for array in (y, y_test) if array is not None), default=-1)
        classes = tuple(str(k) for k in range(top + 1))
    domain = None if domain is None else numbers(domain, len(X), "domain")
    columns = () if X.ndim > 2 else columns
    lengths = {"columns": (columns, X.shape[1]), "files": (files, len(X))}
    lengths["files_test"] = (files_test, 0 if X_test is None else len(X_test))
    for key, (texts, n) in lengths.items():
        if texts and len(texts) != n:
            raise InputError(f"{name}: {key}: expected {n}, as X has, found {len(texts)}")
    return Dataset(
        name, X, y, X_test, y_test, classes, source, domain, domain_test, domains, None, columns, files, files_test,
        n_empty,
    )  # fmt: skip


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
        The folder to write ``<name>.npz`` into (arrays X, y, X_test, y_test, classes, of joined sets domain,
        domain_test, domains, of tables columns, of folders files, files_test; uncompressed).
    labels, validation, random_state
        As in `split`; with `labels` or `validation` the split is written to ``<name>-split.npz``, where `load` finds
        it. Azulay's parts of MNIST (2019) are ``labels=3000, validation=10_000``: 3,000 rows are labelled, 50,000 train
        (the 3,000 and 47,000 more), and 10,000 are for validation.
    overwrite : bool, default=False
        Whether existing files may be replaced; an earlier split is removed if no new one is asked for.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    InputError
        If a file exists already, or as `load` and `split` do; nothing is written then.
    """
    stem = "+".join(part if part in SETS else Path(part).resolve().stem for part in _parts(str(name)))
    wants_split = labels is not None or validation != 0
    path = Path(out).expanduser() / f"{stem}.npz"
    paths = [path, split_path(path)]
    for path in paths:
        if path.exists() and not overwrite:
            raise InputError(f"{path}: exists already; choose another folder, or allow it with overwrite (--overwrite)")
    data = load(name, data_dir, download, **options)
    if wants_split and data.y is None:
        raise InputError(f"{name}: expected labels to split by, found none; leave labels and validation out")
    chosen = split(data.y, labels, validation, random_state) if wants_split and data.y is not None else None
    arrays = {key: getattr(data, key) for key in NPZ_KEYS}
    names = {key: np.array(texts) for key in NPZ_TEXTS if (texts := arrays.pop(key))}
    write_npz(paths[0], **{key: array for key, array in arrays.items() if array is not None}, **names)
    remove(paths[1])  # an earlier split, which is of the old rows
    if chosen is None:
        return paths[:1]
    chosen.save(paths[1])
    return paths
