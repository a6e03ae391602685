"""Trainings that stop and go on: checkpoints in a folder, the newest few of them."""

import json
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from aaekit._files import write_atomically, write_text
from aaekit.core.callbacks import Callback
from aaekit.core.loop import Training
from aaekit.core.state import capture, restore
from aaekit.errors import InputError

KEPT = 3  # checkpoints
CHECKPOINT_SHARE = 0.05  # of the time, at most, goes into writing checkpoints


class Checkpoints(Callback):
    """Writes checkpoints of a training into a folder, and puts the next training there back to the newest.

    The first Ctrl-C or SIGTERM waits for the end of the step and then writes one, so that it is exact; a second one
    does not wait. `folder` is made when something is written; `log` takes a line of text.

    Raises
    ------
    InputError
        When a training starts and none of the checkpoints in the folder can be read, or they are of another
        configuration; when one cannot be written.
    """

    def __init__(self, folder: Path, log: Callable[[str], object] = lambda text: None) -> None:
        self.folder, self.log = folder, log
        self.n_kept = 0  # steps in the newest
        self._stop_wanted = self._torn = False
        self._old_handlers: dict[int, Any] = {}
        self._next = 0.0

    def found(self) -> list[Path]:
        """The JSON halves, newest first; a checkpoint without one was not finished."""
        found = self.folder.glob("epoch-*.json")
        return sorted(found, key=lambda p: [int(n) for n in re.findall(r"\d+", p.stem)], reverse=True)

    def restores(self) -> bool:
        """Whether there is a checkpoint to go back to."""
        return bool(self.found())

    def start(self, training: Training) -> None:
        """Go back to the newest checkpoint, if there is one."""
        self._restore(training)
        self.n_kept = training.n_done
        self._next = 0.0
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old_handlers[number] = signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stop_wanted:
            self._torn = True
            raise KeyboardInterrupt
        self._stop_wanted = True

    def step(self, training: Training) -> None:
        """Stop here, if that was asked for."""
        if self._stop_wanted:
            raise KeyboardInterrupt

    def epoch(self, training: Training, row: Mapping[str, float]) -> None:
        """Write a checkpoint, unless that would take too large a share of the time."""
        if time.monotonic() >= self._next:
            self._write(training)

    def stop(self, training: Training, complete: bool) -> None:
        """Write where the training is, if that is the end of a step."""
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        self._old_handlers.clear()
        interrupted = isinstance(sys.exc_info()[1], KeyboardInterrupt) and not self._torn
        self._stop_wanted = self._torn = False
        if complete or interrupted:
            self._write(training)

    def _write(self, training: Training) -> None:
        began = time.monotonic()
        tensors, facts = capture(training)
        epoch, steps = divmod(training.n_done, training.steps_per_epoch)
        path = self.folder / (f"epoch-{epoch:04d}" + (f"-step-{training.n_done}" if steps else ""))
        write_atomically(path.with_suffix(".safetensors"), lambda p: save_file(tensors, p))
        write_text(path.with_suffix(".json"), json.dumps(facts))
        self.n_kept = training.n_done
        for old in self.found()[KEPT:]:
            old.unlink()
            old.with_suffix(".safetensors").unlink(missing_ok=True)
        now = time.monotonic()
        self._next = now + (now - began) * (1 / CHECKPOINT_SHARE - 1)

    def _restore(self, training: Training) -> None:
        found = self.found()
        for path in found:
            try:
                facts = json.loads(path.read_text(encoding="utf-8"))
                tensors = load_file(path.with_suffix(".safetensors"))
            except (OSError, ValueError, SafetensorError) as error:
                self.log(f"{path.stem} is damaged, trying the one before: {error}")
                continue
            try:
                restore(training, tensors, facts)
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                reason = str(error).splitlines()[0]
                raise InputError(f"{path} is not of this configuration: {reason}; was config.yaml changed?") from error
            return
        if found:
            raise InputError(f"{self.folder} is damaged: none of its {len(found)} checkpoints can be read; train anew")
