"""A folder that one process at a time works in."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from aaekit._files import cannot_write, remove_abandoned
from aaekit.errors import InputError

__all__ = ["LOCK", "FolderInUse", "locked", "owner"]

LOCK = ".lock"  # in the folder; one that no process holds is left over from one that was killed
OFFSET = 2**20  # of the byte that Windows locks, behind what says who holds it

_held: dict[tuple[int, Path], int] = {}  # how often each thread holds a folder


class FolderInUse(InputError):
    """Another process or thread works in a folder."""


@contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a folder, and work in it alone; temporary files of processes that were killed are deleted first.

    The operating system gives the lock back when a process ends, however it ends. The same thread may lock a folder
    again. A new folder that is empty in the end is removed. On file systems without locks there is no protection.

    Parameters
    ----------
    folder : path
        The folder.

    Raises
    ------
    FolderInUse
        If another process or thread works in it; the message says which one, where and since when.
    InputError
        If it cannot be made.
    """
    folder, descriptor = Path(folder), -1
    is_new = not folder.exists()
    key = threading.get_ident(), folder.resolve()
    if key not in _held:
        descriptor = _acquired(folder)
    _held[key] = _held.get(key, 0) + 1
    try:
        if _held[key] == 1:
            for place in (folder, folder / "checkpoints", folder / "figures"):
                remove_abandoned(place)
        yield folder
    finally:
        _held[key] -= 1
        if not _held[key]:
            del _held[key]
            with suppress(OSError):
                (folder / LOCK).unlink()
            os.close(descriptor)
            if is_new:
                with suppress(OSError):
                    folder.rmdir()


def _acquired(folder: Path) -> int:
    """The descriptor of the locked file of a folder."""
    path = folder / LOCK
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            continue  # the one before has just removed the empty folder
        except OSError as error:
            raise cannot_write(folder, error) from error
        try:
            _lock(descriptor)
        except (BlockingIOError, PermissionError):
            who = _written(descriptor)
            os.close(descriptor)
            raise FolderInUse(
                f"{folder}: expected a folder that nobody works in, got one that {who} is working in: wait until it "
                "is done, or choose another folder"
            ) from None
        except OSError:
            pass  # a file system without locks
        with suppress(OSError):  # nobody else has locked a file of this name since
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                break
        os.close(descriptor)
    with suppress(OSError):  # a full disk
        os.ftruncate(descriptor, 0)
        since = datetime.now().isoformat(" ", "seconds")
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}, since {since},\n".encode())
    return descriptor


def owner(folder: Path) -> str:
    """Return who works in a folder, "" if nobody does."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR)
    except OSError:
        return ""
    try:
        _lock(descriptor)
    except (BlockingIOError, PermissionError):
        return _written(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return ""


def _written(descriptor: int) -> str:
    """What a locked file says of its owner."""
    return os.read(descriptor, 200).decode("utf-8", "replace").strip() or "another process"


def _lock(descriptor: int) -> None:
    """Lock a file, or raise BlockingIOError."""
    try:
        import fcntl
    except ImportError:
        import msvcrt

        os.lseek(descriptor, OFFSET, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # pyright: ignore
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
