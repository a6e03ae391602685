"""Commands of `aae` that the studio starts, and that go on if it ends."""

import os
import subprocess
import sys
import tempfile
import time
import weakref

__all__ = ["Command"]

LAST_BYTES = 65536  # of what a command has said, in which its last error is


class Command:
    """A command in a process of its own.

    Parameters
    ----------
    *arguments : str
        What stands behind `aae`.
    """

    def __init__(self, *arguments: str) -> None:
        self._start = time.monotonic()
        self._problem = ""
        # Not a pipe, which would fill while nobody reads it, and break if the studio ends.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the command
        weakref.finalize(self, self._errors.close)
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-m", "aaekit", *arguments, "--quiet"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._errors, start_new_session=True,
        )  # fmt: skip

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    @property
    def seconds(self) -> float:
        """Time since it was started."""
        return time.monotonic() - self._start

    @property
    def problem(self) -> str:
        """Its last message of an error; "" while it runs, and if it ended well or was stopped by Ctrl-C."""
        if self.is_running or self._errors.closed:
            return self._problem
        with self._errors as errors:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - LAST_BYTES))
            lines = errors.read().decode(errors="replace").splitlines()
        if self._process.returncode not in (0, 130):
            lines = [line for line in lines if line.startswith("error: ")]
            self._problem = lines[-1].removeprefix("error: ") if lines else "the training has ended without a message"
        return self._problem
