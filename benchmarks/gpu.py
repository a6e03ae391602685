"""`python -m benchmarks.gpu`: the speed of training and prediction on a graphics card, in one table and a dated log."""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aaekit import AdversarialAutoencoder, SemiSupervisedAAE, data
from aaekit._files import read_json, write_json
from aaekit.core.callbacks import Callback
from aaekit.core.loop import Training
from aaekit.core.state import capture
from aaekit.runs.config import machine, versions
from benchmarks import sides
from benchmarks.__main__ import LOGS
from benchmarks.measures import BATCHES

WARMUP = 30  # steps before the clock starts
N_PREDICTED = 10**6


class CardWatch(sides.Stopwatch):
    """Times steps until the card has made them; on request, of steps that are not recorded or of faster convolutions.

    Parameters
    ----------
    recorded : bool
        Whether steps may be replays of a recorded one.
    reproducible : bool
        Whether convolutions add up in a fixed order.
    """

    def __init__(self, recorded: bool = True, reproducible: bool = True) -> None:
        super().__init__()
        self.recorded, self.reproducible = recorded, reproducible

    def start(self, training: Training) -> None:
        """Prepare the steps."""
        self.training, self.n = training, 0
        torch.backends.cudnn.deterministic = self.reproducible
        if not self.recorded:
            training.steps.recording = None
        training.steps.forget()

    def step(self, training: Training) -> None:
        """Look at the clock after the warm-up and at the end."""
        self.n += 1
        if self.n in (WARMUP, training.settings.n_steps):
            torch.cuda.synchronize()
            self.ended.append(time.perf_counter())

    def speed(self) -> float:
        """Steps per second."""
        return (self.n - WARMUP) / (self.ended[1] - self.ended[0])


def plain(X: np.ndarray, batch: int, precision: str, n_steps: int, watch: CardWatch) -> None:
    """Train the plain model of the other benchmarks in the joint schedule."""
    how: dict[str, Any] = {**sides.COMMON, **sides.GENERATOR, "schedule": "joint", "batch_size": batch}
    AdversarialAutoencoder(**how, precision=precision, max_steps=n_steps, device="cuda").fit(X, callbacks=[watch])


def classifier(X: np.ndarray, y: np.ndarray, precision: str, n_steps: int, watch: Callback) -> SemiSupervisedAAE:
    """Train the default classifier."""
    model = SemiSupervisedAAE(precision=precision, max_steps=n_steps, random_state=0, device="cuda")
    return model.fit(X, y, callbacks=[watch])


def speeds(X: np.ndarray, y: np.ndarray, say: Callable[[str], None], n_steps: int = 1000) -> dict[str, float]:
    """Steps per second by model, precision, and whether steps are recorded."""
    results: dict[str, float] = {}
    kinds = [(f"plain, batch {b}", lambda *how, b=b: plain(X, b, *how)) for b in BATCHES]
    kinds.append(("classifier", lambda *how: classifier(X, y, *how)))
    for name, train in kinds:
        for precision in ("float32", "bfloat16", "auto"):
            for recorded in (True, False) if precision != "auto" else (True,):
                watch = CardWatch(recorded)
                train(precision, n_steps if recorded else n_steps // 10 + WARMUP, watch)
                arithmetic = f" ({'bfloat16' if watch.training.bfloat16 else 'float32'})" if precision == "auto" else ""
                key = f"{name}, {precision}{arithmetic}, {'recorded' if recorded else 'as written'}"
                results[key] = watch.speed()
                say(f"{key}: {results[key]:.0f} steps/s")
    watch = CardWatch(reproducible=False)
    classifier(X, y, "auto", n_steps, watch)
    results["classifier, auto, recorded, not reproducible"] = watch.speed()
    try:
        for batch in BATCHES:
            results[f"pythae, batch {batch}"] = 1 / sides.pythae(X, batch, 100, no_cuda=False)
    except ImportError as error:
        say(f"pythae is not measured: {error}")
    return results


def same_weights(X: np.ndarray, y: np.ndarray, n_steps: int = 300) -> dict[str, bool]:
    """Whether two trainings of a seed end with the same bits, by precision."""
    results = {}
    for precision in ("float32", "bfloat16"):
        ends = []
        for _ in range(2):
            watch = CardWatch()
            classifier(X, y, precision, n_steps, watch)
            ends.append(capture(watch.training)[0])
        results[precision] = all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    return results


def predictions(X: np.ndarray, y: np.ndarray, n: int = N_PREDICTED) -> dict[str, float]:
    """Seconds to predict a million images and ten thousand, after the first ones."""
    model = classifier(X, y, "auto", 100, CardWatch())
    many = np.resize(X, (n, *X.shape[1:]))
    seconds = {}
    for rows in (many[:30_000], many, many[:10_000]):
        start = time.perf_counter()
        model.predict(rows)
        seconds[f"{len(rows):,} images"] = time.perf_counter() - start
    return seconds


def whole_command(data_dir: str | None) -> dict[str, float]:
    """Seconds of `aae train` with 100 labels of MNIST, start to report, and its test error in percent."""
    with tempfile.TemporaryDirectory(prefix="aae-bench-") as folder:
        out = Path(folder) / "run"
        program = [sys.executable, "-m", "aaekit", "train", "classifier", "--data", "mnist", "--labels", "100"]
        program += ["--random-state", "0", "--quiet", "--out", str(out)]
        program += ["--data-dir", data_dir] if data_dir else []
        start = time.perf_counter()
        subprocess.run(program, check=True)
        seconds = time.perf_counter() - start
        log = (out / "log.txt").read_text(encoding="utf-8").splitlines()
        results = read_json(out / "results.json", "the results of a run", dict[str, Any])
    trained = next(line for line in log if "trained:" in line)
    return {"seconds": seconds, "of training": float(trained.split()[-2]), "error, %": results["error"]}


def main(arguments: list[str] | None = None) -> None:
    """Measure, print each number and write the log."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--data-dir", help="folder of MNIST; by default AAE_DATA_DIR, else the user's cache directory")
    parser.add_argument("--out", type=Path, help="path of the log; by default benchmarks/logs/gpu-DATE.json")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("nothing is measured, since torch sees no graphics card")
        return
    now = f"{datetime.now():%Y-%m-%d %H:%M}"
    path = options.out or LOGS / f"gpu-{now[:10]}.json"
    mnist = data.load("mnist", options.data_dir)
    assert mnist.y is not None
    y = data.split(mnist.y, labels=100).masked(mnist.y)
    log: dict[str, Any] = {"date": now, "card": torch.cuda.get_device_name(), "machine": machine()}
    log["versions"] = versions()
    parts: dict[str, Callable[[], Any]] = {
        "steps per second": lambda: speeds(mnist.X, y, print),
        "seconds to predict": lambda: predictions(mnist.X, y),
        "same weights": lambda: same_weights(mnist.X, y),
        "aae train, 100 labels": lambda: whole_command(options.data_dir),
    }
    for name, part in parts.items():
        log[name] = part()
        print(f"{name}: {log[name]}", flush=True)
        write_json(path, log)
    print(f"log: {path}")


if __name__ == "__main__":
    main()
