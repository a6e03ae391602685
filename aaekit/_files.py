"""Files: written atomically, under a temporary name until complete; JSON is read strictly; the cache folder."""

import csv
import errno
import io
import json
import os
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TextIO, TypeVar, get_type_hints

from safetensors import SafetensorError

from aaekit.errors import DamageError, InputError, repeated

D = TypeVar("D")

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")  # the name of a file that is being written
ABANDONED = 3600.0  # seconds without a change after which nobody is writing to it any more
MAX_JSON = 2**26  # bytes of a JSON file that are read
MAX_LEVELS = 100  # of brackets within each other in JSON
MAX_DIGITS = 40  # of a whole number in JSON: as many as random states have
WHOLE = re.compile(r"-?[0-9]{1,18}")  # Python refuses to read thousands of digits
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")
FORMULA = re.compile(
    r"'*[=+\-@\t\r\n].", re.DOTALL
)  # what a spreadsheet computes, or the apostrophe by which it does not


def is_full(error: BaseException | None) -> bool:
    """Whether an error says that the disk is full, or the user's share of it."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or (isinstance(error, SafetensorError) and "No space left" in str(error))


def shown(name: object) -> str:
    r"""Return the name of a file or folder as text that can be written anywhere: bytes that are not UTF-8 as \\xe9."""
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def check_regular(path: Path, what: str = "a file") -> None:
    """Refuse what is neither a file nor a link to one, such as a pipe, which would be waited for."""
    if path.exists() and not path.is_file():
        got = "a folder" if path.is_dir() else "a pipe or a device"
        raise InputError(f"{shown(path)}: expected {what}, got {got}: name a regular file")


def cannot_write(path: Path, error: Exception) -> InputError:
    """Return the error that says in one line why `path` was not written."""
    if is_full(error):
        return InputError(
            f"{path}: expected free disk space, got none: the disk is full, so nothing was written; free some space or "
            "choose another place"
        )
    reason = getattr(error, "strerror", None) or error
    return InputError(f"{path}: expected a file that can be written, got ({reason}): choose another place")


def check_writable(path: str | os.PathLike[str], is_folder: bool = False) -> Path:
    """Refuse, before any work is done, a path that could not be written in the end.

    Parameters
    ----------
    path : path
        A file, or a folder with `is_folder`; it need not exist, nor its parents.
    is_folder : bool, default False
        Whether a folder is to be made there, or written into.

    Raises
    ------
    InputError
        If it is of the other kind, below something that is no folder, or in a folder without permission to write.
    """
    path = Path(path)
    try:
        if "\0" in str(path):
            raise DamageError("a name with a zero byte")
        if path.exists() and path.is_dir() != is_folder:
            expected, received = ("a folder", "a file") if is_folder else ("a file", "a folder")
            raise InputError(f"{path}: expected the path of {expected}, got {received}: choose another place")
        parent = next(p for p in (path, *path.absolute().parents) if p.is_dir() or os.path.lexists(p) and p != path)
        if not parent.is_dir():
            raise InputError(f"{path}: expected a place in a folder, got one below the file {parent}: choose another")
        if not os.access(parent, os.W_OK | os.X_OK) or (path.is_file() and not os.access(path, os.W_OK)):
            raise InputError(f"{path}: expected permission to write, got none: choose another place")
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise cannot_write(path, error) from error
    return path


def remove_abandoned(folder: Path, seconds: float = 0.0) -> None:
    """Delete temporary files that killed processes left in a folder, unchanged for so long."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if TEMPORARY.fullmatch(entry.name):
                with suppress(OSError):
                    if time.time() - entry.stat().st_mtime >= seconds:
                        os.unlink(entry.path)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    flags = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) if path.is_dir() else os.O_RDWR
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path, which becomes `path` if the block succeeds and is deleted if it raises.

    The file is on the disk before it gets its name, so that a crash of the machine leaves the old or the new one.

    Raises
    ------
    InputError
        If the file cannot be written, for instance on a full disk.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path.parent, ABANDONED)
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        if os.name == "posix":  # elsewhere folders cannot be opened
            with suppress(OSError):  # nor on every file system
                _sync(path.parent)
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


