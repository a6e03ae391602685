"""Signals (n, channels, length): from a file to a picture, like images."""

import numpy as np
import pytest
from conftest import QUICK
from hypothesis import given, settings
from hypothesis import strategies as st
from variants import VARIANTS

from aaekit import AdversarialAutoencoder, InputError, SemiSupervisedAAE, data, plots
from aaekit.evaluation.health import diagnose
from aaekit.evaluation.heldout import HeldOut, for_plots
from aaekit.evaluation.measures import evidence_of
from aaekit.evaluation.methods import CLASSIFIERS, Setting, answer, suited
from aaekit.plots import draw
from aaekit.shapes import are_signals, check_signals

pytestmark = pytest.mark.filterwarnings("ignore:expected .* clusters")  # few steps make few clusters


def bursts(n, length=40, seed=0):
    """Two channels in their own units, with a burst anywhere: the second channel follows the first, or opposes it."""
    random = np.random.default_rng(seed)
    y, t = random.integers(0, 2, n), np.arange(length) / length
    middle, phase = random.uniform(0.3, 0.7, (2, n, 1))
    burst = np.exp(-(((t - middle) / 0.1) ** 2) / 2) * np.sin(2 * np.pi * (8 * t + phase))
    noise = 0.1 * random.normal(size=(2, n, length))
    X = np.stack([50 + 10 * (burst + noise[0]), 0.001 * (np.where(y, -1, 1)[:, None] * burst + noise[1])], 1)
    return X.astype(np.float32), y


@pytest.fixture(scope="module")
def signals():
    X, y = bursts(120)
    return X, np.where(np.arange(len(y)) < 40, y, -1)


@pytest.fixture(scope="module")
def trained(signals):
    return SemiSupervisedAAE(**{**QUICK, "max_steps": 30}).fit(*signals)


# --- estimators
@pytest.mark.parametrize("variant", ["plain", "basic gan", "supervised by class", "clustering", "embedding, few labels",
                                     "pretrained", "outliers", "baseline"])  # fmt: skip
def test_every_estimator_takes_signals(variant, signals, tmp_path):
    X, y = signals
    model = VARIANTS[variant](**QUICK, backbone="auto").fit(X, y)
    assert model.plan_.backbone == "conv" and model.shape_ == (2, 40)
    model.save(tmp_path / "m")
    loaded = type(model).load(tmp_path / "m")
    ask = "predict" if hasattr(model, "predict") else "transform"
    assert np.array_equal(getattr(loaded, ask)(X), getattr(model, ask)(X))
    if hasattr(model, "sample"):
        assert model.sample(3, random_state=0).shape == (3, 2, 40) and model.reconstruct(X[:2]).shape == (2, 2, 40)


def test_channels_are_standardised_each_and_come_back_in_their_units(signals, trained):
    X, _ = signals
    rows = for_plots(trained, X)
    assert np.allclose(rows.mean((0, 2)), 0, atol=1e-3) and np.allclose(rows.std((0, 2)), 1, atol=1e-3)
    samples = trained.sample(50, random_state=0)
    assert 40 < samples[:, 0].mean() < 60 and np.abs(samples[:, 1]).max() < 0.01


def test_flat_rows_are_signals_by_their_shape(signals):
    X, _ = signals
    model = AdversarialAutoencoder(**QUICK).fit(X)
    flat = AdversarialAutoencoder(**QUICK, image_shape=(2, 40)).fit(X.reshape(len(X), -1))
    assert np.array_equal(flat.transform(X.reshape(len(X), -1)), model.transform(X))
    assert flat.sample(2, random_state=0).shape == (2, 80)


def test_a_plan_of_signals_has_warps_and_no_teachers(trained):
    plan = trained.plan_
    assert plan.augmentation == "time+amplitude+jitter" and plan.uses_augmentation and not plan.has_teachers
    assert plan.reconstruction == "gaussian" and not plan.propagates_labels


def test_what_follows_from_the_shape_is_learned_wherever_it_is():
    """A burst is anywhere, so that no value of a row says anything by itself."""
    X, y = bursts(500)
    y_known = np.where(np.arange(len(y)) < 20, y, -1)
    model = SemiSupervisedAAE(max_steps=60, batch_size=50, random_state=0).fit(X, y_known)
    X_test, y_test = bursts(200, seed=1)
    assert model.score(X_test, y_test) > 0.9


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((20, 40, 2), r"\(n, channels, length\), got \(20, 40, 2\), which looks like channels last.*\(0, 2, 1\)"),
        ((20, 28, 28), r"for grey images add the channel, X\[:, None\]"),
        ((20, 2, 30), r"expected signals of shape \(2, 40\) as in fit, got \(2, 30\)"),
    ],
)  # fmt: skip
def test_other_shapes_are_refused(shape, message, trained):
    rows = np.zeros(shape, np.float32)
    if "as in fit" in message:
        with pytest.raises(InputError, match=message):
            trained.predict(rows)
        return
    with pytest.raises(InputError, match=message):
        AdversarialAutoencoder(**QUICK).fit(rows)
    if shape[1] != shape[2]:
        with pytest.raises(InputError, match=message):
            data.dataset.checked(data.Dataset("mine", rows))


@given(st.integers(1, 64), st.integers(1, 500))
@settings(max_examples=60)
def test_no_shape_is_that_of_signals_both_ways(channels, length):
    shape, turned = (5, channels, length), (5, length, channels)
    assert not (are_signals(shape) and are_signals(turned))
    if are_signals(shape):
        check_signals(shape)
        with pytest.raises(InputError, match="channels last"):
            check_signals(turned)


