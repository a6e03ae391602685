"""Minibatches and seeds, which depend on their arguments alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aaekit import InputError
from aaekit.core import batches
from aaekit.core.batches import Minibatches, derived_seed

N, BATCH = 20, 5


def test_each_row_comes_once_an_epoch():
    rows = Minibatches([torch.arange(N)], BATCH, 0)
    assert rows.steps_per_epoch == 4
    for epoch in range(3):
        seen = torch.cat([rows.at(epoch * 4 + i)[0] for i in range(4)])
        assert torch.equal(seen.sort().values, torch.arange(N))


def test_rows_left_over_in_one_epoch_come_in_another():
    rows = Minibatches([torch.arange(11)], 4, 0)
    assert rows.steps_per_epoch == 2
    epochs = [torch.cat([rows.at(2 * e)[0], rows.at(2 * e + 1)[0]]) for e in range(30)]
    assert all(len(e.unique()) == 8 for e in epochs)
    assert len({tuple(sorted(set(range(11)) - set(e.tolist()))) for e in epochs}) > 10
    counts = torch.cat(epochs).bincount(minlength=11)
    assert counts.min() > 10


def test_a_batch_depends_on_the_seed_and_the_step_alone():
    a, b, other = (Minibatches([torch.arange(N)], BATCH, seed) for seed in (3, 3, 4))
    in_order = [a.at(i)[0] for i in range(12)]
    torch.manual_seed(99)
    for i in (11, 2, 7, 7, 0):
        assert torch.equal(b.at(i)[0], in_order[i])
    assert not torch.equal(torch.cat([other.at(i)[0] for i in range(4)]), torch.cat(in_order[:4]))
    assert not torch.equal(torch.cat(in_order[:4]), torch.cat(in_order[4:8])), "a new order each epoch"


def test_each_repeat_has_an_order_of_its_own_whatever_was_drawn_before():
    a, b = (Minibatches([torch.arange(N)], BATCH, 3) for _ in range(2))
    orders = [torch.cat([a.at(i, repeat)[0] for i in range(4)]) for repeat in range(5)]
    assert all(torch.equal(o.sort().values, torch.arange(N)) for o in orders)
    assert len({tuple(o.tolist()) for o in orders}) == 5
    assert torch.equal(b.at(2, 4)[0], orders[4][10:15]) and torch.equal(b.at(2)[0], orders[0][10:15])


def test_drawing_rows_does_not_change_the_global_random_state():
    before = torch.get_rng_state()
    Minibatches([torch.arange(N)], BATCH, 0).at(9)
    assert torch.equal(torch.get_rng_state(), before)


def test_arrays_stay_aligned():
    x = torch.randn(N, 2, 3)
    for step in range(9):
        images, labels = Minibatches([x, torch.arange(N)], BATCH, 0).at(step)
        assert images.shape == (BATCH, 2, 3) and torch.equal(images, x[labels])


def test_processes_share_a_minibatch(monkeypatch):
    rows = Minibatches([torch.arange(N)], BATCH, 0)
    whole, parts = rows.at(6)[0], []
    for rank in (0, 1):
        monkeypatch.setattr(batches, "rank_and_world_size", lambda rank=rank: (rank, 2))
        parts.append(rows.at(6)[0])
    assert [len(p) for p in parts] == [3, 2] and torch.equal(torch.cat(parts).sort().values, whole.sort().values)


def test_minibatches_smaller_than_the_processes_are_refused(monkeypatch):
    monkeypatch.setattr(batches, "rank_and_world_size", lambda: (0, 30))
    with pytest.raises(InputError, match="batch_size: expected at least 30, a row for each process, got 20"):
        Minibatches([torch.zeros(40, 1)], 20, 0)


# --- seeds
def test_derived_seeds_are_the_same_on_every_machine():
    assert derived_seed(0) == 7896617691693857887
    assert derived_seed(1, 2, 3) == 6498626229777268288
    assert derived_seed(2, 1) == 3304656143886516455


words = st.integers(0, 2**32 - 1)


@given(st.integers(1, 5).flatmap(lambda n: st.tuples(*[st.tuples(*[words] * n)] * 2)))
def test_different_words_have_different_seeds(pair):
    a, b = pair
    assert (derived_seed(*a) == derived_seed(*b)) == (a == b)
    assert 0 <= derived_seed(*a) < 2**63, "as torch takes them"


def test_the_order_of_words_matters_and_close_words_are_far_apart():
    assert derived_seed(1, 2) != derived_seed(2, 1)
    seeds = sorted(derived_seed(seed, k) for seed in range(20) for k in range(20))
    assert len(set(seeds)) == 400 and min(b - a for a, b in zip(seeds, seeds[1:], strict=False)) > 1000
