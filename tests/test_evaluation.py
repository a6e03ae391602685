"""What is measured, predicted and drawn of each type of estimator."""

import numpy as np
import pytest

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
    plots,
)
from aaekit.data import Dataset, split
from aaekit.evaluation.compare import simple_errors
from aaekit.evaluation.heldout import HeldOut, as_samples, for_plots, mask_unseen_labels, names_of, to_training_units
from aaekit.evaluation.measures import MEASURES, cards, evaluate, findings_table, measure, tables
from aaekit.evaluation.predictions import predictions
from aaekit.plots import draw
from tests.conftest import QUICK

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ALWAYS = {"estimator", "rows", "n_rows", "n_steps", "seconds"}
CODES = {"reconstruction", "mmd", "sliced_wasserstein", "two_sample_auc"}
CLASSES = {"n_labelled", "n_scored", "error"}
CLUSTERS = {"majority_error", "one_to_one_error", "nmi", "ari", "n_clusters", "n_used_clusters", "marginal_entropy"}
FIGURES = {"learning_curves", "first_layer_features"}
CODE_FIGURES = {"sample_grid", "reconstruction_pairs", "latent_scatter", "code_vs_prior"}
CLASS_FIGURES = {"confusion_matrix", "confident_mistakes", "label_distribution"}
Y_FIGURES = {"label_distribution", "modes_and_samples"}
CASES = {
    "generator": (AdversarialAutoencoder, {"latent_dim": 2}, False, CODES, CODE_FIGURES | {"code_grid"}, None),
    "roll": (AdversarialAutoencoder, {"latent_dim": 2, "prior": "swiss_roll"}, True, CODES,
             CODE_FIGURES | {"code_grid", "roll_walk"}, None),
    "classifier": (SemiSupervisedAAE, {"style_matching": "per_class"}, True, CLASSES | CODES,
                   CODE_FIGURES | CLASS_FIGURES | Y_FIGURES | {"style_grid", "style_label_grid"}, "class"),
    "marginal": (SemiSupervisedAAE, {"style_matching": "marginal"}, True, CLASSES | CODES,
                 CODE_FIGURES | CLASS_FIGURES | Y_FIGURES | {"style_grid"}, "class"),
    "clusters": (ClusteringAAE, {"n_clusters": 4}, False, CLUSTERS | CODES,
                 CODE_FIGURES | Y_FIGURES | {"cluster_matrix", "style_grid"}, "cluster"),
    "map": (EmbeddingAAE, {}, True, CODES | {"trustworthiness", "knn_error", "centroid_error"},
            CODE_FIGURES | Y_FIGURES | {"code_grid"}, "class"),
    "unlabelled map": (EmbeddingAAE, {"n_clusters": 4}, False,
                       CODES | {"trustworthiness", "knn_error", "centroid_error"},
                       CODE_FIGURES | Y_FIGURES | {"code_grid"}, "cluster"),
    "style": (SupervisedAAE, {}, True, CODES | {"style_leak"}, CODE_FIGURES | {"style_label_grid"}, None),
    "outliers": (AAEOutlierDetector, {}, False, CODES, CODE_FIGURES, "outlier"),
    "pretrained": (PretrainedClassifier, {}, True, CLASSES, CLASS_FIGURES, "class"),
    "baseline": (SupervisedBaseline, {}, True, CLASSES, CLASS_FIGURES, "class"),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def case(request, digits):
    kind, settings, labelled, *expected = CASES[request.param]
    X, y = digits
    accepted = kind().get_params()
    model = kind(**{k: v for k, v in QUICK.items() if k in accepted}, **settings)
    return model.fit(X[:200], y[:200] if labelled else None), HeldOut("test", X[200:], y[200:]), *expected


def test_measures_by_type(case):
    model, rows, names, _, _ = case
    results = evaluate(model, rows)
    assert set(results) == ALWAYS | names
    assert all(np.isfinite(v) for k, v in results.items() if k not in ("estimator", "rows"))
    made = tables(results)
    described = {text for table in made for text in (*table.columns, *(row[0] for row in table.rows))}
    assert {MEASURES[name] for name in names if name in MEASURES} <= described
    assert cards(results)[-1][0] == "training time"


def test_figures_by_type(case):
    model, rows, _, names, _ = case
    figures = draw.draw_all(model, rows, [f"digit {k}" for k in range(10)])
    assert set(figures) == FIGURES | names
    assert set(figures) <= set(plots.DESCRIPTIONS)


def test_predictions_by_type(case):
    model, rows, _, _, kind = case
    names = names_of(model, [f"digit {k}" for k in range(10)])
    if kind is None:
        with pytest.raises(InputError, match=f"got {type(model).__name__}, which predicts nothing"):
            predictions(model, rows.X, names)
        return
    columns, lines = predictions(model, rows.X, names)
    assert columns[:2] == ["row", kind]
    assert len(lines) == len(rows.X) and all(len(line) == len(columns) for line in lines)


def test_without_labels_nothing_is_measured_that_needs_them(case):
    model, rows, names, _, _ = case
    unlabelled = rows._replace(y=np.full(len(rows.X), -1))
    assert set(evaluate(model, unlabelled)) & (CLASSES | {"majority_error", "centroid_error", "style_leak"}) == set()
    draw.figures_of(model, rows._replace(y=None), [])


def test_a_new_estimator_is_measured_and_drawn_as_its_base_or_by_functions_of_its_own(digits):
    class Variant(AdversarialAutoencoder):
        pass

    X, y = digits
    model = Variant(**{k: v for k, v in QUICK.items() if k in Variant().get_params()}).fit(X)
    rows = HeldOut("test", X[:50], y[:50])
    assert set(evaluate(model, rows)) == ALWAYS | CODES

    @measure.register
    def _(estimator: Variant, rows: HeldOut) -> dict[str, float]:
        return {"of its own": 1.0}

    @draw.figures_of.register
    def _(estimator: Variant, rows, labels):
        return {}

    assert set(evaluate(model, rows)) == ALWAYS | {"of its own"}
    assert set(draw.draw_all(model, rows, [])) == FIGURES


# --- held-out rows
@pytest.fixture(scope="module")
def table():
    rows = np.random.default_rng(0).normal((100, 0), (50, 0.1), (60, 2))
    return SupervisedBaseline(hidden=(4,), max_steps=2).fit(rows, np.arange(60) % 2), rows


def test_a_table_is_drawn_as_the_networks_see_it(table):
    model, rows = table
    drawn = for_plots(model, rows)
    np.testing.assert_allclose(drawn.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(drawn.std(0), 1, atol=1e-3)
    assert (np.argsort(drawn, 0) == np.argsort(rows, 0)).all()
    np.testing.assert_allclose(as_samples(model, rows), rows, rtol=1e-6)


def test_rows_of_another_shape_are_refused(table):
    with pytest.raises(InputError, match=r"expected rows of shape \(2,\) as in training, got \(3,\)"):
        to_training_units(table[0], np.zeros((5, 3)))


def test_a_subset_is_the_same_again():
    rows = HeldOut("test", np.arange(20)[:, None], np.arange(20))
    part = rows.subset(5)
    assert len(part.X) == 5 and (part.X[:, 0] == part.y).all()
    assert (part.y == rows.subset(5).y).all() and rows.subset(99).X.tolist() == rows.X.tolist()
    assert rows._replace(y=None).subset(5).y is None


def test_labels_that_were_not_seen_are_masked():
    class Fitted:
        conditions_ = [np.array([0, 1]), np.array([3, 5])]

    y = np.array([[0, 3], [2, 5], [1, 4]])
    assert mask_unseen_labels(Fitted(), y).tolist() == [[0, 3], [-1, 5], [1, -1]]


def test_no_findings_are_said_to_be_none():
    assert findings_table([]).note == "No problem was found."


# --- simple methods beside a classifier
@pytest.mark.parametrize("name", ["training", "test"])
def test_simple_methods_are_measured_on_held_out_rows_alone_and_not_twice(name, monkeypatch):
    random = np.random.default_rng(0)
    y = np.arange(120) % 2
    X = (random.normal(size=(120, 3)) + 3 * y[:, None]).astype(np.float32)
    data = Dataset("groups", X, y, classes=("a", "b"))
    chosen = split(y, 20, 0, 0)
    model = SemiSupervisedAAE(max_steps=2, hidden=(8,), random_state=0).fit(X, chosen.masked(y))
    config, rows = {"random_state": 0}, HeldOut(name, X, y)
    errors = simple_errors(config, data, chosen, model, rows)
    assert set(errors) == ({"logistic regression", "random forest"} if name == "test" else set())
    monkeypatch.setitem(simple_errors.__globals__, "compare", None)  # what was compared before is not trained again
    before = [{"name": "logistic regression", "error": 3.0}, {"name": "label spreading", "error": 1.0}]
    again = simple_errors(config, data, chosen, model, rows, before)
    assert again == ({"logistic regression": 3.0} if name == "test" else {})
