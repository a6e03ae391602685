import doctest

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix

import aaekit.metrics
from aaekit.errors import InputError
from aaekit.metrics import (
    class_balance,
    clustering_accuracy,
    code_moments,
    confusion,
    error_rate,
    labels_per_class,
    match_clusters,
    mmd,
    prior_fit,
    sliced_wasserstein,
    two_sample_auc,
)

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_the_documented_examples_hold():
    assert doctest.testmod(aaekit.metrics).failed == 0


def test_error_rate_agrees_with_scikit_learn(random):
    y, predicted = random.integers(0, 4, 200), random.integers(0, 4, 200)
    assert error_rate(y, predicted) == pytest.approx(100 * (1 - accuracy_score(y, predicted)))


def test_error_rate_is_in_percent_and_skips_unlabelled_rows():
    assert error_rate([0, 1, 2, 3], [0, 1, 2, 0]) == 25
    assert error_rate([0, 1, -1, -1], [0, 0, 3, 3]) == 50
    assert error_rate(["cat", "dog"], ["cat", "cat"]) == 50


@pytest.mark.parametrize("labels", [np.arange(5), np.array(["a", "b", "c", "d", "e"])])
def test_confusion_agrees_with_scikit_learn(random, labels):
    y, predicted = labels[random.integers(0, 5, 300)], labels[random.integers(0, 4, 300)]
    np.testing.assert_array_equal(confusion(y, predicted), confusion_matrix(y, predicted))
    reversed_ = labels[::-1].tolist()
    np.testing.assert_array_equal(confusion(y, predicted, reversed_), confusion_matrix(y, predicted, labels=reversed_))


