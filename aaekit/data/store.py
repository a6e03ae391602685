"""One contiguous array per data set: in memory if it fits, else a memory-mapped .npy that is written once."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from aaekit._files import replacing, user_cache
from aaekit.data.checks import blocks, check_whole
from aaekit.errors import InputError

MEMORY_LIMIT = 4 * 2**30  # bytes of one array that are kept in memory


def reason(error: Exception) -> str:
    """Return why numpy could not read a file, without its advice to unpickle it."""
    return "its bytes are of another kind, or Python objects" if "pickle" in str(error) else str(error)


def remove(path: Path) -> None:
    """Delete a file if it exists."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{path}: expected a file that can be replaced, got ({error.strerror or error}): choose another folder"
        ) from error


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """Write arrays to an uncompressed .npz atomically."""
    with replacing(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, **arrays)  # pyright: ignore[reportArgumentType]


def open_rows(path: str | Path) -> NDArray[Any]:
    """Memory-map the rows of a .npy file.

    Parameters
    ----------
    path : str or Path
        A .npy file of numbers.

    Returns
    -------
    ndarray of shape (n, ...)
        Read-only; indexing it reads from the disk.

    Raises
    ------
    InputError
        If the file does not exist, is truncated, is no .npy file, or holds Python objects.
    """
    path = Path(path)
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: expected a .npy file, got no such file: check the path") from None
    except (ValueError, EOFError, OSError) as error:
        raise InputError(
            f"{path}: expected a .npy file of numbers, got a truncated file or one of another kind ({reason(error)})"
        ) from error
    if not isinstance(rows, np.ndarray):
        rows.close()
        raise InputError(f"{path}: expected a .npy file of numbers, got a .npz archive: rename it")
    return rows


def as_store(
    array: NDArray[Any],
    cache_dir: str | Path | None = None,
    memory_limit_bytes: int = MEMORY_LIMIT,
    dtype: DTypeLike | None = None,
) -> NDArray[Any]:
    """Return `array` as one contiguous array of uint8 or float32.

    Parameters
    ----------
    array : ndarray of shape (n, ...)
        In memory or memory-mapped.
    cache_dir : str or Path, optional
        Folder for the .npy file of an array beyond the limit. The file's name is a digest of its content, so the same
        rows are written once. Default: ``arrays`` in the user's cache folder.
    memory_limit_bytes : int, default=4 GiB
        Largest result, in bytes, that is kept in memory.
    dtype : dtype, optional
        uint8 or float32. Default: uint8 for uint8, float32 for everything else.

    Returns
    -------
    ndarray of shape (n, ...)
        In memory, or memory-mapped read-only. A memory-mapped `array` that needs no change is returned itself.

    Raises
    ------
    InputError
        If the .npy file cannot be written.
    """
    memory_limit_bytes = check_whole(memory_limit_bytes, 0, "memory_limit_bytes")
    dtype = np.dtype(dtype or (np.uint8 if array.dtype == np.uint8 else np.float32))
    if array.size * dtype.itemsize <= memory_limit_bytes:
        in_memory = np.asarray(array) if not isinstance(array, np.memmap) else np.array(array)
        return np.ascontiguousarray(in_memory, dtype=dtype)
    if isinstance(array, np.memmap) and array.dtype == dtype and array.flags.c_contiguous:
        return array
    digest = hashlib.sha256(f"{dtype.str} {array.shape}".encode())
    for _, block in blocks(array):
        digest.update(np.ascontiguousarray(block, dtype=dtype).data)
    folder = user_cache() / "arrays" if cache_dir is None else Path(cache_dir).expanduser()
    path = folder / f"{digest.hexdigest()[:32]}.npy"
    if not path.exists():
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": array.shape}
        with replacing(path) as temporary, open(temporary, "wb") as handle:
            # plain writes: a full disk is an error there, but a crash in a memory map
            np.lib.format.write_array_header_1_0(handle, header)
            for _, block in blocks(array):
                handle.write(np.ascontiguousarray(block, dtype=dtype).data)
    return open_rows(path)
