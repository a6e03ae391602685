"""What holds for every variant: its losses, scikit-learn's contract, saving, bad input."""

import copy
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import QUICK, before_first_step
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, make_moons
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn
from variants import ONE_STAGE, SCHEDULES, VARIANTS

from aaekit import (
    AAEOutlierDetector,
    AdversarialAutoencoder,
    ClusteringAAE,
    EmbeddingAAE,
    InputError,
    PretrainedClassifier,
    SemiSupervisedAAE,
    SupervisedAAE,
    SupervisedBaseline,
    TrainingError,
    losses,
)
from aaekit.core.batches import Minibatches
from aaekit.core.callbacks import Callback
from aaekit.core.frozen import frozen
from aaekit.core.loop import Training
from aaekit.estimators import _fitting, _io, _label_propagation, _timing
from aaekit.estimators._classifier import Classifier
from aaekit.estimators._density import ParzenDensity

pytestmark = pytest.mark.filterwarnings("ignore:expected .* clusters")  # few steps make few clusters


def fixed_by_design(variant, phase, name) -> bool:
    """The output bias of a Wasserstein critic cancels in its loss, and a shift of a whole map in the decoder."""
    if variant.startswith("embedding") and phase == "reconstruction" and name == "encoder.head_z.bias":
        return True
    return " wasserstein" in variant and "discriminator" in name and name.endswith(".4.bias")


def moved(before, module) -> list[bool]:
    return [not torch.equal(b, p) for b, p in zip(before, module.parameters(), strict=True)]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_phase_moves_all_that_it_names_and_nothing_else(variant, schedule, few_labels):
    model = VARIANTS[variant](**{**QUICK, "schedule": schedule, "optimizer": "sgd", "dropout": 0.0})

    def check(training: Training) -> None:
        names = {m: n for n, m in training.networks.named_children()}
        for turn in training.turns:
            for phase in turn.phases:
                training.networks.zero_grad()
                torch.manual_seed(0)
                optimizer = torch.optim.SGD(training.networks.parameters(), lr=0.1)
                before = {m: [p.clone() for p in m.parameters()] for m in names}
                with frozen(*turn.fixed):
                    phase.loss(training.step_at(0)).backward()
                for module, name in names.items():
                    touched = [p.grad is not None and bool(p.grad.any()) for p in module.parameters()]
                    if module not in phase.moves:
                        assert not any(touched), f"{phase.name} leaves gradients in the {name}"
                optimizer.step()
                for module, name in names.items():
                    changes = moved(before[module], module)
                    if module not in phase.moves:
                        assert not any(changes), f"{phase.name} moves the {name}"
                        continue
                    # heads of codes that the loss does not read stay as they are
                    reached = [p.grad is not None and not fixed_by_design(variant, phase.name, f"{name}.{n}")
                               for n, p in module.named_parameters()]  # fmt: skip
                    assert any(changes) and all(c for c, r in zip(changes, reached, strict=True) if r), (
                        phase.name,
                        name,
                    )

    before_first_step(model, *few_labels, check)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_moves_every_parameter_and_leaves_no_gradient(variant, schedule, few_labels):
    model = VARIANTS[variant](**{**QUICK, "schedule": schedule, "dropout": 0.0})
    if variant not in ONE_STAGE:  # first steps of Adam at equal rates can cancel exactly
        model.set_params(learning_rates={} if "plain" in variant else {"generator": 7e-4})

    def check(training: Training) -> None:
        before = [p.clone() for p in training.networks.parameters()]
        torch.manual_seed(0)
        training.advance()
        named = zip(training.networks.named_parameters(), before, strict=True)
        unmoved = [n for (n, p), b in named if torch.equal(p, b) and not fixed_by_design(variant, "all", n)]
        still = "encoder" if variant == "pretrained, frozen" else "nothing"
        assert [n for n in unmoved if not n.startswith(still)] == []
        assert all(p.grad is None and p.requires_grad for p in training.networks.parameters())

    before_first_step(model, *few_labels, check)


def test_the_joint_schedule_encodes_once(few_labels):
    def calls(training: Training) -> int:
        seen = []
        training.networks.encoder.register_forward_hook(lambda *_: seen.append(1))
        training.advance()
        return len(seen)

    assert before_first_step(SemiSupervisedAAE(**QUICK, consistency="pseudo_labels"), *few_labels, calls) == 1


def test_the_discriminator_trains_without_a_graph_through_the_encoder(few_labels):
    def with_graph(training: Training) -> list[bool]:
        seen = []
        training.networks.encoder.register_forward_hook(lambda m, i, code: seen.append(code.z.requires_grad))
        for turn in training.turns:
            if turn.phases[0].is_critic:
                with frozen(*turn.fixed):
                    turn.phases[0].loss(training.step_at(0))
        return seen

    seen = before_first_step(SemiSupervisedAAE(schedule="alternating", **QUICK), *few_labels, with_graph)
    assert seen and not any(seen)


@pytest.mark.parametrize(
    ("model", "is_scheduled"),
    [
        (AdversarialAutoencoder(**QUICK), True),
        (AdversarialAutoencoder(**QUICK, discriminator_decay=False), False),
        (SemiSupervisedAAE(**QUICK), True),
        (SupervisedAAE(**QUICK, style_matching="marginal"), False),
        (EmbeddingAAE(**QUICK), False),
    ],
)
def test_the_schedule_of_discriminators(model, is_scheduled, few_labels):
    phases = before_first_step(model, *few_labels, lambda training: training.phases)
    assert {p.scheduled for p in phases if p.is_critic} == {is_scheduled}
    assert all(p.scheduled for p in phases if not p.is_critic)


