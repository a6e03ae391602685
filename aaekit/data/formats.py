"""Readers of the file formats of the named sets, and of small tables that people fill in."""

import bz2
import csv
import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from aaekit._files import check_regular, from_text_cell
from aaekit.data.checks import check_whole
from aaekit.data.store import MAX_BYTES, read_at_most
from aaekit.errors import InputError, listed

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # X, y, X_test, y_test

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def content(path: Path) -> bytes:
    """Return the content of a file of at most 2 GiB, decompressed if its name ends in .gz or .bz2."""
    check_regular(path)
    opener = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix, open)
    try:
        with opener(path, "rb") as handle:
            data = read_at_most(handle, MAX_BYTES + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(
            f"{path}: expected a whole file, got a truncated or damaged one ({error}): delete it to download it again"
        ) from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: expected at most {MAX_BYTES:,} bytes, got more: delete it to download it again")
    return data


def read_filled(path: Path, columns: tuple[str, ...]) -> list[dict[str, str | None]]:
    """Read the lines of a CSV file that has at least these columns; a missing cell is None.

    Cells are separated by commas, or by the semicolons or tabs that spreadsheets write in some countries.

    Raises
    ------
    InputError
        If the file cannot be read, or lacks one of the columns.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=max(",;\t", key=first.count))
            reader.fieldnames = [from_text_cell(name) for name in reader.fieldnames or ()]
            lines: list[dict[str, str | None]] = [
                {name: from_text_cell(cell) if isinstance(cell, str) else cell for name, cell in line.items()}
                for line in reader
            ]
            names = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a CSV file in UTF-8, got ({error}): check the file") from error
    if not set(columns) <= set(names):
        raise InputError(f"{path}: expected the columns {' and '.join(columns)}, got {listed(names)}")
    return lines


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file, gzipped if its name ends in .gz.

    The format is two zero bytes, a type code, the number of dimensions, each dimension as a big-endian 4-byte integer,
    then the values (LeCun, Cortes and Burges, *The MNIST database of handwritten digits*, "File formats").

    Raises
    ------
    InputError
        If the file is truncated or no IDX file, or if its length does not agree with its dimensions.
    """
    data = content(path)
    zeros, code, ndim = struct.unpack(">HBB", data[:4]) if len(data) >= 4 else (-1, 0, 0)
    if zeros != 0 or code not in IDX_TYPES or ndim == 0 or len(data) < 4 + 4 * ndim:
        raise InputError(f"{path}: expected an IDX file, which begins 00 00 08, got {data[:4].hex(' ') or 'nothing'}")
    shape = struct.unpack(f">{ndim}I", data[4 : 4 + 4 * ndim])
    dtype = np.dtype(IDX_TYPES[code])
    n_bytes = len(data) - 4 - 4 * ndim
    if n_bytes != (expected := dtype.itemsize * math.prod(shape)):
        raise InputError(
            f"{path}: expected {expected} bytes for shape {shape}, got {n_bytes}: delete the file to download it again"
        )
    values = np.frombuffer(data, dtype, offset=4 + 4 * ndim).reshape(shape)
    return values.astype(dtype.newbyteorder("="))  # a copy: a buffer would be read-only


def read_idx_set(paths: list[Path]) -> Arrays:
    """Read images and labels of the training set, then of the test set."""
    arrays = [read_idx(path) for path in paths]
    for path, array, ndim in zip(paths, arrays, (3, 1, 3, 1), strict=True):
        if array.ndim != ndim:
            raise InputError(
                f"{path}: expected {ndim} dimensions, got shape {array.shape}: check that the file is of this set"
            )
    X, y, X_test, y_test = arrays
    return X[:, None], y, X_test[:, None], y_test


def read_usps(paths: list[Path]) -> Arrays:
    """Read USPS in libsvm's text format: labels 1..10 for the digits 0..9, 256 values in [-1, 1]."""
    X, y = _usps_file(paths[0])
    return X, y, *_usps_file(paths[1])


def _usps_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read one file as (n, 1, 16, 16) in [0, 1] and labels 0..9."""
    from sklearn.datasets import load_svmlight_file

    try:
        X, y = load_svmlight_file(str(path), n_features=256, zero_based=False)[:2]  # pyright: ignore
    except (EOFError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected libsvm text with 256 values, got ({' '.join(str(error).split())[:300]}): "
            "delete it to download it again"
        ) from error
    return ((X.toarray() + 1) / 2).astype(np.float32).reshape(-1, 1, 16, 16), y.astype(np.int64) - 1


def read_svhn(paths: list[Path]) -> Arrays:
    """Read SVHN's cropped digits from MATLAB files: X (32, 32, 3, n) uint8, y 1..10 where 10 is the digit 0."""
    X, y = _svhn_file(paths[0])
    return X, y, *_svhn_file(paths[1])


def _svhn_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read one file as (n, 3, 32, 32) and labels 0..9."""
    from scipy.io import loadmat

    try:
        arrays = loadmat(str(path), variable_names=["X", "y"])
    except Exception as error:  # a damaged file makes scipy raise IndexError, TypeError, zlib.error and more
        raise InputError(f"{path}: expected a MATLAB file, got ({error}): delete it to download it again") from error
    X, y = arrays.get("X"), arrays.get("y")
    if X is None or y is None or X.ndim != 4 or X.dtype != np.uint8 or X.shape[2] != 3:
        raise InputError(f"{path}: expected X (32, 32, 3, n) uint8 and y (n, 1), got {sorted(arrays)}")
    y = y.ravel().astype(np.int64)
    return np.ascontiguousarray(X.transpose(3, 2, 0, 1)), np.where(y == 10, 0, y)


def read_digits(paths: list[Path], *, test_random_state: int = 0) -> Arrays:
    """Read scikit-learn's embedded digits, 500 of the 1,797 rows held out, stratified by `test_random_state`."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return _held_out(
        (np.asarray(X) / 16).astype(np.float32).reshape(-1, 1, 8, 8), np.asarray(y), 500, test_random_state
    )


def read_wine(paths: list[Path], *, test_random_state: int = 0) -> Arrays:
    """Read scikit-learn's embedded table of wines, 60 of the 178 rows held out, stratified by `test_random_state`."""
    from sklearn.datasets import load_wine

    X, y = load_wine(return_X_y=True)
    return _held_out(np.asarray(X, np.float32), np.asarray(y), 60, test_random_state)


def read_breast_cancer(paths: list[Path], *, test_random_state: int = 0) -> Arrays:
    """Read scikit-learn's embedded table of tumours, 190 of 569 rows held out, stratified by `test_random_state`."""
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
    return _held_out(np.asarray(X, np.float32), np.asarray(y), 190, test_random_state)


def _held_out(X: np.ndarray, y: np.ndarray, n: int, test_random_state: int) -> Arrays:
    """Hold out n rows, stratified by class."""
    from sklearn.model_selection import train_test_split

    check_whole(test_random_state, 0, "test_random_state")
    train, test = train_test_split(np.arange(len(X)), test_size=n, stratify=y, random_state=test_random_state)
    return X[train], y[train], X[test], y[test]
