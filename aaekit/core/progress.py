"""How a training is doing, on the standard error stream: a bar on a terminal, a few lines elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from aaekit.core.loop import Callback, Training

SHORT = {
    "reconstruction": "rec",
    "classification": "class",
    "agreement": "agree",
    "smoothness": "smooth",
    "discriminator": "D",
    "generator": "G",
}


class Progress(Callback):
    """Steps, time left and live losses of a training.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where to; by default the standard error stream. If that is no terminal, a line every tenth of the steps.
    """

    SECONDS = 0.2  # between two looks at the losses: reading them waits for the device

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.bar: Bar | None = None

    def prepare(self, what: str) -> None:
        self.console.print(f"{what} ...", soft_wrap=True, highlight=False, markup=False)

    def start(self, training: Training) -> None:
        n_steps = training.settings.n_steps
        self._began, self._n_before, self._shown = time.monotonic(), training.n_done, 0.0
        self._tenth = 10 * training.n_done // n_steps
        if self.console.is_terminal:
            left = TimeRemainingColumn(elapsed_when_finished=True)
            columns = (BarColumn(20), MofNCompleteColumn(), left, TextColumn("{task.fields[losses]}"))
            bar = Bar(*columns, console=self.console, refresh_per_second=5)
            self._task = bar.add_task("", total=n_steps, completed=training.n_done, losses="")
            bar.start()
            self.bar = bar

    def step(self, training: Training) -> None:
        n_done, n_steps = training.n_done, training.settings.n_steps
        if self.bar is None:
            if 10 * n_done // n_steps > self._tenth:
                self._tenth = 10 * n_done // n_steps
                self._print(training)
        elif time.monotonic() - self._shown >= self.SECONDS or n_done == n_steps:
            self._shown = time.monotonic()
            self.bar.update(self._task, completed=n_done, losses=losses_text(training))

    def stop(self, training: Training, complete: bool) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _print(self, training: Training) -> None:
        n_done, n_steps = training.n_done, training.settings.n_steps
        left = (time.monotonic() - self._began) * (n_steps - n_done) / max(1, n_done - self._n_before)
        text = f"step {n_done} of {n_steps} ({100 * n_done // n_steps} %), {left:.0f} s left  {losses_text(training)}"
        self.console.print(text, soft_wrap=True, highlight=False, markup=False)


def losses_text(training: Training) -> str:
    """The mean losses of the epoch so far, in short: `rec 21.3  z/D 1.39`."""
    losses = training.losses
    known = [p.name for p in training.phases]
    shown = {name: losses[name] for name in known if name in losses}
    return "  ".join(f"{_short(name)} {value:.3g}" for name, value in shown.items())


def _short(name: str) -> str:
    return "/".join(SHORT.get(part, part) for part in name.split("/"))
