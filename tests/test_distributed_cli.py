"""`aae train --devices` and torchrun: one writer, one message, and runs that go on after processes have died."""

import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from aaekit.cli import main
from aaekit.runs.run import Run
from aaekit.systems import SYSTEMS
from tests.conftest import some_digits

pytestmark = pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="processes are started otherwise there"
)
N_STEPS = 120
TRAIN = "train generator --data digits.npz --backbone mlp --hidden 8 --batch-norm --device cpu --batch-size 20"
TRAIN += f" --schedule joint --max-steps {N_STEPS}"
PRELOADED = ["aaekit.cli.app", "aaekit.cli.train", "aaekit.runs.run", "aaekit.plots.draw", "torch", "aaekit.systems"]
SITE = """
import os, signal, threading, time
from pathlib import Path

def at_first_checkpoint(path, act):
    while not list(Path(path).glob("checkpoints/*.json")):
        time.sleep(0.001)
    act()

def do(rank, name, act):
    if os.environ.get("RANK") == rank and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and name in os.environ:
        threading.Thread(target=at_first_checkpoint, args=(os.environ[name], act), daemon=True).start()

do("1", "KILLED", lambda: os.kill(os.getpid(), signal.SIGKILL))
do("0", "STOPPED", lambda: os.kill(os.getppid(), signal.SIGINT))
if os.environ.get("RANK") == "0":
    from aaekit.plots import draw
    draw.draw_all = lambda *_, **__: {}
"""


# --- processes -------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where commands run: a data set, and what a new interpreter does in tests."""
    folder = tmp_path_factory.mktemp("processes")
    X, y = some_digits()
    np.savez(folder / "digits.npz", X=X, y=y)
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(SITE)
    return folder


def run(folder, arguments, **environment):
    """The exit code of a command in a terminal, and the lines of its two streams."""
    paths = [str(folder / "site"), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "aaekit", *arguments.split()], cwd=folder, env={**os.environ, **environment},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def work(folder, arguments, rank, environment, prepare):
    """One of the processes of torchrun: it writes what it says into a file."""
    os.environ.update(environment, RANK=str(rank), LOCAL_RANK=str(rank))
    os.chdir(folder)
    from aaekit.plots import draw

    draw.draw_all = lambda *_, **__: {}
    if prepare is not None:
        prepare(rank)
    with open(folder / f"said-{rank}.txt", "w") as sys.stdout:
        sys.stderr = sys.stdout
        main(arguments.split())


