"""Files that are written whole or not at all: under a temporary name first, then renamed."""

import errno
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from aaekit.errors import InputError


def cannot_write(path: Path, error: Exception) -> InputError:
    """Say in one line why `path` was not written."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(f"{path}: the disk is full, nothing was written; free some space or choose another place")
    return InputError(f"{path}: cannot write ({getattr(error, 'strerror', None) or error}); choose another place")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name for a file that becomes `path` if the block succeeds and vanishes if it does not.

    Raises
    ------
    InputError
        When it cannot be written, for instance on a full disk.
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
    """Let `write` make a file of the name it is given; errors are those of `replacing`."""
    with replacing(Path(path)) as temporary:
        write(str(temporary))
    return Path(path)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write a file in the same way."""
    return write_atomically(path, lambda p: Path(p).write_bytes(data))


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text file, in UTF-8, in the same way."""
    return write_atomically(path, lambda p: Path(p).write_text(text, encoding="utf-8"))


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Write a value as JSON in the same way."""
    return write_text(path, json.dumps(value, indent=1) + "\n")
