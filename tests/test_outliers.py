"""Outliers: those of a class that was left out are found, the threshold is where it is asked for, models are kept."""

import itertools

import numpy as np
import pytest
from conftest import QUICK
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from aaekit import AAEOutlierDetector, InputError
from aaekit.estimators import outliers
from aaekit.evaluation.predictions import predictions
from aaekit.runs.config import completed
from reproduction import protocols

SMALL = {
    "hidden": (64,), "discriminator_hidden": (64,), "latent_dim": 8, "max_steps": 150, "random_state": 0,
    "precision": "float32",
}  # fmt: skip
FEW = {**SMALL, "max_steps": 20}
LEFT_OUT = [4, 6]


@pytest.fixture(scope="module")
def rows():
    """All 8x8 digits (n, 1, 8, 8) in [0, 1], their labels, and which of them train."""
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32).reshape(-1, 1, 8, 8), y, np.arange(len(y)) % 3 != 0


@pytest.fixture(scope="module")
def detectors(rows):
    """One for each digit that is left out; nobody changes them."""
    X, y, train = rows
    return {k: AAEOutlierDetector(**SMALL).fit(X[train & (y != k)]) for k in LEFT_OUT}


@pytest.fixture(scope="module")
def detector(detectors):
    return detectors[4]


def parts(model, X) -> dict[float, np.ndarray]:
    """The score of the networks alone by the share of the reconstruction in it."""
    before = {name: getattr(model, name) for name in ("reconstruction_share", "neighbour_share")}
    try:
        model.set_params(neighbour_share=0.0)
        return {s: model.set_params(reconstruction_share=s).score_samples(X) for s in (0.0, 0.2, 1.0)}
    finally:
        model.set_params(**before)


# --- what it is for --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("k", LEFT_OUT)
def test_a_digit_that_was_left_out_is_found_among_held_out_rows(k, detectors, rows):
    X, y, train = rows
    areas = {s: roc_auc_score(y[~train] == k, -v) for s, v in parts(detectors[k], X[~train]).items()}
    assert areas[0.2] > 0.94 and areas[0.0] > 0.94 and areas[1.0] > 0.7, areas


def test_what_is_no_digit_at_all_is_an_outlier_by_either_part(detector, rows):
    X, y, train = rows
    noise = np.random.default_rng(0).random((100, 1, 8, 8), dtype=np.float32)
    assert (detector.predict(noise) == -1).all()
    usual = parts(detector, X[~train & (y != 4)])
    for share, scores in parts(detector, noise).items():
        assert np.median(scores) < np.percentile(usual[share], 2), share


def test_the_usual_row_has_score_0_and_one_in_a_hundred_minus_1(detector, rows):
    X, y, train = rows
    scores = parts(detector, X[train & (y != 4)])[0.2]
    assert np.median(scores) == pytest.approx(0, abs=1e-6) and np.percentile(scores, 1) == pytest.approx(-1, abs=1e-6)


def test_both_parts_can_be_switched_off_and_add_up(detector, rows):
    parts_of = parts(detector, rows[0][:50])
    offset, scale = detector.usual_[0]
    np.testing.assert_allclose(
        offset - scale * parts_of[0.2], 0.8 * (offset - scale * parts_of[0.0]) + 0.2 * (offset - scale * parts_of[1.0])
    )
    assert abs(np.corrcoef(parts_of[0.0], parts_of[1.0])[0, 1]) < 0.95, "each part tells something of its own"


def test_the_nearest_row_counts_where_rows_are_few(rows):
    """Thirty digits of one class do not say how dense codes are, but they are near to each other."""
    X, y, train = rows
    areas = {}
    for digit in (0, 5):
        few, outlier = X[train & (y == digit)][:30], y[~train] != digit
        model = AAEOutlierDetector(**SMALL).fit(few)
        scores = {s: model.set_params(neighbour_share=s).score_samples(X[~train]) for s in ("auto", 0.0, 1.0)}
        distances = NearestNeighbors(n_neighbors=1).fit(few.reshape(30, -1)).kneighbors(X[~train].reshape(-1, 64))[0]
        areas[digit] = {s: roc_auc_score(outlier, -v) for s, v in scores.items()}
        assert areas[digit]["auto"] > roc_auc_score(outlier, distances[:, 0]) - 0.02
        assert roc_auc_score(outlier, -scores[1.0]) == pytest.approx(roc_auc_score(outlier, distances[:, 0]), abs=1e-3)
    assert np.mean([a["auto"] - a[0.0] for a in areas.values()]) > 0, areas


def test_with_rows_enough_the_networks_decide_alone(detector, rows):
    """With 8 dimensions and 30 Gaussians 2,400 rows are enough; of 2 Gaussians 160 are."""
    X = rows[0]
    model = AAEOutlierDetector(**FEW, n_components=2).fit(X[:400])
    assert np.array_equal(model.score_samples(X), model.set_params(neighbour_share=0.0).score_samples(X))
    assert not np.array_equal(detector.score_samples(X[:50]), parts(detector, X[:50])[0.2])


