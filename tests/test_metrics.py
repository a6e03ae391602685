import doctest

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from sklearn.neighbors import KernelDensity

import aaekit.evaluation.metrics
from aaekit.errors import InputError
from aaekit.evaluation.metrics import (
    choose_parzen_sigma,
    cluster_use,
    clustering_accuracy,
    error_rate,
    label_leakage,
    match_clusters,
    mmd,
    parzen_log_likelihood,
    prior_fit,
    sliced_wasserstein,
    two_sample_auc,
)

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_the_documented_examples_hold():
    assert doctest.testmod(aaekit.evaluation.metrics).failed == 0


def test_error_rate_agrees_with_scikit_learn(random):
    y, predicted = random.integers(0, 4, 200), random.integers(0, 4, 200)
    assert error_rate(y, predicted) == pytest.approx(100 * (1 - accuracy_score(y, predicted)))


def test_error_rate_is_in_percent_and_skips_unlabelled_rows():
    assert error_rate([0, 1, 2, 3], [0, 1, 2, 0]) == 25
    assert error_rate([0, 1, -1, -1], [0, 0, 3, 3]) == 50
    assert error_rate(["cat", "dog"], ["cat", "cat"]) == 50


@pytest.mark.parametrize("missing", [-1, None, float("nan"), np.int64(-1), pd.NA], ids=repr)
def test_every_spelling_of_unlabelled_is_ignored(missing):
    mixed = np.array(["a", missing, "b"], dtype=object)
    assert error_rate(mixed, ["a", "b", "b"]) == 0 and error_rate(mixed, ["a", "b", "a"]) == 50
    assert clustering_accuracy(mixed, [0, 0, 1]) == 100
    assert error_rate(np.array([0, missing, 1], dtype=object), [0, 7, 0]) == 50
    assert error_rate(pd.Series([0, 1, pd.NA], dtype="Int64"), [0, 0, 1]) == 50
    assert error_rate([0.0, np.nan, 1.0], [0, 7, 0]) == 50


@pytest.mark.parametrize("function", [error_rate, clustering_accuracy])
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
    with pytest.raises(InputError, match=message):
        function(np.array(y, dtype=int), predicted)


@pytest.mark.parametrize(
    ("shares", "used", "collapsed"),
    [
        ([250, 250, 250, 250], 4, False),
        ([330, 330, 328, 12], 3, True),  # a twentieth of an even share is 12.5
        ([329, 329, 329, 13], 4, False),
        ([940, 20, 20, 20], 4, True),  # all used, but one takes nearly everything
        ([1000], 1, False),
    ],
)
def test_cluster_use(shares, used, collapsed):
    use = cluster_use(np.eye(len(shares))[np.repeat(np.arange(len(shares)), shares)])
    assert use.counts.tolist() == shares and use.used.sum() == used and use.collapsed == collapsed
    p = np.array(shares) / 1000
    assert use.entropy == pytest.approx(1 if len(p) == 1 else -(p * np.log(p)).sum() / np.log(len(p)), abs=1e-9)


def test_the_entropy_of_clusters_goes_by_probabilities():
    assert cluster_use(np.full((30, 3), [0.5, 0.3, 0.2])).entropy == pytest.approx(1.0297 / np.log(3), abs=1e-4)


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
    with pytest.raises(InputError, match="expected rule 'majority' or 'hungarian', got 'hungarain'"):
        clustering_accuracy([0], [0], "hungarain")  # pyright: ignore[reportArgumentType]


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


@pytest.mark.parametrize("function", [prior_fit, mmd, sliced_wasserstein, two_sample_auc])
def test_code_errors_say_what_is_wrong(function):
    good = np.zeros((20, 2))
    with pytest.raises(InputError, match=r"\(20, 2\) and \(20, 3\)"):
        function(good, np.zeros((20, 3)))
    with pytest.raises(InputError, match="diverged"):
        function(good * np.nan, good)


@pytest.mark.parametrize("function", [prior_fit, two_sample_auc])
def test_too_few_codes(function):
    with pytest.raises(InputError, match="at least 10 rows"):
        function(np.zeros((9, 2)), np.zeros((100, 2)))


