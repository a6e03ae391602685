"""Where the time of a step goes: a trace of some steps, and a table of their operations."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.profiler import profile, supported_activities

from aaekit._files import write_atomically, write_text
from aaekit.core.callbacks import Callback
from aaekit.core.loop import Training

__all__ = ["Operation", "StepProfile", "operations"]

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else torch's profiler writes lines of its own to the terminal
N_BEFORE, N_STEPS = 10, 20  # steps before the first one that is observed, and steps that are


class Operation(NamedTuple):
    """An operation in the observed steps: the share of their time that it takes itself, and how often it is called."""

    name: str
    share: float
    milliseconds: float
    calls: float


class StepProfile(Callback):
    """Observe 20 steps of a training after its first 10, and write `trace.json` and `operations.txt` into a folder.

    The trace is for Perfetto (ui.perfetto.dev) or chrome://tracing. The table is of the graphics card where there is
    one, and otherwise of the processor.

    Parameters
    ----------
    folder : str or PathLike
        Made if it does not exist.

    Attributes
    ----------
    n_seen : int
        Steps that were observed; a short training may end before.
    """

    n_seen: int

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder: Path = Path(folder)
        self.n_seen = 0
        self._n_before = N_BEFORE
        self._profile: Any = None

    def start(self, training: Training) -> None:
        """Begin at once if there are few steps."""
        n_left = training.settings.n_steps - training.n_done
        self._n_before, self.n_seen = min(N_BEFORE, max(0, n_left - N_STEPS)), 0
        self._begin_when_due()

    def step(self, training: Training) -> None:
        """Begin or end when it is time."""
        if self._profile is None:
            self._n_before -= 1
            self._begin_when_due()
            return
        self.n_seen += 1
        if self.n_seen == N_STEPS:
            self._write(training)

    def stop(self, training: Training, complete: bool) -> None:
        """Write what was observed of a training that was short."""
        if self._profile is not None:
            self._write(training)

    def _begin_when_due(self) -> None:
        if self._n_before == 0:
            profiler = profile(activities=supported_activities(), acc_events=True)  # else some versions of torch warn
            profiler.start()
            self._profile = profiler

    def _write(self, training: Training) -> None:
        if training.device.type == "cuda":
            torch.cuda.synchronize()
        self._profile.stop()
        finished, self._profile = self._profile, None
        if not self.n_seen:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / "trace.json", lambda path: finished.export_chrome_trace(str(path)))
        lines = [f"{'share':>7} {'ms/step':>8} {'calls/step':>10}  operation"]
        for row in operations(finished, self.n_seen):
            lines.append(f"{row.share:7.1%} {row.milliseconds:8.3f} {row.calls:10.1f}  {row.name}")
        write_text(self.folder / "operations.txt", "\n".join(lines) + "\n")


def operations(finished: Any, n_steps: int) -> list[Operation]:
    """The operations of a profile of some steps, the longest first: kernels if there are any, else the processor's."""
    events = finished.key_averages()
    on_card = [(e, e.self_device_time_total) for e in events if e.self_device_time_total and not e.self_cpu_time_total]
    timed = on_card or [(e, e.self_cpu_time_total) for e in events if e.self_cpu_time_total]
    total = sum(us for _, us in timed)
    rows = [Operation(e.key, us / total, us / 1000 / n_steps, e.count / n_steps) for e, us in timed]
    return sorted(rows, key=lambda row: -row.share)
