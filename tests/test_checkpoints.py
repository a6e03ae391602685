"""Trainings that stop and go on, without a run directory around them; with one: `test_runs.py`."""

import json

import numpy as np
import pytest
import torch

from aaekit import AdversarialAutoencoder, InputError
from aaekit.core.callbacks import Callback
from aaekit.core.checkpoints import KEPT, Checkpoints

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


def test_what_was_stopped_goes_on_as_if_it_had_not_been(tmp_path):
    whole = AdversarialAutoencoder(**TINY).fit(X)
    kept = Checkpoints(tmp_path / "a")
    assert not kept.restores()
    with pytest.raises(KeyboardInterrupt):
        AdversarialAutoencoder(**TINY).fit(X, callbacks=[kept, StopAt(7)])
    assert kept.n_kept == 7 and Checkpoints(tmp_path / "a").restores()
    again = AdversarialAutoencoder(**TINY).fit(X, callbacks=[Checkpoints(tmp_path / "a")])
    assert same(whole, again) and [row["epoch"] for row in again.history_] == [1, 2, 3]
    assert 1 <= len(Checkpoints(tmp_path / "a").found()) <= KEPT


def test_one_that_ended_takes_no_step_more(tmp_path):
    class Steps(Callback):
        n = 0

        def step(self, training):
            self.n += 1

    first, steps = AdversarialAutoencoder(**TINY).fit(X, callbacks=[Checkpoints(tmp_path)]), Steps()
    again = AdversarialAutoencoder(**TINY).fit(X, callbacks=[Checkpoints(tmp_path), steps])
    assert steps.n == 0 and same(first, again) and again.n_steps_ == 12


def test_damaged_ones_are_told_of_and_passed_over(tmp_path):
    said = []
    with pytest.raises(KeyboardInterrupt):
        AdversarialAutoencoder(**TINY).fit(X, callbacks=[Checkpoints(tmp_path), StopAt(7)])
    (newest, *older) = Checkpoints(tmp_path).found()
    newest.write_text("{")
    kept = Checkpoints(tmp_path, said.append)
    AdversarialAutoencoder(**TINY).fit(X, callbacks=[kept])
    assert older and len(said) == 1 and newest.stem in said[0]
    for path in tmp_path.glob("*.json"):
        path.write_text("{")
    with pytest.raises(InputError, match="none of its .* checkpoints can be read"):
        AdversarialAutoencoder(**TINY).fit(X, callbacks=[Checkpoints(tmp_path)])


def test_those_of_other_networks_are_refused(tmp_path):
    AdversarialAutoencoder(**TINY).fit(X, callbacks=[Checkpoints(tmp_path)])
    with pytest.raises(InputError, match="not of this configuration"):
        AdversarialAutoencoder(**{**TINY, "hidden": (9,)}).fit(X, callbacks=[Checkpoints(tmp_path)])
    assert json.loads(Checkpoints(tmp_path).found()[0].read_text())["n_done"] == 12
