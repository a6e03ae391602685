"""Maps in a few dimensions: with no, few and all labels, there and back."""

import numpy as np
import pytest
import torch
from conftest import before_first_step
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from aaekit import EmbeddingAAE, InputError
from aaekit.evaluation.heldout import HeldOut
from aaekit.evaluation.measures import embedding_quality
from aaekit.evaluation.metrics import clustering_accuracy

SMALL = {
    "backbone": "mlp", "hidden": (100,), "discriminator_hidden": (64,), "random_state": 0, "precision": "float32",
    "max_steps": 400,
}  # fmt: skip
TRAINED = 1297  # the last 500 rows are held out


@pytest.fixture(scope="module")
def rows():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32).reshape(-1, 1, 8, 8), y


@pytest.fixture(scope="module")
def trained(rows):
    """The same map, with so many labels."""
    known = {}

    def train(n_labels):
        if n_labels not in known:
            X, y = rows[0][:TRAINED], np.where(np.arange(TRAINED) < n_labels, rows[1][:TRAINED], -1)
            known[n_labels] = EmbeddingAAE(**SMALL, n_clusters=12).fit(X, y)
        return known[n_labels]

    return train


def held_out(rows):
    return rows[0][TRAINED:], rows[1][TRAINED:]


# --- labels ----------------------------------------------------------------------------------------------------------
def test_labels_help(trained, rows):
    X, y = held_out(rows)
    few, all_of_them = ((trained(n).predict(X) != y).mean() for n in (100, TRAINED))
    assert all_of_them < 0.2 and few < 0.3 and all_of_them < few, "the last rows are by other hands"


def test_without_labels_centroids_are_clusters(trained, rows):
    model, (X, y) = trained(0), held_out(rows)
    assert not hasattr(model, "classes_") and model.centroids_.shape == (12, 2)
    assert clustering_accuracy(y, model.predict(X), "majority") > 50, "by chance it is about 15"


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_without_labels_the_codes_are_matched_more_softly(weight, rows):
    X, y = rows[0][:100], rows[1][:100]

    def weights(labels):
        parameters = {"loss_weights": {"generator": weight}} if weight != 1 else {}
        model = EmbeddingAAE(**SMALL | {"max_steps": 1}, **parameters).fit(X, labels)
        return [model.plan_.weights[name] for name in ("z/generator", "y/generator", "centroid_separation")]

    assert np.allclose(weights(np.where(y < 5, y, -1)), [weight, weight, 1.0])
    softly = [0.1, 0.01] if weight == 1 else [weight, weight]
    assert np.allclose(weights(None), [*softly, 1.0])


def test_there_is_a_centroid_for_each_class_of_any_kind(rows):
    names = np.array([f"digit {k}" for k in rows[1]])
    model = EmbeddingAAE(**{**SMALL, "max_steps": 30}).fit(*(a[:200] for a in (rows[0], names)))
    assert model.centroids_.shape == (10, 2) and set(model.predict(rows[0][:20])) <= set(names)


def test_fitting_again_without_labels_forgets_them(rows):
    model = EmbeddingAAE(**{**SMALL, "max_steps": 5}, n_clusters=4)
    assert hasattr(model.fit(rows[0][:200], rows[1][:200]), "classes_")
    assert not hasattr(model.fit(rows[0][:200]), "classes_") and len(model.centroids_) == 4


# --- the map ---------------------------------------------------------------------------------------------------------
def test_classes_are_apart_on_the_map(trained, rows):
    X, y = held_out(rows)
    model = trained(TRAINED)
    Z = model.transform(X)
    assert Z.shape == (500, 2) and np.array_equal(Z, model.transform(X))
    quality = embedding_quality(X, Z, y)
    assert quality["knn_error"] < 20 and quality["trustworthiness"] > 0.85
    pairs = np.repeat(np.arange(30), 2)  # two rows at each place, of other classes: the nearest is never the row itself
    assert embedding_quality(X[:60], np.stack([pairs, pairs], 1), np.arange(60) % 2)["knn_error"] > 30
    shuffled = embedding_quality(X, np.random.default_rng(0).permutation(Z), y)
    assert shuffled["knn_error"] > 70 and shuffled["trustworthiness"] < 0.6


def test_prediction_is_the_nearest_centroid(trained, rows):
    model = trained(TRAINED)
    Z = model.transform(rows[0][:100])
    nearest = np.linalg.norm(Z[:, None] - model.centroids_, axis=2).argmin(1)
    assert np.array_equal(model.predict(rows[0][:100]), model.classes_[nearest])


