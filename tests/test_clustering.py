"""Clusters without labels: what each of the five additions claims, names, and the guard against collapse."""

import warnings

import numpy as np
import pytest
import torch
from conftest import before_first_step
from sklearn.datasets import load_digits, load_wine
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from aaekit import ClusteringAAE, InputError, augment
from aaekit.estimators import _fitting
from aaekit.estimators.clustering import k_means_clusters
from aaekit.evaluation.metrics import clustering_accuracy
from aaekit.nn import frequencies

SMALL = {
    "n_clusters": 10, "latent_dim": 4, "backbone": "mlp", "hidden": (64,), "discriminator_hidden": (64,),
    "random_state": 0, "precision": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32).reshape(-1, 1, 8, 8), y


@pytest.fixture(scope="module")
def trained(rows):
    """A clustering by its options, each trained once."""
    known = {}

    def train(**options):
        key = repr(sorted(options.items()))
        if key not in known:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                known[key] = ClusteringAAE(**{**SMALL, "max_steps": 250, **options}).fit(rows[0])
        return known[key]

    return train


@pytest.fixture(scope="module")
def good(rows):
    """Ten clusters, trained until they are those of the digits, or nearly."""
    return ClusteringAAE(**{**SMALL, "hidden": (200,)}, max_steps=600).fit(rows[0])


# --- what it is for --------------------------------------------------------------------------------------------------
def test_clusters_are_digits(good, rows):
    X, y = rows
    assert clustering_accuracy(y, good.labels_, "hungarian") > 60
    assert normalized_mutual_info_score(y, good.labels_) > 0.6
    assert np.array_equal(good.labels_, good.predict(X))


def test_usage_is_counted(good):
    assert sum(good.cluster_counts_) == 1797 and np.array_equal(
        good.cluster_counts_, np.bincount(good.labels_, minlength=10)
    )
    assert good.n_used_clusters_ == 10 and 0.95 < good.marginal_entropy_ <= 1


def test_rows_of_a_cluster_are_made_and_its_mode(good, rows):
    made = good.generate([3] * 40, random_state=0)
    assert made.shape == (40, 1, 8, 8) and np.array_equal(made, good.generate([3] * 40, random_state=0))
    for kind in (np.int32, np.uint8):
        np.testing.assert_array_equal(made, good.generate(np.full(40, 3, kind), random_state=0))
    means = np.stack([rows[0][good.labels_ == k].mean(0) for k in range(10)]).reshape(10, -1)
    for k in range(10):
        styles = good.transform(rows[0][good.labels_ == k])
        made = good.generate([k] * len(styles), styles).mean(0).ravel()
        assert ((made - means) ** 2).sum(1).argmin() == k, "rows made of a cluster are like its own rows"
    assert good.modes().shape == (10, 1, 8, 8)


@pytest.mark.parametrize(
    ("options", "alone"),
    [
        ({}, False), ({"consistency": "both"}, False), ({"consistency": "none"}, False),
        ({"augmentation": "none"}, True), ({"consistency": "virtual_adversarial"}, True),
        ({"augmentation": "none", "loss_weights": {"virtual_adversarial": 0}}, False),
    ],
)  # fmt: skip
def test_reconstruction_and_prior_leave_clusters_to_smoothness_where_it_is_alone(options, alone, rows):
    def look(training):
        step = training.step_at(0)
        code = step.code()
        code.logits.retain_grad()
        code.z.retain_grad()
        step.reconstruction().sum().backward()
        weights = {phase.name: phase.weight for phase in training.phases}
        return code.z.grad is not None, code.logits.grad is None, weights

    model = ClusteringAAE(**{**SMALL, "max_steps": 2, **options})
    moves_z, leaves_y, weights = before_first_step(model, rows[0][:100], None, look)
    assert moves_z and leaves_y == alone
    assert weights["y/generator"] == pytest.approx(weights["z/generator"] * (0.1 if alone else 1))


def test_the_decoder_is_shown_cluster_and_style(rows):
    model = ClusteringAAE(**{**SMALL, "max_steps": 2}).fit(rows[0][:100])
    codes = np.concatenate([model.cluster_proba(rows[0][:5]), model.transform(rows[0][:5])], 1)
    np.testing.assert_allclose(model.inverse_transform(codes), model.reconstruct(rows[0][:5]), atol=1e-5)


