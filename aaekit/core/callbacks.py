"""What is called back while a training runs: the progress bar, a run directory, checkpoints, or your own."""

import math
import time
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from aaekit._progress import time_text
from aaekit.curves import abbreviation

if TYPE_CHECKING:
    from rich.console import Console

    from aaekit.core.loop import Training

__all__ = ["Callback", "Progress"]


class Callback:
    """Base of callbacks; each method does nothing by itself."""

    def prepare(self, what: str) -> None:
        """Before something that takes long and has no steps, such as "finding neighbours"."""

    def restores(self) -> bool:
        """Whether `start` will restore an earlier state, so that the initial weights do not matter."""
        return False

    def starts(self) -> list[float]:
        """How doubtful the initialisations are that were tried before an interruption; see `save_start`."""
        return []

    def save_start(self, values: list[float], best: "Training") -> None:
        """After each initialisation that is tried: how doubtful all are, and the least doubtful one."""

    def restore_start(self, training: "Training") -> None:
        """Make a training the least doubtful one of `starts`."""

    def start(self, training: "Training") -> None:
        """Before the first step of this process."""

    def step(self, training: "Training") -> None:
        """After each step."""

    def epoch(self, training: "Training", row: Mapping[str, float]) -> None:
        """After each epoch, with its row of the history."""

    def stop(self, training: "Training", complete: bool) -> None:
        """At the end, or when the training is interrupted."""


class Progress(Callback):
    """Steps, time left and losses of a training, on the standard error stream.

    A bar on a terminal; elsewhere, and where rich is not installed, a line for each tenth of the steps, and before
    the first of them after 5, 10, 20, ... seconds.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where to print; by default the standard error stream.
    """

    FIRST_SECONDS = 5.0  # until the first line
    SECONDS = 0.2  # between two looks at the losses: reading them waits for the device

    def __init__(self, console: "Console | None" = None) -> None:
        self.console: Console | None = console or _console()
        self.bar: Any = None

    def prepare(self, what: str) -> None:
        """Say what is being done."""
        self._print(f"{what} ...")

    def start(self, training: "Training") -> None:
        """Show the bar."""
        n_steps = training.settings.n_steps
        self._start_time, self._n_before, self._last_look = time.monotonic(), training.n_done, 0.0
        self._tenth = 10 * training.n_done // n_steps
        self._next_line = self._start_time + self.FIRST_SECONDS
        if self.console is not None and self.console.is_terminal:
            from rich import progress

            time_left = progress.TimeRemainingColumn(elapsed_when_finished=True)
            losses = progress.TextColumn("{task.fields[losses]}")
            columns = (progress.BarColumn(20), progress.MofNCompleteColumn(), time_left, losses)
            self.bar = progress.Progress(*columns, console=self.console, refresh_per_second=5)
            self._task = self.bar.add_task("", total=n_steps, completed=training.n_done, losses="")
            self.bar.start()

    def step(self, training: "Training") -> None:
        """Move the bar, or print a line."""
        n_done, n_steps = training.n_done, training.settings.n_steps
        if self.bar is None:
            is_late = time.monotonic() >= self._next_line
            if is_late or 10 * n_done // n_steps > self._tenth:
                self._next_line = self._start_time + 2 * (time.monotonic() - self._start_time) if is_late else math.inf
                self._tenth = 10 * n_done // n_steps
                left = (time.monotonic() - self._start_time) * (n_steps - n_done) / max(1, n_done - self._n_before)
                percent = 100 * n_done // n_steps
                self._print(
                    f"step {n_done} of {n_steps} ({percent} %), {time_text(left)} left  {losses_text(training)}"
                )
        elif time.monotonic() - self._last_look >= self.SECONDS or n_done == n_steps:
            self._last_look = time.monotonic()
            self.bar.update(self._task, completed=n_done, losses=losses_text(training))

    def stop(self, training: "Training", complete: bool) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _print(self, text: str) -> None:
        if self.console is None:
            import sys

            print(text, file=sys.stderr, flush=True)
        else:
            self.console.print(text, soft_wrap=True, highlight=False, markup=False)


def _console() -> "Console | None":
    """The standard error stream, if rich is installed."""
    if find_spec("rich") is None:
        return None
    from rich.console import Console

    return Console(stderr=True)


def losses_text(training: "Training") -> str:
    """The mean losses of the epoch so far, abbreviated: `rec 21.3  z/D 1.39`."""
    losses = training.losses
    pairs = [(p.name, losses[p.name]) for p in training.phases if p.name in losses]
    return "  ".join(f"{abbreviation(name)} {value:.3g}" for name, value in pairs)
