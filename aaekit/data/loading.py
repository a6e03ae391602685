"""Load a data set by name or path, and write it to one file."""

import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aaekit._files import check_regular, parsed_json, shown
from aaekit.columns import Schema
from aaekit.data import folders, images, listed
from aaekit.data.dataset import Dataset, checked
from aaekit.data.domains import check_same_classes, join
from aaekit.data.encoding import with_features
from aaekit.data.folders import dataset_fields, read_folder
from aaekit.data.sets import SETS, find, paths_of
from aaekit.data.splits import Draw, Split, split, split_with_validation
from aaekit.data.store import MAX_BYTES, names_of_arrays, open_rows, read_npz, remove, write_npz
from aaekit.data.tables import SUFFIXES, TEXT_SUFFIXES, as_bytes, read_table, suffix_of
from aaekit.encoders import Encoder
from aaekit.encoders import find as find_encoder
from aaekit.errors import ColumnWarning, ImageWarning, InputError, nearest
from aaekit.errors import listed as listed_names
from aaekit.labels import UNLABELLED

NPZ_ARRAYS = {  # our names of rows and labels, and those of Keras, MedMNIST and others
    "X": ("x_train", "X_train", "train_images", "train_x", "x", "images", "data", "features"),
    "y": ("y_train", "train_labels", "train_y", "labels", "label", "target", "targets"),
    "X_validation": ("x_val", "X_val", "val_images", "val_x", "x_valid", "X_valid"),
    "y_validation": ("y_val", "val_labels", "val_y", "y_valid"),
    "X_test": ("x_test", "test_images", "test_x"),
    "y_test": ("test_labels", "test_y"),
}
NPZ_TEXTS = ("classes", "domains", "columns", "schema", "files", "files_test")
NPZ_KEYS = ("X", "y", "X_test", "y_test", "domain", "domain_test", *NPZ_TEXTS)  # that `prepare` writes
TABLE_OPTIONS = ("target", "drop", "empty", "text", "max_bytes", "images", *images.OPTIONS)
OPTIONS = {  # of each kind of path
    ".npz": ("max_bytes",),
    ".npy": ("memory_limit_bytes", "cache_dir"),
    **dict.fromkeys(SUFFIXES, TABLE_OPTIONS),
    **dict.fromkeys(TEXT_SUFFIXES, (*TABLE_OPTIONS, "header")),
    "folder": (*folders.OPTIONS, *images.OPTIONS),
    "image": images.OPTIONS,
    "hugging face": (*listed.OPTIONS, *images.OPTIONS),
}


