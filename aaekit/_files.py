"""Writing files atomically: under a temporary name, which replaces the file once it is complete. The cache folder."""

import csv
import errno
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from aaekit.errors import InputError


def cannot_write(path: Path, error: Exception) -> InputError:
    """Return the error that says in one line why `path` was not written."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(
            f"{path}: expected free disk space, got none: the disk is full, so nothing was written; free some space or "
            "choose another place"
        )
    reason = getattr(error, "strerror", None) or error
    return InputError(f"{path}: expected a file that can be written, got ({reason}): choose another place")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path, which becomes `path` if the block succeeds and is deleted if it raises.

    Raises
    ------
    InputError
        If the file cannot be written, for instance on a full disk.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomically(path: str | os.PathLike[str], write: Callable[[str], object]) -> Path:
    """Write a file by calling `write` with a temporary path; errors are those of `replacing`."""
    with replacing(Path(path)) as temporary:
        write(str(temporary))
    return Path(path)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write bytes to a file atomically."""
    return write_atomically(path, lambda p: Path(p).write_bytes(data))


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write text to a file atomically, in UTF-8."""
    return write_atomically(path, lambda p: Path(p).write_text(text, encoding="utf-8"))


def write_json(path: str | os.PathLike[str], value: object) -> Path:
    """Write a value to a file atomically, as JSON."""
    return write_text(path, json.dumps(value, indent=1) + "\n")


def write_csv(path: str | os.PathLike[str], lines: Iterable[Sequence[object]]) -> Path:
    """Write lines as CSV, the header first, in the same way."""

    def write(temporary: str) -> None:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines)

    return write_atomically(path, write)


def write_history(path: str | os.PathLike[str], history: Sequence[Mapping[str, float]]) -> list[str]:
    """Write the history of a training as CSV, a line an epoch; return its columns."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    write_csv(path, [columns, *([row.get(name, "") for name in columns] for row in history)])
    return columns


def user_cache() -> Path:
    """Return the user's cache folder of aaekit, where the operating system keeps such folders."""
    home = Path.home()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
        return Path(local) / "aaekit" / "aaekit" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "aaekit"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "aaekit"
