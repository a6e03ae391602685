"""Simple methods teach the classifier of tables: their mean, class frequencies, certainty, and the floor they give."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from torch import nn

from aaekit import SemiSupervisedAAE
from aaekit.errors import ClassPriorWarning, LostClassWarning
from aaekit.estimators._label_propagation import Neighbourhood
from aaekit.estimators._labels import warn_of_lost_classes
from aaekit.estimators._teachers import METHODS, calibrate, teach


def blobs(sizes, seed=0, std=1.0):
    """Well separated groups of rows, float32, and their numbers."""
    X, y = make_blobs(list(sizes), 4, centers=6 * np.eye(len(sizes), 4), cluster_std=std, random_state=seed)
    return X.astype(np.float32), y


def with_labels(y, per_class, seed=0):
    """Labels of so many rows of each class, a number or one for each; -1 elsewhere."""
    random, partly = np.random.default_rng(seed), np.full(len(y), -1)
    for k in np.unique(y):
        n = per_class if np.isscalar(per_class) else per_class[k]
        chosen = random.permutation(np.flatnonzero(y == k))[:n]
        partly[chosen] = k
    return partly


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 4), st.integers(1, 6), st.integers(0, 5))
def test_the_mean_is_a_distribution_for_any_number_of_labels(n_classes, n_labels, seed):
    X, y = blobs([30] * n_classes, seed)
    partly = with_labels(y, [n_labels] + [1] * (n_classes - 1), seed)
    taught = teach(X, partly, np.full(n_classes, 1 / n_classes), seed)
    assert taught.soft_labels.shape == (len(X), n_classes) and taught.soft_labels.dtype == np.float32
    assert np.allclose(taught.soft_labels.sum(1), 1, atol=1e-5) and taught.soft_labels.min() > 0
    assert np.isclose(taught.frequencies.sum(), 1) and taught.frequencies.min() > 0
    assert np.isclose(sum(taught.methods[name]["weight"] for name in METHODS), 1)
    assert 0 < taught.room <= 1 and 0 < taught.certainty <= 1
    again = teach(X, partly, np.full(n_classes, 1 / n_classes), seed)
    assert np.array_equal(again.soft_labels, taught.soft_labels)


def test_the_method_that_predicts_hidden_labels_weighs_most():
    """Rings: only label propagation follows them."""
    random = np.random.default_rng(0)
    angle, y = random.uniform(0, 2 * np.pi, 600), np.repeat([0, 1], 300)
    X = np.stack([np.cos(angle), np.sin(angle)], 1) * (1 + 2 * y)[:, None] + 0.05 * random.normal(size=(600, 2))
    taught = teach(X.astype(np.float32), with_labels(y, 20), np.array([0.5, 0.5]), 0)
    assert max(METHODS, key=lambda name: taught.methods[name]["weight"]) == "label propagation"
    assert (taught.soft_labels.argmax(1) == y).mean() > 0.97


def test_labels_can_be_hidden_from_propagation():
    X, y = blobs([40, 60])
    partly, uniform = with_labels(y, 6), np.array([0.5, 0.5])
    some = np.flatnonzero(partly >= 0)[::2]
    hidden = np.where(np.isin(np.arange(len(y)), some), partly, -1)
    all_labels, fewer = Neighbourhood(X, partly, 2, 0), Neighbourhood(X, hidden, 2, 0)
    assert np.allclose(all_labels.propagate(uniform, some), fewer.propagate(uniform))


def test_class_frequencies_of_balanced_labels_come_from_the_unlabelled_rows():
    X, y = blobs([400, 150, 50])
    true, uniform = np.bincount(y) / len(y), np.full(3, 1 / 3)
    taught = teach(X, with_labels(y, 10), uniform, 0)
    assert np.abs(taught.frequencies - true).sum() < 0.2 * np.abs(uniform - true).sum()


def test_frequencies_are_less_sure_the_more_they_depend_on_single_labels():
    X, y = blobs([150, 150], std=6.0)
    few, many = (teach(X, with_labels(y, n), np.array([0.5, 0.5]), 0) for n in (3, 60))
    assert few.certainty < many.certainty


@pytest.mark.parametrize("n_labels", [(270, 30), (30, 30)])
def test_a_rare_class_is_not_argued_away(n_labels):
    """One of ten rows, labels in proportion or balanced; by the F1 score of the rare class."""
    X, y = blobs([1800, 200], std=2.5)
    partly = with_labels(y, n_labels)
    labelled, actual = partly >= 0, y[partly < 0] == 1
    model = SemiSupervisedAAE(max_steps=300, random_state=0).fit(X, partly)
    simple = LogisticRegression().fit(X[labelled], y[labelled])
    predictions = [m.predict(X[~labelled]) == 1 for m in (model, simple)]
    own, of_simple = (2 * (p & actual).sum() / (p.sum() + actual.sum()) for p in predictions)
    assert own > of_simple - 0.05 > 0.5
    assert 0.05 < model.class_frequencies_[1] < 0.3


def test_the_classifier_is_as_good_as_its_teachers_where_groups_of_rows_are_no_classes():
    """Two groups of rows, of which each has rows of both classes."""
    random = np.random.default_rng(0)
    group, X = random.integers(2, size=1500), random.normal(size=(1500, 6))
    y = (X[:, 0] > 0).astype(int)
    X[:, 1] += 8 * group
    X, partly = X.astype(np.float32), with_labels(y, 15)
    labelled = partly >= 0
    simple = LogisticRegression().fit(X[labelled], y[labelled]).score(X[~labelled], y[~labelled])
    model = SemiSupervisedAAE(max_steps=400, random_state=0).fit(X, partly)
    assert model.score(X[~labelled], y[~labelled]) > simple - 0.05
    assert set(model.teachers_) == {*METHODS, "mean"} and model.plan_.has_teachers and model.plan_.n_init == 1


def test_labels_that_count_as_frequencies_are_warned_of_once(recwarn):
    X, y = blobs([60, 60])
    SemiSupervisedAAE(class_prior="labelled", max_steps=2, random_state=0).fit(X, with_labels(y, 5))
    assert [w.category for w in recwarn].count(ClassPriorWarning) == 1


def test_without_guard_there_are_no_teachers():
    X, y = blobs([60, 60])
    model = SemiSupervisedAAE(guard=False, n_init=1, max_steps=5, random_state=0).fit(X, with_labels(y, 5))
    assert not model.plan_.has_teachers and not hasattr(model, "teachers_") and model.plan_.room == 1


def test_images_and_labelled_rows_have_no_teachers():
    X, y = blobs([60, 60])
    for rows, labels in ((np.random.default_rng(0).random((120, 1, 8, 8)), with_labels(y, 5)), (X, y)):
        assert not SemiSupervisedAAE(random_state=0).plan_for(rows, labels).has_teachers


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 100), st.integers(1, 500), st.integers(0, 100))
@example(44.0, 167, 86)
def test_calibration_changes_no_prediction_and_never_sharpens(error, n_labels, seed):
    torch.manual_seed(seed)
    head, h = nn.Linear(5, 3), torch.randn(200, 5)
    with torch.no_grad():
        head.weight.mul_(10)
        before = head(h).softmax(1).numpy()
    temperature = calibrate(head, before, error, n_labels)
    after = head(h).softmax(1).detach().numpy()
    assert temperature >= 1 and np.array_equal(after.argmax(1), before.argmax(1))
    assert after.max(1).mean() <= before.max(1).mean() + 1e-6
    expected = (20 * before.max(1).mean() + n_labels * (1 - error / 100)) / (20 + n_labels)
    if 1 < temperature < 20:
        assert after.max(1).mean() == pytest.approx(expected, abs=1e-3)


def test_without_held_out_labels_nothing_is_calibrated():
    head = nn.Linear(5, 3)
    weight = head.weight.detach().clone()
    assert calibrate(head, np.full((4, 3), [0.8, 0.1, 0.1]), float("nan"), 3) == 1
    assert torch.equal(head.weight, weight)


@pytest.mark.parametrize(("share", "is_lost"), [(0.0, True), (0.01, True), (0.1, False)])
def test_a_class_that_is_given_up_is_said(share, is_lost):
    p = np.tile([0.9, 0.1], (1000, 1))
    p[: round(1000 * share)] = [0.1, 0.9]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_lost_classes(np.array(["no", "yes"]), p, np.array([0.9, 0.1]))
    assert [w.category for w in caught] == [LostClassWarning] * is_lost
    assert all("class yes" in str(w.message) and "class_prior" in str(w.message) for w in caught)