def test_z_matched_per_class_keeps_the_rate_of_its_discriminator(few_labels):
    model = SemiSupervisedAAE(**QUICK, style_matching="per_class")
    phases = before_first_step(model, *few_labels, lambda training: training.phases)
    assert {p.name: p.scheduled for p in phases if p.is_critic} == {"z/discriminator": False, "y/discriminator": True}


def test_all_unlabelled_rows_are_seen_each_epoch(few_labels):
    """A short labelled set does not cut the unlabelled one to its length."""
    model = SemiSupervisedAAE(**{**QUICK, "max_steps": None}, max_epochs=2).fit(*few_labels)
    assert model.n_steps_ == 2 * (300 // 20)


@pytest.mark.parametrize("variant", VARIANTS)
def test_losses_fall(variant, few_labels):
    model = VARIANTS[variant](**{**QUICK, "max_steps": 150, "batch_size": 50})
    if variant not in ONE_STAGE:
        model.set_params(learning_rate=3e-3)
    model.fit(*few_labels)
    main = "classification" if variant in ONE_STAGE else "reconstruction"
    assert model.history_[-1][main] < 0.9 * model.history_[0][main]


@pytest.mark.parametrize("variant", ["basic gan", "basic conv", "semi-supervised pseudo-labels", "baseline"])
def test_the_same_seed_gives_the_same_weights(variant, few_labels):
    a, b = (VARIANTS[variant](**QUICK).fit(*few_labels) for _ in range(2))
    c = VARIANTS[variant](**{**QUICK, "random_state": 1}).fit(*few_labels)
    same = [torch.equal(x, y) for x, y in zip(a.networks_.parameters(), b.networks_.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(next(a.networks_.parameters()), next(c.networks_.parameters()))


def test_fitting_leaves_the_global_random_state_alone(few_labels):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    SemiSupervisedAAE(**QUICK).fit(*few_labels).sample(2, random_state=0)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("kind", [AdversarialAutoencoder, ClusteringAAE, EmbeddingAAE, SupervisedAAE])
def test_the_reconstruction_is_scored_by_the_mean_over_rows(kind, few_labels):
    """Also of more rows than fit into one pass, and of bytes."""
    X = np.tile((few_labels[0] * 255).astype(np.uint8), (8, 1, 1, 1))[:1500]
    y = np.arange(len(X)) % 10
    model = kind(**QUICK).fit(X[:300], y[:300], eval_set=(X, y))
    x = X.reshape(len(X), -1) / 255
    R = model.reconstruct(X, y) if kind is SupervisedAAE else model.reconstruct(X)
    p = R.reshape(len(X), -1).clip(1e-12, 1 - 1e-7)
    expected = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(1).mean()
    assert model.history_[-1]["eval/reconstruction"] == pytest.approx(expected, rel=1e-3)


# --- what estimators return
def test_images_come_back_as_images(few_labels):
    X, y = few_labels
    model = SemiSupervisedAAE(**QUICK).fit(X, y)
    assert model.transform(X[:4]).shape == (4, 10)
    assert model.reconstruct(X[:4]).shape == (4, 1, 8, 8)
    assert model.sample(3, random_state=0).shape == (3, 1, 8, 8)
    assert model.generate([4, 7]).shape == (2, 1, 8, 8)
    flat = model.predict_proba(X[:4].reshape(4, -1))
    assert np.array_equal(flat, model.predict_proba(X[:4]))


def test_generate_uses_the_class_and_the_style(few_labels):
    model = SemiSupervisedAAE(**{**QUICK, "max_steps": 60}).fit(*few_labels)
    Z = np.zeros((2, 10))
    three, four = model.generate([3, 4], Z)
    assert not np.allclose(three, four)
    assert np.array_equal(model.generate([3], Z[:1])[0], three) or np.allclose(
        model.generate([3], Z[:1])[0], three, atol=1e-5
    )
    assert not np.allclose(model.generate([3], Z[:1] + 2)[0], three)


def test_bytes_are_the_interval_from_0_to_1(few_labels):
    X, y = few_labels
    as_bytes = (X * 255).round().astype(np.uint8)
    a = SemiSupervisedAAE(**QUICK).fit(as_bytes, y)
    b = SemiSupervisedAAE(**QUICK).fit(as_bytes.astype(np.float32) / 255, y)
    assert np.allclose(a.predict_proba(as_bytes), b.predict_proba(as_bytes / np.float32(255)), atol=1e-5)
    assert 0 <= a.reconstruct(as_bytes[:2]).min() <= a.reconstruct(as_bytes[:2]).max() <= 1


def test_small_whole_numbers_in_a_table_are_no_pixels(few_labels):
    X = (few_labels[0] * 16).round().reshape(len(few_labels[0]), -1)
    options = {k: v for k, v in QUICK.items() if k != "backbone"}
    a, b = (AdversarialAutoencoder(**options).fit(X.astype(kind)) for kind in (np.uint8, np.float32))
    assert not a.unit_range_ and np.allclose(a.transform(X.astype(np.uint8)), b.transform(X), atol=1e-5)
    c, d = (AdversarialAutoencoder(**options).fit((X > 8).astype(kind)) for kind in (np.uint8, np.float32))
    assert not c.unit_range_ and np.allclose(c.transform(X > 8), d.transform(X > 8), atol=1e-5)


def test_the_same_numbers_in_another_type_are_the_same_rows(few_labels):
    """Bytes as floats, what `reconstruct` gives of bytes, zeros and ones as bytes: nobody has to think of the type."""
    X = (few_labels[0] * 255).round().astype(np.uint8)
    model = AdversarialAutoencoder(**QUICK).fit(X)
    for same in (X.astype(np.float64), X / 255):
        assert np.allclose(model.transform(same), model.transform(X), atol=1e-4)
    bits = X > 100
    for fitted in (bits.astype(float), bits.astype(np.uint8), bits):
        model = AdversarialAutoencoder(**QUICK).fit(fitted)
        codes = [model.transform(same) for same in (bits.astype(float), bits.astype(np.uint8), bits)]
        assert np.allclose(codes[0], codes[1:], atol=1e-6)
        assert np.std(codes[0]) > 0.01
    images = AdversarialAutoencoder(**QUICK).fit((X / 255).astype(np.float32))
    assert np.allclose(images.transform(X), images.transform(X / 255), atol=1e-4)


def test_tables_of_any_scale_are_reconstructed_in_their_own_units():
    X = load_breast_cancer().data
    model = AdversarialAutoencoder(**{**QUICK, "max_steps": 400, "batch_size": 100}, latent_dim=10, dropout=0.0)
    model.set_params(learning_rate=3e-3).fit(X)
    explained = 1 - ((model.reconstruct(X) - X) ** 2).mean(0) / X.var(0)
    assert np.median(explained) > 0.5


@pytest.mark.parametrize(
    "name", ["pandas", "pandas texts", "strings with None", "list with -1", "objects with -1", "floats"]
)
def test_labels_of_any_kind(name, few_labels):
    X, y = few_labels
    words = np.array([f"digit {k}" for k in range(10)], dtype=object)
    X = X.reshape(len(X), -1)
    if name == "pandas":
        X = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
        y = pd.Series(np.where(y >= 0, words[y], None))
    elif name == "pandas texts":
        y = pd.Series(np.where(y >= 0, words[y], pd.NA), dtype="string")
    elif name == "list with -1":
        y = [words[k] if k >= 0 else -1 for k in y]
    elif name == "strings with None":
        y = np.where(y >= 0, words[y], None)
    elif name == "objects with -1":
        y = y.astype(object)
    else:
        y = y.astype(float)
    model = SemiSupervisedAAE(**QUICK).fit(X, y)
    assert len(model.classes_) == 10
    assert set(model.predict(X)) <= set(model.classes_)
    if name == "pandas":
        assert list(model.feature_names_in_[:2]) == ["pixel 0", "pixel 1"]
        assert model.predict(X)[0].startswith("digit")


@pytest.mark.parametrize(
    "kind", [AdversarialAutoencoder, SemiSupervisedAAE, ClusteringAAE, EmbeddingAAE, SupervisedAAE]
)
def test_what_needs_a_fit_says_so(kind, few_labels):
    X, model = few_labels[0], kind(**QUICK)
    calls = [
        lambda: model.transform(X),
        lambda: model.reconstruct(X),
        lambda: model.sample(2),
    ]
    if kind is EmbeddingAAE:  # whose centroids are learned; else the prior is known beforehand
        calls.append(lambda: model.sample_prior(2))
    if hasattr(model, "generate"):
        calls.append(lambda: model.generate([0]))
    for call in calls:
        with pytest.raises(NotFittedError):
            call()
    refused = SemiSupervisedAAE(**QUICK)
    with pytest.raises(InputError, match="at least 2 classes"):
        refused.fit(X, np.zeros(len(X), int))
    with pytest.raises(NotFittedError):
        refused.predict(X)


def test_pipeline_clone_and_grid_search(few_labels):
    X, y = few_labels
    X = X.reshape(len(X), -1)
    steps = make_pipeline(StandardScaler(), SemiSupervisedAAE(**QUICK))
    search = GridSearchCV(steps, {"semisupervisedaae__latent_dim": [2, 3]}, cv=2)
    search.fit(X[:50], y[:50])
    assert search.best_params_["semisupervisedaae__latent_dim"] in (2, 3)
    model = clone(SemiSupervisedAAE(**QUICK, backbone=nn.Sequential(nn.Flatten(), nn.Linear(64, 7))))
    assert model.fit(X, y).networks_.encoder.head_y.in_features == 7


def test_a_given_backbone_is_copied(few_labels):
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU())
    before = copy.deepcopy(backbone.state_dict())
    SemiSupervisedAAE(**QUICK, backbone=backbone).fit(*few_labels)
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())


def test_early_stopping_holds_out_labelled_rows_and_stops(digits):
    X, y = digits
    y = np.where(np.arange(len(y)) < 100, y, -1)
    model = SemiSupervisedAAE(**{**QUICK, "max_steps": 600}, early_stopping=2, loss_weights={"marginal_kl": 0})
    model.set_params(learning_rate_schedule="constant", consistency="none", ema_decay=0.0).fit(X, y)
    scores = [row["validation/score"] for row in model.history_]
    assert model.n_steps_ < 600 and len(scores) == np.argmin(scores) + 3
    assert sum(model.class_counts_) == 100


def test_without_early_stopping_every_label_trains_and_none_is_set_aside(few_labels, monkeypatch):
    seen = []
    original = Minibatches.__init__
    monkeypatch.setattr(
        Minibatches, "__init__", lambda self, arrays, *a: (seen.append(len(arrays[0])), original(self, arrays, *a))[1]
    )
    SemiSupervisedAAE(**QUICK).fit(*few_labels)
    assert seen == [300, 50]


def test_evaluation_rows_without_a_label_are_left_out(few_labels, digits):
    X, y = digits
    known = np.arange(200) % 2 == 0
    curves = [
        [row.get("eval/error") for row in SemiSupervisedAAE(**QUICK).fit(*few_labels, eval_set=rows).history_]
        for rows in ((X[:200], np.where(known, y[:200], -1)), (X[:200][known], y[:200][known]), (X[:200], None))
    ]
    assert curves[0] == pytest.approx(curves[1]) and set(curves[2]) == {None}


def test_evaluation_rows_change_nothing_but_the_history(few_labels, digits):
    a = SemiSupervisedAAE(**QUICK).fit(*few_labels)
    b = SemiSupervisedAAE(**QUICK).fit(*few_labels, eval_set=digits)
    assert "eval/error" in b.history_[-1] and "eval/error" not in a.history_[-1]
    assert all(torch.equal(p, q) for p, q in zip(a.networks_.parameters(), b.networks_.parameters(), strict=True))


# --- saving
@pytest.mark.parametrize(
    "variant",
    ["basic gan", "basic conv", "basic mixture", "semi-supervised pseudo-labels", "supervised by class",
     "clustering, all additions", "embedding, few labels", "embedding, no labels", "pretrained", "baseline"],
)  # fmt: skip
def test_save_and_load_round_trip_bit_for_bit(variant, few_labels, tmp_path):
    X, y = few_labels
    model = VARIANTS[variant](**QUICK).fit(X, y)
    model.save(tmp_path / "model.safetensors")
    again = type(model).load(tmp_path / "model.safetensors")
    for method in ("transform", "predict_proba", "predict", "reconstruct"):
        if hasattr(model, method):
            assert np.array_equal(getattr(model, method)(X), getattr(again, method)(X))
    plain = lambda m: {k: v for k, v in m.get_params().items() if k != "autoencoder"}
    assert plain(again) == plain(model)
    assert again.history_ == model.history_
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_string_classes_survive_saving(few_labels, tmp_path):
    X, y = few_labels
    model = SupervisedBaseline(**QUICK).fit(
        X, np.where(y >= 0, np.array([f"d{k}" for k in range(10)], object)[y], None)
    )
    model.save(tmp_path / "m")
    assert np.array_equal(SupervisedBaseline.load(tmp_path / "m").predict(X), model.predict(X))


def test_objects_are_asked_for_again(few_labels, tmp_path):
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(64, 12))
    model = SupervisedBaseline(**QUICK, backbone=backbone).fit(*few_labels)
    model.save(tmp_path / "m")
    with pytest.raises(InputError, match="expected the object backbone="):
        SupervisedBaseline.load(tmp_path / "m")
    again = SupervisedBaseline.load(tmp_path / "m", backbone=backbone)
    assert np.array_equal(again.predict(few_labels[0]), model.predict(few_labels[0]))