def together(folder, arguments, prepare=None):
    """The exit codes of two processes that have the environment of torchrun, and the lines that each has said."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    environment["OMP_NUM_THREADS"] = "1"
    both = [context.Process(target=work, args=(folder, arguments, k, environment, prepare)) for k in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
        process.kill()
    said = [(folder / f"said-{k}.txt").read_text().splitlines() for k in (0, 1)]
    return [process.exitcode for process in both], said


# --- runs ------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def killed(folder):
    """What the command said that trained a run of which one process was killed once."""
    return run(folder, f"{TRAIN} --devices 2 --max-restarts 1 --out killed", KILLED="killed")


@pytest.fixture(scope="module")
def stopped(folder):
    """What a command said that was interrupted after its first checkpoint."""
    said = run(folder, f"{TRAIN} --devices 2 --out stopped", STOPPED="stopped")
    shutil.copytree(folder / "stopped", folder / "moved")
    return said


def started_at(path):
    """The steps at which a run was started."""
    lines = (path / "log.txt").read_text().splitlines()
    return [int(line.split(" step ")[1].split()[0]) for line in lines if "started on" in line]


def test_all_processes_start_again_when_one_was_killed(folder, killed):
    code, out, err = killed
    assert code == 0, err
    assert [line for line in err if not line.startswith("step ")] == [
        "note: a process has died, and all have started again"
    ]
    assert sum(line.startswith("report:") for line in out) == 1, "the first process reports"
    first, second = started_at(folder / "killed")
    assert first == 0 and 0 < second < N_STEPS


def test_ctrl_c_ends_all_processes(folder, stopped):
    code, out, err = stopped
    assert (code, out) == (130, [])
    assert [line for line in err if not line.startswith("step ")] == [err[-1]]
    assert err[-1].startswith("stopped at step ") and err[-1].endswith("resume with: aae resume stopped")
    assert not (folder / "stopped" / ".lock").exists()


def test_a_resumed_run_is_the_same_as_one_that_started_again(folder, killed, stopped):
    codes, said = together(folder, "resume stopped --quiet")
    assert (codes, said) == ([0, 0], [[], []])
    assert started_at(folder / "stopped")[-1] > 0
    killed, resumed = (load_file(folder / run / "model.safetensors") for run in ("killed", "stopped"))
    assert killed.keys() == resumed.keys()
    for name, value in killed.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)


def test_a_run_may_go_on_with_another_number_of_processes(folder, stopped, aae, monkeypatch, no_figures):
    monkeypatch.chdir(folder)
    code, _, err = aae("resume", "moved", "--devices", 1, "--quiet")
    assert code == 0 and err == [
        "note: the run began with 2 processes, and goes on with 1: its numbers are not exactly those of an "
        "uninterrupted one"
    ]


# --- what is refused -------------------------------------------------------------------------------------------------
def other_rows(rank):
    """The second process has other rows than the first."""
    if rank == 1:
        Run._shared_facts = lambda self: []


@pytest.mark.parametrize(
    ("arguments", "prepare", "words"),
    [
        ("train generator --data missing.npz --out refused", None, ["missing.npz"]),
        ("train generator --data digits.npz --max-epoch 3 --out refused", None, ["--max-epochs"]),
        ("train generator --data digits.npz --batch-size 301 --out refused", None, ["batch_size", "301"]),
        ("train generator --data digits.npz --out refused", other_rows, ["same rows and labels in all 2 processes"]),
    ],
)
def test_what_processes_refuse_is_said_once(folder, arguments, prepare, words):
    codes, said = together(folder, arguments, prepare)
    lines = said[0] + said[1]
    assert codes == [2, 2] and len(lines) == 1 and all(word in lines[0] for word in words), said
    assert not (folder / "refused").exists()


def test_a_training_that_fails_is_reported_once(folder):
    codes, said = together(folder, f"{TRAIN} --optimizer sgd --learning-rate 10 --out failed --quiet")
    lines = said[0] + said[1]
    assert codes == [2, 2] and len(lines) == 1 and "expected a finite loss" in lines[0], said


def dies(rank):
    """The second process ends without a word after the first checkpoint."""

    def end():
        while not list(Path("lost").glob("checkpoints/*.json")):
            time.sleep(0.001)
        os._exit(9)

    if rank == 1:
        threading.Thread(target=end, daemon=True).start()


def test_a_process_that_has_died_is_reported_once(folder):
    """The launcher starts all processes again that exit with another code than 0."""
    codes, said = together(folder, f"{TRAIN} --out lost --quiet", dies)
    assert codes == [1, 9] and len(said[0]) == 1 and not said[1], said
    assert "expected 2 processes that train together" in said[0][0] and "checkpoint: lost" in said[0][0]


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        ("--devices 2 --device cuda --out new", {}, ["device", "'cuda'"]),
        ("--devices 2 --out new", {"RANK": "0", "WORLD_SIZE": "2"}, ["--devices", "torchrun"]),
    ],
)
def test_refused_before_processes_start(arguments, environment, words, aae, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    if environment:
        for name, value in {"LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1", **environment}.items():
            monkeypatch.setenv(name, value)
    code, _, err = aae("train", "generator", "--data", "digits", *arguments.split())
    assert code == 2 and len(err) == 1 and all(word in err[0] for word in words), err
    assert not list(tmp_path.iterdir())


QUICK = ("clusters", "pretrained", "outliers")  # what the others do is what these or the tests above do


@pytest.mark.parametrize("system", [s if s in QUICK else pytest.param(s, marks=pytest.mark.slow) for s in SYSTEMS])
def test_every_system_trains_in_two_processes(folder, system):
    options = "--max-steps 4 --hidden 8 --batch-size 20 --device cpu --quiet"
    options += " --pretraining-epochs 1" if system == "pretrained" else ""
    codes, said = together(folder, f"train {system} --data digits.npz {options} --out {system}")
    assert codes == [0, 0] and not said[1], said
    assert Run.open(folder / system).complete and Run.open(folder / system).n_processes == 2
