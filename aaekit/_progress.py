"""Progress of work on many items, on the standard error stream: a bar on a terminal, else lines."""

import sys
import time
from typing import Any

__all__ = ["Progress", "time_text"]

QUIET_SECONDS = 5.0  # before lines of progress, where there is no bar


def time_text(seconds: float) -> str:
    """A time as people say it: "90 s", "12 min", "3.4 h"."""
    return (
        f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )  # fmt: skip


class Progress:
    """How many items are done, and the time left; a context manager.

    Parameters
    ----------
    doing : str
        What is done: "encoding".
    what : str
        To what: "images".
    n : int
        How many there are.
    n_done : int, default 0
        How many of them are done already.
    """

    def __init__(self, doing: str, what: str, n: int, n_done: int = 0) -> None:
        self.doing, self.what, self.n = doing, what, n
        self.n_before, self.n_done, self.tenth = n_done, n_done, 10 * n_done // max(1, n)
        self.bar: Any = None
        self.began = time.monotonic()

    def __enter__(self) -> "Progress":
        if self.n > self.n_done and sys.stderr.isatty():
            self.bar = self._new_bar()
        return self

    def _new_bar(self) -> Any:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        except ImportError:
            return None
        columns = (TextColumn(f"{self.doing} {self.what}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
        bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task = bar.add_task("", total=self.n, completed=self.n_done)
        bar.start()
        return bar

    def advance(self, n: int = 1) -> None:
        """Count some more items: move the bar, or print a line for each tenth of what takes long."""
        self.n_done += n
        if self.bar is not None:
            self.bar.update(self.task, completed=self.n_done)
            return
        seconds = time.monotonic() - self.began
        if seconds > QUIET_SECONDS and self.n_done < self.n and 10 * self.n_done // self.n > self.tenth:
            self.tenth = 10 * self.n_done // self.n
            left = seconds * (self.n - self.n_done) / (self.n_done - self.n_before)
            line = f"{self.doing}: {self.n_done} of {self.n} {self.what}, {time_text(left)} left"
            print(line, file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()