def load(
    name_or_path: Any,
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
    name_or_path : str, Path, or a data set of the package datasets (Hugging Face)
        One of:

        - a name in `names()`;
        - a .npz with ``X`` and optionally ``y``, ``X_test``, ``y_test``, ``classes``, ``columns``, ``schema``,
          ``domain``, ``domain_test``, ``domains``; ``x_train``, ``y_train``, ``x_test`` of Keras' mnist.npz are
          understood, as are the names of MedMNIST. The split in
          ``NAME-split.npz`` beside it, which `prepare` writes, becomes `Dataset.split`;
        - a .npy with the rows alone;
        - a table: .csv, .tsv (also with .gz), .parquet, .feather, .xlsx, .jsonl, .ndjson or .h5ad, see `read_table`;
        - a folder with a subfolder of images for each class, see `read_folder`, or a file of one image;
        - a table with a column of names of image files, relative to the table, see ``images`` below;
        - a set of images of the package datasets, or a folder that its `save_to_disk` wrote;
        - several of these joined by "+", such as ``"mnist+fonts"``: one set of images with a domain for each part. The
          images are uint8, of the largest height and width and the most channels. Smaller images are enlarged smoothly;
          8x8 and 16x16 digits that are enlarged to 28x28 are also sharpened and centred as MNIST's are. Labels stay as
          they are, so the parts must have the same classes. No rows are dropped or repeated.

        Arrays (n, channels, length) are signals; images of shape (n, height, width), which are bytes or floats in
        [0, 1] of at least 8 pixels a side, get a channel axis.
    data_dir : str or Path, optional
        Folder of the named sets. Default: the variable AAE_DATA_DIR, else the user's cache folder. Files are looked for
        in ``data_dir/name`` and in ``data_dir``, and downloaded, once, to the former.
    download : bool, default=True
        Whether to download missing files.
    image_shape : (channels, height, width) or (channels, length), optional
        Shape of the flattened images or signals in the rows of a .npz, .npy or table (default: the rows are a table),
        or shape to resize the images of a folder to.
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
        For .npy and images: ``memory_limit_bytes`` (4 GiB, or a quarter of the memory if that is less), beyond which
        rows are on the disk, and ``cache_dir``, the folder for them, see `as_store` and `read_folder`.
        For tables: ``target``, ``drop``, ``empty`` and ``text``, of text files also ``header``, see `read_table`;
        ``images``, the column of image files (default: one called file, path, image or the like whose cells are such
        names).
        For images: ``bits``, ``max_pixels`` and ``damaged``, for folders also ``masks`` and ``class_from``, see
        `read_folder`; for sets of datasets ``images`` and ``target``, their columns.
        For .npz and compressed tables: ``max_bytes`` (2 GiB), what they may hold once they are decompressed.
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
    if listed.is_hugging_face(name_or_path):
        return _load_hugging_face(name_or_path, image_shape, classes, features, options)
    name, path = str(name_or_path), Path(name_or_path).expanduser()
    _check_options(name, options)
    parts = _parts(name)
    if len(parts) > 1:
        if len(set(parts)) < len(parts):
            raise InputError(f"{name}: expected different sets to join, got {max(parts, key=parts.count)} twice")
        check_same_classes({part: SETS[part].classes for part in parts if part in SETS})  # before a download
        return join([load(part, data_dir, download, image_shape, None, classes, features, **options) for part in parts])
    kind = _kind(name)
    if kind in SUFFIXES:
        return _load_table(path, image_shape, schema, classes, features, options)
    if kind == "hugging face":
        return _load_hugging_face(path, image_shape, classes, features, options)
    encoder = _encoder(features)
    if kind is None:
        data = _load_named(name, data_dir, download, encoder, options)
    elif kind == ".npz":
        data = _load_npz(path, image_shape, schema, **options)
    elif kind == ".npy":
        data = checked(Dataset(path.stem, open_rows(path), source=str(path)), image_shape, **options)
    elif kind == "folder":
        fields = read_folder(path, image_shape, classes, **options, encoder=encoder)
        return checked(Dataset(shown(path.resolve().name), **fields, source=shown(path)), **_in_memory(options))
    else:
        item = images.Item(shown(path.name), path)
        fields = dataset_fields(shown(path), {"train": [item]}, image_shape, classes, (), options, encoder)
        return checked(Dataset(shown(path.stem), **fields, source=shown(path)), **_in_memory(options))
    return data if encoder is None or data.features is not None else with_features(data, encoder)


def with_test_rows(data: Dataset, test: str | Path, data_dir: str | Path | None = None, **options: Any) -> Dataset:
    """Return a data set with the rows and labels of another one as its test rows, in place of its own if it has any.

    Parameters
    ----------
    data : Dataset
        Training rows.
    test : str or Path
        Anything that `load` reads, with the columns and classes of `data`; of a set with test rows of its own, those.
    data_dir : str or Path, optional
        Folder of the named sets.
    **options
        As in `load`, of `data`; those that `test` has are used.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        If `test` cannot be read as `data` was, or has no labels.
    """
    if data.pictures is not None and data.pictures.bits > 8:
        options = {"bits": data.pictures.bits} | options
    allowed = set(options_of(str(test))) - {"drop"}
    options = {name: value for name, value in options.items() if name in allowed and value is not None}
    shape = tuple(int(n) for n in data.X.shape[1:]) if data.X.ndim > 2 else None
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
        options = {**options, "encoder": encoder}
    content: Any = entry.read(paths_of(name, data_dir, download), **options)
    if isinstance(content, tuple):
        content = dict(zip(("X", "y", "X_test", "y_test"), content, strict=True))
    return checked(Dataset(name, **{"classes": entry.classes, "source": entry.source, **content}))


def _load_table(
    path: Path,
    image_shape: Sequence[int] | None,
    schema: Schema | None,
    classes: Sequence[str] | None,
    features: Any,
    options: Mapping[str, Any],
) -> Dataset:
    """Load a table, or the images that it names; with `image_shape` its values are those of images.

    `features` encode the images, else the free texts.
    """
    images_in = options.get("images") or (listed.column_of_images(path) if suffix_of(path) in TEXT_SUFFIXES else None)
    if images_in is not None and schema is None:
        return _load_listed(path, images_in, image_shape, classes, features, options)
    _refuse_others(path, options, ("target", "drop", "empty", "text", "header", "max_bytes"))
    is_images = image_shape is not None
    fields = read_table(
        path, **options, schema=schema, classes=classes, pixels=is_images, features=None if is_images else features
    )
    name = path.name[: -len(suffix_of(path))]
    if is_images:
        fields["X"] = as_bytes(np.asarray(fields["X"]))
        data = checked(Dataset(name, **fields, source=str(path)), image_shape)
        return data if features is None else with_features(data, find_encoder(features))
    learned: Schema = fields["X"].schema
    for column in learned.columns:
        if column.encoder:
            fields |= {"features": column.encoder, "checksum": column.checksum}
    return checked(Dataset(name, **fields, schema=learned, source=str(path)))


def _load_listed(
    path: Path,
    column: str,
    image_shape: Sequence[int] | None,
    classes: Sequence[str] | None,
    features: Any,
    options: Mapping[str, Any],
) -> Dataset:
    """Load the images that a column of a table names."""
    if "images" not in options:
        warnings.warn(
            f"{path}: rows are the images that the column {column} names; its other columns are not used, but for "
            "labels; choose another by images=NAME (--data-options)",
            ColumnWarning,
            stacklevel=3,
        )
    _refuse_others(path, options, ("target", "header", "images", *images.OPTIONS))
    encoder = _encoder(features)
    fields = listed.read_listed(
        path, **{**options, "images": column}, shape=image_shape, classes=classes, encoder=encoder
    )
    return checked(Dataset(path.name[: -len(suffix_of(path))], **fields, source=shown(path)), **_in_memory(options))


def _load_hugging_face(
    data: Any,
    image_shape: Sequence[int] | None,
    classes: Sequence[str] | None,
    features: Any,
    options: Mapping[str, Any],
) -> Dataset:
    """Load a set of images of the package datasets."""
    _refuse_others("the data set", options, OPTIONS["hugging face"])
    encoder = _encoder(features)
    fields = listed.read_hugging_face(data, **options, shape=image_shape, classes=classes, encoder=encoder)
    name = shown(data.resolve().name) if isinstance(data, Path) else "dataset"
    return checked(Dataset(name, **fields, source=shown(data) if isinstance(data, Path) else ""), **_in_memory(options))


def _in_memory(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of images that say what is kept in memory."""
    return {name: options[name] for name in ("memory_limit_bytes", "cache_dir") if name in options}


def _encoder(features: Any) -> Encoder | None:
    """The encoder of images, if rows are to be features."""
    return None if features is None else find_encoder(features)


def _refuse_others(where: object, options: Iterable[str], allowed: Sequence[str]) -> None:
    """Refuse options that what is read does not have."""
    for option in options:
        if option not in allowed:
            names = ", ".join(allowed)
            raise InputError(f"{where}: expected one of the options {names}, got {option!r}{nearest(option, allowed)}")


def _load_npz(
    path: Path, image_shape: Sequence[int] | None, schema: Schema | None, max_bytes: int = MAX_BYTES
) -> Dataset:
    """Load the arrays of a .npz, and its split if there is one beside it."""
    data = checked(Dataset(path.stem, **_read_npz(path, max_bytes), source=str(path)), image_shape)
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


def _read_npz(path: Path, max_bytes: int) -> dict[str, Any]:
    """Read the fields of a `Dataset` from a .npz."""
    try:
        in_file = names_of_arrays(path)
        keys = {key: key for key in NPZ_KEYS if key in in_file}
        for key, others in NPZ_ARRAYS.items():
            if name := next((name for name in (key, *others) if name in in_file), None):
                keys[key] = name
        by_name = read_npz(path, keys.values(), max_bytes)
    except FileNotFoundError:
        raise InputError(f"{path}: expected a .npz archive, got no such file: check the path") from None
    if "X" not in keys:
        raise InputError(
            f"{path}: expected an array X, x_train or train_images, got {listed_names(in_file)}: rename the rows"
        )
    if others := [name for name in in_file if name not in keys.values()]:
        warnings.warn(f"{path}: arrays are left out: {listed_names(others)}", ImageWarning, stacklevel=4)
    arrays: dict[str, Any] = {key: by_name[name] for key, name in keys.items()}
    names = {key: tuple(map(str, np.atleast_1d(arrays.pop(key)))) for key in NPZ_TEXTS if key in arrays}
    for key, array in arrays.items():
        if key.startswith("X") and array.ndim == 4 and array.shape[3] in (1, 3) and array.shape[1] > 4:
            arrays[key] = array.transpose(0, 3, 1, 2)  # channels last
        elif key.startswith("y") and array.ndim == 2 and array.shape[1] == 1:
            arrays[key] = array[:, 0]
    return _with_validation(path, arrays) | _with_schema(path, arrays["X"], names)


def _with_validation(path: Path, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays, rows for validation among the training rows, with a split that says which they are."""
    X, y, X_more, y_more = (arrays.get(key) for key in ("X", "y", "X_validation", "y_validation"))
    others = {key: array for key, array in arrays.items() if not key.endswith("validation")}
    if X is None or X_more is None:
        return others
    if X.ndim == 0 or X_more.shape[1:] != X.shape[1:]:
        raise InputError(f"{path}: expected rows for validation as X, {X.shape}, got {X_more.shape}: reshape them")
    labels = [np.full(len(rows), UNLABELLED) if part is None else part for rows, part in ((X, y), (X_more, y_more))]
    if y is not None or y_more is not None:
        others["y"] = np.concatenate(labels)
    is_validation = np.arange(len(X) + len(X_more)) >= len(X)
    others["split"] = split_with_validation(others.get("y"), is_validation)
    return others | {"X": np.concatenate([X, X_more])}


def _with_schema(path: Path, X: np.ndarray, names: dict[str, Any]) -> dict[str, Any]:
    """The texts of a .npz with the schema as such; of columns that have names alone it is that of numbers."""
    columns, description = names.pop("columns", ()), names.pop("schema", None)
    if description is not None:
        try:
            return names | {"schema": Schema.from_dict(parsed_json(description[0], dict[str, Any]))}
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
        return "hugging face" if listed.is_hugging_face(path) else "folder"
    if name:
        check_regular(path, "a file or a folder")
    if path.suffix.casefold() in images.SUFFIXES:
        return "image"
    if (suffix := suffix_of(path)) in OPTIONS:
        return suffix
    if name and path.exists():
        suffixes = ", ".join(kind for kind in OPTIONS if kind.startswith("."))
        raise InputError(
            f"{path}: expected {suffixes}, an image, or a folder of images, got "
            f"{suffix or 'a file without suffix'}: convert it"
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
    chosen = data.split
    if with_split and data.y is not None:
        chosen = split(data.y, labels, validation, random_state, label_draw)
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
