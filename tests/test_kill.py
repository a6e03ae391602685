"""Processes killed at random moments: given again, the command comes to the same bits."""

import csv
import io
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from aaekit._files import TEMPORARY
from aaekit.cli import main
from aaekit.data.store import as_store
from aaekit.encoders import Encoder, ImageArrays, Texts, encoded

N_MOMENTS = 20
LONG_AGO = 7200  # seconds since which nobody has written to what a killed process left in a shared folder
TRAIN = "train classifier --data wine --labels 15 --max-steps 330 --n-init 3 --hidden 8 --device cpu -q --out {}"
ASK = "label ask {} --data wine --clusters 4 --max-steps 40 -q"
EXPERIMENT = (
    "title: tiny\npublished: none\ntarget: 50\nsystem: classifier\ndata: wine\nlabels: 15\nmax_steps: 60\nhidden: [8]\n"
)
PRELOADED = ["aaekit.cli.app", "aaekit.cli.train", "aaekit.runs.run", "aaekit.plots.draw", "aaekit.labelling", "torch"]


# --- caches ----------------------------------------------------------------------------------------------------------
class Sums(Encoder):
    """Sums over images and texts, one batch at a time."""

    size = 8

    def __init__(self):
        super().__init__("sums", "sums")

    def __call__(self, batch):
        time.sleep(0.005)
        if isinstance(batch, list):
            return np.array([[len(text), *text.encode()[:3]] for text in batch], np.float32)
        return batch.reshape(len(batch), 3, -1).sum(2).astype(np.float32)


def build_features(folder):
    """The features of texts and of photos, of which the last set has items of the one before."""
    images = np.random.default_rng(0).integers(0, 256, (300, 3, 8, 8), dtype=np.uint8)
    encoded(Texts([f"{k} green bottles" for k in range(300)]), Sums(), folder)
    encoded(ImageArrays(images[:200]), Sums(), folder)
    encoded(ImageArrays(images), Sums(), folder)


def build_store(folder):
    """An array that is kept on the disk."""
    as_store(np.arange(1e7).reshape(-1, 100), folder, memory_limit_bytes=0)


# --- figures of an experiment ----------------------------------------------------------------------------------------
def reproduce(folder):
    """An experiment with figures that takes seconds, once with each of two seeds."""
    from reproduction import experiments

    experiments.FOLDER = folder.with_name("experiments")
    experiments.FOLDER.mkdir(exist_ok=True)
    (experiments.FOLDER / "tiny.yaml").write_text(EXPERIMENT)
    main(f"reproduce tiny --seeds 2 --device cpu -q --out {folder} --pictures {folder}/figures".split())


# --- processes -------------------------------------------------------------------------------------------------------
@dataclass
class Outcome:
    """How a process ended: its exit code, how long it took, and how often it had written to the disk."""

    code: int
    seconds: float
    n_writes: int


def work(command, folder, draws, results, stop_at):
    """In a process of its own: a command, killed before the disk is written to for the `stop_at`-th time."""
    count = itertools.count()

    def counted(function):
        def write(*arguments, **options):
            if next(count) == stop_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return write

    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    if not draws:
        import aaekit.plots.base

        white = io.BytesIO()
        Image.new("L", (1, 1), 255).save(white, "PNG")
        aaekit.plots.base.to_png = lambda figure: white.getvalue()
    with open(results, "w") as errors:
        sys.stdout = sys.stderr = errors
        try:
            command(folder) if callable(command) else main(command.format(folder).split())
        except Exception:
            traceback.print_exc()
            raise
        finally:
            errors.write(f"\n{next(count)}")


def run(command, folder, draws=False, seconds=None, stop_at=-1):
    """Run a command in a process that is killed after so many seconds or before a write, or runs to its end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    results = folder.with_name(f"{folder.name}.txt")
    results.unlink(missing_ok=True)
    process = context.Process(target=work, args=(command, folder, draws, results, stop_at))
    began = time.monotonic()
    process.start()
    if callable(seconds):
        seconds(folder)
    else:
        process.join(300 if seconds is None else seconds)
    process.kill()
    process.join()
    text = results.read_text() if results.exists() else ""
    last = text.rpartition("\n")[2]
    outcome = Outcome(process.exitcode, time.monotonic() - began, int(last) if last.isdecimal() else 0)
    assert "Traceback" not in text and outcome.code in (0, -signal.SIGKILL), text
    return outcome


def finish(command, folder, draws=False):
    outcome = run(command, folder, draws)
    assert outcome.code == 0, command
    return outcome


# --- what a user does who finds a folder -----------------------------------------------------------------------------
def train(folder, draws=False):
    """Start a training, or resume it."""
    if not (folder / "report.html").exists():
        finish("resume {} -q" if (folder / "config.yaml").exists() else TRAIN, folder, draws)


def train_and(command):
    """Train, unless that was done, and give a command of its run."""

    def complete(folder):
        train(folder, draws=True)
        finish(command, folder, draws=True)

    return complete


def ask_and_answer(folder):
    """Ask, unless that was done, and answer."""
    if not (folder / "questions-1.csv").exists():
        finish(ASK, folder)
    questions = folder / "questions-1.csv"
    with open(questions, newline="") as file:
        lines = list(csv.DictReader(file))
    with open(questions, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["row", "label"], *([line["row"], f"={int(line['row']) % 3}"] for line in lines)])


def tell(folder):
    if not (folder / "answers.csv").exists():
        ask_and_answer(folder)
    finish("label tell {} -q", folder)


def ask_again(folder):
    """The second round of questions, which are not answered."""
    if not (folder / "labels.csv").exists():
        tell(folder)
    if not (folder / "questions-2.csv").exists():
        finish("label ask {} -q", folder)


def at_checkpoint(folder):
    """Wait for a training's first checkpoint."""
    for _ in range(30_000):
        if any((folder / "checkpoints").glob("epoch-*.json")):
            return
        time.sleep(0.01)
    raise AssertionError("no checkpoint")