def test_objects_inside_an_autoencoder_are_asked_for_again(few_labels, tmp_path):
    X, y = few_labels
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(64, 12))
    below = AdversarialAutoencoder(**{**QUICK, "backbone": backbone}).fit(X)
    model = PretrainedClassifier(autoencoder=below, **QUICK).fit(X, y)
    model.save(tmp_path / "m")
    with pytest.raises(InputError, match=r"load\(..., autoencoder=None, backbone=...\)"):
        PretrainedClassifier.load(tmp_path / "m")
    again = PretrainedClassifier.load(tmp_path / "m", autoencoder=None, backbone=backbone)
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))


def test_models_of_another_version_are_refused(few_labels, tmp_path):
    SupervisedBaseline(**QUICK).fit(*few_labels).save(tmp_path / "m")
    header, tensors = _io.read_model(tmp_path / "m")
    text = json.dumps(header)
    for metadata, message in (
        ({"aaekit": "99 of another kind"}, "format 99, of a later version of aaekit: update"),
        ({"aaekit": json.dumps({**header, "format": 3})}, "format 3, of an earlier version of aaekit: train it again"),
        ({"aaekit": f"four 0 {text}"}, "its format is no number"),
        ({"aaekit": f"4 0 {text}"}, "its checksum is wrong"),
        ({"aaekit": "4"}, "its checksum is wrong"),
        ({"other": "4"}, "it says nothing of aaekit"),
    ):
        _io.save_file(tensors, str(tmp_path / "other"), metadata)
        with pytest.raises(InputError, match=message):
            SupervisedBaseline.load(tmp_path / "other")
    _io.write_model(tmp_path / "other", {**header, "parameters": {**header["parameters"], "sparkle": 3}}, tensors)
    with pytest.raises(InputError, match="expected a parameter of SupervisedBaseline, got 'sparkle'"):
        SupervisedBaseline.load(tmp_path / "other")


