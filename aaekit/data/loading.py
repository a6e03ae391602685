"""Load a data set by name or path, and write it to one file."""

import warnings
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aaekit.data.dataset import Dataset, checked
from aaekit.data.domains import check_same_classes, join
from aaekit.data.folders import read_folder
from aaekit.data.sets import SETS, find, paths_of
from aaekit.data.splits import Draw, Split, split
from aaekit.data.store import open_rows, reason, remove, write_npz
from aaekit.data.tables import as_bytes, read_table
from aaekit.errors import FilledWarning, InputError, nearest

NPZ_KEYS = {"X": "x_train", "y": "y_train", "X_test": "x_test", "y_test": "y_test"}  # our names and Keras'
NPZ_TEXTS = ("classes", "domains", "columns", "files", "files_test")
NPZ_KEYS |= {key: key for key in ("domain", "domain_test", *NPZ_TEXTS)}
OPTIONS = {  # of each kind of path
    ".npz": (),
    ".npy": ("memory_limit_bytes", "cache_dir"),
    ".csv": ("target", "drop", "empty"),
    ".tsv": ("target", "drop", "empty"),
    "folder": (),
}


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
        One of:

        - a name in `names()`;
        - a .npz with ``X`` and optionally ``y``, ``X_test``, ``y_test``, ``classes``, ``columns``, ``domain``,
          ``domain_test``, ``domains``; ``x_train``, ``y_train``, ``x_test`` of Keras' mnist.npz are understood. The
          split in ``NAME-split.npz`` beside it, which `prepare` writes, becomes `Dataset.split`;
        - a .npy with the rows alone;
        - a .csv or .tsv, see `read_table`;
        - a folder with a subfolder of images for each class, see `read_folder`;
        - several of these joined by "+", such as ``"mnist+fonts"``: one set of images with a domain for each part. The
          images are uint8, of the largest height and width and the most channels. Smaller images are enlarged smoothly;
          8x8 and 16x16 digits that are enlarged to 28x28 are also sharpened and centred as MNIST's are. Labels stay as
          they are, so the parts must have the same classes. No rows are dropped or repeated.

        Images of shape (n, height, width) get a channel axis.
    data_dir : str or Path, optional
        Folder of the named sets. Default: the variable AAE_DATA_DIR, else the user's cache folder. Files are looked for
        in ``data_dir/name`` and in ``data_dir``, and downloaded, once, to the former.
    download : bool, default=True
        Whether to download missing files.
    image_shape : (channels, height, width), optional
        Shape of the flattened images in the rows of a .npz, .npy or table (default: the rows are a table), or shape to
        resize the images of a folder to.
    columns, classes : sequence of str, optional
        For tables and folders: the names of the values and of the labels of an earlier set, so that rows and labels
        mean the same. If `classes` is empty, labels are not read. If `empty` has a number for each of `columns`, cells
        that are filled cause a `FilledWarning`.
    **options
        For "digits" and the embedded tables: ``test_random_state`` (default 0), the seed of the held-out rows.
        For "fonts": ``n_rows`` (20,000), the number of training rows, and ``random_state`` (0), the seed.
        For .npy: ``memory_limit_bytes`` (4 GiB), beyond which rows stay on the disk, and ``cache_dir``, see `as_store`.
        For .csv and .tsv: ``target``, ``drop`` and ``empty``, see `read_table`.
        Joined sets take the options that all parts have.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        If there is no such set, files are missing and cannot be downloaded, a file is damaged or not as described, rows
        do not fit `image_shape`, rows or labels fail `check_rows` or `check_labels`, a split is of other rows, or sets
        cannot be joined.
    """
    name, path = str(name_or_path), Path(name_or_path).expanduser()
    _check_options(name, options)
    parts = _parts(name)
    if len(parts) > 1:
        if len(set(parts)) < len(parts):
            raise InputError(f"{name}: expected different sets to join, got {max(parts, key=parts.count)} twice")
        check_same_classes({part: SETS[part].classes for part in parts if part in SETS})  # before a download
        return join([load(part, data_dir, download, image_shape, None, classes, **options) for part in parts])
    kind = _kind(name)
    if kind is None:
        return _load_named(name, data_dir, download, options)
    if kind == ".npz":
        return _load_npz(path, image_shape, columns)
    if kind == ".npy":
        return checked(Dataset(path.stem, open_rows(path), source=str(path)), image_shape, **options)
    if kind == "folder":
        return checked(Dataset(path.resolve().name, **read_folder(path, image_shape, classes), source=str(path)))
    return _load_table(path, image_shape, columns, classes, options)


def _load_named(name: str, data_dir: str | Path | None, download: bool, options: Mapping[str, Any]) -> Dataset:
    """Load a named set."""
    entry = SETS[name]
    X, y, X_test, y_test = entry.read(paths_of(name, data_dir, download), **options)
    return checked(Dataset(name, X, y, X_test, y_test, entry.classes, entry.source))


def _load_table(
    path: Path,
    image_shape: Sequence[int] | None,
    columns: Sequence[str] | None,
    classes: Sequence[str] | None,
    options: Mapping[str, Any],
) -> Dataset:
    """Load a table from a text file."""
    fields = read_table(path, **options, columns=columns, classes=classes)
    if fields["n_empty"] and not isinstance(options["empty"], str):
        warnings.warn(
            f"{path}: {fields['n_empty']} empty cells were filled with the means of their columns in the training rows",
            FilledWarning,
            stacklevel=3,
        )
    if image_shape is not None:
        fields["X"] = as_bytes(fields["X"])
    return checked(Dataset(path.stem, **fields, source=str(path)), image_shape)


def _load_npz(path: Path, image_shape: Sequence[int] | None, columns: Sequence[str] | None) -> Dataset:
    """Load the arrays of a .npz, and its split if there is one beside it."""
    data = checked(Dataset(path.stem, **_read_npz(path), source=str(path)), image_shape)
    if columns and data.columns and tuple(columns) != data.columns:
        moved = [f"{b!r} in place of {a!r}" for a, b in zip(columns, data.columns, strict=False) if a != b]
        raise InputError(
            f"{path}: expected the columns of the training rows, got {(moved or ['more or fewer'])[0]}: reorder them"
        )
    beside = split_path(path)
    if not beside.is_file():
        return data
    chosen = Split.read(beside)
    if (n := len(chosen.unlabelled) + len(chosen.validation)) != len(data.X):
        raise InputError(
            f"{beside}: expected a split of the {len(data.X)} rows beside it, got {n}: write it again by `aae data "
            "prepare`"
        )
    return replace(data, split=chosen)


def _read_npz(path: Path) -> dict[str, Any]:
    """Read the fields of a `Dataset` from a .npz."""
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as archive:
            keys = {key: name for key, other in NPZ_KEYS.items() for name in (other, key) if name in archive.files}
            arrays: dict[str, Any] = {key: archive[name] for key, name in keys.items()}
            in_file = ", ".join(archive.files)
    except FileNotFoundError:
        raise InputError(f"{path}: expected a .npz archive, got no such file: check the path") from None
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: expected a .npz archive of plain arrays, got ({reason(error)})") from error
    if "X" not in arrays:
        raise InputError(f"{path}: expected an array X or x_train, got {in_file or 'none'}: rename the rows")
    names = {key: tuple(map(str, np.atleast_1d(arrays[key]))) for key in NPZ_TEXTS if key in arrays}
    return arrays | names


def split_path(path: Path) -> Path:
    """Return the path of the split of a .npz."""
    return path.with_name(f"{path.stem}-split.npz")


def whole_path(name: str) -> str:
    """Return a path, or several joined by "+", as absolute paths; names of sets are not changed."""
    paths = {part: Path(part).expanduser() for part in _parts(name)}
    return "+".join(str(p.resolve()) if part and part not in SETS and p.exists() else part for part, p in paths.items())


def missing_paths(name: str) -> list[str]:
    """Return the absolute paths in a name, which may be several joined by "+", at which there is nothing."""
    paths = [Path(part).expanduser() for part in _parts(name) if part not in SETS]
    return [str(path) for path in paths if path.is_absolute() and not path.exists()]


def options_of(name: str) -> tuple[str, ...]:
    """Return the options that `load` takes for a set; for several joined by "+", those that all of them have."""
    kinds = [(part, _kind(part)) for part in _parts(name)]
    first, *others = [find(part).options if kind is None else OPTIONS[kind] for part, kind in kinds]
    return tuple(option for option in first if all(option in options for options in others))


def _check_options(name: str, options: Iterable[str]) -> None:
    """Refuse an option that a set does not have, and a set that does not exist."""
    allowed = options_of(name)
    for option in options:
        if option not in allowed:
            names = f"one of the options {', '.join(allowed)}" if allowed else "no options"
            raise InputError(f"{name}: expected {names}, got {option!r}{nearest(option, allowed)}")


def _kind(name: str) -> str | None:
    """Return the kind of a path, a key of `OPTIONS`; None for a named set."""
    path = Path(name).expanduser()
    if name in SETS:
        return None
    if name and path.is_dir():
        return "folder"
    if (suffix := path.suffix.lower()) in OPTIONS:
        return suffix
    if name and path.exists():
        suffixes = ", ".join(kind for kind in OPTIONS if kind != "folder")
        raise InputError(
            f"{path}: expected {suffixes}, or a folder of images, got {suffix or 'a file without suffix'}: convert it"
        )
    find(name)
    return None


def _parts(name: str) -> list[str]:
    """Split "a+b" into its parts; a "+" in the path of an existing file separates nothing."""
    pieces, parts = name.split("+"), []
    while pieces:
        n = next((n for n in range(len(pieces), 1, -1) if Path("+".join(pieces[:n])).expanduser().exists()), 1)
        parts.append("+".join(pieces[:n]))
        del pieces[:n]
    return parts


def prepare(
    name: str | Path,
    data_dir: str | Path | None = None,
    out: str | Path = ".",
    labels: int | None = None,
    validation: int = 0,
    random_state: int = 0,
    overwrite: bool = False,
    download: bool = True,
    label_draw: Draw = "balanced",
    **options: Any,
) -> list[Path]:
    """Write a set to one .npz and, with `labels` or `validation`, its split to another.

    Parameters
    ----------
    name, data_dir, download, **options
        As in `load`.
    out : str or Path, default="."
        The folder for ``<name>.npz`` (arrays X, y, X_test, y_test, classes; of joined sets domain, domain_test,
        domains; of tables columns; of folders files, files_test; uncompressed).
    labels, validation, random_state, label_draw
        As in `split`, where `label_draw` is called draw; with `labels` or `validation` the split is written to
        ``<name>-split.npz``, where `load` looks for it. Azulay's split of MNIST (2019) is ``labels=3000,
        validation=10_000``: 3,000 rows are labelled, 50,000 are trained on (the 3,000 and 47,000 more), and 10,000 are
        for validation.
    overwrite : bool, default=False
        Whether to replace existing files; an earlier split is deleted if no new one is written.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    InputError
        If a file exists, and as in `load` and `split`; nothing is written then.
    """
    stem = "+".join(part if part in SETS else Path(part).resolve().stem for part in _parts(str(name)))
    with_split = labels is not None or validation != 0
    path = Path(out).expanduser() / f"{stem}.npz"
    paths = [path, split_path(path)]
    for path in paths:
        if path.exists() and not overwrite:
            raise InputError(
                f"{path}: expected no such file, got one that exists already: choose another folder, or allow it with "
                "overwrite (--overwrite)"
            )
    data = load(name, data_dir, download, **options)
    if with_split and data.y is None:
        raise InputError(f"{name}: expected labels to split by, got none: leave labels and validation out")
    chosen = split(data.y, labels, validation, random_state, label_draw) if with_split and data.y is not None else None
    arrays = {key: getattr(data, key) for key in NPZ_KEYS}
    texts = {key: np.array(values) for key in NPZ_TEXTS if (values := arrays.pop(key))}
    write_npz(paths[0], **{key: array for key, array in arrays.items() if array is not None}, **texts)
    remove(paths[1])  # an earlier split is of the old rows
    if chosen is None:
        return paths[:1]
    chosen.save(paths[1])
    return paths