def test_errors_count_by_how_much_they_differ_among_rows_nearby():
    """The same distance from the mean error is less unusual where errors differ more."""
    random = np.random.default_rng(0)
    z = np.concatenate([random.normal(c, 0.1, (400, 8)) for c in (-3, 3)])
    e = np.concatenate([random.normal(0, 0.2, 400), random.normal(1, 0.8, 400)])
    mixture, errors = outliers.density_of(z, e, n_components=30, random_state=0)
    error = outliers.novelties(mixture, errors, np.repeat([[-3.0], [3.0]], 8, 1), np.array([0.8, 1.8]))[1]
    np.testing.assert_allclose(error, [4, 1], rtol=0.15)


# --- the threshold ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("contamination", "share"), [("auto", 0.01), (0.02, 0.02), (0.1, 0.1), (0.5, 0.5)])
def test_contamination_is_the_share_of_outliers_among_the_training_rows(contamination, share, rows):
    X = rows[0][:600]
    model = AAEOutlierDetector(**FEW, contamination=contamination)
    assert np.mean(model.fit_predict(X) == -1) == pytest.approx(share, abs=1.01 / len(X))


def test_the_methods_agree(detector, rows):
    X = rows[0][:200]
    score, decision, said = detector.score_samples(X), detector.decision_function(X), detector.predict(X)
    assert score.shape == decision.shape == said.shape == (200,)
    assert np.array_equal(decision, score - detector.offset_)
    assert np.array_equal(said, np.where(decision < 0, -1, 1)) and set(said) == {-1, 1}


def test_predictions_are_tabled(detector, rows):
    X = rows[0][:200]
    header, lines = predictions(detector, X, [])
    assert header == ["row", "outlier", "score"]
    assert [line[1] == "yes" for line in lines] == (detector.predict(X) == -1).tolist()


# --- rows of any kind ------------------------------------------------------------------------------------------------
def test_bytes_and_floats_and_flat_rows_are_alike(rows):
    as_bytes = (rows[0][:300] * 255).round().astype(np.uint8)
    floats = as_bytes.astype(np.float32) / 255
    a, b = AAEOutlierDetector(**FEW).fit(as_bytes), AAEOutlierDetector(**FEW).fit(floats)
    np.testing.assert_allclose(a.score_samples(as_bytes), b.score_samples(floats), atol=1e-3)
    assert np.array_equal(a.score_samples(as_bytes[:9]), a.score_samples(as_bytes[:9].reshape(9, -1)))


def test_a_row_is_scored_alike_alone_and_among_others(detector, rows):
    X = rows[0][:40]
    alone = np.concatenate([detector.score_samples(X[i : i + 1]) for i in range(40)])
    np.testing.assert_allclose(alone, detector.score_samples(X), atol=1e-6)


def test_tables_of_any_scale():
    X, benign = load_breast_cancer(return_X_y=True)
    train = (benign == 1) & (np.arange(len(X)) % 2 == 0)
    model = AAEOutlierDetector(**SMALL).fit(X[train])
    rest = ~train
    assert roc_auc_score(benign[rest] == 0, -model.score_samples(X[rest])) > 0.85


def test_networks_distance_and_forest_judge_tables_alike():
    random = np.random.default_rng(0)
    X = np.exp(random.normal(size=(600, 5)))
    model = AAEOutlierDetector(**FEW).fit(X)
    Q = np.concatenate([X[:100], np.exp(random.normal(size=(100, 5))) * np.exp(2 * random.normal(size=(100, 1)))])
    guarded = model.score_samples(Q)
    networks, near = (model.set_params(guard=False, neighbour_share=s).score_samples(Q) for s in (0.0, 1.0))
    middle, scale = model.usual_[2]
    forest = (outliers.isolations(model.forest_, model._rows(Q)) - middle) / scale
    assert np.allclose(guarded, (networks + near - forest) / 3)
    assert np.allclose(model.set_params(neighbour_share="auto").score_samples(Q), (networks + near) / 2)
    assert np.allclose(model.set_params(guard=True, neighbour_share=0.0).score_samples(Q), (2 * networks - forest) / 3)
    assert np.median(forest[:100]) == pytest.approx(0, abs=0.2) and (forest[100:] > 1).mean() > 0.1
    assert 0.005 < (model.set_params(neighbour_share="auto").predict(X) == -1).mean() < 0.02


@pytest.mark.parametrize(("width", "has_forest"), [(256, True), (257, False)])
def test_trees_judge_rows_whose_values_they_can_see(width, has_forest):
    X = np.random.default_rng(0).normal(size=(300, width))
    model = AAEOutlierDetector(**FEW).fit(X)
    guarded, without = (model.set_params(guard=guard).score_samples(X[:9]) for guard in (True, False))
    assert bool(model.forest_) == has_forest != np.array_equal(guarded, without)


@pytest.mark.parametrize("n", [256, 700])
def test_trees_isolate_as_those_of_scikit_learn(n):
    random = np.random.default_rng(n)
    X, Q = random.normal(size=(n, 4)), 2 * random.normal(size=(50, 4))
    forest = IsolationForest(n_estimators=outliers.N_TREES, max_samples=256, random_state=3).fit(X)
    assert np.allclose(outliers.isolations(outliers.forest_of(X, 3), Q), -forest.score_samples(Q), atol=1e-6)