# --- what they come to -----------------------------------------------------------------------------------------------
def timeless(value):
    """A value without times, and without checksums of models, whose files say how long they were trained."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if "second" not in k and k not in ("date", "time", "models")}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def report_without_time(folder):
    """A report without the time of the training, which a resumed one adds up."""
    seconds = json.loads((folder / "results.json").read_text())["seconds"]
    text = (folder / "report.html").read_text()
    return text.replace(f"<dd>{seconds:.0f} s</dd>", "").replace(f"<td>{seconds:.1f}</td>", "")


def state_of(folder):
    """All files with all that must be the same, which is everything but times."""
    contents = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or path.name == ".lock" or name == "log.txt" or name.startswith("tensorboard"):
            continue
        assert not TEMPORARY.fullmatch(path.name), f"{name} is half-written"
        if path.suffix == ".safetensors":
            contents[name] = {k: v.tobytes() for k, v in load_file(path).items()}
        elif path.suffix == ".csv":
            contents[name] = [timeless(row) for row in csv.DictReader(path.read_text().splitlines())]
        elif path.suffix == ".json":
            contents[name] = timeless(json.loads(path.read_text()))
        else:
            contents[name] = report_without_time(folder) if name == "report.html" else path.read_bytes()
    return contents


def differences(state, expected):
    """The files that are missing, additional or other ones."""
    return [name for name in sorted({*state, *expected}) if state.get(name) != expected.get(name)]


# --- cases -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Case:
    """A command that is killed, and what goes on from any folder that it leaves.

    Attributes
    ----------
    command : str or function of the folder
        What is killed.
    complete : function of the folder
        Goes on, or begins, and comes to the end.
    prepare : function of the folder, optional
        Comes before the command.
    draws : bool, default False
        Whether figures are drawn, which takes most of the time.
    """

    command: str | Callable[[Path], object]
    complete: Callable[[Path], object]
    prepare: Callable[[Path], object] | None = None
    draws: bool = False


CASES = {
    "train": Case(TRAIN, train),
    "resume": Case("resume {} -q", train, lambda folder: run(TRAIN, folder, seconds=at_checkpoint)),
    "evaluate and report": Case(
        "evaluate {} --no-compare", train_and("evaluate {} --no-compare"), lambda f: train(f, True), True
    ),
    "plot": Case("plot {}", train_and("plot {}"), lambda f: train(f, True), True),
    "reproduce": Case(reproduce, lambda folder: finish(reproduce, folder, True), None, True),
    "label ask": Case(ASK, tell),
    "label tell": Case("label tell {} -q", tell, ask_and_answer),
    "label ask again": Case("label ask {} -q", ask_again, tell),
    "features": Case(build_features, lambda folder: finish(build_features, folder)),
    "store": Case(build_store, lambda folder: finish(build_store, folder)),
}


def moments(rng, outcome):
    """Random moments, in turn of the clock and of the writes to the disk."""
    while True:
        yield {"seconds": rng.uniform(0, outcome.seconds)}
        yield {"stop_at": rng.randrange(outcome.n_writes)}


def check(name, tmp_path, n_moments):
    """Kill a command at random moments, go on each time, and compare what it comes to."""
    case, rng = CASES[name], random.Random(0)
    start, whole, measured = (tmp_path / name.replace(" ", "-") / n for n in ("start", "whole", "measured"))
    start.parent.mkdir()
    if case.prepare is not None:
        case.prepare(start)

    def copy(folder):
        if start.exists():
            shutil.copytree(start, folder)

    case.complete(whole)
    expected = state_of(whole)
    copy(measured)
    outcome, n_killed = finish(case.command, measured, case.draws), 0
    for k, moment in enumerate(itertools.islice(moments(rng, outcome), n_moments)):
        folder = whole.with_name(f"killed-{k}")
        copy(folder)
        n_killed += run(case.command, folder, case.draws, **moment).code == -signal.SIGKILL
        for path in folder.rglob(".*.tmp"):
            os.utime(path, (time.time() - LONG_AGO,) * 2)
        case.complete(folder)
        assert differences(state_of(folder), expected) == [], f"{name}, moment {k}: {moment}"
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{name}: {n_killed} of {n_moments} killed")
    assert n_killed >= n_moments / 4  # on a busy machine, the clock is often late


pytestmark = pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="processes are killed otherwise there"
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["features", "store"])
def test_a_cache_whose_building_is_killed_is_built_again(name, tmp_path):
    check(name, tmp_path, 4)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", CASES)
def test_killed_at_any_moment_it_comes_to_the_same_bits(name, tmp_path):
    check(name, tmp_path, N_MOMENTS)
