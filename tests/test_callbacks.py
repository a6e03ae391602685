"""The progress of a training, on a terminal and elsewhere."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from aaekit import AdversarialAutoencoder, SemiSupervisedAAE
from aaekit.core.callbacks import Callback, Progress

X = np.random.default_rng(0).random((40, 6))


def progress_of(terminal, *others, **settings):
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=120)
    model = AdversarialAutoencoder(hidden=(8,), discriminator_hidden=(8,), batch_size=10, random_state=0, **settings)
    model.fit(X, callbacks=[*others, Progress(console)])
    return model, file.getvalue()


def test_lines_where_there_is_no_terminal():
    model, text = progress_of(False, max_steps=20)
    lines = text.splitlines()
    assert [int(line.split()[1]) for line in lines] == list(range(2, 21, 2))
    assert all(re.search(r"\(\d+ %\), \d+ s left  rec \S+  z/D \S+  z/G \S+$", line) for line in lines)
    last = model.history_[-1]
    assert f"rec {last['reconstruction']:.3g}  z/D {last['z/discriminator']:.3g}" in lines[-1]
    assert "\x1b" not in text


def test_bar_on_a_terminal():
    _, text = progress_of(True, max_steps=20)
    plain = re.sub(r"\x1b\[[^m]*m", "", text)
    assert "20/20" in plain and re.search(r"rec \d", plain) and text.endswith(("\n", "\x1b[?25h"))


def test_losses_are_not_read_at_each_step(monkeypatch):
    looks = []
    monkeypatch.setattr("aaekit.core.callbacks.losses_text", lambda training: looks.append(training.n_done) or "")
    monkeypatch.setattr(Progress, "SECONDS", 3600)
    progress_of(True, max_steps=20)
    assert looks == [1, 20] or looks == [20]


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_of_a_resumed_training_starts_at_its_step(terminal):
    class Skip(Callback):
        def start(self, training):
            training.n_done = 10

    _, text = progress_of(terminal, Skip(), max_steps=20)
    if terminal:
        assert "10/20" in re.sub(r"\x1b\[[^m]*m", "", text)
    else:
        assert text.splitlines()[0].startswith("step 12 of 20 (60 %)")


def test_verbose_shows_it(capsys):
    AdversarialAutoencoder(hidden=(8,), max_steps=10, verbose=1).fit(X)
    captured = capsys.readouterr()
    assert "step 10 of 10 (100 %)" in captured.err and not captured.out


@pytest.mark.parametrize(
    ("n_rows", "n_labels", "announced"), [(12_000, 40, True), (12_000, 12_000, False), (8000, 40, False)]
)
def test_a_long_wait_before_the_first_step_is_announced(n_rows, n_labels, announced, capsys):
    rows = np.random.default_rng(0).random((n_rows, 3))
    y = np.where(np.arange(n_rows) < n_labels, np.arange(n_rows) % 2, -1)
    SemiSupervisedAAE(hidden=(8,), max_steps=10, verbose=1).fit(rows, y)
    lines = capsys.readouterr().err.splitlines()
    assert ("finding nearest neighbours" in lines[0]) == announced
    assert sum("neighbours" in line for line in lines) == announced and lines[-1].startswith("step 10 of 10")


def test_a_callback_does_nothing_by_itself():
    """So that a user's own needs only the methods that it is about."""
    plain = AdversarialAutoencoder(hidden=(8,), max_steps=10, random_state=0).fit(X)
    called = AdversarialAutoencoder(hidden=(8,), max_steps=10, random_state=0).fit(X, callbacks=[Callback()])
    assert not Callback().restores() and np.array_equal(plain.transform(X), called.transform(X))


def test_the_first_line_does_not_wait_for_a_tenth(monkeypatch):
    """Of a slow training, lines come after 5, 10, 20, ... seconds."""
    from aaekit.core import callbacks

    class Training:
        class settings:
            n_steps = 1000

        n_done, phases, losses = 0, (), {}

    now = 0.0
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now)
    text = io.StringIO()
    progress = Progress(Console(file=text))
    progress.start(Training)
    for step in range(1, 61):
        now, Training.n_done = float(step), step
        progress.step(Training)
    assert [int(line.split()[1]) for line in text.getvalue().splitlines()] == [5, 10, 20, 40]
