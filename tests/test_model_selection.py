"""Folds, scores and calibration of partly labelled rows, by scikit-learn's own tools."""

import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import QUICK
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score, get_scorer, log_loss, make_scorer
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation

from aaekit import InputError, SemiSupervisedAAE, SupervisedBaseline
from aaekit.errors import UnlabelledWarning
from aaekit.labels import labelled_mask
from aaekit.model_selection import PartlyLabelledKFold, WithUnlabelled, labelled_scorer

pytestmark = pytest.mark.usefixtures("few_trees")

TINY = {**QUICK, "max_steps": 12}
SPELLINGS = {
    "-1": lambda y: np.array([-1 if v is None else v for v in y]),
    "None": lambda y: list(y),
    "NaN": lambda y: np.array([np.nan if v is None else v for v in y], dtype=float),
    "Int64": lambda y: pd.Series(list(y), dtype="Int64"),
    "texts and None": lambda y: np.array([None if v is None else f"class {v}" for v in y], dtype=object),
    "texts and ''": lambda y: np.array(["" if v is None else f"class {v}" for v in y]),
    "category": lambda y: pd.Series([None if v is None else f"class {v}" for v in y], dtype="category"),
}


@pytest.fixture(scope="module")
def rows():
    """90 images of three digits, a third of them labelled."""
    X, y = load_digits(n_class=3, return_X_y=True)
    X, y = (X[:90] / 16).reshape(-1, 1, 8, 8).astype(np.float32), y[:90]
    return X, [int(v) if k % 3 == 0 else None for k, v in enumerate(y)], y


def spelled(name, y):
    return SPELLINGS[name](y)


# --- folds
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([None, None, 0, 1, 2]), min_size=1, max_size=60), st.integers(2, 4),
    st.sampled_from(sorted(SPELLINGS)), st.booleans(),
)  # fmt: skip
def test_folds_are_stratified_and_have_all_unlabelled_rows_in_training(y, n_splits, name, shuffle):
    counts = [y.count(k) for k in range(3) if k in y]
    folds = PartlyLabelledKFold(n_splits, shuffle=shuffle, random_state=3 if shuffle else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnlabelledWarning)
        if not counts or min(counts) < n_splits:
            with pytest.raises(InputError, match=f"n_splits: expected at least {n_splits} labelled rows of each class"):
                list(folds.split(y, spelled(name, y)))
            return
        parts = list(folds.split(y, spelled(name, y)))
    labelled = {k for k, v in enumerate(y) if v is not None}
    assert len(parts) == folds.get_n_splits() == n_splits
    assert sorted(k for _, test in parts for k in test) == sorted(labelled)
    for train, test in parts:
        assert set(train) == set(range(len(y))) - set(test) and list(train) == sorted(train)
        for k in {v for v in y if v is not None}:
            share = y.count(k) / n_splits
            assert np.floor(share) <= sum(y[i] == k for i in test) <= np.ceil(share)


