"""Flips that leave images alone are found, and used for training and predictions."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from aaekit import SemiSupervisedAAE, SupervisedBaseline
from aaekit.augment import SYMMETRIES
from aaekit.estimators._symmetries import are_photos, find_symmetries, gradient_histograms
from aaekit.nn.encoder import Encoder

ALL = ("flip", "flip_vertical", "transpose")


def textures(n=200, side=32, seed=0):
    """Smooth noise, which looks the same in all directions, of two kinds: fine and coarse."""
    random, y = np.random.default_rng(seed), np.arange(n) % 2
    noise = torch.from_numpy(random.normal(size=(n, 1, side, side)).astype(np.float32))
    coarse = torch.nn.functional.avg_pool2d(noise, 5, 1, 2)
    X = torch.where(torch.from_numpy(y == 1).view(-1, 1, 1, 1), coarse / coarse.std(), noise)
    return (0.5 + 0.15 * X).clamp(0, 1).numpy(), y


def arrows(n=200, side=24, seed=0):
    """Bright wedges that point to the left or to the right, in equal numbers, on noise."""
    random, y = np.random.default_rng(seed), np.arange(n) % 2
    x = np.arange(side)
    wedge = (np.abs(x[:, None] - (side - 1) / 2) < x[None] / 3).astype(np.float32)
    X = np.stack([wedge[:, ::-1] if k else wedge for k in y])[:, None]
    return (0.3 + 0.4 * X + 0.05 * random.normal(size=X.shape)).clip(0, 1).astype(np.float32), y


def test_textures_have_all_symmetries():
    X, y = textures()
    assert find_symmetries(X, np.where(np.arange(len(y)) < 40, y, -1), 0) == ALL and are_photos(X)
    assert find_symmetries((255 * X).astype(np.uint8), None, 1) == ALL


def test_labels_rule_out_what_turns_one_class_into_another():
    X, y = arrows()
    assert "flip" in find_symmetries(X, None, 0)
    with_labels = find_symmetries(X, np.where(np.arange(len(y)) < 60, y, -1), 0)
    assert "flip" not in with_labels and "flip_vertical" in with_labels


def test_digits_have_none_and_are_drawings():
    digits = load_digits()
    X = np.kron(digits.images[:, None] / 16, np.ones((2, 2))).astype(np.float32)
    assert find_symmetries(X, digits.target, 0) == () and not are_photos(X)
    assert find_symmetries(digits.images[:, None], digits.target, 0) == ()  # 8x8: too small to tell


@pytest.mark.parametrize("estimator", [SemiSupervisedAAE, SupervisedBaseline])
def test_predictions_do_not_depend_on_how_an_image_is_turned(estimator):
    X, y = textures(80, 16)
    labels = y if estimator is SupervisedBaseline else np.where(np.arange(len(y)) < 20, y, -1)
    model = estimator(augmentation="flip+flip_vertical+transpose+light", max_steps=3, random_state=0).fit(X, labels)
    p = model.predict_proba(X)
    for flip in SYMMETRIES.values():
        turned = np.ascontiguousarray(flip(torch.from_numpy(X)).numpy())
        assert np.allclose(model.predict_proba(turned), p, atol=1e-5)
    without = estimator(augmentation="light", max_steps=3, random_state=0).fit(X, labels)
    turned = np.ascontiguousarray(X[..., ::-1])
    assert not np.allclose(without.predict_proba(turned), without.predict_proba(X), atol=1e-4)


def test_the_mean_is_over_all_combinations():
    """Each of eight orientations is its own class: the mean is uniform over the eight."""

    class Orientation(torch.nn.Module):
        def forward(self, x):
            corners = torch.stack([x[:, 0, i, j] for i in (0, -1) for j in (0, -1)], 1)
            return torch.stack([corners[:, 0] - corners[:, 3], corners[:, 1] - corners[:, 2]], 1)

    encoder = Encoder(Orientation(), 2, 0, 8, symmetries=ALL)
    x = torch.rand(3, 1, 5, 5)
    orbit = [x]
    for flip in SYMMETRIES.values():
        orbit += [flip(v) for v in orbit]
    plain = Encoder(encoder.backbone, 2, 0, 8)
    plain.head_y = encoder.head_y
    expected = torch.stack([plain.eval()(v).y for v in orbit]).mean(0)
    assert len(orbit) == 8 and torch.allclose(encoder.eval()(x).y, expected, atol=1e-6)
    assert torch.equal(encoder.train()(x).logits, plain.train()(x).logits)


def test_a_plan_says_what_was_found():
    X, y = textures(60, 16)
    plan = SemiSupervisedAAE(max_steps=2).plan_for(X, np.where(np.arange(len(y)) < 20, y, -1))
    assert plan.augmentation == "flip+flip_vertical+transpose+light+affine_edge" and plan.data.is_photo
    assert SemiSupervisedAAE(augmentation="none", max_steps=2).plan_for(X, y).augmentation == "none"


def test_noise_is_not_added_to_photos():
    X, y = textures(60, 16)
    assert SemiSupervisedAAE(max_steps=2).plan_for(X, y).input_noise == 0
    assert SemiSupervisedAAE(max_steps=2, input_noise=0.3).plan_for(X, y).input_noise == 0.3
    drawings = np.where(X > 0.6, X, 0)
    assert SemiSupervisedAAE(max_steps=2).plan_for(drawings, y).input_noise == 0.1


@pytest.mark.parametrize("names", [("flip",), ("flip", "flip_vertical"), tuple(SYMMETRIES)])
def test_histograms_of_gradients_do_not_change_under_symmetries(names):
    X = np.random.default_rng(0).random((5, 3, 32, 32), np.float32)
    expected = gradient_histograms(X, names)
    for name in names:
        flipped = SYMMETRIES[name](torch.from_numpy(X)).numpy()
        np.testing.assert_allclose(gradient_histograms(flipped, names), expected, atol=1e-4)
    assert np.abs(gradient_histograms(X) - expected).max() > 0.01
