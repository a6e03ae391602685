"""Style and class by class, from a few labels."""

import numpy as np
import pytest
from conftest import QUICK, FirstStep
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from aaekit import InputError, SemiSupervisedAAE
from aaekit.evaluation import heldout
from aaekit.evaluation.metrics import label_leakage
from aaekit.plots import draw

STYLE_MATCHINGS = ["per_class", "marginal"]


@pytest.fixture(scope="module")
def separated():
    """How well style and class come apart, by `style_matching`: 100 labels of the 8x8 digits."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    judge, found = SVC(gamma=0.05, C=10).fit(X, y), {}
    train, test, known = X[:1200], X[1200:], np.where(np.arange(1200) < 100, y[:1200], -1)
    wanted = np.random.default_rng(0).integers(10, size=len(test))
    for style_matching in STYLE_MATCHINGS:
        model = SemiSupervisedAAE(
            image_shape=(1, 8, 8),
            hidden=(16, 32),
            latent_dim=5,
            max_steps=400,
            random_state=0,
            style_matching=style_matching,
        ).fit(train, known)
        Z = model.transform(test)
        made = model.generate(wanted, random_state=0), model.generate(wanted, Z)
        found[style_matching] = {
            "error": 100 * (model.predict(test) != y[1200:]).mean(),
            "leak": label_leakage(Z, y[1200:]),
            "drawn": 100 * (judge.predict(made[0]) == wanted).mean(),
            "kept": 100 * (judge.predict(made[1]) == wanted).mean(),
        }
    return found


def test_class_by_class_style_tells_less_and_rows_show_their_class(separated):
    a, b = separated["per_class"], separated["marginal"]
    assert a["leak"] < b["leak"] - 20, separated  # measured: 49 and 93 %; chance is 10
    assert a["drawn"] > 80 > b["drawn"], separated  # 94 and 34
    assert a["kept"] > 90 > b["kept"], separated  # 99 and 39
    assert a["error"] < b["error"] + 1.5, separated  # 2.7 and 2.8


@pytest.mark.parametrize("schedule", ["joint", "alternating"])
@pytest.mark.parametrize("style_matching", STYLE_MATCHINGS)
def test_the_discriminator_of_z_is_shown_y_for_independence_by_class_only(style_matching, schedule, few_labels):
    watch = FirstStep()
    SemiSupervisedAAE(**QUICK, n_init=1, latent_dim=3, style_matching=style_matching, schedule=schedule).fit(
        *few_labels, callbacks=[watch]
    )
    drawn, made = np.split(watch.judged[0], 2)
    code = next(c for _, c in watch.encoded if np.allclose(c.z[: len(made)], made[:, :3], atol=1e-5))
    if style_matching == "per_class":
        y = code.y[: len(made)]
        np.testing.assert_allclose(made[:, 3:], y, atol=1e-5)
        np.testing.assert_allclose(drawn[:, 3:], y, atol=1e-5)
    else:
        assert made.shape[1] == drawn.shape[1] == 3


def test_rows_are_translated_by_one_class_for_all_or_one_each(few_labels):
    X, y = few_labels
    model = SemiSupervisedAAE(**QUICK, style_matching="per_class").fit(X, y)
    Z = model.transform(X[:3])
    np.testing.assert_array_equal(model.translate(X[:3], 7), model.generate([7, 7, 7], Z))
    np.testing.assert_array_equal(model.translate(X[:3], [1, 2, 7]), model.generate([1, 2, 7], Z))
    with pytest.raises(InputError, match=r"got \[12\]"):
        model.translate(X[:3], 12)
    with pytest.raises(InputError, match=r"z: expected shape \(2, 10\), got \(3, 10\)"):
        model.translate(X[:3], [1, 2])


@pytest.mark.parametrize("style_matching", STYLE_MATCHINGS)
def test_styles_of_real_rows_are_drawn_with_every_class_where_they_are_apart(style_matching, few_labels, digits):
    model = SemiSupervisedAAE(**QUICK, style_matching=style_matching).fit(*few_labels)
    drawn = draw.draw_all(model, heldout.HeldOut("test", digits[0][:60], digits[1][:60]), [])
    assert ("style_label_grid" in drawn) == (style_matching == "per_class")