def test_damaged_and_foreign_models_are_refused(few_labels, tmp_path):
    SupervisedBaseline(**QUICK).fit(*few_labels).save(tmp_path / "m")
    data = (tmp_path / "m").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    (tmp_path / "text").write_text("no model")
    for name, message in {"cut": "damaged", "text": "damaged", "missing": "no such file"}.items():
        with pytest.raises(InputError, match=message):
            SupervisedBaseline.load(tmp_path / name)
    with pytest.raises(InputError, match="expected a saved SemiSupervisedAAE"):
        SemiSupervisedAAE.load(tmp_path / "m")


def test_a_full_disk_leaves_nothing_behind(few_labels, tmp_path, monkeypatch):
    model = SupervisedBaseline(**QUICK).fit(*few_labels)

    def full(tensors, path, header):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_io, "save_file", full)
    with pytest.raises(InputError, match="the disk is full"):
        model.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


# --- what batch normalisation knows in the end
@pytest.mark.parametrize("variant", VARIANTS)
def test_encoders_normalise_by_clean_rows(variant, digits):
    """In the end an encoder makes of clean rows what their own statistics say, whatever it saw while training."""
    X, y = digits
    model = VARIANTS[variant](**QUICK).fit(X, y)
    encoder = model.networks_.encoder
    layers = [m for m in encoder.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    if not layers or variant == "pretrained, frozen":
        pytest.skip("it has no batch normalisation of its own")
    seen = {}
    layers[0].register_forward_pre_hook(lambda layer, inputs: seen.update(x=inputs[0].clone()))
    model.predict(X) if variant in ONE_STAGE else model.transform(X)
    axes = [d for d in range(seen["x"].dim()) if d != 1]
    assert torch.allclose(seen["x"].mean(axes), layers[0].running_mean, atol=1e-4)
    assert torch.allclose(seen["x"].var(axes), layers[0].running_var, rtol=1e-3, atol=1e-5)


# --- label propagation
def test_labels_are_propagated_where_no_augmentation_says_more(few_labels):
    X, y = few_labels
    for more, propagates in [
        ({}, False), ({"augmentation": "none"}, True), ({"loss_weights": {"soft_label": 1}}, True),
        ({"augmentation": "none", "loss_weights": {"soft_label": 0}}, False), ({"consistency": "none"}, False),
    ]:  # fmt: skip
        model = SemiSupervisedAAE(**{**QUICK, "image_shape": (1, 8, 8), **more}).fit(X, y)
        assert model.plan_.propagates_labels == propagates, more
        assert ("soft_label" in model.history_[-1]) == propagates, more
    tables = SemiSupervisedAAE(**QUICK).fit(X.reshape(len(X), -1), y)
    assert tables.plan_.propagates_labels, "tables have no such warps"


def test_propagated_labels_fade_within_300_steps(few_labels):
    def weights(training: Training) -> list[float]:
        (phase,) = (p for p in training.phases if p.name == "soft_label")
        return [phase.weight_at(n) for n in (0, 150, 300, 400)]

    model = SemiSupervisedAAE(**QUICK, augmentation="none")
    assert before_first_step(model, *few_labels, weights) == [1, 0.5, 0, 0]


def test_virtual_adversarial_training_goes_by_the_lengths_of_the_plan(few_labels, monkeypatch):
    seen, loss = [], losses.virtual_adversarial_loss
    monkeypatch.setattr(
        losses, "virtual_adversarial_loss", lambda step, **lengths: seen.append(lengths) or loss(step, **lengths)
    )
    X, y = few_labels
    for more, radii in [
        ({"augmentation": "none"}, 10), ({"consistency": "virtual_adversarial"}, 10),
        ({"consistency": "both"}, None), ({"consistency": "both", "vat_epsilon": (0.25, 3)}, 3),
    ]:  # fmt: skip
        seen.clear()
        model = SemiSupervisedAAE(**{**QUICK, "image_shape": (1, 8, 8), **more}).fit(X, y)
        epsilon = 0.25 * model.data_radius_
        expected = {"vat_epsilon": epsilon, "vat_xi": radii * epsilon if radii else 0.1}
        assert seen and all(lengths == pytest.approx(expected) for lengths in seen), more


@pytest.mark.parametrize("kind", [SemiSupervisedAAE, EmbeddingAAE])
def test_propagation_teaches_what_few_labels_cannot(kind):
    X, y = make_moons(600, noise=0.06, random_state=0)
    known = np.full(600, -1)
    for k in (0, 1):
        known[np.flatnonzero(y == k)[:3]] = k
    how = {"hidden": (64, 64), "max_steps": 300, "consistency": "none", "random_state": 0, "ema_decay": 0.9,
           "input_noise": 0.0}  # fmt: skip
    weights = [{"reconstruction": 0, "soft_label": weight} for weight in (0, 1)]
    how |= {"guard": False} if kind is SemiSupervisedAAE else {}
    errors = [(kind(**how, loss_weights=w).fit(X, known).predict(X) != y).mean() for w in weights]
    assert errors[1] < 0.05 < errors[0] - 0.04


# --- several initialisations
class Announced(Callback):
    """What was announced, and where the training began."""

    def __init__(self):
        self.announced = []

    def prepare(self, what):
        self.announced.append(what)

    def start(self, training):
        self.began = training.n_done


def weights_of(nets) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in nets.encoder.parameters()])