def test_images_are_judged_by_the_networks_alone(detector, rows):
    assert detector.forest_ == {} and detector.guard
    assert np.array_equal(
        detector.score_samples(rows[0][:5]), detector.set_params(guard=False).score_samples(rows[0][:5])
    )


def test_labels_are_not_used(rows):
    X, y, _ = rows
    plain, told = AAEOutlierDetector(**FEW).fit(X[:200]), AAEOutlierDetector(**FEW).fit(X[:200], y[:200])
    assert np.array_equal(plain.score_samples(X[:50]), told.score_samples(X[:50]))
    assert not hasattr(told, "classes_")


def test_few_rows_get_fewer_gaussians(rows):
    model = AAEOutlierDetector(**FEW).fit(rows[0][:50])
    assert len(model.mixture_["weights_"]) == 1 and np.isfinite(model.score_samples(rows[0])).all()


# --- saving ----------------------------------------------------------------------------------------------------------
def test_saved_and_loaded_it_says_the_same(detector, rows, tmp_path):
    X = rows[0][:300]
    detector.save(tmp_path / "model.safetensors")
    again = AAEOutlierDetector.load(tmp_path / "model.safetensors")
    for method in ("score_samples", "decision_function", "predict", "transform"):
        assert np.array_equal(getattr(again, method)(X), getattr(detector, method)(X)), method
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()
    again.set_params(reconstruction_share=1.0)
    assert not np.array_equal(again.score_samples(X), detector.score_samples(X)), "the parts are kept, not their sum"


# --- bad input -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contamination": 0.0}, "contamination: expected .*, got 0.0"),
        ({"contamination": 0.7}, "contamination: expected .*, got 0.7"),
        ({"contamination": "aut"}, "contamination: expected 'auto' .*got 'aut'"),
        ({"n_components": 0}, "n_components: expected .*, got 0"),
        ({"reconstruction_share": 1.5}, "reconstruction_share: expected .*, got 1.5"),
    ],
)
def test_bad_parameters_get_one_line(change, message, rows):
    with pytest.raises(InputError, match=message) as error:
        AAEOutlierDetector(**{**FEW, **change}).fit(rows[0])
    assert "\n" not in str(error.value)


def test_it_cannot_score_before_fit_and_has_no_likelihood(detector, rows):
    with pytest.raises(NotFittedError):
        AAEOutlierDetector(**FEW).score_samples(rows[0])
    assert not hasattr(detector, "fit_density")


# --- the protocol ----------------------------------------------------------------------------------------------------
def test_the_protocol_leaves_out_each_class_in_turn(monkeypatch):
    small = {k: v for k, v in {**QUICK, **FEW}.items() if k != "batch_size"}
    trial = protocols.Trial(completed("outliers", {"data": "digits", **small}), ())
    assert trial.rows.y is not None
    two = trial.rows.y < 2
    trial.rows = trial.rows._replace(X=trial.rows.X[two], y=trial.rows.y[two])
    seen = []
    fit = AAEOutlierDetector.fit

    def fitted(self, X, **more):
        seen.append(len(X))
        fit(self, X, **more).training_seconds_ = 0.04
        return self

    monkeypatch.setattr(AAEOutlierDetector, "fit", fitted)
    protocols.find("outliers")(trial)
    assert trial.data.y is not None
    assert seen == [int((trial.data.y[trial.split.unlabelled] != k).sum()) for k in (0, 1)]
    for method in ("", "density ", "reconstruction ", "isolation forest ", "pca "):
        each = [trial.numbers[f"{k} {method}auc"] for k in (0, 1)]
        assert trial.numbers[f"{method}auc"] == pytest.approx(np.mean(each), abs=1e-4) and min(each) >= 0
    assert trial.numbers["n_steps"] == 40 and trial.numbers["seconds"] == 0.08
    assert set(trial.pictures) == {"auc_by_class", "roc_curves"}


def test_few_different_rows_do_not_make_others_usual():
    """Rows that come back alike leave no spread to measure by: what comes back a little better is not a marvel."""
    corners = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
    random = np.random.default_rng(0)
    model = AAEOutlierDetector(**{**SMALL, "latent_dim": 2}).fit(corners[random.integers(0, 8, 600)])
    assert (model.predict(corners) == 1).all() and (model.predict(random.uniform(0.1, 0.9, (500, 3))) == 1).mean() < 0.2
    assert model.score_samples(random.uniform(size=(500, 3))).max() < 100


@pytest.mark.filterwarnings("ignore:X. expected values as in fit", "ignore:overflow")
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_farthest_rows_are_outliers(share):
    model = AAEOutlierDetector(**FEW, reconstruction_share=share).fit(np.random.default_rng(0).normal(size=(300, 5)))
    far = np.eye(4, 5) * np.array([1e15, 1e20, 1e30, 1e40])[:, None]
    assert np.isfinite(model.score_samples(far)).all() and (model.predict(far) == -1).all()