def test_clusters_of_tables_follow_k_means_at_first():
    X, y = load_wine(return_X_y=True)
    model = ClusteringAAE(n_clusters=3, hidden=(32,), max_steps=100, random_state=0).fit(X)
    k_means = k_means_clusters(model._rows(X).astype(np.float32), 3, 0)
    assert adjusted_rand_score(k_means, model.labels_) > 0.7
    assert adjusted_rand_score(y, model.labels_) > 0.7
    quick = {"n_clusters": 3, "hidden": (32,), "max_steps": 2, "random_state": 0}
    free = ClusteringAAE(**quick, loss_weights={"soft_label": 0}).fit(X)
    assert model.plan_.weights["soft_label"] == 1 and free.plan_.weights["soft_label"] == 0
    warm = ClusteringAAE(**quick, warm_start_from=free).fit(X)
    assert warm.plan_.weights["soft_label"] == 0  # it would forget where it starts


def test_clusters_of_photos_follow_their_gradients_at_first():
    """Straight and diagonal stripes at any place: to k-means on pixels they are all alike."""
    random = np.random.default_rng(0)
    y, phase = np.arange(160) % 2, random.uniform(0, 2 * np.pi, (160, 1, 1))
    down, across = np.mgrid[:16, :16]
    waves = np.where(y[:, None, None], 1.5 * across, 1.1 * (across + down)) + phase
    X = (0.5 + 0.4 * np.sin(waves))[:, None].astype(np.float32)
    X = (X + random.uniform(-0.05, 0.05, X.shape).astype(np.float32)).clip(0, 1)
    quick = {"n_clusters": 2, "backbone": "mlp", "hidden": (64,), "random_state": 0}
    model = ClusteringAAE(**quick, max_steps=60).fit(X)
    assert model.plan_.data.is_photo and model.plan_.weights["soft_label"] == 1
    assert adjusted_rand_score(y, k_means_clusters(X.reshape(160, -1), 2, 0)) < 0.5
    assert adjusted_rand_score(y, model.labels_) > 0.9


@pytest.mark.parametrize("shape", [(1, 8, 8), (64,)])
def test_clusters_may_differ_in_size_where_warps_support_them(shape, rows, monkeypatch):
    """Their expected shares are corrected, down to half of an even share; where nothing supports them, they stay."""
    monkeypatch.setattr(frequencies, "N_FORMING", 10)
    weights = {"marginal_kl": 0.1, "conditional_entropy": 1.0}
    quick = {**SMALL, "max_steps": 60, "loss_weights": weights | {"soft_label": 0}, "n_init": 1}
    with pytest.warns(ConvergenceWarning, match="expected 10 clusters, got"):
        fitted = ClusteringAAE(**quick).fit(rows[0][:500].reshape(500, *shape))
    share = 0.5 if len(shape) == 3 else 1.0
    assert fitted.plan_.min_class_share == share
    expected = fitted.networks_.class_frequencies.expected
    assert expected.sum().item() == pytest.approx(1)
    assert (expected.min() < 0.095) == (share < 1) and expected.min() > 0.98 * 0.1 * share
    assert share < 1 or torch.equal(expected, torch.full((10,), 0.1))


def test_the_surest_and_most_even_initialisation_is_trained_to_completion(rows, monkeypatch):
    """Judged by all rows, for none has a label."""
    monkeypatch.setattr(_fitting, "MIN_TRIAL", 1)
    quick = {**SMALL, "max_steps": 45, "loss_weights": {"marginal_kl": 3.0}}
    doubts, doubt = [], _fitting.doubt

    def noted(p, class_prior, weight):
        doubts.append(doubt(p, class_prior, weight))
        even = np.log(10) + (p.mean(0) * np.log(p.mean(0))).sum()
        assert len(p) == 500 and doubts[-1] == pytest.approx(-(p * np.log(p)).sum(1).mean() + 3 * even, rel=1e-3)
        return doubts[-1]

    def weights(nets):
        return torch.cat([p.detach().flatten() for p in nets.encoder.parameters()])

    judged, probabilities = [], _fitting.probabilities
    monkeypatch.setattr(
        _fitting, "probabilities", lambda nets, X: judged.append(weights(nets)) or probabilities(nets, X)
    )
    monkeypatch.setattr(_fitting, "doubt", noted)
    model = ClusteringAAE(**quick, n_init=3).fit(rows[0][:500])
    assert len(doubts) == 3 and len(set(doubts)) == 3
    distances = [float((weights(model.networks_) - other).norm()) for other in judged]
    assert np.argmin(distances) == np.argmin(doubts)


