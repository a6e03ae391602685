"""The registry: a new system is an estimator and one line, and all commands work with it."""

import csv
import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass
from importlib.util import find_spec

import numpy as np
import pytest
import yaml

from aaekit import InputError, SemiSupervisedAAE, systems
from aaekit.estimators._base import Estimator
from aaekit.estimators._hyperparameters import hyperparameters
from aaekit.estimators._timing import Timing
from aaekit.runs.config import options_of
from aaekit.runs.run import Run
from aaekit.systems import SYSTEMS, System, find, register

pytestmark = pytest.mark.usefixtures("no_pixels", "few_trees")


@hyperparameters
class ToyAAE(SemiSupervisedAAE):
    """A system that this package does not have."""


class ToyPlan:
    """A plan without a training."""

    def as_dict(self):
        phases = [{"name": "z/generator", "weight": 0.1, "learning_rate": 5e-4, "moves": ["encoder"]}]
        return {"n_steps": 6, "batch_sizes": {"labelled": 25}, "dropout": None, "phases": phases}


@hyperparameters
class PlannedAAE(ToyAAE):
    """One whose plan is known."""

    def plan_for(self, X, y=None):
        assert X.shape == (1267, 1, 8, 8) and (y != -1).sum() == 50
        return ToyPlan()


TOY = System("toy", f"{__name__}:ToyAAE", "A toy, to see what follows from a line.", needs_labels=True, comparable=True)
TINY = ("--hidden", "16", "--backbone", "mlp", "--max-steps", "6", "--batch-size", "40", "--quiet")


@pytest.fixture
def registered():
    """Register systems for the duration of a test."""
    before = dict(SYSTEMS)
    yield register
    SYSTEMS.clear()
    SYSTEMS.update(before)


@dataclass
class EntryPoint:
    """Another package's, as installers leave them."""

    name: str
    value: object

    def load(self):
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


@pytest.fixture
def installed(monkeypatch):
    """Pretend that packages with these entry points are installed; returns the names that were asked for."""
    points = []

    def entry_points(*, group):
        assert group == "aaekit.systems"
        return points

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    return points


def test_the_registry_is_cheap_and_complete():
    code = "import sys, aaekit.systems as s; print(*s.SYSTEMS, 'torch' in sys.modules or 'numpy' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out == [*SYSTEMS, "False"]
    for name, system in SYSTEMS.items():
        assert system.name == name and issubclass(system.load(), Estimator) and system.help.endswith(".")
        assert {"system", "data", "max_steps"} <= set(options_of(name))
    assert [s.name for s in SYSTEMS.values() if s.comparable] == ["classifier", "pretrained", "baseline"]
    with pytest.raises(FrozenInstanceError):
        SYSTEMS["style"].help = "other"


def test_names_are_unique_and_misspelt_ones_are_guessed(registered):
    with pytest.raises(InputError, match="expected a new name of a system, got 'style' of .*SupervisedAAE: choose"):
        register(System("style", "a:B", "Another."))
    with pytest.raises(InputError, match="expected a system .generator, .*, got 'clasifier'.*'classifier'"):
        find("clasifier")
    registered(System("broken", "aaekit.estimators:Missing", "No such class."))
    with pytest.raises(InputError, match="system broken: expected an estimator at 'aaekit.estimators:Missing'"):
        find("broken").load()


def test_a_new_system_has_every_command(registered, aae, tmp_path, monkeypatch):
    """Trained, compared, reported on and used, with one line."""
    registered(TOY)
    monkeypatch.setenv("COLUMNS", "200")
    assert TOY.help in aae("train", "--help")[1] and "--max-steps" in aae("train", "toy", "--help")[1]
    out = tmp_path / "run"
    data = ["--data", "digits", "--labels", 50]
    code, _, err = aae("train", "toy", *data, *TINY, "--compare", "--out", out)
    assert code == 0 and (out / "report.html").is_file(), err
    assert yaml.safe_load((out / "config.yaml").read_text())["system"] == "toy"
    results = json.loads((out / "results.json").read_text())
    assert results["estimator"] == "ToyAAE" and len(results["comparison"]) == (8 if find_spec("skimage") else 7)
    assert isinstance(Run.open(out).fitted(), ToyAAE)
    np.save(tmp_path / "rows.npy", np.zeros((3, 1, 8, 8), np.uint8))
    assert aae("predict", out, tmp_path / "rows.npy", "--out", tmp_path / "p.csv")[0] == 0
    with open(tmp_path / "p.csv") as file:
        assert len(list(csv.DictReader(file))) == 3
    code, text, _ = aae("evaluate", out, "--no-compare")
    assert code == 0 and "error (%)" in text
    code, text, _ = aae("doctor", out)
    assert code == 0 and text
    no_labels = ["--data", "digits", "--labels", 0, *TINY, "--out", tmp_path / "none"]
    assert "expected labels y" in aae("train", "toy", *no_labels)[2][0]
    del SYSTEMS["toy"]
    code, _, err = aae("evaluate", out)
    assert code == 2 and "config.yaml: expected a system" in err[0]


def test_plan_is_printed_and_nothing_is_trained(registered, aae, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("aaekit.estimators._timing.timing_of", lambda *_: Timing(1700, 2044, 3 * 2**29))
    registered(System("planned", f"{__name__}:PlannedAAE", "Planned."))
    code, text, err = aae("train", "planned", "--data", "digits", "--labels", 50, "--validation", 30, "--plan")
    lines = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    assert code == 0 and err == [] and list(tmp_path.iterdir()) == []
    assert lines[:3] == [["n_steps", "6"], ["batch_sizes.labelled", "25"], ["dropout", "none"]]
    assert lines[3:] == [["z/generator", "0.1", "0.0005", "encoder"]]
    last = "on this machine: about 28 min, 1.5 GiB of memory (2,044 steps; by the first few of them)"
    assert text.splitlines()[-1] == last


@pytest.mark.parametrize("system", list(SYSTEMS))
def test_every_system_has_a_plan(system, aae):
    code, text, _ = aae("train", system, "--data", "digits", "--labels", 50, *TINY, "--plan")
    assert code == 0 and "n_steps" in text and "reconstruction" in text + "reconstruction" * (system == "baseline")
    assert ("on this machine: about " in text) == (system != "pretrained")


# --- systems of other packages ---------------------------------------------------------------------------------------
def test_entry_points_are_read_for_unknown_names_alone(registered, installed, aae):
    installed += [EntryPoint("toy", TOY), EntryPoint("other", RuntimeError("it must not be loaded"))]
    find("classifier")
    assert "toy" not in SYSTEMS
    assert find("toy") is TOY and SYSTEMS["toy"] is TOY and find("toy") is TOY
    assert "--max-steps" in aae("train", "toy", "--help")[1]
    with pytest.raises(InputError, match="got 'othr'.*'other'"):
        find("othr")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            ImportError("No module named 'x'"),
            "system toy: expected a System at .*No module named 'x'.*: repair or remove",
        ),
        (System("tow", "a:B", "Misnamed."), "system toy: expected a System of that name"),
        ("text", "system toy: expected a System of that name .*got 'text'"),
    ],
)
def test_broken_entry_points_are_refused(value, words, registered, installed):
    installed.append(EntryPoint("toy", value))
    with pytest.raises(InputError, match=words):
        find("toy")
    assert "toy" not in systems.SYSTEMS