def test_confusion_has_truth_in_rows_and_keeps_unused_classes():
    counts = confusion([0, 0, 2, -1], [0, 2, 2, 1], classes=[0, 1, 2])
    np.testing.assert_array_equal(counts, [[1, 0, 1], [0, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize("function", [error_rate, confusion, clustering_accuracy])
@pytest.mark.parametrize(
    ("y", "predicted", "message"),
    [
        ([0, 1], [0], "as many predictions"),
        ([-1, -1], [0, 1], "at least one labelled row"),
        ([], [], "at least one labelled row"),
        ([[0, 1]], [0, 1], r"shape \(n,\)"),
    ],
)
def test_label_errors_say_what_is_wrong(function, y, predicted, message):
    with pytest.raises(ValueError, match=message):
        function(np.array(y, dtype=int), predicted)


def test_a_label_outside_the_classes_is_named():
    with pytest.raises(ValueError, match="got also 7"):
        confusion([0, 7], [0, 0], classes=[0, 1])


def test_azulays_example_a_cluster_of_fours_and_sixes():
    # section 7.2: under one output label 75 % are "4" and 25 % are "6"; the sixes count as mistakes
    y, clusters = [4] * 750 + [6] * 250, [3] * 1000
    assert match_clusters(y, clusters) == {3: 4}
    assert clustering_accuracy(y, clusters) == 75


def test_majority_may_repeat_a_label_and_hungarian_may_not():
    y = [4, 4, 4, 6, 4, 4, 6, 9, 9, 9]
    clusters = [0, 0, 0, 0, 1, 1, 2, 2, 2, 2]
    assert match_clusters(y, clusters) == {0: 4, 1: 4, 2: 9}
    named = match_clusters(y, clusters, "hungarian")
    assert len(set(named.values())) == len(named) == 3
    assert clustering_accuracy(y, clusters) == pytest.approx(80)
    assert clustering_accuracy(y, clusters, "hungarian") == pytest.approx(60)


def test_renaming_clusters_changes_nothing(random):
    y = random.integers(0, 6, 500)
    clusters = np.where(random.random(500) < 0.7, y, random.integers(0, 6, 500))
    renamed = random.permutation(6)[clusters]
    for rule in ("majority", "hungarian"):
        assert clustering_accuracy(y, clusters, rule) == pytest.approx(clustering_accuracy(y, renamed, rule))
        assert clustering_accuracy(y, random.permutation(6)[y], rule) == 100


def test_more_clusters_than_classes_lose_rows_only_one_to_one():
    y, clusters = [0, 0, 0, 1, 1, 1], [0, 0, 1, 2, 2, 3]
    assert clustering_accuracy(y, clusters) == 100
    assert clustering_accuracy(y, clusters, "hungarian") == pytest.approx(100 * 4 / 6)


def test_an_unknown_rule_suggests_a_known_one():
    with pytest.raises(InputError, match="hungarian'"):
        clustering_accuracy([0], [0], "hungarain")  # pyright: ignore[reportArgumentType]


def test_labels_per_class_counts_labelled_rows_only():
    assert labels_per_class([2, 0, 2, -1, -1]) == {0: 1, 2: 2}
    assert labels_per_class([2, 0, 2, -1], classes=range(4)) == {0: 1, 1: 0, 2: 2, 3: 0}
    assert labels_per_class(["b", "a", "b"]) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("y", "classes", "expected"),
    [
        ([0, 1, 2, 3, -1], None, 1),
        ([0, 0, 0], range(10), 0),
        ([0, 0, 1, 1], range(4), 0.5),
        ([5, 5], None, 1),
        ([-1, -1], range(3), 0),
    ],
)
def test_class_balance_in_closed_form(y, classes, expected):
    assert class_balance(y, classes) == pytest.approx(expected, abs=1e-12)


def test_code_moments():
    moments = code_moments([[0, 1], [2, 1]], [[5, 0], [5, 4], [5, 2]])
    np.testing.assert_allclose(moments["mean"], [1, 1])
    np.testing.assert_allclose(moments["sd"], [1, 0])
    np.testing.assert_allclose(moments["prior_mean"], [5, 2])
    np.testing.assert_allclose(moments["prior_sd"], [0, np.sqrt(8 / 3)])


def test_mmd_by_hand():
    # two points a side: k(0, 1) = k(2, 3), and four pairs across
    def k(distance):
        return np.exp(-(distance**2) / 2)

    expected = k(1) + k(1) - 2 * (k(2) + k(3) + k(1) + k(2)) / 4
    assert mmd([[0.0], [1.0]], [[2.0], [3.0]], bandwidth=1) == pytest.approx(expected)


def test_mmd_of_shifted_gaussians_in_closed_form(random):
    # E k(u, v) for u - v ~ N(s, 2): with kernel variance h2, sqrt(h2 / (h2 + 2)) exp(-s^2 / (2 (h2 + 2)))
    a, b = random.normal(size=(1000, 1)), random.normal(1.5, size=(1000, 1))
    expected = 2 * np.sqrt(1 / 3) * (1 - np.exp(-(1.5**2) / 6))
    assert mmd(a, b, bandwidth=1) == pytest.approx(expected, rel=0.15)


def test_sliced_wasserstein_of_a_shift_in_closed_form(random):
    a = random.normal(size=(300, 3))
    shift = np.array([3.0, 4.0, 0.0])
    assert sliced_wasserstein(a, a + shift, n_projections=5000) == pytest.approx(5 / np.sqrt(3), rel=0.03)
    assert sliced_wasserstein(a, a[::-1]) == 0
    assert sliced_wasserstein(a[:, :1], 2 + a[:, :1]) == pytest.approx(2)


def test_sliced_wasserstein_takes_samples_of_different_sizes(random):
    a, b = random.normal(size=(400, 1)), 3 + random.normal(size=(1000, 1))
    assert sliced_wasserstein(a, b) == pytest.approx(3, abs=0.2)


def test_prior_fit_of_equal_and_different_distributions(random):
    prior = random.normal(size=(800, 2))
    same = prior_fit(random.normal(size=(700, 2)), prior)
    assert abs(same["mmd"]) < 0.01
    assert same["sliced_wasserstein"] < 0.2
    assert 0.44 < same["two_sample_auc"] < 0.56
    far = prior_fit(random.normal(size=(700, 2)) + 4, prior)
    assert far["mmd"] > 0.3
    assert far["sliced_wasserstein"] > 2
    assert far["two_sample_auc"] > 0.98
    assert all(type(value) is float for value in far.values())


def test_a_hole_in_the_middle_is_found_though_the_moments_agree(random):
    angle = random.uniform(0, 2 * np.pi, 600)
    ring = np.sqrt(2) * np.stack([np.cos(angle), np.sin(angle)], 1)  # mean 0, variance 1
    assert two_sample_auc(ring, random.normal(size=(600, 2))) > 0.8


def test_prior_fit_is_repeatable_and_survives_collapsed_codes(random):
    prior = random.normal(size=(400, 2))
    codes = random.normal(size=(90, 2))
    assert prior_fit(codes, prior, n_samples=50) == prior_fit(codes, prior, n_samples=50)
    assert prior_fit(np.zeros((50, 2)), prior)["two_sample_auc"] > 0.9
    assert mmd(np.zeros((5, 1)), np.zeros((5, 1))) == 0


@pytest.mark.parametrize("function", [code_moments, prior_fit, mmd, sliced_wasserstein, two_sample_auc])
def test_code_errors_say_what_is_wrong(function):
    good = np.zeros((20, 2))
    with pytest.raises(ValueError, match=r"\(20, 2\) and \(20, 3\)"):
        function(good, np.zeros((20, 3)))
    with pytest.raises(ValueError, match="diverged"):
        function(good * np.nan, good)


@pytest.mark.parametrize("function", [prior_fit, two_sample_auc])
def test_too_few_codes(function):
    with pytest.raises(ValueError, match="at least 10 rows"):
        function(np.zeros((9, 2)), np.zeros((100, 2)))
