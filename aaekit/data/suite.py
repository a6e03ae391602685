"""Readers of the sets of the suite: other people's tables, arrays and images, each with its test rows."""

import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from aaekit.data.checks import check_whole
from aaekit.data.folders import read_folder
from aaekit.data.store import read_npz
from aaekit.data.tables import read_table
from aaekit.encoders import Encoder
from aaekit.errors import InputError

Fields = dict[str, Any]  # of a `Dataset`

N_TEST_PER_CLASS = 50  # held-out images of each class
N_TEST_PENGUINS = 100


def read_tables(paths: list[Path], target: str) -> Fields:
    """Read a table of training rows and one of test rows with the same columns."""
    fields = read_table(paths[0], target)
    schema = fields["X"].schema
    test = read_table(paths[1], target, schema=schema, classes=fields["classes"])
    return fields | {"schema": schema, "X_test": test["X"], "y_test": test["y"]}


def read_penguins(paths: list[Path], *, test_random_state: int = 0) -> Fields:
    """Read the penguins, 100 of the 344 held out by `test_random_state`."""
    fields = read_table(paths[0], "species")
    fields["schema"] = fields["X"].schema
    order = _permutation(len(fields["X"]), test_random_state)
    return _held_out(fields, np.sort(order[:N_TEST_PENGUINS]))


def read_arrays(paths: list[Path]) -> Fields:
    """Read X, y, X_test and y_test from a .npz; labels may be texts."""
    arrays = _arrays(paths[0], ("X", "y", "X_test", "y_test"))
    classes, indices = np.unique(np.concatenate([arrays["y"], arrays["y_test"]]), return_inverse=True)
    y, y_test = np.split(indices, [len(arrays["y"])])
    X, X_test = (arrays[key].astype(np.float32) for key in ("X", "X_test"))
    return {"X": X, "y": y, "X_test": X_test, "y_test": y_test, "classes": tuple(map(str, classes))}


def read_medical(paths: list[Path]) -> Fields:
    """Read the training and the test images of a set of MedMNIST; its validation images are left out."""
    names = ("train_images", "train_labels", "test_images", "test_labels")
    X, y, X_test, y_test = _arrays(paths[0], names).values()
    return {"X": X, "y": y.ravel(), "X_test": X_test, "y_test": y_test.ravel()}


def read_photographs(
    paths: list[Path], shape: tuple[int, int, int], test_random_state: int, encoder: Encoder | None
) -> Fields:
    """Read a .tar with a folder of images for each class, 50 images of each class held out.

    With `encoder`, the rows are its features of the files, beside pictures of them as originals.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tarfile.open(paths[0]) as archive:
                archive.extractall(folder, filter="data")
        except (OSError, tarfile.TarError) as error:
            raise InputError(f"{paths[0]}: expected a .tar of images, got ({error}): download it again") from error
        (root,) = Path(folder).iterdir()
        fields = read_folder(root, shape if encoder is None else None, encoder=encoder)
    order, y = _permutation(len(fields["X"]), test_random_state), fields["y"]
    chosen = [order[y[order] == k][:N_TEST_PER_CLASS] for k in range(len(fields["classes"]))]
    fields = {k: fields[k] for k in ("X", "y", "classes", "originals", "features", "checksum") if k in fields}
    return _held_out(fields, np.sort(np.concatenate(chosen)))


def _permutation(n: int, test_random_state: int) -> np.ndarray:
    """A random order of n rows, whose first ones are held out."""
    check_whole(test_random_state, 0, "test_random_state")
    return np.random.default_rng(1000 + test_random_state).permutation(n)


def _held_out(fields: Fields, test: np.ndarray) -> Fields:
    """Move rows to the test rows."""
    train = np.setdiff1d(np.arange(len(fields["X"])), test)
    arrays = {key: fields[key] for key in ("X", "y", "originals") if fields.get(key) is not None}
    held_out = {f"{key}_test": array[test] for key, array in arrays.items()}
    return fields | {key: array[train] for key, array in arrays.items()} | held_out


def _arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read arrays of a .npz by name."""
    try:
        arrays = read_npz(path, names)
        return {name: arrays[name] for name in names}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: expected a .npz with {', '.join(names)}, got ({error}): download it again"
        ) from error
