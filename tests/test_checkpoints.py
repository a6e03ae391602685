"""Trainings that are resumed from checkpoints, without a run directory; with one: `test_runs.py`."""

import json

import numpy as np
import pytest
import torch

from aaekit import AdversarialAutoencoder, InputError
from aaekit.core.callbacks import Callback
from aaekit.core.checkpoints import MAX_CHECKPOINTS, Checkpoints

TINY = {"hidden": (8,), "discriminator_hidden": (8,), "batch_size": 10, "max_steps": 12, "random_state": 0}
X = np.random.default_rng(0).random((40, 5), dtype=np.float32)


class StopAt(Callback):
    def __init__(self, n):
        self.n = n

    def step(self, training):
        if training.n_done == self.n:
            raise KeyboardInterrupt


def same(a, b):
    a, b = a.networks_.state_dict(), b.networks_.state_dict()
    return all(torch.equal(a[k], b[k]) for k in a)


def test_a_resumed_fit_is_that_of_an_uninterrupted_one(tmp_path):
    whole = AdversarialAutoencoder(**TINY).fit(X)
    checkpoints = Checkpoints(tmp_path / "a")
    assert not checkpoints.restores()
    with pytest.raises(KeyboardInterrupt):
        AdversarialAutoencoder(**TINY).fit(X, callbacks=[checkpoints, StopAt(7)])
    assert checkpoints.n_saved == 7 and Checkpoints(tmp_path / "a").restores()
    again = AdversarialAutoencoder(**TINY).fit(X, callbacks=[Checkpoints(tmp_path / "a")])
    assert same(whole, again) and [row["epoch"] for row in again.history_] == [1, 2, 3]
    assert 1 <= len(Checkpoints(tmp_path / "a").paths()) <= MAX_CHECKPOINTS


def test_a_complete_training_makes_no_further_step(tmp_path):
    class Steps(Callback):
        n = 0

        def step(self, training):
            self.n += 1

    first, steps = AdversarialAutoencoder(**TINY).fit(X, callbacks=[Checkpoints(tmp_path)]), Steps()
    again = AdversarialAutoencoder(**TINY).fit(X, callbacks=[Checkpoints(tmp_path), steps])
    assert steps.n == 0 and same(first, again) and again.n_steps_ == 12


def test_damaged_checkpoints_are_logged_and_skipped(tmp_path):
    logged = []
    with pytest.raises(KeyboardInterrupt):
        AdversarialAutoencoder(**TINY).fit(X, callbacks=[Checkpoints(tmp_path), StopAt(7)])
    (newest, *older) = Checkpoints(tmp_path).paths()
    newest.write_text("{")
    checkpoints = Checkpoints(tmp_path, logged.append)
    AdversarialAutoencoder(**TINY).fit(X, callbacks=[checkpoints])
    assert older and len(logged) == 1 and newest.stem in logged[0]
    for path in tmp_path.glob("*.json"):
        path.write_text("{")
    with pytest.raises(InputError, match="none of its .* checkpoints can be read"):
        AdversarialAutoencoder(**TINY).fit(X, callbacks=[Checkpoints(tmp_path)])


def test_checkpoints_of_other_networks_are_refused(tmp_path):
    AdversarialAutoencoder(**TINY).fit(X, callbacks=[Checkpoints(tmp_path)])
    with pytest.raises(InputError, match="expected a checkpoint of this configuration, got another .*: undo"):
        AdversarialAutoencoder(**{**TINY, "hidden": (9,)}).fit(X, callbacks=[Checkpoints(tmp_path)])
    assert json.loads(Checkpoints(tmp_path).paths()[0].read_text())["n_done"] == 12
