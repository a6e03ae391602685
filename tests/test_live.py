"""A training as others watch and steer it: curves by steps, requests, pictures."""

import csv
import threading
import time

import numpy as np
import pytest

from aaekit import AdversarialAutoencoder, InputError
from aaekit.core.callbacks import Callback
from aaekit.estimators import _fitting
from aaekit.runs import live
from aaekit.runs.config import completed, configuration
from aaekit.runs.run import Run


def make(path, system="generator", **options):
    options = {"data": "digits", "hidden": (8,), "batch_size": 50, "random_state": 0, **options}
    return Run.create(path, completed(system, configuration(system, options)))


def rows_of(path):
    with open(path / "steps.csv", newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


class At(Callback):
    """Does something after a step."""

    def __init__(self, **actions):
        self.actions = {int(k[1:]): v for k, v in actions.items()}

    def step(self, training):
        self.actions.pop(training.n_done, lambda: None)()


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    monkeypatch.setattr(Run, "conclude", lambda run, estimator, results: None)


def test_a_training_of_two_epochs_has_a_hundred_points(tmp_path):
    run = make(tmp_path / "run", batch_size=10, max_steps=260)  # epochs of 130 steps
    run.train()
    rows = rows_of(run.path)
    assert len(run.estimator.history_) <= 3 and 100 <= len(rows) <= 400
    assert [row["step"] for row in rows] == list(range(1, 261))
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    history = run.history(run.estimator)
    assert len(history) >= 100 and {row["step"] for row in history} >= {row["step"] for row in rows}


def test_steps_before_the_choice_of_an_initialisation_have_the_rows_of_their_epochs(tmp_path, monkeypatch):
    monkeypatch.setattr(_fitting, "MIN_TRIAL", 10)
    options = {"labels": 50, "n_init": 2, "max_steps": 180, "batch_size": 100, "validation": 50}
    run = make(tmp_path / "run", "classifier", **options)
    run.train()
    rows, epochs = rows_of(run.path), run.estimator.history_
    assert [row["step"] for row in rows] == [*(e["step"] for e in epochs if e["step"] <= 60), *range(61, 181)]
    assert rows[0]["reconstruction"] == pytest.approx(epochs[0]["reconstruction"])
    assert any(name.startswith("eval/") for name in epochs[-1])
    assert not any(name.startswith(("validation/", "eval/")) for name in rows[-1])


def test_rows_are_means_of_their_steps(tmp_path):
    """Weighted by their steps, the rows of an epoch have the mean of the epoch."""
    run = make(tmp_path / "run", max_steps=400)  # a row each 2 steps, epochs of 26
    run.train()
    rows, epoch = rows_of(run.path), run.estimator.history_[0]
    own = [row for row in rows if row["step"] <= epoch["step"]]
    widths = np.diff([0, *(row["step"] for row in own)])
    total = np.dot(widths, [row["reconstruction"] for row in own])
    rest = epoch["step"] - widths.sum()
    assert rest < 2 and total / widths.sum() == pytest.approx(epoch["reconstruction"], rel=0.1)


def test_resumed_rows_are_those_of_an_uninterrupted_training(tmp_path):
    whole = make(tmp_path / "whole", max_steps=400)
    whole.train()
    stopped = make(tmp_path / "stopped", max_steps=400)
    with pytest.raises(KeyboardInterrupt, match="stopped at step 42 of 400"):
        stopped.train([At(s41=stopped.checkpoints.request_stop)])
    again = Run.open(stopped.path)
    again.conclude = lambda *_: None
    again.train()
    expected, rows = rows_of(whole.path), rows_of(stopped.path)
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    for name in expected[0].keys() - {"seconds"}:
        np.testing.assert_allclose([r[name] for r in rows], [r[name] for r in expected], rtol=1e-4, atol=1e-6)


def test_a_training_pauses_goes_on_and_stops_when_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.01)
    run = make(tmp_path / "run", max_steps=100_000)
    problems = []

    def train():
        try:
            run.train()
        except KeyboardInterrupt as stop:
            problems.append(str(stop))

    def wait_for(state):
        for _ in range(2000):
            live.watch(run.path)
            if (now := live.last_state(run.path)) is not None and now["state"] == state and now["step"]:
                return now
            time.sleep(0.01)
        raise AssertionError(state)

    thread = threading.Thread(target=train)
    thread.start()
    while not (run.path / "steps.csv").exists():
        time.sleep(0.01)
    try:
        wait_for("training")
        live.ask(run.path, "pause")
        step = wait_for("paused")["step"]
        time.sleep(0.1)
        assert live.last_state(run.path)["step"] == step
        live.ask(run.path, "go")
        while wait_for("training")["step"] <= step:
            time.sleep(0.01)
        pictures, at = live.last_samples(run.path)
        assert pictures.shape == (100, 1, 8, 8) and pictures.dtype == np.uint8 and at > 0
    finally:
        live.ask(run.path, "stop")
        thread.join(60)
    assert problems and "resume with: aae resume" in problems[0]


def test_nothing_is_drawn_while_nobody_watches(tmp_path):
    run = make(tmp_path / "run", max_steps=5)
    run.train()
    assert not (run.path / "live").exists()
    assert live.last_state(run.path) is None and live.last_samples(run.path) is None


def test_old_and_damaged_requests_are_ignored(tmp_path):
    run = make(tmp_path / "run", max_steps=60)
    with pytest.raises(KeyboardInterrupt):
        run.train([At(s5=run.checkpoints.request_stop)])
    live.ask(run.path, "stop")  # of the training before
    again = Run.open(run.path)
    again.conclude = lambda *_: None

    def damage():
        (run.path / "live" / "request.json").write_text("{}")

    again.train([At(s10=damage)])
    assert again.n_done == 60
    with pytest.raises(InputError, match="expected a request of go, pause, stop"):
        live.ask(run.path, "delete")


def test_a_table_has_no_pictures():
    X = np.random.default_rng(0).random((40, 3))
    model = AdversarialAutoencoder(max_steps=2, hidden=(4,), random_state=0).fit(X)
    assert live.grid_of_samples(model) is None