def test_the_surest_of_several_initialisations_is_trained_to_completion(few_labels, monkeypatch):
    monkeypatch.setattr(_fitting, "MIN_TRIAL", 1)
    X, y = few_labels
    quick = {**QUICK, "max_steps": 45, "image_shape": (1, 8, 8), "augmentation": "none",
             "loss_weights": {"soft_label": 0}}  # fmt: skip
    alone = SemiSupervisedAAE(**quick, n_init=1).fit(X, y)
    judged, announced, doubts = [], Announced(), iter([0.3, 0.2, 0.1, 0.4])
    probabilities = _fitting.probabilities
    monkeypatch.setattr(
        _fitting, "probabilities", lambda nets, rows: judged.append(weights_of(nets)) or probabilities(nets, rows)
    )
    monkeypatch.setattr(_fitting, "doubt", lambda *_: next(doubts))
    model = SemiSupervisedAAE(**quick, n_init=4).fit(X, y, callbacks=[announced])
    said = [line.partition(", ")[0] for line in announced.announced]
    assert said == [f"initialisation {k}/4 (15 steps); the best one is trained to completion" for k in (1, 2, 3, 4)]
    assert announced.began == 15
    assert model.n_steps_ == 45 and model.history_[-1]["step"] == 45 and model.history_[0]["epoch"] == 1
    distances = [float((weights_of(model.networks_) - other).norm()) for other in judged]
    assert len(distances) == 4 and min(distances) > 0 and np.argmin(distances) == 2
    doubts = iter([0.1, 0.2, 0.3, 0.4])
    first = SemiSupervisedAAE(**quick, n_init=4).fit(X, y)
    assert first.history_[0]["classification"] == alone.history_[0]["classification"], "the first is the only one"


