"""Labels propagated along nearest neighbours, and class frequencies estimated by them."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_moons

from aaekit.estimators import _label_propagation
from aaekit.estimators._label_propagation import Neighbourhood


def propagated(X, labels, frequencies, random_state):
    return Neighbourhood(X, labels, len(frequencies), random_state).propagate(np.asarray(frequencies))


@pytest.fixture
def moons():
    X, y = make_moons(400, noise=0.06, random_state=0)
    labels = np.full(400, -1)
    for k in (0, 1):
        labels[np.flatnonzero(y == k)[:2]] = k
    return X.astype(np.float32), y, labels


def test_labels_follow_the_rows_and_not_the_distance(moons):
    X, y, labels = moons
    probabilities = propagated(X, labels, np.full(2, 0.5), 0)
    straight = np.abs(X[:, None] - X[labels >= 0]).sum(2).argmin(1)
    assert (labels[labels >= 0][straight] != y).mean() > 0.08 > 0.01 > (probabilities.argmax(1) != y).mean()
    assert probabilities.dtype == np.float32 and np.allclose(probabilities.sum(1), 1, atol=1e-5)


def test_digits_from_two_labels_each():
    X, y = load_digits(return_X_y=True)
    labels = np.full(len(y), -1)
    for k in range(10):
        labels[np.flatnonzero(y == k)[:2]] = k
    images = (X.reshape(-1, 1, 8, 8) * 15).astype(np.uint8)
    probabilities = propagated(images, labels, np.full(10, 0.1), 0)
    assert (probabilities.argmax(1) != y).mean() < 0.15
    assert np.array_equal(probabilities, propagated(images, labels, np.full(10, 0.1), 0))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_masses_go_by_the_frequencies(share):
    X, y = make_moons(400, noise=0.3, random_state=0)
    labels = np.where(np.arange(400) < 20, y, -1)
    probabilities = propagated(X, labels, np.array([share, 1 - share]), 0)
    assert probabilities.mean(0)[0] == pytest.approx(share, abs=0.1)


def test_rows_that_no_label_reaches_are_zeros():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0, 0.1, (30, 2)), rng.normal(9, 0.1, (30, 2)), rng.normal(-9, 0.1, (30, 2))])
    labels = np.full(90, -1)
    labels[[0, 30]] = 0, 1
    probabilities = propagated(X, labels, np.full(2, 0.5), 0)
    assert (probabilities[:30].argmax(1) == 0).all() and (probabilities[30:60].argmax(1) == 1).all()
    assert (probabilities[:60].sum(1) > 0.99).all() and not probabilities[60:].any()


@pytest.mark.parametrize("n_labels", [4, 300])
def test_of_many_rows_a_part_is_linked(moons, n_labels, monkeypatch):
    X, y, labels = moons
    labels = labels if n_labels == 4 else np.where(np.arange(400) < n_labels, y, -1)
    monkeypatch.setattr(_label_propagation, "N_ROWS", 150)
    probabilities = propagated(X, labels, np.full(2, 0.5), 1)
    is_linked = probabilities.any(1)
    assert is_linked.sum() <= 150 and (probabilities.argmax(1) != y)[is_linked].mean() < 0.05
    assert is_linked[labels >= 0].sum() == min(n_labels, 75) and is_linked[labels < 0].sum() > 50
    assert not np.array_equal(is_linked, propagated(X, labels, np.full(2, 0.5), 2).any(1))


def test_labels_of_all_rows_stay():
    assert np.array_equal(
        propagated(np.zeros((3, 2)), np.array([1, 0, 1]), np.full(2, 0.5), 0), [[0, 1], [1, 0], [0, 1]]
    )


@pytest.mark.parametrize("X", [np.zeros((6, 3)), np.arange(6.0)[:, None], np.eye(6) * 1e10])
def test_odd_rows_do_no_harm(X):
    probabilities = propagated(X, np.array([0, 1, -1, -1, -1, -1]), np.full(2, 0.5), 0)
    assert probabilities.shape == (6, 2) and np.isfinite(probabilities).all() and (probabilities >= 0).all()


# --- class frequencies
def blobs(sizes, n_labels, distance=4.0):
    """Rows of classes of these sizes, the first `n_labels` of each labelled: rows, classes, labels."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(len(sizes)), sizes)
    X = rng.normal(0, 1, (len(y), 3)) + distance * np.eye(len(sizes), 3)[y]
    labels = np.full(len(y), -1)
    for k in range(len(sizes)):
        labels[np.flatnonzero(y == k)[:n_labels]] = k
    return X, y, labels


@pytest.mark.parametrize("sizes", [(300, 300, 300), (500, 250, 150), (60, 140)])
def test_frequencies_are_estimated_where_labels_are_equally_many(sizes):
    X, _, labels = blobs(sizes, 8)
    prior = np.full(len(sizes), 1 / len(sizes))
    frequencies = Neighbourhood(X, labels, len(sizes), 0).estimate_frequencies(prior)
    assert np.allclose(frequencies, np.array(sizes) / sum(sizes), atol=0.05) and frequencies.sum() == pytest.approx(1)
    assert np.array_equal(frequencies, Neighbourhood(X, labels, len(sizes), 0).estimate_frequencies(prior))


def test_the_prior_stays_where_neighbours_are_uncertain():
    X, _, labels = blobs((300, 150), 4, distance=0.5)
    assert np.allclose(Neighbourhood(X, labels, 2, 0).estimate_frequencies(np.full(2, 0.5)), 0.5, atol=0.06)
    X, y, labels = blobs((300, 150), 3)
    prior = np.array([0.4, 0.6])
    assert np.array_equal(Neighbourhood(X, labels, 2, 0).estimate_frequencies(prior), prior), "three labels are too few"
    assert np.array_equal(Neighbourhood(X, y, 2, 0).estimate_frequencies(prior), prior), "there is no unlabelled row"


def test_how_often_a_class_is_labelled_does_not_matter():
    X, y, _ = blobs((300, 300), 1)
    labels = np.full(600, -1)
    labels[:40], labels[300:308] = 0, 1
    assert np.allclose(Neighbourhood(X, labels, 2, 0).estimate_frequencies(np.array([0.8, 0.2])), 0.5, atol=0.06)


@pytest.mark.parametrize("share", [0.03, 0.1, 0.5])
def test_frequencies_of_a_random_sample_of_labels_stay(share):
    """Where classes overlap, nearly all rows are predicted as the larger one, which is no reason to think it larger."""
    X, y, _ = blobs((1200, 300), 1, distance=1.0)
    labels = np.where(np.random.default_rng(1).random(1500) < share, y, -1)
    sampled = (labels == 0).sum() / (labels >= 0).sum()
    prior = np.array([sampled, 1 - sampled])
    assert Neighbourhood(X, labels, 2, 0).estimate_frequencies(prior)[0] == pytest.approx(sampled, abs=0.05)


def test_rows_beside_repeated_ones_are_reached():
    X = np.concatenate([np.tile([[0.0, 0]], (10, 1)), np.tile([[5.0, 0]], (10, 1)), [[0.1, 0.1], [4.9, 0.1], [0.3, 0]]])
    labels = np.full(len(X), -1)
    labels[[0, 10]] = 0, 1
    np.testing.assert_allclose(propagated(X, labels, [0.5, 0.5], 0)[-3:], [[1, 0], [0, 1], [1, 0]])
