"""Checkpoints of a training in a folder, from which it is resumed exactly."""

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
from torch import Tensor

from aaekit._files import parsed_json, write_atomically, write_text
from aaekit.core.callbacks import Callback
from aaekit.core.loop import Training
from aaekit.core.state import capture, digest, restore
from aaekit.errors import DamageError, InputError

__all__ = ["Checkpoints"]

START = "start"  # of the initialisations that were tried
MAX_CHECKPOINTS = 3  # in the folder; older ones are deleted
CHECKPOINT_SHARE = 0.05  # of the training time that writing checkpoints takes, at most


class Checkpoints(Callback):
    """Write checkpoints into a folder; a training that starts with the same folder resumes from the newest one.

    On the first Ctrl-C or SIGTERM the current step is completed and a checkpoint is written; a second one stops at
    once, without a checkpoint.

    Parameters
    ----------
    folder : Path
        Created when the first checkpoint is written.
    log : callable, optional
        Called with a line of text for each damaged checkpoint.

    Attributes
    ----------
    n_saved : int
        Steps in the newest checkpoint.

    Raises
    ------
    InputError
        When a training starts and no checkpoint in the folder can be read, or they are of another configuration; when
        a checkpoint cannot be written.
    """

    def __init__(self, folder: Path, log: Callable[[str], object] = lambda text: None) -> None:
        self.folder: Path = folder
        self.log: Callable[[str], object] = log
        self.n_saved = 0
        self._stop_requested = self._is_mid_step = False
        self._old_handlers: dict[int, Any] = {}
        self._next = 0.0

    def paths(self) -> list[Path]:
        """The JSON files of the checkpoints, newest first; they are written last, so that each is complete."""
        paths = self.folder.glob("epoch-*.json")
        return sorted(paths, key=lambda p: [int(n) for n in re.findall(r"\d+", p.stem)], reverse=True)

    def restores(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return bool(self.paths())

    def starts(self) -> list[float]:
        """How doubtful the initialisations are that were tried before an interruption."""
        path = self.folder / f"{START}.json"
        if self.restores() or not path.is_file():
            return []
        try:
            return [float(value) for value in parsed_json(path.read_text(encoding="utf-8"), dict[str, Any])["doubts"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.log(f"{path.name} is damaged, so that all initialisations are tried again: {error}")
            return []

    def save_start(self, values: list[float], best: Training) -> None:
        """Write the least doubtful initialisation so far, and the random state after the last one."""
        path = self.folder / f"{START}.json"
        path.unlink(missing_ok=True)  # it is complete only with its tensors
        _write_state(path, best, {"doubts": values})

    def restore_start(self, training: Training) -> None:
        """Restore what `save_start` wrote.

        Raises
        ------
        InputError
            If it cannot be read, or is of another configuration.
        """
        path = self.folder / f"{START}.json"
        try:
            restore(training, *_read_state(path))
        except (OSError, ValueError, SafetensorError, KeyError, TypeError, RuntimeError) as error:
            raise InputError(
                f"{path}: expected an initialisation of this configuration, got another or a damaged one "
                f"({str(error).splitlines()[0]}): delete it to try all again"
            ) from error

    def start(self, training: Training) -> None:
        """Resume from the newest checkpoint, if there is one."""
        self._restore(training)
        self.n_saved = training.n_done
        self._next = 0.0
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old_handlers[number] = signal.signal(number, self._on_signal)

    @property
    def stop_requested(self) -> bool:
        """Whether the training ends after the present step."""
        return self._stop_requested

    def request_stop(self) -> None:
        """End the training after the present step, as the first Ctrl-C does."""
        self._stop_requested = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stop_requested:
            self._is_mid_step = True
            raise KeyboardInterrupt
        self._stop_requested = True

    def step(self, training: Training) -> None:
        """Stop here, if that was requested."""
        if self._stop_requested:
            raise KeyboardInterrupt

    def epoch(self, training: Training, row: Mapping[str, float]) -> None:
        """Write a checkpoint, unless writing has taken too large a share of the time."""
        if time.monotonic() >= self._next:
            self._write(training)

    def stop(self, training: Training, complete: bool) -> None:
        """Write a checkpoint, if the training stopped at the end of a step."""
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        self._old_handlers.clear()
        interrupted = isinstance(sys.exc_info()[1], KeyboardInterrupt) and not self._is_mid_step
        self._stop_requested = self._is_mid_step = False
        if complete or interrupted:
            self._write(training)

    def _write(self, training: Training) -> None:
        began = time.monotonic()
        epoch, steps = divmod(training.n_done, training.steps_per_epoch)
        path = self.folder / (f"epoch-{epoch:04d}" + (f"-step-{training.n_done}" if steps else ""))
        _write_state(path.with_suffix(".json"), training, {})
        self.n_saved: int = training.n_done
        for suffix in (".json", ".safetensors"):
            (self.folder / START).with_suffix(suffix).unlink(missing_ok=True)  # no longer needed
        for old in self.paths()[MAX_CHECKPOINTS:]:
            old.unlink()
            old.with_suffix(".safetensors").unlink(missing_ok=True)
        now = time.monotonic()
        self._next = now + (now - began) * (1 / CHECKPOINT_SHARE - 1)

    def _restore(self, training: Training) -> None:
        paths = self.paths()
        for path in paths:
            try:
                tensors, facts = _read_state(path)
            except (OSError, ValueError, SafetensorError) as error:
                self.log(f"checkpoint {path.stem} is damaged, trying the one before: {error}")
                continue
            try:
                restore(training, tensors, facts)
            except (LookupError, TypeError, ValueError, RuntimeError, OverflowError) as error:
                reason = str(error).splitlines()[0]
                raise InputError(
                    f"{path}: expected a checkpoint of this configuration, got another ({reason}): "
                    "undo the change of the configuration, or train from the beginning in another folder"
                ) from error
            return
        if paths:
            raise InputError(
                f"{self.folder} is damaged: none of its {len(paths)} checkpoints can be read: "
                "delete the folder to train from the beginning"
            )


def _write_state(path: Path, training: Training, more: Mapping[str, Any]) -> None:
    """Write a training as tensors, and then as JSON with more facts and a checksum of both."""
    tensors, facts = capture(training)
    facts = {**more, **facts}
    write_atomically(path.with_suffix(".safetensors"), lambda p: save_file(tensors, p))
    write_text(path, json.dumps({**facts, "sha256": digest(json.dumps(facts), tensors)}))


def _read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts that `_write_state` wrote; a ValueError, OSError or SafetensorError if they are damaged."""
    facts = parsed_json(path.read_text(encoding="utf-8"), dict[str, Any])
    tensors = load_file(path.with_suffix(".safetensors"))
    if facts.pop("sha256", "") != digest(json.dumps(facts), tensors):
        raise DamageError("its checksum is wrong")
    return tensors, facts
