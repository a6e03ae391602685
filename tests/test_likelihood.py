"""Likelihood by a Parzen window of a model's own samples; the window itself is tested with the metrics."""

import numpy as np
import pytest
from conftest import QUICK
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KernelDensity

import aaekit.estimators._density as module
from aaekit import AdversarialAutoencoder, InputError
from aaekit.evaluation.heldout import HeldOut
from aaekit.evaluation.measures import evaluate, texts
from aaekit.evaluation.metrics import choose_parzen_sigma, parzen_log_likelihood
from aaekit.runs.config import completed
from reproduction import protocols

SMALL = {
    "hidden": (64,), "discriminator_hidden": (64,), "dropout": 0.0, "learning_rate": 3e-3, "schedule": "joint",
    "random_state": 0, "precision": "float32",
}  # fmt: skip
KINDS = {
    "generator": lambda **k: AdversarialAutoencoder(**k),
    "generator, a component for each class": lambda **k: AdversarialAutoencoder(prior="mixture", **k),
}


@pytest.fixture(scope="module")
def rows():
    """Of the 8x8 digits (n, 1, 8, 8): 1000 to train, 300 to choose the width by, 400 to judge."""
    X = (load_digits(return_X_y=True)[0] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return np.split(X[:1700], [1000, 1300])


@pytest.fixture(scope="module")
def trained(rows):
    """An autoencoder with a density; nobody changes it."""
    model = AdversarialAutoencoder(**SMALL, max_steps=300).fit(rows[0])
    return model.fit_density(rows[1], n_samples=1000, random_state=0)


def windows(model) -> np.ndarray:
    """The samples of which its density is made, flat."""
    made = model.sample(model.density_["n_samples"], random_state=model.density_["random_state"])
    return made.reshape(len(made), -1)


def by_scikit_learn(samples, sigma, X) -> np.ndarray:
    """The same density of flat rows; with one leaf, for a tree of several loses digits far from the samples."""
    return KernelDensity(bandwidth=sigma, leaf_size=len(samples)).fit(samples).score_samples(X)


# --- the window, where it can be worked out --------------------------------------------------------------------------
@pytest.mark.parametrize("sigma", [0.3, 2.0])
def test_two_samples_by_hand(sigma):
    a, b, x = (np.array(v, dtype=float) for v in ([0, 0], [1, 2], [1, 0]))
    p = sum(np.exp(-((x - s) ** 2).sum() / (2 * sigma**2)) for s in (a, b)) / (2 * 2 * np.pi * sigma**2)
    assert parzen_log_likelihood([x], [a, b], sigma)[0] == pytest.approx(np.log(p))


def test_the_best_width_about_one_sample_is_the_distance_of_the_rows_from_it():
    X = np.random.default_rng(0).normal(size=(200, 5))
    assert choose_parzen_sigma(X, np.zeros((1, 5))) == pytest.approx(np.sqrt((X**2).mean()), rel=0.02)


# --- what score_samples is -------------------------------------------------------------------------------------------
def test_it_is_the_window_about_the_models_own_samples(trained, rows):
    found = trained.score_samples(rows[2])
    expected = by_scikit_learn(windows(trained), trained.sigma_, rows[2].reshape(400, -1))
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_the_width_is_the_best_of_a_fine_grid_for_validation_rows(trained, rows):
    made, X = windows(trained), rows[1].reshape(len(rows[1]), -1)
    grid = trained.sigma_ * np.geomspace(0.5, 2, 25)
    means = [by_scikit_learn(made, s, X).mean() for s in grid]
    assert trained.score_samples(rows[1]).mean() >= max(means) - 0.05
    assert grid[np.argmax(means)] == pytest.approx(trained.sigma_, rel=0.06)


def test_digits_are_more_likely_than_what_is_no_digit_and_training_makes_them_so(trained, rows):
    held = trained.score_samples(rows[2])
    shuffled = np.random.default_rng(0).permuted(rows[2].reshape(400, -1), axis=1)
    assert np.mean(held > trained.score_samples(shuffled)) > 0.99
    raw = AdversarialAutoencoder(**SMALL, max_steps=3).fit(rows[0]).fit_density(rows[1], 1000, random_state=0)
    assert held.mean() > raw.score_samples(rows[2]).mean() + 5


def test_draws_are_repeatable_and_go_by_the_random_state(trained, rows, tmp_path):
    trained.save(tmp_path / "model")
    a, b, c = (AdversarialAutoencoder.load(tmp_path / "model") for _ in range(3))
    for model, seed in ((a, 5), (b, 5), (c, 6)):
        model.fit_density(rows[1][:50], n_samples=200, random_state=seed)
    scores = [model.score_samples(rows[2][:50]) for model in (a, b, c)]
    assert np.array_equal(scores[0], a.score_samples(rows[2][:50])) and np.array_equal(scores[0], scores[1])
    assert not np.allclose(scores[0], scores[2], atol=1e-3)


def test_samples_are_in_memory_some_at_a_time(trained, rows, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 30 * 64)  # so that rows come in parts of 120
    samples = module.Samples(trained, 100, 0)
    blocks = list(samples)
    assert [len(b) for b in blocks] == [30, 30, 30, 10]
    assert len(np.unique(np.concatenate(blocks), axis=0)) == 100, "blocks are draws of their own"
    assert all(np.array_equal(a, b) for a, b in zip(blocks, samples, strict=True))
    made = np.concatenate(list(module.Samples(trained, **trained.density_)))
    expected = parzen_log_likelihood(rows[2][:130], made, trained.sigma_)
    np.testing.assert_allclose(trained.score_samples(rows[2][:130]), expected, atol=0.02)


def test_bytes_are_the_interval_from_0_to_1(rows):
    as_bytes = [(part[:200] * 255).round().astype(np.uint8) for part in rows]
    floats = [part / np.float32(255) for part in as_bytes]
    scores = [
        AdversarialAutoencoder(**SMALL, max_steps=30).fit(a).fit_density(b, 200, random_state=0).score_samples(c)
        for a, b, c in (as_bytes, floats)
    ]
    np.testing.assert_allclose(*scores, atol=0.05)


def test_tables_are_scored_in_standard_deviations():
    X, _ = load_breast_cancer(return_X_y=True)
    model = AdversarialAutoencoder(**SMALL, max_steps=100).fit(X[:300]).fit_density(X[300:400], 500, random_state=0)
    units = lambda rows: model.scaler_.curve.scaled(rows)
    expected = by_scikit_learn(units(windows(model)), model.sigma_, units(X[400:]))
    np.testing.assert_allclose(model.score_samples(X[400:]), expected, atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_makes_rows_has_one_and_keeps_it(kind, few_labels, tmp_path):
    X, y = few_labels
    model = KINDS[kind](**QUICK).fit(X, y).fit_density(X[:100], n_samples=50, random_state=0)
    found = model.score_samples(X[100:])
    assert found.shape == (200,) and np.isfinite(found).all()
    model.save(tmp_path / "model")
    again = type(model).load(tmp_path / "model")
    assert np.array_equal(again.score_samples(X[100:]), found)
    assert (again.sigma_, again.density_) == (model.sigma_, model.density_)


# --- before, and again -----------------------------------------------------------------------------------------------
def test_there_is_none_before_fit_density(few_labels, tmp_path):
    X, _ = few_labels
    model = AdversarialAutoencoder(**QUICK)
    with pytest.raises(NotFittedError):
        model.fit_density(X)
    model.fit(X)
    for one in (model, AdversarialAutoencoder.load(saved(model, tmp_path))):
        with pytest.raises(NotFittedError, match=r"call fit_density\(X\)"):
            one.score_samples(X)


def test_fitting_again_drops_the_density(few_labels, tmp_path):
    X, _ = few_labels
    model = AdversarialAutoencoder(**QUICK).fit(X).fit_density(X[:50], 20, random_state=0)
    model.fit(X)
    with pytest.raises(NotFittedError):
        model.score_samples(X)
    assert not {"sigma_", "density_"} & set(vars(model))
    AdversarialAutoencoder.load(saved(model, tmp_path))


def saved(model, folder):
    """Where it was written."""
    model.save(folder / "model.safetensors")
    return folder / "model.safetensors"


@pytest.mark.parametrize("n_samples", [0, -3, 2.5, "10", None])
def test_a_bad_number_of_samples_gets_one_line(n_samples, trained, rows):
    with pytest.raises(InputError, match="whole number of at least 1") as error:
        trained.fit_density(rows[1], n_samples=n_samples)
    assert "\n" not in str(error.value)
    assert trained.density_["n_samples"] == 1000, "the density that there was stays"


def test_other_rows_are_refused(trained, rows):
    for bad in (np.zeros((2, 1, 9, 9)), np.where(rows[2] > 0.9, np.nan, rows[2])):
        with pytest.raises(ValueError, match=r"\(1, 8, 8\)|NaN"):
            trained.score_samples(bad)


# --- the protocol, and what stands in every report -------------------------------------------------------------------
def test_the_protocol_chooses_by_rows_that_neither_train_nor_are_judged(monkeypatch):
    asked = []
    original = AdversarialAutoencoder.fit_density

    def fewer(self, X, n_samples, random_state):
        asked.append((X, n_samples))
        return original(self, X, 200, random_state)

    monkeypatch.setattr(AdversarialAutoencoder, "fit_density", fewer)
    small = {"data": "digits", "validation": 100, "hidden": (24,), "max_steps": 20, "precision": "float32"}
    trial = protocols.Trial(completed("generator", small), ())
    protocols.find("likelihood")(trial)
    ((apart, n),) = asked
    assert (len(apart), n) == (100, 10_000)
    others = {row.tobytes() for part in (trial.X, trial.rows.X) for row in part}
    assert sum(row.tobytes() in others for row in apart) < 3, "but for digits that the set has twice"
    assert len(trial.X) + len(apart) == len(trial.data.X)
    assert np.isfinite(trial.numbers["log_likelihood"]) and trial.numbers["sigma"] > 0
    assert 0 < trial.numbers["standard_error"] < abs(trial.numbers["log_likelihood"])


def test_reports_tell_how_well_codes_match_the_prior(trained, rows):
    results = evaluate(trained, HeldOut("test", rows[2], None))
    described = " ".join(name for name, _ in texts(results))
    for name, words in {
        "mmd": "mean discrepancy",
        "sliced_wasserstein": "Wasserstein",
        "two_sample_auc": "forest",
    }.items():
        assert np.isfinite(results[name]) and words in described