def test_label_leakage_is_chance_for_noise_and_complete_for_classes_that_are_apart(random):
    y = np.arange(200) % 2
    assert 30 < label_leakage(random.normal(size=(200, 2)), y) < 70
    assert label_leakage(random.normal(size=(200, 2)) + 9 * y[:, None], np.where(np.arange(200) < 9, -1, y)) == 100


@pytest.mark.parametrize(
    ("n", "y", "message"),
    [
        (3, [0, 0, 1, 1], "4 labels and 3 codes"),
        (4, [0, 0, 0, 1], r"two labelled rows of each of two classes, got \[3, 1\]"),
        (4, [0, 0, -1, -1], r"got \[2\]"),
    ],
)
def test_label_leakage_needs_rows_of_two_classes(n, y, message):
    with pytest.raises(InputError, match=message):
        label_leakage(np.zeros((n, 2)), y)


# --- Parzen windows
@pytest.fixture(scope="module")
def two_halves():
    """Digits in [0, 1]: rows that stand for samples, and others to judge."""
    X = load_digits().data / 16
    return X[:600], X[600:900]


def reference(X, samples, sigma):
    """The definition, in double precision and all at once."""
    squared = cdist(np.asarray(X, float), np.asarray(samples, float), "sqeuclidean")
    m, d = np.shape(samples)
    return logsumexp(-squared / (2 * sigma**2), axis=1) - np.log(m) - d / 2 * np.log(2 * np.pi * sigma**2)