# --- files
@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (np.zeros((6, 28, 28), np.uint8), (1, 28, 28)),
        (np.full((6, 12, 40), 0.5, np.float32), (1, 12, 40)),
        (np.full((6, 12, 40), 1.5, np.float32), (12, 40)),
        (np.full((6, 3, 40), 0.5, np.float32), (3, 40)),
        (np.full((6, 1, 40), -500, np.int16), (1, 40)),
        (np.full((6, 2, 3), 0.5, np.float32), (1, 2, 3)),
    ],
    ids=["bytes", "0 to 1", "others", "few channels", "integers", "tiny"],
)
def test_arrays_of_three_dimensions_are_images_or_signals(array, shape):
    X = data.dataset.checked(data.Dataset("mine", array)).X
    assert X.shape == (6, *shape) and X.dtype == (np.uint8 if array.dtype == np.uint8 else np.float32)


def test_from_a_file_to_pictures(aae, tmp_path, signals):
    """Train on a file, and ask the run what a run is asked."""
    X, y = signals
    X_test, y_test = bursts(40, seed=1)
    np.savez(tmp_path / "mine.npz", X=X, y=y, X_test=X_test, y_test=y_test)
    np.savez(tmp_path / "flat.npz", X=X_test.reshape(40, -1), y=y_test)
    run = tmp_path / "run"
    code, out, err = aae("data", "info", tmp_path / "mine.npz", "--sheet", tmp_path / "sheet.png")
    assert code == 0 and "2 channels of 40 values" in out and (tmp_path / "sheet.png").exists(), err
    options = ("--max-steps", 6, "--hidden", "8", "--batch-size", 20, "--quiet")
    code, out, err = aae("train", "classifier", "--data", tmp_path / "mine.npz", "--out", run, *options)
    assert code == 0, err
    for rows in ("mine.npz", "flat.npz"):
        code, _, err = aae("predict", run, tmp_path / rows, "--out", tmp_path / "predictions.csv")
        assert code == 0 and len((tmp_path / "predictions.csv").read_text().splitlines()) == 41, err
    for command, numbers in (("sample", ("--label", 1, "--n", 4)), ("reconstruct", ("--n", 4))):
        for suffix in ("png", "npy"):
            code, _, err = aae(command, run, "--out", tmp_path / f"{command}.{suffix}", *numbers)
            assert code == 0, err
        assert np.load(tmp_path / f"{command}.npy", allow_pickle=False).shape == (4, 2, 40)


def test_a_table_of_numbers_becomes_signals_by_their_shape(aae, tmp_path, signals):
    X, y = signals
    np.savez(tmp_path / "flat.npz", X=X.reshape(len(X), -1), y=y)
    code, out, _ = aae("data", "info", tmp_path / "flat.npz", "--image-shape", "2,40")
    assert code == 0 and "2 channels of 40 values" in out
    code, _, err = aae("data", "info", tmp_path / "flat.npz", "--image-shape", "2,41")
    assert code != 0 and "(channels, length)" in err[-1]


def test_signals_are_compared_with_the_methods_that_suit_them():
    names = {method.name for method in suited(CLASSIFIERS, "signal")}
    assert {"logistic regression", "components + SVM", "augmented network"} <= names
    assert "gradient histograms + SVM" not in names
    X, y = bursts(60)
    method = next(m for m in CLASSIFIERS if m.name == "logistic regression")
    assert answer(method, X, X, Setting(y, 2, X.shape[1:])).values.shape == (60, 2)


# --- pictures and findings
def test_all_figures_draw_signals_as_curves(signals, trained):
    X, _ = signals
    figures = draw.draw_all(trained, HeldOut("test", X, bursts(120)[1]), ["with", "against"])
    assert {"sample_grid", "reconstruction_pairs", "confident_mistakes", "first_layer_features"} <= set(figures)
    for name in ("sample_grid", "reconstruction_pairs", "modes_and_samples"):
        axes = figures[name].axes[0]
        assert not axes.images and len(axes.collections) >= 3, name  # base lines, and the curves of each channel


def test_channels_have_a_curve_each_and_empty_places_none():
    x = np.random.default_rng(0).normal(size=(6, 3, 20)).astype(np.float32)
    x[4:] = np.nan
    collections = plots.sample_grid(x, 3).axes[0].collections
    assert [len(c.get_segments()) for c in collections] == [4, 4, 4, 4]
    assert len({tuple(c.get_colors()[0]) for c in collections[1:]}) == 3


def test_trainings_on_signals_are_diagnosed(signals, trained):
    X, y = signals
    evidence = evidence_of(trained, HeldOut("test", X, y))
    assert evidence.image_shape is None and evidence.X.shape == evidence.X_hat.shape == (len(X), 80)
    assert all(finding.name for finding in diagnose(evidence))


def test_questions_about_signals_are_a_picture(aae, tmp_path, signals):
    np.savez(tmp_path / "mine.npz", X=signals[0])
    code, _, err = aae(
        "label", "ask", tmp_path / "labels", "--data", tmp_path / "mine.npz", "-n", 4, "--clusters", 4, "--max-steps", 5
    )
    assert code == 0 and (tmp_path / "labels" / "questions-1.png").exists(), err
