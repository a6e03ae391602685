"""A classifier on a trained encoder: where it starts from, what it moves, what pretraining is worth."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from torch import nn

from aaekit import AdversarialAutoencoder, InputError, PretrainedClassifier, SemiSupervisedAAE, SupervisedBaseline
from aaekit.estimators._io import read_model
from aaekit.estimators._plan import DataSummary
from aaekit.plots import draw
from aaekit.runs.config import completed
from aaekit.runs.run import Run

SHARED = {"hidden": (64,), "precision": "float32", "random_state": 0}
CODES = {
    **SHARED,
    "latent_dim": 16,
    "dropout": 0.0,
    "batch_norm": True,
    "schedule": "joint",
    "learning_rate": 2e-3,
    "learning_rates": {"generator": 2e-3},
    "discriminator_learning_rate": 2e-3,
    "loss_weights": {"generator": 1.0},
    "discriminator_hidden": (64,),
}
HEAD = {**SHARED, "learning_rate": 3e-3, "max_steps": 150}


@pytest.fixture(scope="module")
def rows():
    """1,200 digits to train on and 597 held out, with values in [0, 1], and their labels."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    return X[:1200], y[:1200], X[1200:], y[1200:]


@pytest.fixture(scope="module")
def codes(rows):
    return AdversarialAutoencoder(**CODES, max_steps=300).fit(rows[0])