@pytest.mark.parametrize("n_labels", [0, TRAINED])
def test_centroids_are_kept_apart(n_labels, trained):
    heads = trained(n_labels).centroids_
    distances = np.linalg.norm(heads[:, None] - heads, axis=2)[~np.eye(len(heads), dtype=bool)]
    assert distances.min() > 0.6 * trained(n_labels).centroid_margin


def test_centroid_separation_keeps_them_apart(rows):
    """Centroids that begin nearer than the margin move apart, unless nothing asks for it."""

    def least(weight):
        model = EmbeddingAAE(
            **SMALL | {"max_steps": 150},
            loss_weights={"centroid_separation": weight},
            learning_rates={"centroid_separation": 0.02},
        )
        centroids = model.fit(*(a[:300] for a in rows)).centroids_
        return np.linalg.norm(centroids[:, None] - centroids, axis=2)[~np.eye(10, dtype=bool)].min()

    assert least(5.0) > least(0.0)


@pytest.mark.parametrize("n_labels", [0, 50, 100])
@pytest.mark.parametrize("consistency", ["auto", "none"])
def test_the_reconstruction_moves_y_only_where_nothing_else_says_what_it_is(consistency, n_labels, rows):
    moves = consistency == "none" and n_labels < 100
    X, y = rows[0][:100], np.where(np.arange(100) < n_labels, rows[1][:100], -1)

    def look(training):
        step = training.step_at(0)
        code = step.code()
        code.logits.retain_grad()
        code.z.retain_grad()
        step.reconstruction().sum().backward()
        assert code.z.grad is not None and training.networks.centroids.weight.grad is not None
        return code.logits.grad is not None

    model = EmbeddingAAE(**{**SMALL, "max_steps": 2}, consistency=consistency)
    assert before_first_step(model, X, y, look) == moves


def test_a_row_is_at_one_centroid_and_not_between_two(trained, rows):
    """However undecided y is, the place is the centroid of its likeliest value plus z."""
    model, X = trained(0), rows[0]
    p = model.cluster_proba(X)
    undecided = np.argsort(p.max(1))[:50]
    with torch.no_grad():
        z = model.networks_.encoder(torch.from_numpy(X[undecided])).z.numpy()
    np.testing.assert_allclose(model.transform(X[undecided]), model.centroids_[p[undecided].argmax(1)] + z, atol=1e-5)
    assert (model.predict(X) == p.argmax(1)).mean() > 0.9


