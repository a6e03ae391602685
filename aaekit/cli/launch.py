"""`aae train` and `aae resume` in several processes: how they start, meet and end.

`--devices` or torchrun starts them; both use torch's elastic agent, which starts all of them again when one has died.
The processes meet by the environment that the agent gives them. The first one that ends, for whatever reason, leaves
its exit code in their common store, and the others end with the same one, without a word.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import typer

from aaekit.cli.options import Stopped, say
from aaekit.errors import InputError, ProcessLostError, TrainingError

__all__ = ["Ended", "check_devices", "exit_code", "is_launched", "is_restarted", "is_silent", "joined", "start"]

ENVIRONMENT = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
EXIT_CODE = "AAE_EXIT_CODE"  # the file for the exit code of processes that `start` has started
INTERRUPTED, REFUSED = 130, 2  # exit codes
END, ACKNOWLEDGED = "end", "acknowledged"  # keys of the common store
LOOK_SECONDS = 0.2  # between two looks at whether a process has ended
END_SECONDS = 10.0  # until a process ends that waits for one that has ended
PATIENCE = timedelta(days=1)  # of processes that wait for the first one, which may be paused

_is_joined = [False]


class Ended(Exception):
    """Ends this process without a word, since another one has said why or will."""

    def __init__(self, code: int, is_failure: bool = False) -> None:
        super().__init__(code)
        self.code, self.is_failure = code, is_failure


def is_launched() -> bool:
    """Whether this process is one of several that a launcher has started."""
    return all(name in os.environ for name in ENVIRONMENT) and os.environ["WORLD_SIZE"] != "1"


def is_restarted() -> bool:
    """Whether a launcher has started this process again."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def is_silent() -> bool:
    """Whether another process says what this one would: all of them refuse the same before they have met."""
    return is_launched() and not _is_joined[0] and os.environ["RANK"] != "0"


def check_devices(n: int, device: str) -> None:
    """Refuse more processes on this machine than it has graphics cards, if these are used."""
    import torch

    from aaekit.core.device import kind_of_device

    kind = kind_of_device(device)
    if kind != "cpu" and n > (n_cards := torch.cuda.device_count() if kind == "cuda" else 1):
        raise InputError(
            f"devices: expected at most {n_cards}, as many as this machine has, got {n}: start fewer by "
            "--devices, or choose --device cpu"
        )