@pytest.mark.parametrize(
    ("augmentation", "bend"), [("auto", 0), ("affine", 0), (augment.AffineImages(bend=0.02), 0.02)]
)
def test_warps_do_not_bend_what_no_label_tells_apart(augmentation, bend, rows, monkeypatch):
    bends, warp = [], augment.AffineImages.__call__
    monkeypatch.setattr(augment.AffineImages, "__call__", lambda self, x: bends.append(self.bend) or warp(self, x))
    ClusteringAAE(**{**SMALL, "max_steps": 1}, augmentation=augmentation).fit(rows[0][:100])
    assert bends == [bend]


def test_tables_are_augmented_by_noise(rows, monkeypatch):
    calls, noise = [], augment.FeatureNoise.__call__
    monkeypatch.setattr(augment.FeatureNoise, "__call__", lambda self, x: calls.append(len(x)) or noise(self, x))
    ClusteringAAE(**{**SMALL, "max_steps": 1}).fit(rows[0][:100].reshape(100, 64))
    assert calls == [100]


# --- the five additions ----------------------------------------------------------------------------------------------
def test_the_cyclic_loss_makes_clusters_come_back(trained, rows):
    """Reconstructions, encoded again, are of the cluster that their rows are of."""

    def changed(model):
        return (model.predict(rows[0]) != model.predict(model.reconstruct(rows[0]))).mean()

    assert changed(trained(loss_weights={"cyclic": 1.0})) < 0.8 * changed(trained())


def test_the_style_weight_shortens_the_style(trained, rows):
    without, with_it = (
        np.square(trained(loss_weights={"style_l2": w}).transform(rows[0])).sum(1).mean() for w in (0.0, 1.0)
    )
    assert with_it < 0.5 * without


def test_the_mode_decoder_gives_each_cluster_a_meaning(trained, rows):
    """Its modes are closer to the means of their clusters than the modes of a decoder that was not taught so."""

    def distance(model, modes):
        used = [k for k in range(10) if model.cluster_counts_[k] >= 20]
        means = np.stack([rows[0][model.labels_ == k].mean(0) for k in used])
        return np.sqrt(np.square(modes[used] - means).mean())

    without, with_it = trained(), trained(loss_weights={"mode_reconstruction": 1.0})
    assert distance(with_it, with_it.learned_modes()) < 0.7 * distance(without, without.modes())
    assert with_it.plan_.moves["mode_reconstruction"] == ("encoder", "mode_decoder"), "by the encoder's learning rate"
    with pytest.raises(InputError, match="loss_weights: expected mode_reconstruction above 0 for a mode decoder"):
        without.learned_modes()


def test_separation_keeps_the_modes_apart(trained):
    def nearest(model):
        modes = model.modes().reshape(10, -1)
        distances = np.sqrt(((modes[:, None] - modes) ** 2).sum(2)) / model.data_radius_
        return distances[~np.eye(10, dtype=bool)].min()

    without, with_it = (
        nearest(trained(loss_weights={"mode_separation": w}, mode_separation_margin=0.8)) for w in (0.0, 10.0)
    )
    assert without < 0.6 and with_it > 1.2 * without


def draws(model, X, running):
    """How often each cluster is drawn for the discriminator of y, when the encoder has used them as in `running`."""

    def look(training):
        phase = next(p for p in training.phases if p.name == "y/discriminator")
        usage, counts = training.networks.cluster_usage, torch.zeros(model.n_clusters)
        usage.decay = 1.0
        usage.running.copy_(torch.tensor(running))
        seen = []
        training.networks.y_discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
        for i in range(30):
            seen.clear()
            phase.loss(training.step_at(i))
            sides = torch.cat(seen)
            counts += sides[(sides.max(1).values == 1) & (sides.sum(1) == 1)].sum(0)
        return counts / counts.sum()

    return before_first_step(model, X, None, look)


def test_the_adversarial_prior_counts_each_minibatch_once(rows):
    def look(training):
        step, usage = training.step_at(0), training.networks.cluster_usage
        expected = usage.running.lerp(step.detached_code().y.mean(0), 1 - usage.decay)
        assert not torch.equal(expected, usage.running)
        for phase in training.phases:
            if phase.name.startswith("y/"):
                phase.loss(step)
        torch.testing.assert_close(usage.running, expected)

    before_first_step(ClusteringAAE(**SMALL, max_steps=2), rows[0], None, look)


