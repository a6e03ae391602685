"""Random numbers of one's own: threads of one process do not change each other's."""

import multiprocessing
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import QUICK

from aaekit import AdversarialAutoencoder, SemiSupervisedAAE
from aaekit.core.callbacks import Callback
from aaekit.core.random import RandomStream, paused, seed_of, state, use_state


def draws(seed, n=20):
    with RandomStream(seed):
        numbers = []
        for _ in range(n):
            numbers.append(torch.rand(2))
            with paused():
                pass
        return torch.cat(numbers)


def test_streams_in_threads_are_those_of_one_after_another():
    alone = [draws(seed) for seed in range(6)]
    before = torch.get_rng_state()
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(draws, range(6)))
    assert all(map(torch.equal, alone, together))
    torch.set_rng_state(before)
    with RandomStream(0):
        torch.rand(5)
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_take_turns_within_a_stream():
    order, first_is_in, second_was_in = [], threading.Event(), threading.Event()

    def first():
        with RandomStream(0):
            order.append("first")
            first_is_in.set()
            with paused():
                assert second_was_in.wait(60)  # only a pause lets it in
            order.append("first again")

    def second():
        assert first_is_in.wait(60)
        with RandomStream(0):
            order.append("second")
            second_was_in.set()

    with ThreadPoolExecutor(2) as pool:
        for work in (pool.submit(first), pool.submit(second)):
            work.result()
    assert order == ["first", "second", "first again"]


def test_a_stream_within_a_stream_and_its_state():
    with RandomStream(1):
        first = torch.rand(1)
        with RandomStream(2):
            torch.rand(3)
        second = torch.rand(1)
        with paused():
            saved = state()
            with RandomStream(3), paused():
                torch.rand(1)
            assert torch.equal(state()["cpu"], saved["cpu"])
        third = torch.rand(1)
        with paused():
            use_state(saved)
        assert torch.equal(torch.rand(1), third)
    with RandomStream(1):
        assert torch.equal(torch.rand(3), torch.cat([first, second, third]))


def test_what_has_no_seed_leaves_numpys_global_state_alone(few_labels):
    before = np.random.get_state()[1].copy()
    model = SemiSupervisedAAE(**{**QUICK, "random_state": None}).fit(*few_labels)
    a, b = model.sample(3), model.sample(3)
    assert not np.array_equal(a, b) and seed_of(None) != seed_of(None)
    assert np.array_equal(np.random.get_state()[1], before)


def weights_of(seed, X, y):
    model = SemiSupervisedAAE(**{**QUICK, "random_state": seed, "dropout": 0.2}).fit(X, y)
    return [*model.networks_.state_dict().values(), torch.from_numpy(model.sample(4, random_state=seed))]


@pytest.mark.timeout(120)
def test_any_mix_of_threads_gives_the_same_as_one_after_another(few_labels):
    X, y = few_labels
    model = AdversarialAutoencoder(**QUICK).fit(X)
    alone = [weights_of(seed, X, y) for seed in range(3)]
    samples = [model.sample(5, random_state=k) for k in range(8)]
    with ThreadPoolExecutor(6) as pool:
        fits = [pool.submit(weights_of, seed, X, y) for seed in range(3)]
        drawn = [pool.submit(model.sample, 5, k) for k in range(8)]
        for fit, expected in zip(fits, alone, strict=True):
            assert all(map(torch.equal, fit.result(), expected))
        # torch counts its own threads for each thread of Python: the last bits of sums may differ
        assert all(np.allclose(d.result(), s, atol=1e-6) for d, s in zip(drawn, samples, strict=True))


@pytest.mark.timeout(120)
def test_a_callback_may_wait_for_another_thread_that_samples(digits):
    model = AdversarialAutoencoder(**QUICK).fit(digits[0])

    class Waits(Callback):
        def step(self, training):
            with ThreadPoolExecutor(1) as pool:
                pool.submit(model.sample, 2, 0).result(timeout=60)
            torch.rand(1)  # no number of the training's

    again = AdversarialAutoencoder(**QUICK).fit(digits[0], callbacks=[Waits()])
    pairs = zip(model.networks_.state_dict().values(), again.networks_.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def forked(queue):
    queue.put(float(draws(1).sum()))


@pytest.mark.skipif(sys.platform == "win32" or not hasattr(os, "fork"), reason="there is no fork")
def test_a_process_forked_while_another_thread_draws_is_not_stuck():
    context, began, done = multiprocessing.get_context("fork"), threading.Event(), threading.Event()

    def hold():
        with RandomStream(0):
            began.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    began.wait(30)
    queue = context.Queue()
    child = context.Process(target=forked, args=(queue,))
    child.start()
    total = queue.get(timeout=30)
    child.join(30)
    done.set()
    thread.join()
    assert total == float(draws(1).sum())
