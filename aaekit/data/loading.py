"""Load a data set by name or path, and write it to one file."""

import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aaekit.columns import Schema
from aaekit.data.dataset import Dataset, checked
from aaekit.data.domains import check_same_classes, join
from aaekit.data.encoding import PICTURE, encode_files, with_features
from aaekit.data.folders import read_folder
from aaekit.data.sets import SETS, find, paths_of
from aaekit.data.splits import Draw, Split, split
from aaekit.data.store import open_rows, reason, remove, write_npz
from aaekit.data.tables import SUFFIXES, TEXT_SUFFIXES, as_bytes, read_table, suffix_of
from aaekit.encoders import Encoder
from aaekit.encoders import find as find_encoder
from aaekit.errors import InputError, nearest
from aaekit.labels import UNLABELLED

NPZ_KEYS = {"X": "x_train", "y": "y_train", "X_test": "x_test", "y_test": "y_test"}  # our names and Keras'
NPZ_TEXTS = ("classes", "domains", "columns", "schema", "files", "files_test")
NPZ_KEYS |= {key: key for key in ("domain", "domain_test", *NPZ_TEXTS)}
OPTIONS = {  # of each kind of path
    ".npz": (),
    ".npy": ("memory_limit_bytes", "cache_dir"),
    **dict.fromkeys(SUFFIXES, ("target", "drop", "empty", "text")),
    **dict.fromkeys(TEXT_SUFFIXES, ("target", "drop", "empty", "text", "header")),
    "folder": (),
}