def test_while_initialisations_are_tried_the_time_left_is_that_of_all(monkeypatch):
    """Fifteen steps of four, and thirty more of the best one, of a second each."""
    clock, said = SimpleNamespace(now=100.0), []
    monkeypatch.setattr(_fitting, "time", SimpleNamespace(monotonic=lambda: clock.now))
    progress = _fitting._Trials(said.append, 4, 15, 90)
    for k in range(4):
        progress.begin(k, 15 * k)
        for n_done in range(1, 16):
            clock.now += 1
            progress.step(SimpleNamespace(n_done=n_done))
    begun = "initialisation {}/4 (15 steps); the best one is trained to completion"
    assert said == [
        begun.format(1), "step 5 of 15, 85 s left in all", "step 10 of 15, 80 s left in all",
        begun.format(2) + ", 75 s left", "step 5 of 15, 70 s left in all",
        begun.format(3) + ", 60 s left", "step 10 of 15, 50 s left in all",
        begun.format(4) + ", 45 s left",
    ]  # fmt: skip


@pytest.mark.parametrize("n_init", [1, 3])
def test_the_time_of_a_fit_is_told_by_its_first_steps(few_labels, n_init, monkeypatch):
    """Here each takes two seconds, and all before them two, too."""
    monkeypatch.setattr(_fitting, "MIN_TRIAL", 1)
    monkeypatch.setattr(_timing, "time", SimpleNamespace(perf_counter=itertools.count(0, 2).__next__))
    model = SemiSupervisedAAE(**{**QUICK, "max_steps": 60}, image_shape=(1, 8, 8), n_init=n_init)
    timing = _timing.timing_of(model, model.plan_for(*few_labels), *few_labels)
    n_steps = 60 + (n_init - 1) * 20
    assert (timing.n_steps, timing.seconds) == (n_steps, 2 + 2 * n_steps) and not hasattr(model, "networks_")
    assert timing.memory is None or timing.memory > 2**25


def test_long_trainings_choose_their_initialisation_early(few_labels, monkeypatch):
    monkeypatch.setattr(_fitting, "MIN_TRIAL", 1)
    monkeypatch.setattr(_fitting, "MAX_TRIAL", 4)
    announced = Announced()
    model = SemiSupervisedAAE(**{**QUICK, "max_steps": 45}, image_shape=(1, 8, 8), n_init=2)
    model.fit(*few_labels, callbacks=[announced])
    assert announced.began == 4


def test_unlabelled_rows_are_judged(few_labels, monkeypatch):
    monkeypatch.setattr(_fitting, "MIN_TRIAL", 1)
    judged, probabilities = [], _fitting.probabilities
    monkeypatch.setattr(
        _fitting, "probabilities", lambda nets, rows: judged.append(rows.numpy()) or probabilities(nets, rows)
    )
    X, y = few_labels
    SemiSupervisedAAE(**QUICK, n_init=2).fit(X, y)
    assert len(judged) == 2 and np.array_equal(judged[0], X[y == -1])


@pytest.mark.parametrize("weight", [0.0, 10.0])
def test_doubt_is_entropy_and_imbalance(weight, few_labels):
    X, y = few_labels
    quick = {**QUICK, "image_shape": (1, 8, 8), "class_prior": "uniform"}
    model = SemiSupervisedAAE(**quick, loss_weights={"marginal_kl": weight}).fit(X, y)
    p = model.predict_proba(X)[y == -1]
    mean = p.mean(0)
    divergence = np.log(len(mean)) + (mean * np.log(mean)).sum()
    assert divergence > 1e-4 and model.plan_.weights["marginal_kl"] == weight
    doubt = _fitting.doubt(p, model.plan_.class_prior, weight)
    assert doubt == pytest.approx(-(p * np.log(p)).sum(1).mean() + weight * divergence, rel=1e-3)


def test_a_warm_start_has_one_initialisation(few_labels, monkeypatch):
    monkeypatch.setattr(_fitting, "MIN_TRIAL", 1)
    X, y = few_labels
    quick, announced = {**QUICK, "image_shape": (1, 8, 8), "n_init": 2}, Announced()
    first = SemiSupervisedAAE(**quick).fit(X, y)
    SemiSupervisedAAE(**quick, warm_start_from=first).fit(X, y, callbacks=[announced])
    assert not announced.announced and announced.began == 0


