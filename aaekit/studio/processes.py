"""Commands of `aae` that the studio starts, and that go on if it ends."""

import subprocess
import sys
import time

__all__ = ["Command"]


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
        self._process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-m", "aaekit", *arguments, "--quiet"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
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
        errors = self._process.stderr
        if self._process.poll() not in (None, 0, 130) and errors is not None and not errors.closed:
            lines = [line for line in errors.read().splitlines() if line.startswith("error: ")]
            errors.close()
            self._problem = lines[-1].removeprefix("error: ") if lines else "the training has ended without a message"
        return self._problem