def test_there_and_back(trained, rows):
    """A point of the map decodes to a row; the place of a row, to something like the row."""
    model, (X, y) = trained(TRAINED), held_out(rows)
    again = model.inverse_transform(model.transform(X))
    assert again.shape == X.shape and ((again - X) ** 2).mean() < 0.8 * ((X.mean(0) - X) ** 2).mean()
    at_heads = model.inverse_transform(model.centroids_).reshape(10, -1)
    means = np.stack([X[y == k].mean(0).ravel() for k in range(10)])
    nearest = ((at_heads[:, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == model.classes_).sum() >= 6, "what is made at the head of a class is of the class"


@pytest.mark.parametrize("n_dims", [1, 2, 3, 10])
def test_any_dimension(n_dims, rows):
    model = EmbeddingAAE(**{**SMALL, "max_steps": 20}, latent_dim=n_dims).fit(rows[0][:200], rows[1][:200])
    assert model.transform(rows[0][:7]).shape == (7, n_dims) and model.centroids_.shape == (10, n_dims)
    assert model.inverse_transform(np.zeros((2, n_dims))).shape == (2, 1, 8, 8)
    assert model.sample_prior(5, random_state=0).shape == (5, n_dims)


def test_it_is_a_step_of_a_pipeline(rows):
    X = rows[0].reshape(-1, 64) * 16
    model = EmbeddingAAE(**SMALL | {"max_steps": 250})
    pipeline = make_pipeline(MinMaxScaler(), model, LogisticRegression(max_iter=1000))
    pipeline.fit(X[:TRAINED], rows[1][:TRAINED])
    assert pipeline.score(X[TRAINED:], rows[1][TRAINED:]) > 0.5, "by chance it is 0.1"


@pytest.mark.parametrize("n_labels", [0, TRAINED])
def test_saved_and_loaded_it_is_the_same_map(n_labels, trained, rows, tmp_path):
    model = trained(n_labels)
    model.save(tmp_path / "map.safetensors")
    again = EmbeddingAAE.load(tmp_path / "map.safetensors")
    assert np.array_equal(again.transform(rows[0][:50]), model.transform(rows[0][:50]))
    assert np.array_equal(again.predict(rows[0][:50]), model.predict(rows[0][:50]))


# --- bad input -------------------------------------------------------------------------------------------------------
def test_more_centroids_than_rows_are_refused_unless_labels_say_how_many(rows):
    with pytest.raises(InputError, match="30.*20 rows|20 rows.*30") as error:
        EmbeddingAAE(n_clusters=30).fit(rows[0][:20])
    assert "\n" not in str(error.value)
    EmbeddingAAE(**{**SMALL, "max_steps": 2}, n_clusters=30).fit(rows[0][:20], rows[1][:20])


def test_points_of_another_dimension_are_refused(trained):
    with pytest.raises(InputError, match=r"\(n, 2\)"):
        trained(0).inverse_transform(np.zeros((2, 3)))


def test_rows_are_counted_by_the_evaluation(trained, rows):
    from aaekit.evaluation.measures import evaluate

    found = evaluate(trained(100), HeldOut("test", *held_out(rows)))
    assert found["centroid_error"] == pytest.approx(
        100 * (trained(100).predict(rows[0][TRAINED:]) != rows[1][TRAINED:]).mean()
    )
    assert {"trustworthiness", "knn_error", "mmd", "sliced_wasserstein", "two_sample_auc"} <= set(found)


# --- rows of a centroid
@pytest.mark.parametrize("n_labels", [0, TRAINED])
def test_rows_are_made_at_a_centroid_and_about_it(n_labels, trained):
    """By its number where there are no labels, by its class where there are."""
    model = trained(n_labels)
    values = model.classes_ if n_labels else np.arange(12)
    assert np.allclose(model.generate([values[7], values[2]], np.zeros((2, 2))), model.modes()[[7, 2]], atol=1e-5)
    styles = np.array([[0.5, -1.0]])
    there = model.inverse_transform(model.centroids_[[7]] + styles)
    assert np.allclose(model.generate([values[7]], styles), there, atol=1e-5)


@pytest.mark.parametrize("clusters", [[12], [-1], [1.5], [None], 12])
def test_clusters_that_there_are_not_make_no_rows(clusters, trained):
    with pytest.raises(InputError, match=r"y: expected clusters \(n,\) from 0 to 11, got") as error:
        trained(0).generate(clusters)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("labels", [[-1], [11]])
def test_classes_that_there_are_not_make_no_rows(labels, trained):
    with pytest.raises(InputError, match="expected"):
        trained(TRAINED).generate(labels)


@pytest.mark.parametrize("method", ["transform", "predict", "inverse_transform", "generate"])
def test_a_map_is_learned_before_it_is_used(method):
    with pytest.raises(NotFittedError):
        getattr(EmbeddingAAE(), method)(np.zeros((2, 2)))


def test_labels_are_as_many_as_rows_even_if_none_is_known(rows):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        EmbeddingAAE(**{**SMALL, "max_steps": 2}, n_clusters=4).fit(rows[0][:50], np.full(7, -1))


def test_unlabelled_rows_are_left_out_of_the_curve(rows):
    X, y = rows[0][:100], np.where(np.arange(100) < 50, rows[1][:100], -1)
    model = EmbeddingAAE(**{**SMALL, "max_steps": 2}, n_clusters=5).fit(X, eval_set=(X, y))
    error = 100 - clustering_accuracy(rows[1][:50], model.predict(X[:50]), "majority")
    assert model.history_[-1]["eval/error"] == pytest.approx(error)


def test_to_fit_and_transform_at_once_is_the_same(rows):
    X, y, options = rows[0][:100], rows[1][:100], {**SMALL, "max_steps": 5}
    Z = EmbeddingAAE(**options).fit_transform(X, y)
    assert np.array_equal(Z, EmbeddingAAE(**options).fit(X, y).transform(X))
    assert EmbeddingAAE(**options, latent_dim=3).fit(X, y).get_feature_names_out().tolist() == ["z1", "z2", "z3"]


def test_a_fit_leaves_nothing_to_the_next(rows):
    """And a fit that is refused leaves the model as it was."""
    X, y = rows[0][:200], rows[1][:200]
    model = EmbeddingAAE(**SMALL | {"max_steps": 2}).fit(X)
    model.fit(X, y)
    assert np.array_equal(model.transform(X), EmbeddingAAE(**SMALL | {"max_steps": 2}).fit(X, y).transform(X))
    before = model.transform(X)
    with pytest.raises(InputError, match="at least 2 classes"):
        model.fit(X, np.where(y == 3, 3, -1))
    np.testing.assert_array_equal(model.transform(X), before)
