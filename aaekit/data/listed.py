"""Images that a table names, and data sets of the package datasets (Hugging Face)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import TypedDict

from aaekit._extras import require
from aaekit._files import check_regular, read_json, shown
from aaekit.data.folders import PARTS, dataset_fields
from aaekit.data.images import SUFFIXES, Item
from aaekit.data.tables import TARGETS, first_lines, read_frame, read_labels
from aaekit.encoders import Encoder
from aaekit.errors import DamageError, InputError, listed, nearest

FILES = ("file", "files", "filename", "file_name", "filepath", "path", "image", "images", "image_path", "image_file")
OPTIONS = ("images", "target")
DESCRIBED, AGAIN = "the description of a data set", "write it again"
DESCRIPTIONS = ("dataset_dict.json", "state.json")  # in folders that `save_to_disk` of datasets writes


class Splits(TypedDict):
    """`dataset_dict.json`."""

    splits: list[str]


class Info(TypedDict):
    """`dataset_info.json`."""

    features: dict[str, Any]


class DataFile(TypedDict):
    """A file that `state.json` names."""

    filename: str


class State(TypedDict):
    """`state.json`."""

    _data_files: list[DataFile]


def column_of_images(path: Path) -> str | None:
    """Return the column of a text file that names files of images: by its name and the file in the first line."""
    names, *lines = first_lines(path)
    for k, name in enumerate(names):
        cells = [line[k] for line in lines if k < len(line) and line[k]]
        if name.casefold() in FILES and cells and all(Path(cell).suffix.casefold() in SUFFIXES for cell in cells):
            return name
    return None


def read_listed(
    path: Path,
    images: str,
    target: str | None = None,
    header: bool | None = None,
    shape: Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
    encoder: Encoder | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Read the images that a column of a table names, relative to the folder of the table.

    Parameters
    ----------
    path : Path
        The table; its other columns, but for that of the labels, are ignored.
    images : str
        The column.
    target, header, classes
        As in `read_table`.
    shape, encoder, **options
        As in `read_folder`: bits, max_pixels and damaged.

    Returns
    -------
    dict
        As of `read_folder`.

    Raises
    ------
    InputError
        As of `read_table` and `read_folder`.
    """
    frame, _ = read_frame(path, header, [*TARGETS, images, *([target] if target else [])])
    names = list(frame.columns)
    if images not in names:
        raise InputError(f"{shown(path)}: expected images=COLUMN, got {images!r}{nearest(images, names)}")
    target, y, of_classes = read_labels(path, frame, target, [images], classes, optional=classes is not None)
    left_out = [(f"row {row}", "no file") for row in np.flatnonzero(frame[images].isna())]
    items = [
        Item(str(name), path.parent / str(name).strip(), None if y is None or y[k] < 0 else of_classes[y[k]])
        for k, name in enumerate(frame[images])
        if name == name and name is not None
    ]
    fields = dataset_fields(shown(path), {"train": items}, shape, of_classes, left_out, options, encoder)
    return fields | {"target": target}


# --- data sets of the package datasets -------------------------------------------------------------------------------
def is_hugging_face(data: object) -> bool:
    """Whether an object is a data set of datasets, or a mapping from its parts to such, or a folder of one."""
    if isinstance(data, Path):
        return data.is_dir() and any((data / name).is_file() for name in DESCRIPTIONS)
    parts = list(data.values()) if isinstance(data, Mapping) else [data]
    return bool(parts) and all(hasattr(part, "features") and hasattr(part, "with_format") for part in parts)


