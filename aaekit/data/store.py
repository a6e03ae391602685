"""One contiguous array per data set: in memory if it fits, else a memory-mapped .npy built once."""

import hashlib
from pathlib import Path

import numpy as np

from aaekit._files import replacing
from aaekit.data.checks import blocks, check_whole
from aaekit.errors import InputError

MEMORY_LIMIT = 4 * 2**30  # bytes of one array that are kept in memory


def why(error: Exception) -> str:
    """Say why numpy could not read a file, without its advice to unpickle it."""
    return "its bytes are of another kind, or Python objects" if "pickle" in str(error) else str(error)


def remove(path: Path) -> None:
    """Delete a file if it is there."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be replaced ({error.strerror or error}); choose another folder") from error


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """Write arrays to an uncompressed .npz, whole or not at all."""
    with replacing(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, **arrays)  # pyright: ignore[reportArgumentType]


def open_rows(path: str | Path) -> np.ndarray:
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
        If there is no such file, or it is truncated, no .npy file, or holds Python objects.
    """
    path = Path(path)
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except (ValueError, EOFError, OSError) as error:
        raise InputError(
            f"{path}: expected a .npy file of numbers, truncated or of another kind ({why(error)})"
        ) from error
    if not isinstance(rows, np.ndarray):
        rows.close()
        raise InputError(f"{path}: expected a .npy file of numbers, found a .npz archive; rename it")
    return rows


def as_store(
    array: np.ndarray,
    cache_dir: str | Path | None = None,
    memory_limit_bytes: int = MEMORY_LIMIT,
    dtype: np.dtype | type | None = None,
) -> np.ndarray:
    """Make one contiguous uint8 or float32 array of `array`.

    Parameters
    ----------
    array : ndarray of shape (n, ...)
        In memory or memory-mapped.
    cache_dir : str or Path, optional
        Where a .npy is built for an array beyond the limit; its name is a digest of its content, so the same rows are
        written once. Default: ``arrays`` in the user's cache directory.
    memory_limit_bytes : int, default=4 GiB
        Up to this size the result is in memory.
    dtype : dtype, optional
        uint8 or float32. Default: uint8 stays, everything else becomes float32.

    Returns
    -------
    ndarray of shape (n, ...)
        In memory, or memory-mapped read-only. A memory-mapped `array` that is as wanted already is returned as it is.

    Raises
    ------
    InputError
        If the .npy cannot be written.
    """
    memory_limit_bytes = check_whole(memory_limit_bytes, 0, "memory_limit_bytes")
    wanted = np.dtype(dtype or (np.uint8 if array.dtype == np.uint8 else np.float32))
    if array.size * wanted.itemsize <= memory_limit_bytes:
        in_memory = np.asarray(array) if not isinstance(array, np.memmap) else np.array(array)
        return np.ascontiguousarray(in_memory, dtype=wanted)
    if isinstance(array, np.memmap) and array.dtype == wanted and array.flags.c_contiguous:
        return array
    digest = hashlib.sha256(f"{wanted.str} {array.shape}".encode())
    for _, block in blocks(array):
        digest.update(np.ascontiguousarray(block, dtype=wanted).data)
    path = _cache_folder(cache_dir) / f"{digest.hexdigest()[:32]}.npy"
    if not path.exists():
        header = {"descr": np.lib.format.dtype_to_descr(wanted), "fortran_order": False, "shape": array.shape}
        with replacing(path) as temporary, open(temporary, "wb") as handle:
            # plain writes: a full disk is an error there, a crash in a memory map
            np.lib.format.write_array_header_1_0(handle, header)
            for _, block in blocks(array):
                handle.write(np.ascontiguousarray(block, dtype=wanted).data)
    return open_rows(path)


def _cache_folder(cache_dir: str | Path | None) -> Path:
    """Return `cache_dir`, or the user's."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    import pooch

    return Path(pooch.os_cache("aaekit")) / "arrays"