def load(
    name_or_path: str | Path,
    data_dir: str | Path | None = None,
    download: bool = True,
    image_shape: Sequence[int] | None = None,
    schema: Schema | None = None,
    classes: Sequence[str] | None = None,
    features: "str | Encoder | Callable[..., Any] | None" = None,
    **options: Any,
) -> Dataset:
    """Load a named set, arrays from a file, a table, or a folder of images.

    Parameters
    ----------
    name_or_path : str or Path
        One of:

        - a name in `names()`;
        - a .npz with ``X`` and optionally ``y``, ``X_test``, ``y_test``, ``classes``, ``columns``, ``schema``,
          ``domain``, ``domain_test``, ``domains``; ``x_train``, ``y_train``, ``x_test`` of Keras' mnist.npz are
          understood. The split in ``NAME-split.npz`` beside it, which `prepare` writes, becomes `Dataset.split`;
        - a .npy with the rows alone;
        - a table: .csv, .tsv (also with .gz), .parquet, .feather, .xlsx, .jsonl, .ndjson or .h5ad, see `read_table`;
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
    schema : Schema, optional
        For tables: what the columns of an earlier set are, so that rows mean the same.
    classes : sequence of str, optional
        For tables and folders: the names of the labels of an earlier set, so that labels mean the same. If it is empty,
        labels are not read.
    features : str, Encoder or callable, optional
        A pretrained encoder, see `aaekit.encoders.find`, such as "efficientnet-lite0" or "minilm": rows are its
        features of the images, and of the free texts of a table beside its other columns. Features are cached.
    **options
        For "digits" and the embedded tables: ``test_random_state`` (default 0), the seed of the held-out rows.
        For "fonts": ``n_rows`` (20,000), the number of training rows, and ``random_state`` (0), the seed.
        For .npy: ``memory_limit_bytes`` (4 GiB), beyond which rows stay on the disk, and ``cache_dir``, see `as_store`.
        For tables: ``target``, ``drop``, ``empty`` and ``text``, of text files also ``header``, see `read_table`.
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
    parts, kind = _parts(name), None
    is_table = len(parts) == 1 and (kind := _kind(name)) is not None and kind in SUFFIXES and image_shape is None
    encoder = None if features is None or is_table else find_encoder(features)
    if len(parts) > 1:
        if len(set(parts)) < len(parts):
            raise InputError(f"{name}: expected different sets to join, got {max(parts, key=parts.count)} twice")
        check_same_classes({part: SETS[part].classes for part in parts if part in SETS})  # before a download
        data = join([load(part, data_dir, download, image_shape, None, classes, **options) for part in parts])
    elif kind is None:
        data = _load_named(name, data_dir, download, encoder, options)
    elif kind == ".npz":
        data = _load_npz(path, image_shape, schema)
    elif kind == ".npy":
        data = checked(Dataset(path.stem, open_rows(path), source=str(path)), image_shape, **options)
    elif kind == "folder":
        if encoder is not None and image_shape is not None:
            raise InputError(f"{path}: expected image_shape or features, got both: leave image_shape out")
        shape = image_shape if encoder is None else PICTURE
        data = checked(Dataset(path.resolve().name, **read_folder(path, shape, classes), source=str(path)))
    else:
        data = _load_table(path, image_shape, schema, classes, features, options)
    if encoder is None or data.features is not None:
        return data
    return with_features(data, encoder, path if kind == "folder" else None)


def with_test_rows(
    data: Dataset, test: str | Path, data_dir: str | Path | None = None, target: str | None = None
) -> Dataset:
    """Return a data set with the rows and labels of another one as its test rows, in place of its own if it has any.

    Parameters
    ----------
    data : Dataset
        Training rows.
    test : str or Path
        Anything that `load` reads, with the columns and classes of `data`; of a set with test rows of its own, those.
    data_dir : str or Path, optional
        Folder of the named sets.
    target : str, optional
        The column of labels, if `test` is a table.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        If `test` cannot be read as `data` was, or has no labels.
    """
    options: dict[str, Any] = {"target": target} if target is not None and "target" in options_of(str(test)) else {}
    shape = tuple(int(n) for n in data.X.shape[1:]) if data.X.ndim == 4 else None
    rows = load(
        test,
        data_dir,
        image_shape=shape,
        schema=data.schema,
        classes=data.classes,
        features=data.features,
        **options,
    )
    X, y = (rows.X, rows.y) if rows.X_test is None else (rows.X_test, rows.y_test)
    files = rows.files if rows.X_test is None else rows.files_test
    originals = rows.originals if rows.X_test is None else rows.originals_test
    if y is None or not (y != UNLABELLED).any():
        raise InputError(f"{test}: expected labels of the test rows, got none: add the column of labels")
    fields: dict[str, Any] = {"X_test": X, "y_test": y, "files_test": files, "originals_test": originals}
    return checked(replace(data, **fields, domain_test=rows.domain))


def _load_named(
    name: str, data_dir: str | Path | None, download: bool, encoder: Encoder | None, options: Mapping[str, Any]
) -> Dataset:
    """Load a named set; one of photos as features, if there is an encoder."""
    entry = SETS[name]
    if encoder is not None and entry.encodes_files:
        options = {**options, "encode": encode_files(encoder)}
    content: Any = entry.read(paths_of(name, data_dir, download), **options)
    if isinstance(content, tuple):
        content = dict(zip(("X", "y", "X_test", "y_test"), content, strict=True))
    fields: dict[str, Any] = {"classes": entry.classes, "source": entry.source, **content}
    if encoder is not None and entry.encodes_files:
        fields |= {"features": encoder.name, "checksum": encoder.checksum}
    return checked(Dataset(name, **fields))


def _load_table(
    path: Path,
    image_shape: Sequence[int] | None,
    schema: Schema | None,
    classes: Sequence[str] | None,
    features: Any,
    options: Mapping[str, Any],
) -> Dataset:
    """Load a table; with `image_shape` its values are those of images, else `features` encode its free texts."""
    is_images = image_shape is not None
    fields = read_table(
        path, **options, schema=schema, classes=classes, pixels=is_images, features=None if is_images else features
    )
    name = path.name[: -len(suffix_of(path))]
    if is_images:
        fields["X"] = as_bytes(np.asarray(fields["X"]))
        return checked(Dataset(name, **fields, source=str(path)), image_shape)
    learned: Schema = fields["X"].schema
    for column in learned.columns:
        if column.encoder:
            fields |= {"features": column.encoder, "checksum": column.checksum}
    return checked(Dataset(name, **fields, schema=learned, source=str(path)))


def _load_npz(path: Path, image_shape: Sequence[int] | None, schema: Schema | None) -> Dataset:
    """Load the arrays of a .npz, and its split if there is one beside it."""
    data = checked(Dataset(path.stem, **_read_npz(path), source=str(path)), image_shape)
    columns = () if schema is None else schema.value_names
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
    arrays = {key: array for key, array in arrays.items() if key not in NPZ_TEXTS}
    return arrays | _with_schema(path, arrays["X"], names)


def _with_schema(path: Path, X: np.ndarray, names: dict[str, Any]) -> dict[str, Any]:
    """The texts of a .npz with the schema as such; of columns that have names alone it is that of numbers."""
    columns, description = names.pop("columns", ()), names.pop("schema", None)
    if description is not None:
        try:
            return names | {"schema": Schema.from_dict(json.loads(description[0]))}
        except ValueError as error:
            raise InputError(f"{path}: schema: expected the description of columns, got a damaged one") from error
    if not columns or X.ndim != 2:
        return names
    if len(columns) != X.shape[1]:
        raise InputError(f"{path}: columns: expected {X.shape[1]}, as X has, got {len(columns)}: name each")
    return names | {"schema": Schema.of_numbers(X, columns)}


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
    if (suffix := suffix_of(path)) in OPTIONS:
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
        domains; of tables columns and schema; of folders files, files_test; uncompressed).
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
    if data.schema is not None:
        arrays["schema"] = json.dumps(data.schema.as_dict())
    texts = {key: np.array(values) for key in NPZ_TEXTS if (values := arrays.pop(key))}
    write_npz(paths[0], **{key: array for key, array in arrays.items() if array is not None}, **texts)
    remove(paths[1])  # an earlier split is of the old rows
    if chosen is None:
        return paths[:1]
    chosen.save(paths[1])
    return paths
