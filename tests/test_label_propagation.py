"""Labels that spread along nearest _label_propagation."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_moons

from aaekit.estimators import _label_propagation
from aaekit.estimators._label_propagation import Neighbourhood


def spread_labels(X, codes, frequencies, random_state):
    return Neighbourhood(X, codes, len(frequencies), random_state).spread(frequencies)


@pytest.fixture
def moons():
    X, y = make_moons(400, noise=0.06, random_state=0)
    codes = np.full(400, -1)
    for k in (0, 1):
        codes[np.flatnonzero(y == k)[:2]] = k
    return X.astype(np.float32), y, codes


def test_labels_follow_the_rows_and_not_the_distance(moons):
    X, y, codes = moons
    found = spread_labels(X, codes, np.full(2, 0.5), 0)
    straight = np.abs(X[:, None] - X[codes >= 0]).sum(2).argmin(1)
    assert (codes[codes >= 0][straight] != y).mean() > 0.08 > 0.01 > (found.argmax(1) != y).mean()
    assert found.dtype == np.float32 and np.allclose(found.sum(1), 1, atol=1e-5)


def test_digits_from_two_labels_each():
    X, y = load_digits(return_X_y=True)
    codes = np.full(len(y), -1)
    for k in range(10):
        codes[np.flatnonzero(y == k)[:2]] = k
    images = (X.reshape(-1, 1, 8, 8) * 15).astype(np.uint8)
    found = spread_labels(images, codes, np.full(10, 0.1), 0)
    assert (found.argmax(1) != y).mean() < 0.15
    assert np.array_equal(found, spread_labels(images, codes, np.full(10, 0.1), 0))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_masses_go_by_the_frequencies(share):
    X, y = make_moons(400, noise=0.3, random_state=0)
    codes = np.where(np.arange(400) < 20, y, -1)
    found = spread_labels(X, codes, np.array([share, 1 - share]), 0)
    assert found.mean(0)[0] == pytest.approx(share, abs=0.1)


def test_rows_that_no_label_reaches_say_nothing():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0, 0.1, (30, 2)), rng.normal(9, 0.1, (30, 2)), rng.normal(-9, 0.1, (30, 2))])
    codes = np.full(90, -1)
    codes[[0, 30]] = 0, 1
    found = spread_labels(X, codes, np.full(2, 0.5), 0)
    assert (found[:30].argmax(1) == 0).all() and (found[30:60].argmax(1) == 1).all()
    assert (found[:60].sum(1) > 0.99).all() and not found[60:].any()


@pytest.mark.parametrize("n_labels", [4, 300])
def test_of_many_rows_some_are_linked(moons, n_labels, monkeypatch):
    X, y, codes = moons
    codes = codes if n_labels == 4 else np.where(np.arange(400) < n_labels, y, -1)
    monkeypatch.setattr(_label_propagation, "N_ROWS", 150)
    found = spread_labels(X, codes, np.full(2, 0.5), 1)
    on = found.any(1)
    assert on.sum() <= 150 and (found.argmax(1) != y)[on].mean() < 0.05
    assert on[codes >= 0].sum() == min(n_labels, 75) and on[codes < 0].sum() > 50
    assert not np.array_equal(on, spread_labels(X, codes, np.full(2, 0.5), 2).any(1))


def test_labels_of_all_rows_are_what_they_are():
    assert np.array_equal(
        spread_labels(np.zeros((3, 2)), np.array([1, 0, 1]), np.full(2, 0.5), 0), [[0, 1], [1, 0], [0, 1]]
    )


@pytest.mark.parametrize("X", [np.zeros((6, 3)), np.arange(6.0)[:, None], np.eye(6) * 1e10])
def test_odd_rows_do_no_harm(X):
    found = spread_labels(X, np.array([0, 1, -1, -1, -1, -1]), np.full(2, 0.5), 0)
    assert found.shape == (6, 2) and np.isfinite(found).all() and (found >= 0).all()


# --- how frequent classes are
def blobs(sizes, n_labels, apart=4.0):
    """Rows of classes of these sizes, the first `n_labels` of each labelled: rows, classes, codes."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(len(sizes)), sizes)
    X = rng.normal(0, 1, (len(y), 3)) + apart * np.eye(len(sizes), 3)[y]
    codes = np.full(len(y), -1)
    for k in range(len(sizes)):
        codes[np.flatnonzero(y == k)[:n_labels]] = k
    return X, y, codes


@pytest.mark.parametrize("sizes", [(300, 300, 300), (500, 250, 150), (60, 140)])
def test_frequencies_are_seen_where_labels_were_drawn_alike(sizes):
    X, _, codes = blobs(sizes, 8)
    guess = np.full(len(sizes), 1 / len(sizes))
    found = Neighbourhood(X, codes, len(sizes), 0).frequencies(guess)
    assert np.allclose(found, np.array(sizes) / sum(sizes), atol=0.05) and found.sum() == pytest.approx(1)
    assert np.array_equal(found, Neighbourhood(X, codes, len(sizes), 0).frequencies(guess))


def test_frequencies_stay_as_guessed_where_neighbours_are_not_sure():
    X, _, codes = blobs((300, 150), 4, apart=0.5)
    assert np.allclose(Neighbourhood(X, codes, 2, 0).frequencies(np.full(2, 0.5)), 0.5, atol=0.06)
    X, y, codes = blobs((300, 150), 3)
    guess = np.array([0.4, 0.6])
    assert np.array_equal(Neighbourhood(X, codes, 2, 0).frequencies(guess), guess), "halves of three say too little"
    assert np.array_equal(Neighbourhood(X, y, 2, 0).frequencies(guess), guess), "no row is left to look at"


def test_how_often_a_class_is_labelled_does_not_matter():
    X, y, _ = blobs((300, 300), 1)
    codes = np.full(600, -1)
    codes[:40], codes[300:308] = 0, 1
    assert np.allclose(Neighbourhood(X, codes, 2, 0).frequencies(np.array([0.8, 0.2])), 0.5, atol=0.06)


@pytest.mark.parametrize("share", [0.03, 0.1, 0.5])
def test_labels_that_are_a_fair_sample_are_believed(share):
    """Where classes overlap, nearly all rows are called by the larger one: no reason to think it larger."""
    X, y, _ = blobs((1200, 300), 1, apart=1.0)
    codes = np.where(np.random.default_rng(1).random(1500) < share, y, -1)
    sampled = (codes == 0).sum() / (codes >= 0).sum()
    guess = np.array([sampled, 1 - sampled])
    assert Neighbourhood(X, codes, 2, 0).frequencies(guess)[0] == pytest.approx(sampled, abs=0.05)


def test_rows_beside_repeated_ones_are_reached():
    X = np.concatenate([np.tile([[0.0, 0]], (10, 1)), np.tile([[5.0, 0]], (10, 1)), [[0.1, 0.1], [4.9, 0.1], [0.3, 0]]])
    codes = np.full(len(X), -1)
    codes[[0, 10]] = 0, 1
    np.testing.assert_allclose(spread_labels(X, codes, [0.5, 0.5], 0)[-3:], [[1, 0], [0, 1], [1, 0]])
