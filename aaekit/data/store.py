"""One contiguous array per data set: in memory if it fits, else a memory-mapped .npy that is written once."""

import gzip
import hashlib
import math
import os
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from aaekit._files import check_regular, replacing, user_cache
from aaekit.data.checks import blocks, check_whole
from aaekit.errors import DamageError, InputError

MEMORY_LIMIT = 4 * 2**30  # bytes of one array that are kept in memory, at most
MEMORY_SHARE = 0.25  # of the machine's memory that one array may take
BLOCK = 2**24  # bytes that are read at a time
MAX_BYTES = 2**31  # of a compressed file once it is decompressed


def memory_limit(n_bytes: int | None) -> int:
    """Return a limit on the bytes of one array in memory; by default 4 GiB, or a quarter of the memory if that is less.

    Raises
    ------
    InputError
        If it is no whole number of bytes.
    """
    if n_bytes is not None:
        return check_whole(n_bytes, 0, "memory_limit_bytes")
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # on Windows
        return MEMORY_LIMIT
    return min(MEMORY_LIMIT, int(MEMORY_SHARE * memory))


def reason(error: Exception) -> str:
    """Return why numpy could not read a file, without its advice to unpickle it."""
    return "its bytes are of another kind, or Python objects" if "pickle" in str(error) else str(error)


def too_large(path: Path, what: str, max_bytes: int) -> InputError:
    """Return the error of a file that holds more than `max_bytes`."""
    return InputError(
        f"{path}: expected at most {max_bytes:,} bytes {what}, got more: if that is right, raise the limit by "
        f"max_bytes={4 * max_bytes} (--data-options)"
    )


def read_header(file: IO[bytes], n_bytes: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, Fortran order and dtype of an .npy file of so many bytes; its values follow.

    Raises
    ------
    DamageError
        If it is no .npy file, its values are objects, or there are more or fewer of them than the shape says.
    """
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read is None:
            raise DamageError(f"version {version[0]}.{version[1]} of .npy, which has no plain numbers")
        shape, fortran_order, dtype = read(file)
    except DamageError:
        raise
    except Exception as error:  # of damaged headers numpy raises TokenError, OverflowError, TypeError and more
        raise DamageError(f"a damaged header: {' '.join(str(error).split())[:100]}") from error
    if dtype.hasobject or dtype.names is not None:
        raise DamageError("its bytes are of another kind, or Python objects")
    if any(type(n) is not int or n < 0 for n in shape):
        raise DamageError(f"a damaged header: shape {shape}")
    expected = math.prod(shape) * dtype.itemsize
    if expected != n_bytes - file.tell():
        raise DamageError(f"{n_bytes - file.tell()} bytes of values instead of {expected}")
    return shape, fortran_order, dtype


def read_npz(path: Path, names: Collection[str] | None = None, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Read arrays of numbers and texts from a .npz archive; nothing is unpickled.

    Parameters
    ----------
    path : Path
        The file.
    names : collection of str, optional
        Those to read. Default: all.
    max_bytes : int, default=2 GiB
        What they may hold together, as far as they are compressed.

    Returns
    -------
    dict of ndarray

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InputError
        If it is no archive of plain arrays, or holds more than `max_bytes`.
    """
    check_regular(path, "a .npz archive")
    max_bytes = check_whole(max_bytes, 1, "max_bytes")
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
            members = {name: m for name, m in members.items() if names is None or name in names}
            if sum(m.file_size for m in members.values() if m.compress_type != zipfile.ZIP_STORED) > max_bytes:
                raise too_large(path, "of arrays", max_bytes)
            for name, member in members.items():
                if member.compress_type == zipfile.ZIP_STORED and member.file_size > path.stat().st_size:
                    raise DamageError(f"{member.file_size} bytes of {name}, more than the file has")
                with archive.open(member) as file:
                    shape, fortran_order, dtype = read_header(file, member.file_size)
                    values = np.empty(math.prod(shape), dtype)
                    if values.nbytes and _read_into(file, values.view(np.uint8)) < values.nbytes:
                        raise DamageError(f"{name} is cut off")
                arrays[name] = values.reshape(shape, order="F" if fortran_order else "C")
    except (FileNotFoundError, InputError):
        raise
    except Exception as error:  # of damaged archives zipfile raises struct.error, NotImplementedError and more
        raise InputError(
            f"{path}: expected a .npz archive of plain arrays, got a damaged one ({reason(error)}): write it again"
        ) from error
    return arrays


def read_at_most(file: IO[bytes] | gzip.GzipFile, n_bytes: int) -> bytes:
    """Return the first bytes of a file, in blocks: reading them at once would take as much memory as is asked for."""
    blocks: list[bytes] = []
    while n_bytes > 0 and (block := file.read(min(BLOCK, n_bytes))):
        blocks.append(block)
        n_bytes -= len(block)
    return b"".join(blocks)


def _read_into(file: IO[bytes], values: NDArray[np.uint8]) -> int:
    """Fill an array from a file; the number of bytes that were there."""
    n_read = 0
    while n_read < len(values) and (block := file.read(min(BLOCK, len(values) - n_read))):
        values[n_read : n_read + len(block)] = np.frombuffer(block, np.uint8)
        n_read += len(block)
    return n_read


def names_of_arrays(path: Path) -> list[str]:
    """Return the names of the arrays of a .npz archive; errors are those of `read_npz`."""
    check_regular(path, "a .npz archive")
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except FileNotFoundError:
        raise
    except Exception as error:
        raise InputError(
            f"{path}: expected a .npz archive of plain arrays, got a damaged one ({reason(error)}): write it again"
        ) from error


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
    check_regular(path, "a .npy file")
    try:
        with open(path, "rb") as file:
            if file.read(4) == b"PK\3\4":
                raise DamageError("a .npz archive, which needs that suffix")
            file.seek(0)
            shape, fortran_order, dtype = read_header(file, path.stat().st_size)
            offset, order = file.tell(), "F" if fortran_order else "C"
        if not math.prod(shape):
            return np.zeros(shape, dtype)
        return np.memmap(path, dtype, "r", offset, shape, order)
    except FileNotFoundError:
        raise InputError(f"{path}: expected a .npy file, got no such file: check the path") from None
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path}: expected a .npy file of numbers, got a truncated file or one of another kind ({reason(error)}): "
            "write it again"
        ) from error


def as_store(
    array: NDArray[Any],
    cache_dir: str | Path | None = None,
    memory_limit_bytes: int | None = None,
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
    memory_limit_bytes : int, optional
        Largest result, in bytes, that is kept in memory. Default: 4 GiB, or a quarter of the memory if that is less.
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
    limit = memory_limit(memory_limit_bytes)
    dtype = np.dtype(dtype or (np.uint8 if array.dtype == np.uint8 else np.float32))
    if array.size * dtype.itemsize <= limit:
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