@pytest.mark.parametrize("sigma", [0.05, 0.2, 3.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parzen_agrees_with_its_definition(two_halves, sigma, dtype):
    samples, X = (part.astype(dtype) for part in two_halves)
    found = parzen_log_likelihood(X, samples, sigma)
    assert found.dtype == np.float64 and found.shape == (300,)
    np.testing.assert_allclose(found, reference(X, samples, sigma), atol=0.01)


def test_parzen_agrees_with_scikit_learn(random):
    samples, X = random.normal(size=(200, 3)), random.normal(size=(50, 3))
    window = KernelDensity(bandwidth=0.4).fit(samples)
    np.testing.assert_allclose(parzen_log_likelihood(X, samples, 0.4), window.score_samples(X), rtol=1e-4)


def test_parzen_is_a_density():
    samples, x = np.array([[-1.0], [0.5], [2.0]]), np.linspace(-9, 9, 4001)
    assert np.trapezoid(np.exp(parzen_log_likelihood(x[:, None], samples, 0.7)), x) == pytest.approx(1)


def test_parzen_of_many_samples_is_that_of_a_wider_gaussian(random):
    # windows of width s about draws of N(0, 1): the density of N(0, 1 + s^2)
    x = np.array([[-2.0], [0.0], [1.0]])
    expected = norm(scale=np.sqrt(1.25)).logpdf(x[:, 0])
    np.testing.assert_allclose(parzen_log_likelihood(x, random.normal(size=(200_000, 1)), 0.5), expected, atol=0.02)


@pytest.mark.parametrize("form", ["list", "iterator", "one by one", "lists of numbers", "images"])
def test_parzen_takes_samples_in_parts(two_halves, form):
    samples, X = two_halves
    parts = {
        "list": [samples[:1], samples[1:500], samples[500:]],
        "iterator": iter([samples[:200], samples[200:]]),
        "one by one": (row[None] for row in samples),
        "lists of numbers": samples.tolist(),
        "images": [samples[:100].reshape(-1, 1, 8, 8), samples[100:].reshape(-1, 1, 8, 8)],
    }
    np.testing.assert_allclose(
        parzen_log_likelihood(X, parts[form], 0.2), parzen_log_likelihood(X, samples, 0.2), atol=1e-4
    )


def test_parzen_takes_the_order_of_samples_in_any_scale():
    # the nearest sample comes last, after others that are out of all proportion
    far = np.array([[1e3], [1e2], [10.0], [0.0]])
    assert parzen_log_likelihood([[0.0]], far, 0.1)[0] == pytest.approx(norm(scale=0.1).logpdf(0) - np.log(4))
    assert np.isfinite(parzen_log_likelihood([[0.0]], far[:1], 1e-3)).all()


def test_parzen_is_exact_where_single_precision_would_not_be(random):
    X, samples = (1e4 + random.normal(scale=s, size=(20, 5)).astype(np.float32) for s in (1.0, 100.0))
    np.testing.assert_allclose(parzen_log_likelihood(X, samples, 1e-3), reference(X, samples, 1e-3), rtol=1e-9)


def test_parzen_of_bytes_is_that_of_the_unit_interval(random):
    X = random.integers(0, 256, size=(30, 1, 4, 4)).astype(np.uint8)
    samples = random.random((40, 16))
    flat = X.reshape(30, 16) / 255
    np.testing.assert_allclose(
        parzen_log_likelihood(X, samples, 0.3), parzen_log_likelihood(flat, samples, 0.3), atol=1e-4
    )


def test_sigma_is_the_best_of_all(two_halves):
    samples, X = two_halves
    sigma = choose_parzen_sigma(X, samples)
    at_best = parzen_log_likelihood(X, samples, sigma).mean()
    others = [parzen_log_likelihood(X, samples, s).mean() for s in np.geomspace(0.05, 1, 60)]
    assert at_best > max(others) - 0.01


@pytest.mark.parametrize("sigmas", [[0.2], [0.01, 0.02], np.logspace(1, 2, 5), [3.0, 0.1, 0.5], [1e-3]])
def test_a_grid_whose_best_is_at_its_edge_is_extended(two_halves, sigmas):
    samples, X = two_halves
    assert choose_parzen_sigma(X, samples, sigmas) == pytest.approx(choose_parzen_sigma(X, samples), rel=0.05)


def test_sigma_is_about_the_spread_that_was_left_out(random):
    # samples at three points, rows about them with sd 0.25
    centres = random.normal(size=(3, 20)) * 5
    X = centres[random.integers(0, 3, 500)] + random.normal(scale=0.25, size=(500, 20))
    assert choose_parzen_sigma(X, centres) == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize(
    ("X", "samples", "sigma", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4)), 1.0, "3 values as in X, got 4"),
        (np.zeros((2, 3)), np.zeros((2, 3)), 0.0, "sigma > 0"),
        (np.zeros((2, 3)), np.zeros((2, 3)), np.nan, "sigma > 0"),
        (np.zeros(3), np.zeros((2, 3)), 1.0, r"shape \(n, d\)"),
        (np.zeros((2, 3)), np.full((2, 3), np.inf), 1.0, "finite samples"),
        (np.full((2, 3), np.nan), np.zeros((2, 3)), 1.0, "finite X"),
        (np.zeros((2, 3)), [], 1.0, "at least one sample"),
    ],
    ids=["values", "zero", "not a number", "one row", "infinite samples", "nan rows", "no samples"],
)
def test_parzen_errors_say_what_is_wrong(X, samples, sigma, message):
    with pytest.raises(InputError, match=message) as error:
        parzen_log_likelihood(X, samples, sigma)
    assert "\n" not in str(error.value)


def test_sigma_needs_samples_that_stay_and_are_not_the_validation_rows(two_halves):
    samples, X = two_halves
    with pytest.raises(InputError, match="iterator"):
        choose_parzen_sigma(X, iter([samples]))
    with pytest.raises(InputError, match="remove validation rows from the samples"):
        choose_parzen_sigma(samples[:50], samples)
    with pytest.raises(InputError, match="at least one sigma"):
        choose_parzen_sigma(X, samples, [])


def test_minus_one_in_a_list_of_texts_is_no_label():
    assert error_rate(["a", "b", -1], ["a", "b", "a"]) == 0
    assert clustering_accuracy(["a", "b", -1, -1], [0, 1, 0, 1]) == 100
    assert match_clusters(["a", -1, -1], [0, 0, 0]) == {0: "a"}


@pytest.mark.parametrize("unit", [1e-25, 1e-20, 1e19, 1e25])
def test_a_window_in_any_unit(unit):
    random = np.random.default_rng(0)
    X, samples = random.normal(size=(5, 3)), random.normal(size=(50, 3))
    expected = parzen_log_likelihood(X, samples, 1.0)
    np.testing.assert_allclose(parzen_log_likelihood(X * unit, samples * unit, unit) + 3 * np.log(unit), expected, 1e-5)
