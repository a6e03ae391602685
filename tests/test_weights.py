"""Weights of labelled rows and classes, class frequencies by name, and scores for thresholds."""

import numpy as np
import pytest
import torch
from conftest import QUICK, before_first_step
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from aaekit import EmbeddingAAE, InputError, PretrainedClassifier, SemiSupervisedAAE, SupervisedBaseline
from aaekit.errors import ClassPriorWarning
from aaekit.estimators._labels import checked_weights, label_weights
from aaekit.estimators._plan import DataSummary
from aaekit.losses import classification_loss
from aaekit.nn.encoder import Code
from aaekit.nn.step import EncoderStep
from aaekit.runs.config import config_text, configuration, read_config

CLASSIFIERS = [SemiSupervisedAAE, SupervisedBaseline, PretrainedClassifier]
NAMES = np.array(["no", "yes"])


@pytest.fixture(scope="module")
def two_classes():
    """200 rows of two columns, of which 40 have a label, 30 of them "no" and 10 "yes"."""
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], [150, 50])
    X = random.normal(size=(200, 2)) + 1.2 * y[:, None]
    labels = np.full(200, None, dtype=object)
    labels[:30], labels[150:160] = "no", "yes"
    return X, labels


def quick(kind, **parameters):
    small = {**QUICK, "max_steps": 60, "learning_rate": 5e-3, **parameters}
    return kind(**small, **({"latent_dim": 4, "pretraining_epochs": 1} if kind is PretrainedClassifier else {}))


# --- the weights
weights_of_rows = st.lists(st.just(0.0) | st.floats(1e-3, 100), min_size=1, max_size=20)


@settings(deadline=None)
@given(weights_of_rows, st.floats(0.1, 10), st.sampled_from([None, "balanced", {"a": 3.0}, {"a": 1, "b": 0}]))
def test_weights_have_mean_1_and_keep_their_ratios(values, scale, class_weight):
    sample_weight, labels = np.array(values), np.arange(len(values)) % 2
    if not (sample_weight * [(class_weight or {}).get("b", 1) if k and isinstance(class_weight, dict) else 1
                             for k in labels]).any():  # fmt: skip
        with pytest.raises(InputError, match="expected a weight above zero for some labelled row, got zero for all"):
            label_weights(labels, ["a", "b"], class_weight, sample_weight)
        return
    weights = label_weights(labels, ["a", "b"], class_weight, sample_weight)
    assert weights is not None and weights.mean() == pytest.approx(1, rel=1e-4) and (weights >= 0).all()
    again = label_weights(labels, ["a", "b"], class_weight, scale * sample_weight)
    np.testing.assert_allclose(again, weights, rtol=1e-4, atol=1e-6)
    for k in (0, 1):  # within a class they are those of the rows
        inside = sample_weight[labels == k]
        np.testing.assert_allclose(weights[labels == k] * inside.sum(), inside * weights[labels == k].sum(), rtol=1e-3,
                                   atol=1e-3)  # fmt: skip
    if class_weight == "balanced" and all(sample_weight[labels == k].any() for k in (0, 1)):
        assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum(), rel=1e-3)


def test_without_weights_there_are_none():
    assert label_weights(np.array([0, 1]), [0, 1], None, None) is None and checked_weights(None, 3) is None


def test_class_weights_are_of_the_class_named_and_of_1_for_others():
    labels = np.array([0, 1, 2, 2])
    for mapping in ({5: 4, "7": 2}, {"5": 4, 7: 2}):
        weights = label_weights(labels, [5, 7, 9], mapping, None)
        np.testing.assert_allclose(weights, np.array([4, 2, 1, 1]) / 2)


@pytest.mark.parametrize(
    ("sample_weight", "message"),
    [
        ([1, 2], r"sample_weight: expected one number per row, shape \(3,\), got shape \(2,\)"),
        (2.0, r"shape \(3,\), got shape \(\)"),
        ([[1], [2], [3]], r"got shape \(3, 1\)"),
        ([1, -1, 1], "sample_weight: expected finite numbers of at least 0, got -1.0 in row 1"),
        ([1, 1, np.nan], "got nan in row 2"),
        ([1, 1, np.inf], "got inf in row 2"),
        (["a", "b", "c"], "sample_weight: expected one number per row, got others"),
    ],
    ids=str,
)
def test_weights_that_are_none_are_refused(sample_weight, message):
    with pytest.raises(InputError, match=message) as error:
        checked_weights(sample_weight, 3)
    assert "\n" not in str(error.value)