def read_hugging_face(
    data: Any,
    images: str | None = None,
    target: str | None = None,
    shape: Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
    encoder: Encoder | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Read a set of images of the package datasets: an object, or a folder that its `save_to_disk` wrote.

    Parameters
    ----------
    data : Dataset, DatasetDict or Path
        The parts "train", "validation" and "test" are those of a folder of images.
    images : str, optional
        The column of images. Default: the only one.
    target : str, optional
        The column of labels. Default: the one of class labels, or the one called y, label, labels, class or target.
    shape, classes, encoder, **options
        As in `read_folder`.

    Returns
    -------
    dict
        As of `read_folder`.

    Raises
    ------
    InputError
        If the folder cannot be read or has no images, and as of `read_folder`.
    """
    require("pyarrow", extra="data")
    where = shown(data) if isinstance(data, Path) else "the data set"
    parts = _saved(data) if isinstance(data, Path) else data if isinstance(data, Mapping) else {"train": data}
    items, names = {}, classes
    for name, part in parts.items():
        of_part = next((key for key, names in PARTS.items() if name.casefold() in names), None)
        if of_part is None:
            raise InputError(f"{where}: expected parts train, validation and test, got {name}: choose one of them")
        features, table = part if isinstance(part, tuple) else (part.features.to_dict(), part.with_format("arrow")[:])
        items[of_part], names_of_labels = _items(where, name, features, table, images, target, classes)
        names = names_of_labels if names is None else names
    if "train" not in items:
        items = {"train": [item for part in items.values() for item in part]}
    return dataset_fields(where, items, shape, names, (), options, encoder)


def _items(
    where: str,
    part: str,
    features: Mapping[str, Any],
    table: Any,
    images: str | None,
    target: str | None,
    classes: Sequence[str] | None,
) -> tuple[list[Item], list[str] | None]:
    """The images of a part, and the names of the classes if its description has them."""
    kinds = {name: feature.get("_type") if isinstance(feature, Mapping) else None for name, feature in features.items()}
    of_images = [name for name, kind in kinds.items() if kind == "Image"]
    for option, column in (("images", images), ("target", target)):
        if column is not None and column not in kinds:
            raise InputError(f"{where}: expected {option}=COLUMN, got {column!r}{nearest(column, kinds)}")
    if images is None and len(of_images) != 1:
        got = " and ".join(of_images) or f"none among {', '.join(kinds)}: write a table by its to_parquet"
        raise InputError(f"{where}: expected one column of images, got {got}: choose by images=NAME (--data-options)")
    column = images or of_images[0]
    likely = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    likely = likely or [name for name in kinds if name.casefold() in TARGETS]
    if target is None and len(likely) > 1:
        raise InputError(
            f"{where}: expected one column of labels, got {' and '.join(likely)}: choose by target=NAME "
            "(--data-options)"
        )
    label = target or (likely[0] if likely else None)
    names = features[label].get("names") if label is not None and isinstance(features[label], Mapping) else None
    if column not in table.column_names or (label is not None and label not in table.column_names):
        raise InputError(f"{where}: expected the columns {column} and {label}, got {listed(table.column_names)}")
    cells = [None] * len(table) if label is None or classes == () else table[label].to_pylist()
    is_list = names is None or (isinstance(names, list) and all(isinstance(name, str) for name in names))
    if not is_list or (names and any(cell is not None and cell not in range(-1, len(names)) for cell in cells)):
        raise InputError(f"{where}: expected names of all classes of {label}, got others: write it again")
    items = []
    for row, (picture, cell) in enumerate(zip(table[column].to_pylist(), cells, strict=True)):
        content, path = (picture.get("bytes"), picture.get("path")) if isinstance(picture, Mapping) else (None, picture)
        source = content if content is not None else Path(str(path))
        text = None if cell is None or cell == -1 else str(names[cell] if names else cell)
        items.append(Item(f"{part}/{row}" + f" {path}" * bool(path), source, text))
    return items, names


def _saved(folder: Path) -> dict[str, tuple[Mapping[str, Any], Any]]:
    """The features and the table of each part that `save_to_disk` wrote."""
    import pyarrow as pa

    def within(place: Path, name: str) -> Path:
        if name in ("", ".", "..") or Path(name).name != name or "\0" in name:
            raise DamageError(f"the name {name[:80]!r}")
        return place / name

    def read(part: Path) -> tuple[Mapping[str, Any], Any]:
        features = read_json(part / "dataset_info.json", DESCRIBED, Info, AGAIN)["features"]
        files = read_json(part / "state.json", DESCRIBED, State, AGAIN)["_data_files"]
        tables = []
        for file in files:
            path = within(part, file["filename"])
            check_regular(path)
            with pa.memory_map(str(path)) as source:
                tables.append(pa.ipc.open_stream(source).read_all())
        table = pa.concat_tables(tables)
        table.validate(full=True)  # damaged offsets would end the process
        return features, table

    try:
        if not (folder / DESCRIPTIONS[0]).is_file():
            return {"train": read(folder)}
        names = read_json(folder / DESCRIPTIONS[0], DESCRIBED, Splits, AGAIN)["splits"]
        return {name: read(within(folder, name)) for name in names}
    except InputError:
        raise
    except Exception as error:  # of pyarrow, of many kinds
        raise InputError(
            f"{shown(folder)}: expected a data set of save_to_disk, got a damaged one "
            f"({' '.join(str(error).split())[:300]}): write it again"
        ) from error
