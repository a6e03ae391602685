"""Runs whose data, or whose data directory, are elsewhere now."""

import shutil

import numpy as np
import pytest

from aaekit.data.sets import SETS, NamedSet
from aaekit.runs.run import Run

pytestmark = pytest.mark.usefixtures("no_figures", "few_trees")

SMALL = ["--max-steps", 3, "--hidden", 8, "--quiet"]


@pytest.fixture
def rows(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "here").mkdir()
    np.savez(tmp_path / "here" / "rows.npz", X=random.normal(size=(90, 3)), y=np.arange(90) % 3)
    return tmp_path / "here" / "rows.npz"


@pytest.fixture
def moved(rows, aae, tmp_path):
    """A run whose data were moved, and their new place."""
    code, _, errors = aae("train", "baseline", "--data", rows, *SMALL, "--out", tmp_path / "run")
    assert code == 0, errors
    (tmp_path / "there").mkdir()
    return tmp_path / "run", rows.rename(tmp_path / "there" / "rows.npz")


@pytest.mark.parametrize("command", ["doctor", "plot"])
def test_a_run_whose_data_were_moved_is_told_their_place(command, moved, aae):
    run, place = moved
    code, _, errors = aae(command, run)
    assert code != 0 and len(errors) == 1 and "expected the data of the run, got nothing at" in errors[0]
    assert "--data" in errors[0] and str(run) in errors[0]
    code, _, errors = aae(command, run, "--data", place)
    assert code == 0, errors


@pytest.mark.parametrize("command", ["doctor", "plot", "resume"])
def test_other_rows_are_not_taken_for_those_of_the_run(command, moved, aae, tmp_path):
    run, _ = moved
    np.savez(tmp_path / "other.npz", X=np.ones((90, 3)) * np.arange(90)[:, None], y=np.arange(90) % 3)
    if command == "resume":
        (run / "report.html").unlink()
    code, _, errors = aae(command, run, "--data", tmp_path / "other.npz")
    assert code != 0 and len(errors) == 1 and "expected the rows and labels of" in errors[0]


def test_a_stopped_run_is_resumed_with_data_that_were_moved(moved, aae):
    run, place = moved
    for name in ("report.html", "model.safetensors"):
        (run / name).unlink()
    code, _, errors = aae("resume", run, "--quiet", "--data", place)
    assert code == 0 and (run / "report.html").exists(), errors


@pytest.mark.parametrize("chosen_by", ["option", "variable"])
def test_the_data_directory_is_remembered(chosen_by, aae, tmp_path, monkeypatch):
    """A named set is looked for where it was when the run was made, from any directory and without the variable."""
    folder = tmp_path / "sets"
    folder.mkdir()

    def read(paths):
        random = np.random.default_rng(0)
        return random.normal(size=(90, 3)).astype(np.float32), np.arange(90) % 3, None, None

    monkeypatch.setitem(SETS, "toy", NamedSet(summary="a toy", source="here", classes=("a", "b", "c"), read=read))
    seen = []
    monkeypatch.setattr("aaekit.data.loading.paths_of", lambda name, data_dir, download: seen.append(data_dir) or [])
    monkeypatch.delenv("AAE_DATA_DIR", raising=False)
    options = []
    if chosen_by == "option":
        options = ["--data-dir", folder]
    else:
        monkeypatch.setenv("AAE_DATA_DIR", str(folder))
    monkeypatch.chdir(tmp_path)
    code, _, errors = aae("train", "baseline", "--data", "toy", *options, *SMALL, "--out", "run")
    assert code == 0, errors
    monkeypatch.delenv("AAE_DATA_DIR", raising=False)
    seen.clear()
    assert aae("doctor", tmp_path / "run")[0] == 0
    assert aae("evaluate", tmp_path / "run", "--data", "toy")[0] == 0
    assert seen == [str(folder)] * len(seen) and len(seen) >= 2
    seen.clear()
    (tmp_path / "elsewhere").mkdir()
    assert aae("doctor", tmp_path / "run", "--data-dir", tmp_path / "elsewhere")[0] == 0
    assert seen == [str(tmp_path / "elsewhere")]
    shutil.rmtree(folder)  # a folder that is gone gives way to the variable
    assert Run.open(tmp_path / "run").config["data_dir"] is None


def test_without_a_choice_there_is_nothing_to_remember(rows, aae, tmp_path, monkeypatch):
    monkeypatch.delenv("AAE_DATA_DIR", raising=False)
    assert aae("train", "baseline", "--data", rows, *SMALL, "--out", tmp_path / "run")[0] == 0
    assert Run.open(tmp_path / "run").config["data_dir"] is None
    monkeypatch.setenv("AAE_DATA_DIR", str(tmp_path))
    code, printed, _ = aae("train", "baseline", "--data", rows, "--print-config")
    assert code == 0 and str(tmp_path) not in next(line for line in printed.splitlines() if line.startswith("data_dir"))