def state(net):
    """Parameters and running means, by name."""
    return {k: v.clone() for k, v in net.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


# --- the second stage
@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_leaves_the_encoder_bit_for_bit_and_end_to_end_moves_it(frozen, codes, rows):
    before = state(codes.networks_.encoder)
    model = PretrainedClassifier(**HEAD, autoencoder=codes, frozen=frozen).fit(*rows[:2])
    assert [name for name, _ in model.networks_.named_children()] == ["encoder", "head"]
    assert same(before, state(model.networks_.encoder)) == frozen
    assert same(before, state(codes.networks_.encoder)), "the autoencoder itself stays as it was"
    assert model.autoencoder_ is codes
    score = model.score(*rows[2:])
    assert score > (0.7 if frozen else 0.85)  # measured: 0.83 and 0.93


def test_the_head_is_one_linear_layer_on_z(codes, rows):
    model = PretrainedClassifier(**HEAD, autoencoder=codes, frozen=True).fit(*rows[:2])
    head = model.networks_.head
    assert isinstance(head, nn.Linear) and head.weight.shape == (10, 16)
    with torch.no_grad():
        logits = head(torch.from_numpy(codes.transform(rows[2]))).numpy()
    assert np.array_equal(model.classes_[logits.argmax(1)], model.predict(rows[2]))
    np.testing.assert_allclose(model.predict_proba(rows[2]).sum(1), 1, atol=1e-5)


def test_pretraining_is_worth_something_with_few_labels(codes, rows):
    """Frozen, so that nothing else tells them apart: the codes of a trained encoder, and of one that had one step."""
    X, y = rows[0], np.where(np.arange(1200) < 100, rows[1], -1)
    raw = AdversarialAutoencoder(**CODES, max_steps=1).fit(X)
    score = lambda start: PretrainedClassifier(**HEAD, autoencoder=start, frozen=True).fit(X, y).score(*rows[2:])
    assert score(codes) > score(raw) + 0.15  # measured: 0.72 against 0.36


def test_only_labelled_rows_train_the_second_stage(codes, rows):
    X, y = rows[:2]
    names = np.array([f"digit {k}" for k in range(10)], dtype=object)[y]
    masked = np.where(np.arange(1200) < 100, names, None)
    model = PretrainedClassifier(**HEAD, autoencoder=codes).fit(X, masked)
    alone = PretrainedClassifier(**HEAD, autoencoder=codes).fit(X[:100], names[:100])
    assert model.class_counts_ == alone.class_counts_ and sum(model.class_counts_) == 100
    assert model.classes_[3] == "digit 3"
    assert np.array_equal(model.predict_proba(rows[2]), alone.predict_proba(rows[2]))


def test_ten_epochs_unless_told_otherwise(codes, rows):
    steps = lambda **k: PretrainedClassifier(**SHARED, autoencoder=codes, **k).fit(*rows[:2]).n_steps_
    assert steps(max_epochs=10) == 10 * 12
    assert PretrainedClassifier().plan(DataSummary((64,), 60_000)).n_steps == 10 * 600


def test_the_curve_of_held_out_error_is_in_the_history(codes, rows):
    model = PretrainedClassifier(**{**HEAD, "max_steps": None}, max_epochs=3, autoencoder=codes)
    model.fit(*rows[:2], eval_set=rows[2:])
    errors = [row["eval/error"] for row in model.history_]
    assert len(errors) == 3 and errors[-1] == pytest.approx(100 * (1 - model.score(*rows[2:])))


# --- the first stage
def test_a_model_file_and_a_run_directory_are_as_good_as_the_autoencoder(codes, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(draw, "draw_all", lambda *_, **__: {})  # the pictures of the report take long
    codes.save(tmp_path / "codes.safetensors")
    np.savez(tmp_path / "some.npz", X=rows[0].reshape(-1, 1, 8, 8), y=rows[1])
    few = {"data": str(tmp_path / "some.npz"), "max_steps": 5, "hidden": (16,), "latent_dim": 4}
    run = Run.create(tmp_path / "run", completed("generator", few))
    trained = run.train()
    X = {"fitted": rows[0], "run": rows[0].reshape(-1, 1, 8, 8)}
    fit = lambda start, X: PretrainedClassifier(**HEAD, autoencoder=start).fit(X, rows[1]).predict_proba(X)
    by_file = fit(str(tmp_path / "codes.safetensors"), X["fitted"])
    assert np.array_equal(by_file, fit(codes, X["fitted"]))
    assert np.array_equal(fit(str(tmp_path / "run"), X["run"]), fit(trained, X["run"]))
    assert not np.array_equal(by_file, fit(trained, X["run"]))


def test_an_autoencoder_that_is_not_fitted_is_trained_on_all_rows_first(rows):
    X, y = rows[0], np.where(np.arange(1200) < 100, rows[1], -1)
    given = AdversarialAutoencoder(**CODES, max_epochs=2)
    model = PretrainedClassifier(**{**HEAD, "max_steps": 5}, autoencoder=given).fit(X, y)
    assert not hasattr(given, "networks_"), "what was given is not changed"
    assert model.autoencoder_.n_steps_ == 2 * 12
    alone = clone(given).fit(X)
    assert same(state(alone.networks_.encoder), state(model.autoencoder_.networks_.encoder))


@pytest.mark.parametrize("adversarial", [True, False])
def test_without_an_autoencoder_one_is_trained(adversarial, rows):
    given = {"adversarial": adversarial, "latent_dim": 12, "pretraining_epochs": 1, "dropout": 0.1, "max_steps": 5}
    model = PretrainedClassifier(**{**SHARED, **given}).fit(*rows[:2])
    autoencoder = model.autoencoder_
    assert (autoencoder.networks_.z_discriminator is not None) == adversarial
    assert (autoencoder.latent_dim, autoencoder.n_steps_, autoencoder.dropout, autoencoder.hidden) == (
        12,
        12,
        0.1,
        (64,),
    )


def test_any_fitted_autoencoder_will_do(rows, tmp_path):
    """One whose encoder has a class code beside z, too."""
    X, y = rows[:2]
    start = SemiSupervisedAAE(**SHARED, backbone="mlp", max_steps=5).fit(X, y)
    model = PretrainedClassifier(**HEAD, autoencoder=start, frozen=True).fit(X, y)
    model.save(tmp_path / "m")
    assert np.array_equal(PretrainedClassifier.load(tmp_path / "m").predict_proba(X), model.predict_proba(X))


def test_a_clone_trains_its_autoencoder_again(codes):
    """As scikit-learn has it: what is cloned has learned nothing, in a cross-validation for instance."""
    assert not hasattr(clone(PretrainedClassifier(autoencoder=codes)).autoencoder, "networks_")


def test_rows_keep_the_units_of_the_autoencoder(rows):
    """Table rows are standardised by the first stage; a few labelled rows must not do it anew."""
    X = 3 + 20 * rows[0] * np.linspace(0.1, 1, 64, dtype=np.float32)
    start = AdversarialAutoencoder(**CODES, max_steps=3).fit(X)
    model = PretrainedClassifier(**HEAD, autoencoder=start, frozen=True).fit(X[:50], rows[1][:50])
    center, scale = start.center_, start.scale_
    assert np.array_equal(model.center_, center) and np.array_equal(model.scale_, scale)
    z = model.networks_.encoder(torch.from_numpy(start.scaler_.curve.scaled(X[:5]))).z.detach().numpy()
    np.testing.assert_allclose(z, start.transform(X[:5]), atol=1e-4)


@pytest.mark.parametrize("given", ["nothing", "not fitted", "fitted", "file"])
def test_a_plan_needs_no_training_of_either_stage(given, codes, rows, tmp_path, monkeypatch):
    X, y = rows[0], np.where(np.arange(1200) < 100, rows[1], -1)
    codes.save(tmp_path / "codes")
    choices = {"nothing": None, "not fitted": AdversarialAutoencoder(**CODES, max_steps=2), "fitted": codes}
    autoencoder = choices.get(given, str(tmp_path / "codes"))
    model = PretrainedClassifier(**{**HEAD, "max_steps": 2}, autoencoder=autoencoder, pretraining_epochs=1)
    with monkeypatch.context() as patched:
        patched.setattr(AdversarialAutoencoder, "fit", lambda *_, **__: pytest.fail("nothing is trained"))
        plan = model.plan_for(X, y)
    assert not hasattr(model, "plan_") and model.autoencoder is autoencoder
    assert given != "not fitted" or not hasattr(autoencoder, "networks_")
    assert plan == model.fit(X, y).plan_


# --- saving
@pytest.mark.parametrize("frozen", [True, False])
def test_it_is_saved_without_its_autoencoder(frozen, codes, rows, tmp_path):
    model = PretrainedClassifier(**HEAD, autoencoder=codes, frozen=frozen).fit(*rows[:2])
    model.save(tmp_path / "m.safetensors")
    header, tensors = read_model(tmp_path / "m.safetensors")
    assert not any("decoder" in name or "discriminator" in name for name in tensors)
    assert header["parameters"]["autoencoder"]["estimator"] == "AdversarialAutoencoder"
    again = PretrainedClassifier.load(tmp_path / "m.safetensors")
    assert np.array_equal(again.predict_proba(rows[2]), model.predict_proba(rows[2]))
    assert again.frozen == frozen and again.autoencoder.get_params() == codes.get_params()
    assert not hasattr(again.autoencoder, "networks_")
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()


def test_one_that_started_from_a_file_does_not_need_it_any_more(codes, rows, tmp_path):
    codes.save(tmp_path / "codes")
    model = PretrainedClassifier(**HEAD, autoencoder=str(tmp_path / "codes")).fit(*rows[:2])
    model.save(tmp_path / "m")
    (tmp_path / "codes").unlink()
    assert np.array_equal(PretrainedClassifier.load(tmp_path / "m").predict(rows[2]), model.predict(rows[2]))


# --- bad input
def refused(message, X, y, **parameters):
    with pytest.raises(InputError, match=message) as error:
        PretrainedClassifier(**HEAD, **parameters).fit(X, y)
    assert "\n" not in str(error.value)


def test_rows_of_another_shape_are_refused(codes, rows):
    X, y = rows[:2]
    refused(r"X: expected rows of shape \(64,\), on which .* got \(63,\)", X[:, :63], y, autoencoder=codes)
    refused(
        r"X: expected rows of shape \(64,\), on which .* got \(1, 8, 8\)", X.reshape(-1, 1, 8, 8), y, autoencoder=codes
    )


def test_an_autoencoder_that_cannot_be_had_gets_one_line(rows, tmp_path):
    X, y = rows[:2]
    refused("no such file", X, y, autoencoder=str(tmp_path / "missing"))
    (tmp_path / "empty").mkdir()
    refused("model.safetensors: expected .* got no such file", X, y, autoencoder=str(tmp_path / "empty"))
    SupervisedBaseline(**SHARED, max_steps=2).fit(X, y).save(tmp_path / "baseline")
    refused("expected a saved Autoencoder, got a SupervisedBaseline", X, y, autoencoder=str(tmp_path / "baseline"))
    refused("got a SemiSupervisedAAE that is not fitted: call its fit first", X, y, autoencoder=SemiSupervisedAAE())
    refused("autoencoder: expected .*, got 3", X, y, autoencoder=3)


def test_labels_are_needed(codes, rows):
    refused("requires y", rows[0], None, autoencoder=codes)
    refused("at least 2 classes", rows[0], np.full(1200, -1), autoencoder=codes)