def read_json(
    path: str | os.PathLike[str], expected: str, kind: Any = None, advice: str = "restore it, or start anew"
) -> Any:
    """Read a JSON file, each of whose keys is there once.

    Parameters
    ----------
    path : path
        The file.
    expected : str
        What it should be, for the message: "the settings of a session".
    kind : type, optional
        What its value must be, as pydantic takes it, for instance dict[str, Any].
    advice : str, optional
        The end of the message.

    Raises
    ------
    InputError
        If it cannot be read, is larger than 64 MiB, or is no such value.
    FileNotFoundError
        If there is no such file.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_JSON:
            raise DamageError(f"it has more than {MAX_JSON >> 20} MiB")
        return parsed_json(path.read_text(encoding="utf-8"), kind)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        problem = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: expected {expected}, got a damaged file ({problem}): {advice}") from error


def parsed_json(text: str, kind: Any = None) -> Any:
    """Return the value of a JSON text, of a kind as in `read_json`; a ValueError says what is wrong with it.

    At most 100 brackets are within each other, whole numbers have at most 40 digits, and no object has a key twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(values := dict(pairs)) < len(pairs):
            raise DamageError(f"the key {repeated(name for name, _ in pairs)!r} twice")
        return values

    def short(digits: str) -> int:
        if len(digits) > MAX_DIGITS:
            raise DamageError(f"a whole number of {len(digits)} digits")
        return int(digits)

    try:
        value = json.loads(text, object_pairs_hook=once, parse_int=short)
    except RecursionError:
        raise DamageError("too many brackets within each other") from None
    level = [[value]]
    for _ in range(MAX_LEVELS + 1):
        within = (part for outer in level for part in (outer.values() if isinstance(outer, dict) else outer))
        level = [part for part in within if isinstance(part, dict | list)]
    if level:
        raise DamageError("too many brackets within each other")
    return value if kind is None else checked(value, kind)


def checked(value: Any, kind: Any) -> Any:
    """Return a value that is of a kind, as pydantic takes it; a ValueError says in one line where it is not."""
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part)[:80] for part in first["loc"])
        raise DamageError(f"{place}: {first['msg']}" if place else first["msg"]) from error
    except RecursionError:
        raise DamageError("too many brackets within each other") from None
    return value


def built(kind: type[D], values: Mapping[str, Any]) -> D:
    """Return the dataclass of these fields; a ValueError says in one line which one is missing, unknown or wrong."""
    hints, required = get_type_hints(kind), [f.name for f in fields(kind) if _is_required(f)]  # pyright: ignore
    for name in (*values, *required):
        if name not in hints or name not in values:
            raise DamageError(f"{name[:80]}: {'missing' if name in hints else 'unknown'}")
    for name, value in values.items():
        try:
            checked(value, hints[name])
        except ValueError as error:
            raise DamageError(f"{name}: {error}") from error
    return kind(**values)


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def whole_number(text: str) -> int | None:
    """Return a text of up to 18 digits as the number that it is, None for any other."""
    return int(text) if WHOLE.fullmatch(text) else None


def as_text_cell(text: str) -> str:
    """Return a text as a cell of a CSV file that no spreadsheet computes: '=1+1 for =1+1; numbers stay as they are."""
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def from_text_cell(cell: str) -> str:
    """Return the text of a cell that `as_text_cell` made."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def write_lines(file: TextIO, lines: Iterable[Sequence[object]], end: str = "\r\n") -> None:
    """Write lines of a CSV file to an open one; texts as `as_text_cell` makes them."""
    writer = csv.writer(file, lineterminator=end)
    for line in lines:
        writer.writerow([as_text_cell(cell) if isinstance(cell, str) else cell for cell in line])


def write_csv(path: str | os.PathLike[str], lines: Iterable[Sequence[object]]) -> Path:
    """Write lines as CSV, the header first, in the same way.

    A text that a spreadsheet would compute, such as =1+1, is written with an apostrophe before it: '=1+1.
    """

    def write(temporary: str) -> None:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            write_lines(file, lines)

    return write_atomically(path, write)


def append_csv(path: str | os.PathLike[str], header: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """Add lines to a CSV file by one write, so that several processes may do it at once; they are on the disk then.

    Texts are written as by `write_csv`. A line that a crash has cut off stays alone in its line.

    Raises
    ------
    InputError
        If the file cannot be written, for instance on a full disk.
    """
    text = io.StringIO(newline="")
    write_lines(text, lines, "\n")
    try:
        with open(path, "ab+", buffering=0) as file:  # each write goes to the end, whoever else writes
            size = file.seek(0, os.SEEK_END)
            start = "" if size else ",".join(header) + "\n"
            if size:
                file.seek(size - 1)
                start = "" if file.read(1) == b"\n" else "\n"
            content = (start + text.getvalue()).encode()
            if file.write(content) < len(content):
                raise OSError("the disk is full")
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(Path(path), error) from error


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