def test_where_each_image_has_a_label_nothing_is_guessed(few_labels):
    X, some = few_labels
    every = np.arange(len(X)) % 10
    guesses = {"pseudo_label", "virtual_adversarial"}
    for y, more, expected in [
        (every, {}, set()), (every, {"consistency": "both"}, guesses),
        (every, {"augmentation": "none"}, {"virtual_adversarial"}), (some, {}, {"pseudo_label"}),
    ]:  # fmt: skip
        model = SemiSupervisedAAE(**{**QUICK, "image_shape": (1, 8, 8), **more}).fit(X, y)
        assert guesses & set(model.history_[-1]) == expected, more
    tables = SemiSupervisedAAE(**QUICK).fit(X.reshape(len(X), -1), every)
    assert "virtual_adversarial" in tables.history_[-1], "balls about rows say more than their labels"


def test_all_labels_are_propagated_nowhere(few_labels, monkeypatch):
    X, y = few_labels
    monkeypatch.setattr(_label_propagation, "_links", lambda *_: pytest.fail("no neighbours are needed"))
    SemiSupervisedAAE(**QUICK, loss_weights={"soft_label": 1}).fit(X, np.arange(len(X)) % 10)


def test_class_frequencies_are_estimated_from_the_rows(tmp_path):
    """Of a table three quarters of whose rows are of one class, ten labels of each."""
    random = np.random.default_rng(0)
    y = (np.arange(400) % 4 == 0).astype(int)
    X = random.normal(size=(400, 5)) + 3 * y[:, None]
    known = np.concatenate([np.flatnonzero(y == k)[:10] for k in (0, 1)])
    labels = np.full(400, -1)
    labels[known] = y[known]
    quick = {**QUICK, "max_steps": 3}
    model = SemiSupervisedAAE(**quick).fit(X, labels)
    assert model.class_frequencies_ == pytest.approx([0.75, 0.25], abs=0.06)
    assert model.class_prior_ == pytest.approx(model.class_frequencies_, abs=1e-6)
    model.save(tmp_path / "model.safetensors")
    again = SemiSupervisedAAE.load(tmp_path / "model.safetensors")
    assert again.class_prior_ == pytest.approx(model.class_frequencies_, abs=1e-6)
    no_propagation = SemiSupervisedAAE(**quick, loss_weights={"soft_label": 0})
    guess = clone(no_propagation).set_params(class_prior=("auto", 0.3, 0.7)).fit(X, labels)
    assert guess.class_frequencies_ == pytest.approx([0.3, 0.7]), "it is where the guess is after a few steps"
    assert no_propagation.fit(X, labels).class_frequencies_ == pytest.approx([0.5, 0.5])
    with pytest.raises(InputError, match="class_prior: expected 2 numbers, one for each class, got"):
        clone(model).set_params(class_prior=("auto", 0.3, 0.3, 0.4)).fit(X, labels)
    model.set_params(class_prior="labelled").fit(X, labels)
    assert not hasattr(model, "class_frequencies_") and model.class_prior_.tolist() == [0.5, 0.5]
    model.set_params(class_prior=(0.9, 0.1)).fit(X, labels)
    assert model.class_prior_ == pytest.approx([0.9, 0.1])


# --- bad input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "conf"}, "did you mean 'conv'"),
        ({"hidden": 8}, r"expected 'auto' or a list, for instance \[8\]"),
        ({"latent_dim": 0}, "latent_dim: expected .*, got 0"),
        ({"prior": "gausian"}, "did you mean 'gaussian'"),
        ({"schedule": "both"}, "'joint' or 'alternating'"),
        ({"batch_size": 5000}, "at most the 300 rows to train on, got 5000"),
        ({"batch_size": (20, 1)}, "batch_size: expected a number greater than or equal to 2, got"),
        ({"batch_size": (20, 51)}, "at most the 50 labelled rows to train on, got 51"),
        ({"loss_weights": {"soft_label": -1}}, "loss_weights: expected a number greater than or equal to 0, got"),
        ({"image_shape": (1, 9, 9)}, "image_shape: expected 64 values, as in a row, got .* with 81"),
        ({"class_prior": (0.5, 0.5)}, "class_prior: expected 10 numbers, one for each class, got"),
        ({"augmentation": "none", "consistency": "pseudo_labels"}, "choose one of these, or an augmentation"),
        ({"latent_dim": 3, "prior": "swiss_roll"}, "2"),
    ],
)
def test_bad_parameters_get_one_line(change, message, few_labels):
    X, y = few_labels
    if "image_shape" in change:
        X = X.reshape(len(X), -1)
    with pytest.raises(InputError, match=message) as error:
        SemiSupervisedAAE(**{**QUICK, **change}).fit(X, y)
    assert "\n" not in str(error.value)


def test_all_bad_parameters_are_named_at_once(few_labels):
    with pytest.raises(InputError) as error:
        SemiSupervisedAAE(**{**QUICK, "latent_dim": -1, "dropout": 2.0}).fit(*few_labels)
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == ["dropout", "latent_dim"]