@pytest.mark.filterwarnings("ignore:expected .* clusters")  # after two steps
def test_the_adversarial_prior_draws_rare_clusters_more_often(rows):
    shares = draws(ClusteringAAE(**{**SMALL, "n_clusters": 4, "max_steps": 2}), rows[0], [0.7, 0.1, 0.1, 0.1])
    expected = (1 / torch.tensor([0.7, 0.1, 0.1, 0.1])) / (1 / torch.tensor([0.7, 0.1, 0.1, 0.1])).sum()
    torch.testing.assert_close(shares, expected, atol=0.04, rtol=0)
    even = ClusteringAAE(**SMALL, adversarial_prior=False, max_steps=2).fit(rows[0])
    assert even.networks_.cluster_usage is None


@pytest.mark.parametrize("name", ["cyclic", "style_l2", "mode_reconstruction", "mode_separation"])
def test_each_addition_is_a_phase_that_can_be_left_out(name, trained):
    more = {"mode_separation_margin": 0.8} if name == "mode_separation" else {}
    with_it = trained(loss_weights={name: 10.0 if name == "mode_separation" else 1.0}, **more)
    assert name in with_it.history_[-1] and name not in trained().history_[-1]


# --- names -----------------------------------------------------------------------------------------------------------
def test_names_make_it_a_classifier(good, rows, tmp_path):
    X, y = rows
    good.save(tmp_path / "clusters.safetensors")
    model = ClusteringAAE.load(tmp_path / "clusters.safetensors")
    assert not hasattr(model, "predict_proba")
    clusters = model.predict(X)
    digit = {k: f"digit {np.bincount(y[clusters == k]).argmax()}" for k in range(10)}
    model.name_clusters(digit)
    found = model.predict(X)
    assert set(found) <= set(digit.values()) and set(model.classes_) == set(digit.values())
    assert (found == np.array([f"digit {k}" for k in y])).mean() > 0.6
    p = model.predict_proba(X[:50])
    assert p.shape == (50, len(model.classes_)) and np.allclose(p.sum(1), 1, atol=1e-5)
    assert np.array_equal(model.classes_[p.argmax(1)], found[:50])
    model.save(tmp_path / "named.safetensors")
    again = ClusteringAAE.load(tmp_path / "named.safetensors")
    assert again.cluster_names_ == model.cluster_names_ and np.array_equal(again.predict(X), found)


def test_clusters_of_one_name_add_up_and_nameless_ones_are_left_out(good, rows):
    model, X = good, rows[0][:100]
    p = model.cluster_proba(X)
    try:
        model.name_clusters({0: "a", 1: "b", 2: "a"})
        wanted = np.stack([p[:, 0] + p[:, 2], p[:, 1]], 1)
        sure = wanted.sum(1) > 1e-3
        wanted = wanted[sure] / wanted[sure].sum(1, keepdims=True)
        np.testing.assert_allclose(model.predict_proba(X)[sure], wanted, rtol=1e-4)
        model.name_clusters({1: "c"})
        assert model.cluster_names_ == {0: "a", 1: "c", 2: "a"} and list(model.classes_) == ["a", "c"]
        assert model.sample(3, random_state=0, label="c").shape == (3, 1, 8, 8)
    finally:
        del model.cluster_names_, model.classes_


@pytest.mark.parametrize("cluster", [10, -1, "three", 2.5])
def test_a_cluster_that_does_not_exist_cannot_be_named(good, cluster):
    with pytest.raises(InputError, match=r"names: expected clusters from 0 to 9, got") as error:
        good.name_clusters({cluster: "seven"})
    assert "\n" not in str(error.value) and not hasattr(good, "cluster_names_")


def test_naming_needs_names_and_a_fit(good):
    with pytest.raises(InputError, match="a name for at least one cluster"):
        good.name_clusters({})
    with pytest.raises(NotFittedError):
        ClusteringAAE().name_clusters({0: "a"})


@pytest.mark.parametrize(
    "names",
    [
        {0: "a", 1: 3},
        {0: None},
        {0: ("a", "b"), 1: ("c", "d")},
        {0: "a", 1: None},
        {0: np.nan, 1: 2.0},
        {0: [1], 1: [2]},
    ],
    ids=str,
)
def test_names_are_all_texts_or_all_numbers(good, names):
    with pytest.raises(InputError, match="names: expected all texts or all numbers, got") as error:
        good.name_clusters(names)
    assert "\n" not in str(error.value) and not hasattr(good, "cluster_names_")