def test_with_all_labels_they_are_those_of_scikit_learn(rows):
    X, _, y = rows
    for a, b in zip(PartlyLabelledKFold(3).split(X, y), StratifiedKFold(3).split(X, y), strict=True):
        assert all(np.array_equal(i, j) for i, j in zip(a, b, strict=True))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PartlyLabelledKFold(1), "n_splits: expected a whole number of at least 2, got 1"),
        (lambda: PartlyLabelledKFold(2, random_state=0), "random_state: expected shuffle=True beside it"),
        (lambda: next(PartlyLabelledKFold(2).split([0])), "y: expected labels to make folds of, got None"),
        (lambda: labelled_scorer("accurate"), "scoring: expected a name of sklearn.metrics.get_scorer, got 'accurate'"),
    ],
)
def test_what_is_none_is_refused_in_one_line(make, message):
    with pytest.raises(InputError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


# --- scores
@pytest.mark.parametrize(
    "scoring", ["accuracy", "balanced_accuracy", "neg_log_loss", "f1_macro", "roc_auc_ovr", "neg_brier_score"]
)
@pytest.mark.parametrize("name", SPELLINGS)
def test_scores_are_those_of_the_labelled_rows(scoring, name, rows):
    X, y, _ = rows
    X = X.reshape(len(X), -1)[:, 18:24]
    mask = np.array([v is not None for v in y])
    by_number = LogisticRegression().fit(X[mask], [v for v in y if v is not None])
    if scoring == "neg_brier_score":
        expected = -np.mean(np.square(by_number.predict_proba(X[mask]) - np.eye(3)[[v for v in y if v is not None]]))
        scoring = make_scorer(lambda t, p: -np.mean(np.square(p - np.eye(3)[t])), response_method="predict_proba")
    else:
        expected = get_scorer(scoring)(by_number, X[mask], [v for v in y if v is not None])
    labels = spelled(name, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnlabelledWarning)
        present = [v for v, ok in zip(list(labels), labelled_mask(labels), strict=True) if ok]
        model = LogisticRegression().fit(X[mask], present)
        assert labelled_scorer(scoring)(model, X, labels) == pytest.approx(expected)


@pytest.mark.parametrize("pos_label", [None, "no", "yes"])
def test_scores_of_one_class_take_texts(pos_label):
    random = np.random.default_rng(0)
    X, y = random.normal(size=(60, 2)), np.where(random.random(60) < 0.4, "yes", "no")
    model = LogisticRegression().fit(X, y)
    partly = [v if k % 4 else None for k, v in enumerate(y)]
    mask, positive = np.arange(60) % 4 > 0, pos_label or "yes"
    p = model.predict_proba(X[mask])[:, list(model.classes_).index(positive)]
    scores = {
        "average_precision": average_precision_score(y[mask] == positive, p),
        "f1": f1_score(y[mask], model.predict(X[mask]), pos_label=positive),
        "neg_log_loss": -log_loss(y[mask] == positive, p),
    }
    for name, expected in scores.items():
        assert labelled_scorer(name, pos_label=pos_label)(model, X, partly) == pytest.approx(expected), name


def test_a_scorer_refuses_what_cannot_be_scored():
    model = DummyClassifier().fit([[0], [1], [2]], ["a", "b", "b"])
    with pytest.raises(InputError, match="expected labels to score by, got none in all 2 rows"):
        labelled_scorer()(model, [[0], [1]], [None, -1])
    with pytest.raises(InputError, match=r"expected labels of the classes \['a', 'b'\], got \['c'\]"):
        labelled_scorer()(model, [[0], [1]], [None, "c"])
    with pytest.raises(InputError, match="pos_label: expected one of two classes, got 'c'"):
        labelled_scorer("f1", pos_label="c")(model, [[0], [1]], [None, "a"])


# --- scikit-learn's tools
@pytest.mark.parametrize("name", SPELLINGS)
def test_cross_validation_and_grid_search_take_every_spelling(name, rows):
    X, y, _ = rows
    labels, folds = spelled(name, y), PartlyLabelledKFold(2, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnlabelledWarning)
        scoring = {"accuracy": labelled_scorer(), "loss": labelled_scorer("neg_log_loss")}
        scores = cross_validate(
            SemiSupervisedAAE(**TINY),
            X,
            labels,
            cv=folds,
            scoring=scoring,
            return_train_score=True,
            error_score="raise",
        )
        assert all(np.isfinite(scores[f"{part}_{n}"]).all() for part in ("train", "test") for n in scoring)
        search = GridSearchCV(
            SemiSupervisedAAE(**TINY), {"input_noise": [0.0, 0.1]}, cv=folds, scoring=labelled_scorer("accuracy"),
            error_score="raise",
        ).fit(X, labels)  # fmt: skip
        assert len(search.classes_) == 3 and search.best_estimator_.n_unlabelled_ == 60
        by_default = GridSearchCV(SemiSupervisedAAE(**TINY), {"input_noise": [0.0, 0.1]}, cv=folds, error_score="raise")
        assert by_default.fit(X, labels).best_score_ == pytest.approx(search.best_score_)


def test_rows_of_a_test_fold_are_not_trained_on(rows):
    X, y, _ = rows
    seen = []

    class Recorded(SupervisedBaseline):
        def fit(self, X, y=None, sample_weight=None, **more):
            seen.append(labelled_mask(y).sum())
            return super().fit(X, y, sample_weight, **more)

    cross_validate(Recorded(**TINY), X, y, cv=PartlyLabelledKFold(3), error_score="raise")
    assert seen == [20, 20, 20]


# --- calibration
def test_calibration_takes_the_unlabelled_rows_along(rows):
    X, y, _ = rows
    mask = labelled_mask(y)
    labels = np.array([f"class {v}" for v in y if v is not None])
    for pair in ("texts", "numbers"):
        given_labels = labels if pair == "texts" else np.array([v for v in y if v is not None])
        model = CalibratedClassifierCV(WithUnlabelled(SemiSupervisedAAE(**TINY), X[~mask]), cv=3, method="sigmoid")
        model.fit(X[mask], given_labels)
        p = model.predict_proba(X)
        assert p.shape == (90, 3) and np.allclose(p.sum(1), 1) and set(model.predict(X)) <= set(given_labels)
        inner = model.calibrated_classifiers_[0].estimator
        assert inner.estimator_.n_unlabelled_ == 60 and sum(inner.estimator_.class_counts_) == 20


def test_calibration_of_a_model_that_is_fitted_keeps_it(rows):
    X, y, truth = rows
    texts = [None if v is None else f"class {v}" for v in y]
    model = SemiSupervisedAAE(**TINY).fit(X, texts)
    mask = ~labelled_mask(texts)
    calibrated = CalibratedClassifierCV(FrozenEstimator(model), method="sigmoid")
    calibrated.fit(X[mask], np.array([f"class {v}" for v in truth[mask]]))
    assert calibrated.predict_proba(X).shape == (90, 3) and list(calibrated.classes_) == list(model.classes_)


def test_unlabelled_rows_that_are_brought_along_train_as_if_they_were_there(rows):
    X, y, _ = rows
    order = np.argsort(~labelled_mask(y), kind="stable")
    X, y = X[order], [y[k] for k in order]
    expected = SemiSupervisedAAE(**TINY).fit(X, y)
    model = WithUnlabelled(SemiSupervisedAAE(**TINY), X[30:]).fit(X[:30], y[:30])
    np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
    np.testing.assert_array_equal(model.decision_function(X), expected.decision_function(X))
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))
    weights = np.arange(1.0, 31)
    weighted = SemiSupervisedAAE(**TINY).fit(X, y, np.r_[weights, np.ones(60)])
    model.fit(X[:30], y[:30], sample_weight=weights)
    np.testing.assert_array_equal(model.predict_proba(X), weighted.predict_proba(X))


def test_unlabelled_rows_are_shared_by_clones_and_may_be_a_frame():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(40, 2)), columns=["a", "b"])
    model = WithUnlabelled(make_pipeline(StandardScaler(), LabelPropagation()), frame)
    assert clone(model).X_unlabelled is frame and clone(model).estimator is not model.estimator
    labelled = pd.DataFrame([[0.0, 0.0], [3.0, 3.0], [0.1, 0.0], [3.0, 3.1]], columns=["a", "b"])
    fitted = clone(model).fit(labelled, [0, 1, 0, 1])
    assert fitted.estimator_.feature_names_in_.tolist() == ["a", "b"] and fitted.score(labelled, [0, 1, 0, 1]) == 1
    assert not hasattr(model, "decision_function") and hasattr(model, "predict_proba")
    search = GridSearchCV(model, {"estimator__labelpropagation__gamma": [1, 20]}, cv=2).fit(labelled, [0, 1, 0, 1])
    assert search.best_score_ == 1 and cross_val_predict(model, labelled, [0, 1, 0, 1], cv=2).tolist() == [0, 1, 0, 1]