# --- starting --------------------------------------------------------------------------------------------------------
def start(n: int, max_restarts: int, arguments: Sequence[str], run: Path) -> int:
    """Run `aae` with these arguments in several processes of this machine, and return their exit code.

    Raises
    ------
    TrainingError
        When one of them has died more often than it may.
    """
    import logging
    import tempfile

    import torch
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # else it keeps addresses of processes that have died
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ["OMP_NUM_THREADS"] = str(max(1, torch.get_num_threads() // n))
    logging.disable(logging.CRITICAL)  # the agent reports what is said here in one line
    code = INTERRUPTED
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "code")
        os.environ[EXIT_CODE] = str(path)
        settings = LaunchConfig(
            1, 1, n, DefaultLogsSpecs(folder), "aae", rdzv_endpoint="localhost:0", rdzv_backend="c10d",
            max_restarts=max_restarts, local_addr="localhost",
        )  # fmt: skip
        try:
            elastic_launch(settings, sys.executable)("-m", "aaekit", *arguments)
            code = int(path.read_text()) if path.is_file() else 0
        except ChildFailedError as error:
            raise TrainingError(_problem(n, error.failures, run)) from None
        except (SignalException, KeyboardInterrupt):
            pass
        finally:
            logging.disable(logging.NOTSET)
    return code


def _problem(n: int, failures: Any, run: Path) -> str:
    """What a failure of processes means for a run."""
    rank, failure = min(failures.items(), key=lambda item: (item[1].exitcode >= 0, item[1].timestamp, item[0]))
    how = f"exit code {failure.exitcode}" if failure.exitcode >= 0 else signal.Signals(-failure.exitcode).name
    again = f"aae resume {run}" if (run / "config.yaml").is_file() else "the same command"
    return f"expected {n} processes that train together, got one ({rank}) that ended by {how}: go on with: {again}"


# --- meeting and ending ----------------------------------------------------------------------------------------------
class _Meeting:
    """What the processes of a launcher have in common: who has ended first, with which exit code."""

    def __init__(self, store: Any, rank: int, n: int) -> None:
        self.rank, self.n = rank, n
        self._store = store
        self._has_ended, self._is_closed = threading.Event(), threading.Event()
        self._code: int | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        try:
            while not self._store.check([END]):
                if self._is_closed.wait(LOOK_SECONDS):
                    return
            rank, code = map(int, self._store.get(END).split())
            self._store.add(ACKNOWLEDGED, 1)
        except RuntimeError:  # the process that has the store has died
            self._has_ended.set()
            return
        self._code = code
        self._has_ended.set()
        if rank != self.rank and not self._is_closed.wait(END_SECONDS):
            os._exit(exit_code(code))  # it waits for a message that will not come

    def end(self, code: int) -> bool:
        """End with an exit code, and return whether this process is the first one to do so."""
        text = f"{self.rank} {code}"
        with suppress(RuntimeError):
            if self._store.compare_set(END, "", text).decode() != text:
                return False
            last = time.monotonic() + END_SECONDS
            while self._store.add(ACKNOWLEDGED, 0) < self.n and time.monotonic() < last:
                time.sleep(LOOK_SECONDS / 10)
        return True

    def close(self) -> None:
        """Watch no longer: an interpreter must not end while another thread is in torch."""
        self._is_closed.set()
        self._thread.join(END_SECONDS)

    def ended(self, seconds: float | None = None) -> Ended:
        """How the first process has ended; as a failure if it has not said so, within some seconds."""
        code = self._code if self._has_ended.wait(seconds) else None
        return Ended(1, is_failure=True) if code is None else Ended(code)


@contextmanager
def joined() -> Iterator[int]:
    """In the block, this process works with the others of its launcher; the value is its rank, 0 without a launcher.

    The first process that ends the block says why. The others leave it by `Ended`, at the latest when they need it.
    """
    if not is_launched():
        yield 0
        return
    meeting = None
    try:
        meeting = _meet()
        yield meeting.rank
    except ProcessLostError as error:
        ended = Ended(1, is_failure=True) if meeting is None else meeting.ended(2 * LOOK_SECONDS)
        if ended.is_failure and os.environ["RANK"] == "0" and EXIT_CODE not in os.environ:
            say(f"error: {error}")
        raise ended from None
    except (InputError, TrainingError, OSError, KeyboardInterrupt, Stopped, typer.Abort) as reason:
        code = REFUSED if isinstance(reason, InputError | TrainingError | OSError) else INTERRUPTED
        if meeting is not None and not meeting.end(code):
            raise meeting.ended() from None
        raise
    else:
        if meeting.rank:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is left to do here
            raise meeting.ended()
        meeting.end(0)
    finally:
        if meeting is not None:
            meeting.close()


def _meet() -> _Meeting:
    """Connect this process with the others of its launcher."""
    import torch
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    _is_joined[0] = True
    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    if rank:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the first process completes its step, which takes all of them
    has_cards = torch.cuda.is_available() and dist.is_nccl_available()
    if has_cards and local_rank < torch.cuda.device_count():
        torch.cuda.set_device(local_rank)
    backend = "cpu:gloo,cuda:nccl" if has_cards else "gloo"
    try:
        store, rank, n = next(rendezvous("env://"))
        dist.init_process_group(backend, store=store, rank=rank, world_size=n, timeout=PATIENCE)
    except RuntimeError as error:
        raise ProcessLostError(
            f"expected {os.environ['WORLD_SIZE']} processes to meet, got no connection to one of them "
            f"({str(error).splitlines()[0][:200]}): start all of them again"
        ) from error
    return _Meeting(store, rank, n)


def exit_code(code: int) -> int:
    """What this process exits with; the agent of `start` starts those again that do not exit with 0."""
    if _is_joined[0] and EXIT_CODE in os.environ:
        from aaekit._files import write_text

        write_text(Path(os.environ[EXIT_CODE]), str(code))
        return 0
    return code