def test_bad_rows_and_labels(few_labels):
    X, y = few_labels
    model = SemiSupervisedAAE(**QUICK)
    for X_bad, y_bad, message in [
        (X[:, 0], y, "add the channel"),
        (np.where(X > 0.9, np.nan, X), y, "NaN"),
        (X, np.full_like(y, -1), "0 class"),
        (X, np.where(y == 3, 3, -1), "1 class"),
        (X, y[:-1], "inconsistent numbers"),
        (X, y + 0.5, "continuous|label type"),
        (np.zeros((len(X), 32, 32, 3), np.uint8), y, "channels last: transpose"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.fit(X_bad, y_bad)
    model.fit(X, y)
    with pytest.raises(ValueError, match=r"shape \(1, 8, 8\)"):
        model.predict(np.zeros((2, 1, 9, 9)))
    with pytest.raises(ValueError, match="expected labels of the classes"):
        model.generate([11])
    with pytest.raises(ValueError, match="shape"):
        model.inverse_transform(np.zeros((2, 3)))


def test_score_and_evaluation_leave_out_rows_without_a_label(few_labels):
    X, y = few_labels
    model = SemiSupervisedAAE(**QUICK).fit(X, y)
    labelled = y != -1
    right = model.predict(X)[labelled] == y[labelled]
    assert 0 < right.mean() <= 1 and model.score(X, y) == right.mean()
    weight = np.arange(len(X)) + 1.0
    assert model.score(X, y, weight) == pytest.approx(np.average(right, weights=weight[labelled]))
    with pytest.raises(InputError, match="got none"):
        model.score(X, np.full_like(y, -1))
    with pytest.raises(ValueError, match="inconsistent"):
        SemiSupervisedAAE(**QUICK).fit(X, y, eval_set=(X[:9], y[:8]))


def test_an_augmentation_may_work_in_place(few_labels):
    X, y = few_labels
    of = [SemiSupervisedAAE(**QUICK, augmentation=f).fit(X, y) for f in (lambda x: x.mul_(0.5), lambda x: x * 0.5)]
    np.testing.assert_array_equal(of[0].predict_proba(X), of[1].predict_proba(X))


def test_columns_far_from_zero_are_standardised_too():
    random = np.random.default_rng(0)
    near = np.column_stack([random.integers(0, 1600, 300), random.normal(size=300), np.full(300, 0.1)])
    y = np.where(np.arange(300) < 60, near[:, 1] > 0, -1)
    far, rows = near + [1.7e9, 0, 1e9], []
    for X in (near, far):
        model = SemiSupervisedAAE(hidden=(8,), max_steps=2, random_state=0).fit(X, y)
        model.networks_.encoder.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0].numpy()))
        model.predict(X)
        np.testing.assert_allclose(model.reconstruct(X).mean(0), X.mean(0), rtol=1e-3, atol=2e3)
    near_rows, far_rows = rows[0], rows[2]
    np.testing.assert_allclose(near_rows, far_rows, atol=1e-3)
    assert abs(far_rows).max() < 10 and (abs(far_rows[:, 2]) < 1e-4).all()


def test_a_loss_that_is_not_finite_stops_the_training(few_labels):
    model = SemiSupervisedAAE(**{**QUICK, "max_steps": 200, "optimizer": "sgd", "backbone": "mlp", "batch_norm": False},
                              learning_rate=10.0, learning_rate_schedule="constant",
                              loss_weights={"reconstruction": 1e4})  # fmt: skip
    with pytest.raises(TrainingError, match="expected a finite loss, got .* lower learning_rate"):
        model.fit(*few_labels)


# --- scikit-learn's own contract
def expected_failures(estimator) -> dict[str, str]:
    unlabelled = "-1 says 'unlabelled', as in sklearn.semi_supervised; the check uses it as one of two classes"
    if isinstance(estimator, Classifier):
        by_prior = {"check_class_weight_classifiers": "the mean of y stays at class_prior, whatever labels weigh"}
        return {
            "check_classifiers_classes": unlabelled,
            "check_sample_weight_equivalence_on_dense_data": "a row of weight 2 is not drawn twice into minibatches",
            "check_sample_weight_equivalence_on_sparse_data": "a row of weight 2 is not drawn twice into minibatches",
        } | (by_prior if isinstance(estimator, SemiSupervisedAAE) else {})
    if isinstance(estimator, AdversarialAutoencoder):
        return dict.fromkeys(INVARIANCES, "score_samples needs fit_density first; without it they are checked below")
    return {}


INVARIANCES = ["check_methods_sample_order_invariance", "check_methods_subset_invariance"]


SMALL = {"max_steps": 60, "hidden": (32,), "random_state": 0}


@parametrize_with_checks(
    [
        AdversarialAutoencoder(**SMALL, dropout=0.0),
        AdversarialAutoencoder(**SMALL, adversarial=False, dropout=0.0),
        SemiSupervisedAAE(**{**SMALL, "max_steps": 150}, latent_dim=2),
        SupervisedBaseline(**{**SMALL, "max_steps": 150}),
        SupervisedAAE(**SMALL),
        ClusteringAAE(**{**SMALL, "max_steps": 150}, n_clusters=3),
        EmbeddingAAE(**SMALL, n_clusters=3),
        AAEOutlierDetector(**SMALL),
        PretrainedClassifier(
            **{**SMALL, "max_steps": 150}, autoencoder=AdversarialAutoencoder(**SMALL, latent_dim=20, dropout=0.0)
        ),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("check", INVARIANCES)
@pytest.mark.parametrize("adversarial", [True, False])
def test_codes_of_rows_depend_on_no_other_rows(check, adversarial, monkeypatch):
    monkeypatch.delattr(ParzenDensity, "score_samples")
    model = AdversarialAutoencoder(**SMALL, adversarial=adversarial, dropout=0.0)
    getattr(estimator_checks, check)("AdversarialAutoencoder", model)


def test_frozen_restores_what_was_trainable():
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    with frozen(layer):
        assert not any(p.requires_grad for p in layer.parameters())
    assert layer.weight.requires_grad and not layer.bias.requires_grad