def test_the_loss_is_the_weighted_mean_of_the_cross_entropies():
    logits, labels, weights = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0.0, 1, 2, 0, 3, 0])

    def loss(chosen, **more):
        step = EncoderStep({"labelled": logits[chosen]}, lambda x: Code(x, x), labels={"labelled": labels[chosen]},
                           **more)  # fmt: skip
        return classification_loss(step).item()

    every = range(6)
    single = [loss([k]) for k in every]
    assert loss(every, weights={"labelled": weights}) == pytest.approx(np.mean(weights.numpy() * single), rel=1e-5)
    assert loss(every, weights={"labelled": torch.ones(6)}) == pytest.approx(loss(every), rel=1e-5)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_each_labelled_row_trains_with_its_own_weight(kind, early_stopping, two_classes):
    X, y = two_classes
    sample_weight = np.arange(1.0, 201)
    model = quick(kind, class_weight={"yes": 3}, early_stopping=early_stopping)

    def seen(training):
        rows, labels, weights = training.minibatches["labelled"].arrays[:3]
        return rows.numpy(), labels.numpy(), weights.numpy()

    class WithWeights:
        def fit(self, X, y, callbacks):
            model.fit(X, y, sample_weight, callbacks=callbacks)

    rows, labels, weights = before_first_step(WithWeights(), X, y, seen)
    labelled = np.flatnonzero(y != None)  # noqa: E711
    assert len(weights) == (36 if early_stopping else 40) and weights.mean() == pytest.approx(1, rel=1e-5)
    twin = quick(kind).fit(X, y)
    scaled = twin.scaler_.transform(twin, X).reshape(200, 2)
    for row, label, weight in zip(rows.reshape(-1, 2), labels, weights / weights[0], strict=True):
        k = labelled[np.abs(scaled[labelled] - row).sum(1).argmin()]
        first = labelled[np.abs(scaled[labelled] - rows.reshape(-1, 2)[0]).sum(1).argmin()]
        assert y[k] == NAMES[label]
        assert weight == pytest.approx((k + 1) / (first + 1) * 3.0 ** (label - labels[0]), rel=1e-3)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_rows_and_classes_that_count_more_are_predicted_more(kind, two_classes):
    X, y = two_classes
    is_yes = y == "yes"
    more = {"loss_weights": {"marginal_kl": 0, "soft_label": 0}} if kind is SemiSupervisedAAE else {}
    share = {}
    for weight in (0.02, 1, 50):
        by_row = quick(kind, **more).fit(X, y, np.where(is_yes, weight, 1.0)).predict_proba(X)[:, 1].mean()
        by_class = quick(kind, **more, class_weight={"yes": weight}).fit(X, y).predict_proba(X)[:, 1].mean()
        assert by_class == pytest.approx(by_row, abs=1e-6)
        share[weight] = by_row
    assert share[0.02] + 0.05 < share[1] < share[50] - 0.05
    balanced = quick(kind, **more, class_weight="balanced").fit(X, y).predict_proba(X)
    by_hand = quick(kind, **more, class_weight={"no": 1, "yes": 3}).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(balanced, by_hand, atol=1e-4)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_weights_that_are_alike_change_nothing_much(kind, two_classes):
    X, y = two_classes
    plain = quick(kind, max_steps=5).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(quick(kind, max_steps=5).fit(X, y, np.full(200, 7.0)).predict_proba(X), plain, atol=1e-3)


@pytest.mark.parametrize("kind", [*CLASSIFIERS])
def test_weights_of_another_class_are_refused_with_the_nearest(kind, two_classes):
    with pytest.raises(InputError, match="class_weight: expected classes of no, yes, got 'yess': did you mean 'yes'"):
        quick(kind, class_weight={"yess": 2}).fit(*two_classes)


# --- class frequencies by name
def summary(counts=(40, 10), n_unlabelled=950, classes=("no", "yes")):
    return DataSummary((30,), 1000, class_counts=counts, n_unlabelled=n_unlabelled, classes=classes)