@pytest.mark.parametrize("names", [{0: 7, 3: 8}, {0: 0.5, 3: 1.5}, {0: np.int8(4), 3: 5}, {0: -1, 3: 2}], ids=str)
def test_names_may_be_numbers(good, names, rows, tmp_path):
    try:
        predicted = good.name_clusters(names).predict(rows[0])
        assert set(predicted) == set(names.values())
        good.save(tmp_path / "named")
        again = ClusteringAAE.load(tmp_path / "named")
        assert again.cluster_names_ == good.cluster_names_ and again.classes_.dtype == good.classes_.dtype
        assert {k: type(v) for k, v in again.cluster_names_.items()} == {
            k: type(v) for k, v in good.cluster_names_.items()
        }
    finally:
        del good.cluster_names_, good.classes_


# --- collapse and bad input ------------------------------------------------------------------------------------------
def test_a_collapse_is_warned_of(rows):
    """Nothing keeps the clusters in use here, and one of them is favoured."""
    bare = {"loss_weights": {"marginal_kl": 0, "generator": 0, "conditional_entropy": 5}, "consistency": "none"}
    with pytest.warns(ConvergenceWarning, match=r"expected 10 clusters, got \d in use.*raise .*marginal_kl \(now 0\)"):
        model = ClusteringAAE(**SMALL, **bare, max_steps=150).fit(rows[0])
    assert model.n_used_clusters_ < 8 or model.marginal_entropy_ < 0.8


def test_a_healthy_clustering_warns_of_nothing(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        ClusteringAAE(**SMALL, max_steps=250).fit(rows[0])


@pytest.mark.filterwarnings("ignore:expected .* clusters")  # after two steps
def test_more_clusters_than_rows_are_refused(rows):
    with pytest.raises(InputError, match="30.*20 rows|20 rows.*30") as error:
        ClusteringAAE(**{**SMALL, "n_clusters": 30}).fit(rows[0][:20])
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="expected clusters"):
        ClusteringAAE(**SMALL, max_steps=2).fit(rows[0]).generate([10])


def test_every_row_of_a_table_of_names_sums_to_one(good, rows, monkeypatch):
    """Even where a row is so surely of clusters without a name that nothing is left for those with one."""
    try:
        good.name_clusters({1: "a", 3: "b"})
        p = np.zeros((2, 10), np.float32)
        p[:, 0], p[1, 1], p[1, 3] = 1, 1e-20, 3e-20
        monkeypatch.setattr(good, "cluster_proba", lambda X: p)
        assert np.allclose(good.predict_proba(rows[0][:2]), [[0.5, 0.5], [0.25, 0.75]])
    finally:
        del good.cluster_names_, good.classes_


@pytest.mark.parametrize("kind", ["-1", "None"])
def test_unlabelled_rows_are_left_out_of_the_curve(kind, rows):
    X, y = (a[:100] for a in rows)
    y = np.where(np.arange(100) < 50, y, -1) if kind == "-1" else [str(k) if i < 50 else None for i, k in enumerate(y)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = ClusteringAAE(**SMALL, max_steps=2).fit(X, eval_set=(X, np.asarray(y)))
    error = 100 - clustering_accuracy(rows[1][:50], model.predict(X[:50]), "majority")
    assert model.history_[-1]["eval/error"] == pytest.approx(error)


def test_fitting_again_forgets_the_names(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = ClusteringAAE(**SMALL, max_steps=2).fit(rows[0][:50]).name_clusters({0: "a"})
        model.fit(rows[0][:50])
    assert not hasattr(model, "cluster_names_") and not hasattr(model, "predict_proba")
    assert model.predict(rows[0][:5]).dtype.kind == "i"


def test_a_label_of_a_sample_is_a_name_or_a_cluster(good):
    try:
        good.name_clusters({1: "a", 3: "a"})
        larger = max((1, 3), key=lambda k: good.cluster_counts_[k])
        of_a, of_it = (good.sample(4, random_state=0, label=k) for k in ("a", larger))
        assert np.array_equal(of_a, of_it), "of the clusters of a name, the largest"
        for unknown in ("b", 10, 1.5):
            with pytest.raises(InputError, match="label: expected clusters from 0 to 9, got"):
                good.sample(1, label=unknown)
    finally:
        del good.cluster_names_, good.classes_
