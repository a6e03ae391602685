"""Processes killed at random moments: given again, the command comes to the same bits."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

TRAIN = (
    "train classifier --data digits --labels 50 --max-steps 330 --n-init 2 --hidden 8 --batch-size 100,20 "
    "--device cpu -q"
)
ASK = "label ask {0} --data digits --clusters 5 --max-steps 40 -q"
STORE = (
    "import sys, numpy as np; from aaekit.data.store import as_store; "
    "as_store(np.arange(3e7).reshape(-1, 100), sys.argv[1], memory_limit_bytes=0)"
)
N_MOMENTS = 20


def start(line, folder):
    arguments = ["-c", STORE, str(folder)] if line == "store" else ["-m", "aaekit", *line.format(folder).split()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, text=True
    )


def finish(line, folder):
    process = start(line, folder)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0 and "Traceback" not in errors, errors


def complete_training(folder):
    """What a user does who finds a run that was killed."""
    if not (folder / "report.html").exists():
        is_run = (folder / "config.yaml").exists()
        finish("resume {0} -q" if is_run else TRAIN + " --out {0}", folder)


def complete_labelling(folder):
    """Ask, unless that was done, answer, and tell."""
    if not (folder / "questions-1.csv").exists():
        finish(ASK, folder)
    questions = folder / "questions-1.csv"
    with open(questions, newline="") as file:
        lines = list(csv.DictReader(file))
    with open(questions, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["row", "label"], *([line["row"], f"={int(line['row']) % 3}"] for line in lines)])
    finish("label tell {0} -q", folder)


def state_of(folder):
    """All that must be the same: everything but times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.startswith(("tensorboard", "checkpoints")) or path.is_dir() or name == "log.txt":
            continue
        assert path.name[0] != "." or path.suffix == ".tmp", f"{name} is left over"
        if path.suffix == ".safetensors":
            found[name] = {k: v.tobytes() for k, v in load_file(path).items()}
        elif path.name == "metrics.csv":
            lines = csv.DictReader(path.read_text().splitlines())
            found[name] = [{k: v for k, v in row.items() if k != "seconds"} for row in lines]
        elif path.name == "results.json":
            found[name] = {k: v for k, v in json.loads(path.read_text()).items() if "second" not in k}
        elif path.suffix in (".png", ".npy") or path.name == "labels.csv":
            found[name] = path.read_bytes()
        elif path.suffix != ".tmp":
            found[name] = None
    return found


CASES = {
    "train": (TRAIN + " --out {0}", lambda folder: None, complete_training),
    "resume": (
        "resume {0} -q",
        lambda folder: interrupt(TRAIN + " --out {0}", folder, at_checkpoint),
        complete_training,
    ),
    "evaluate": (
        "evaluate {0} --no-compare",
        complete_training,
        lambda folder: finish("evaluate {0} --no-compare", folder),
    ),
    "label": (ASK, lambda folder: None, complete_labelling),
    "store": ("store", lambda folder: None, lambda folder: finish("store", folder)),
}


def at_checkpoint(folder):
    while not any((folder / "checkpoints").glob("*.json")):
        time.sleep(0.01)


def interrupt(line, folder, wait):
    process = start(line, folder)
    wait(folder)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def check(name, tmp_path, n_moments):
    line, prepare, complete = CASES[name]
    whole = tmp_path / "whole"
    prepare(whole)
    began = time.monotonic()
    finish(line, whole)
    seconds = time.monotonic() - began
    complete(whole)
    expected, rng = state_of(whole), random.Random(0)
    for k in range(n_moments):
        folder = tmp_path / f"killed {k}"
        folder = Path(str(folder).replace(" ", "-"))
        prepare(folder)
        interrupt(line, folder, lambda _: time.sleep(rng.uniform(0, seconds)))
        complete(folder)
        assert state_of(folder) == expected, f"{name}, moment {k}"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed otherwise there")
@pytest.mark.timeout(300)
def test_a_cache_whose_building_is_killed_is_built_again(tmp_path):
    check("store", tmp_path, 2)
    (file,) = (tmp_path / "whole").glob("*.npy")
    assert np.load(file, mmap_mode="r").shape == (300_000, 100)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed otherwise there")
@pytest.mark.parametrize("name", CASES)
def test_killed_at_any_moment_it_comes_to_the_same_bits(name, tmp_path):
    check(name, tmp_path, N_MOMENTS)