@pytest.mark.parametrize("kind", [SemiSupervisedAAE, EmbeddingAAE])
@pytest.mark.parametrize("classes", [("no", "yes"), (3, 7)])
def test_frequencies_by_name_are_those_in_order(kind, classes):
    data = summary(classes=tuple(map(str, classes)))
    first, second = classes
    for mapping in ({first: 0.9, second: 0.1}, {second: 0.1, first: 0.9}, {str(second): 0.1, str(first): 0.9}):
        plan = kind(class_prior=mapping).plan(data)
        assert plan.class_prior == pytest.approx((0.9, 0.1)) and plan.min_class_share == 1.0


@pytest.mark.parametrize(
    ("class_prior", "message"),
    [
        ({"no": 0.9, "yess": 0.1}, "class_prior: expected classes of no, yes, got 'yess': did you mean 'yes'"),
        ({"no": 0.9}, "class_prior: expected a frequency for each class, got none for 'yes'"),
        ({"no": 0.9, "yes": 0.2}, r"class_prior: expected numbers of at least 0 in sum 1, got .* in sum 1.1"),
        ((0.9, 0.2), r"class_prior: expected numbers of at least 0 in sum 1, got .* in sum 1.1"),
        ((9, 1), r"in sum 10"),
        ((0.0, 0.0), r"in sum 0"),
        ((1.5, -0.5), "numbers of at least 0"),
        ((np.nan, 0.5), "numbers of at least 0"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [SemiSupervisedAAE, EmbeddingAAE])
def test_frequencies_that_are_none_are_refused_in_one_line(kind, class_prior, message):
    with pytest.raises(InputError, match=message) as error:
        kind(class_prior=class_prior).plan(summary())
    assert "\n" not in str(error.value)


def test_names_of_classes_survive_clone_and_files(two_classes, tmp_path):
    """Whatever a class is called: "object" and "estimator" are also words of the file."""
    X, y = two_classes
    for names in (("no", "yes"), ("estimator", "object"), (3, 7)):
        labels = [None if v is None else names[v == "yes"] for v in y]
        parameters = {"class_prior": {names[0]: 0.75, names[1]: 0.25}, "class_weight": {names[1]: 2.0}}
        model = clone(SemiSupervisedAAE(**QUICK, **parameters)).fit(X, labels)
        assert model.plan_.class_prior == pytest.approx((0.75, 0.25))
        model.save(tmp_path / "model.safetensors")
        again = SemiSupervisedAAE.load(tmp_path / "model.safetensors")
        assert again.plan_ == model.plan_
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        np.testing.assert_allclose(again.fit(X, labels).predict_proba(X), model.predict_proba(X), atol=1e-6)


def test_commands_and_files_take_names(tmp_path):
    options = configuration("classifier", {"class_prior": "yes=0.1,no=0.9", "class_weight": "balanced"})
    assert options == {"class_prior": {"yes": 0.1, "no": 0.9}, "class_weight": "balanced"}
    assert configuration("classifier", {"class_prior": "auto,0.2,0.8"})["class_prior"] == ("auto", 0.2, 0.8)
    assert configuration("classifier", {"class_prior": "uniform"})["class_prior"] == "uniform"
    path = tmp_path / "options.yaml"
    path.write_text("class_prior: {yes: 0.1, no: 0.9}\nclass_weight:\n  off: 2\n  3: 1.5\n", encoding="utf-8")
    values = read_config(path)
    assert values == {"class_prior": {"yes": 0.1, "no": 0.9}, "class_weight": {"off": 2, "3": 1.5}}
    path.write_text(config_text({"system": "classifier", **configuration("classifier", values)}), encoding="utf-8")
    assert read_config(path) == {"system": "classifier", **values}
    with pytest.raises(InputError, match=r"class_weight=.*expected name=number, got 'yes=x'"):
        configuration("classifier", {"class_weight": "yes=x"})


def test_a_run_takes_names_of_the_classes_of_its_data(aae, tmp_path):
    rows = np.random.default_rng(0).normal(size=(120, 3))
    names = np.where(np.arange(120) % 3 == 0, "yes", np.where(np.arange(120) % 3 == 1, "no", ""))
    lines = ["a,b,c,target", *(",".join([*map(str, row), name]) for row, name in zip(rows, names, strict=True))]
    (tmp_path / "table.csv").write_text("\n".join(lines), encoding="utf-8")
    small = ["--data", tmp_path / "table.csv", "--max-steps", 3, "--hidden", 8, "--quiet"]
    for n, prior in enumerate(["yes=0.2,no=0.8", "0.8,0.2"]):  # in the order of the classes: no, yes
        code, _, errors = aae("train", "classifier", *small, "--class-prior", prior, "--class-weight", "yes=2", "--out",
                              tmp_path / f"run{n}")  # fmt: skip
        assert code == 0, errors
        model = SemiSupervisedAAE.load(tmp_path / f"run{n}" / "model.safetensors")
        assert model.class_prior_ == pytest.approx([0.8, 0.2])
    for option in ("--class-prior", "--class-weight"):
        code, _, errors = aae("train", "classifier", *small, option, "yess=0.2,no=0.8", "--out", tmp_path / "bad")
        assert code != 0 and "got 'yess': did you mean 'yes'?" in errors[-1]
        assert not (tmp_path / "bad").exists()


# --- balanced labels
@pytest.mark.parametrize("kind", [SemiSupervisedAAE, EmbeddingAAE])
@pytest.mark.parametrize(
    ("n_labels", "parameters", "message"),
    [
        ((8, 8), {}, None),
        ((8, 8), {"class_prior": "labelled"}, "with class_prior='labelled' all classes are taken to be equally"),
        ((60, 60), {"class_prior": "labelled"}, "got 60 of each class: with class_prior='labelled'"),
        ((60, 60), {}, None),
        ((8, 9), {}, None),
        ((8, 9), {"class_prior": "labelled"}, None),
        ((8, 8), {"class_prior": "uniform"}, None),
        ((8, 8), {"class_prior": (0.8, 0.2)}, None),
        ((8, 8), {"class_prior": {"no": 0.8, "yes": 0.2}}, None),
        ((100, 100), {"class_prior": "labelled"}, None),
    ],
    ids=str,
)
def test_one_line_says_what_balanced_labels_do_not_tell(kind, n_labels, parameters, message, recwarn):
    random = np.random.default_rng(0)
    n_no, n_yes = n_labels
    y = ["no"] * n_no + ["yes"] * n_yes + [None] * (200 - n_no - n_yes)
    kind(**QUICK, **parameters).plan_for(random.normal(size=(200, 2)), y)
    texts = [str(w.message) for w in recwarn if issubclass(w.category, ClassPriorWarning)]
    assert len(texts) == (message is not None) and all(message in text and "\n" not in text for text in texts)


@pytest.mark.parametrize(("std", "is_said"), [(20.0, True), (0.2, False)])
def test_one_line_says_that_unlabelled_rows_do_not_tell_frequencies(std, is_said, recwarn):
    random = np.random.default_rng(0)
    y = np.arange(200) % 2
    SemiSupervisedAAE(max_steps=2, random_state=0).fit(
        std * random.normal(size=(200, 2)) + y[:, None], [*y[:8], *[-1] * 192]
    )
    texts = [str(w.message) for w in recwarn if issubclass(w.category, ClassPriorWarning)]
    assert len(texts) == is_said
    assert all("the 192 unlabelled rows do not tell class frequencies well" in text for text in texts)


# --- scores for thresholds
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_scores_are_log_odds_of_two_classes_and_log_probabilities_of_more(kind, two_classes, digits):
    X, y = two_classes
    model = quick(kind).fit(X, y)
    p, scores = model.predict_proba(X), model.decision_function(X)
    assert scores.shape == (200,)
    np.testing.assert_allclose(scores, np.log(p[:, 1] / p[:, 0]), atol=1e-3)
    assert (model.classes_[(scores > 0).astype(int)] == model.predict(X)).all()
    model = quick(kind).fit(*digits)
    p, scores = model.predict_proba(digits[0]), model.decision_function(digits[0])
    np.testing.assert_allclose(np.exp(scores), p, atol=1e-5)
    far = model.decision_function(1e3 * digits[0].astype(float) if kind is None else digits[0])
    assert np.isfinite(far).all()
