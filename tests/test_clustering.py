"""Clusters without labels: what each of the five additions claims, names, and the guard against collapse."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import normalized_mutual_info_score

from aaekit import ClusteringAAE, InputError, augment, losses
from aaekit.core.callbacks import Callback
from aaekit.estimators import _base as base
from aaekit.evaluation.metrics import clustering_accuracy
from aaekit.nn.encoder import Code

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
        key = tuple(sorted(options.items()))
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
    assert (
        sum(good.cluster_counts_) == 1797 and good.cluster_counts_ == np.bincount(good.labels_, minlength=10).tolist()
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
        ({"augmentation": "none", "consistency_weight": 0.0}, False),
    ],
)  # fmt: skip
def test_reconstruction_and_prior_leave_clusters_to_smoothness_where_it_is_alone(options, alone, rows):
    model = ClusteringAAE(**{**SMALL, "max_steps": 2, **options}).fit(rows[0][:100])
    z, logits = torch.randn(5, 4, requires_grad=True), torch.randn(5, 10, requires_grad=True)
    seen = model._join(model.networks_, Code(z, logits), None)
    assert torch.allclose(seen, torch.cat([logits.softmax(1), z], 1))
    (seen**2).sum().backward()
    assert z.grad is not None and (logits.grad is None) == alone
    weights = {phase.name: phase.weight for phase in model._phases(model.networks_)}
    assert weights["y/generator"] == pytest.approx(weights["z/generator"] * (0.1 if alone else 1))


@pytest.mark.parametrize(
    ("given", "shape", "n_starts"),
    [
        ({}, (1, 28, 28), 6),
        ({}, (64,), 1),
        ({"augmentation": "none"}, (1, 28, 28), 1),
        ({"n_init": 1}, (1, 28, 28), 1),
        ({"n_init": 4}, (64,), 4),
    ],
)
def test_clusters_of_images_are_begun_several_times(given, shape, n_starts):
    model = ClusteringAAE(**given)
    model.shape_ = shape
    assert model._n_starts(60_000) == n_starts


@pytest.mark.parametrize(
    ("given", "shape", "least"),
    [
        ({}, (1, 28, 28), 0.5),
        ({}, (64,), 1.0),
        ({"augmentation": "none"}, (1, 28, 28), 1.0),
        ({"least_share": 1}, (1, 28, 28), 1.0),
        ({"least_share": 0.8}, (64,), 0.8),
    ],
)
def test_clusters_may_come_out_unlike_in_size_where_warps_hold_them(rows, given, shape, least, monkeypatch):
    """What is wanted of each gives way, down to its least share; or stays, where none may."""
    model = ClusteringAAE(**given)
    model.shape_ = shape
    assert model._least_share == least
    monkeypatch.setattr(losses, "YIELDING", 10)
    quick = {**SMALL, "max_steps": 60, "balance_weight": 0.1, "decision_weight": 1.0, "n_init": 1}
    with pytest.warns(ConvergenceWarning, match="clusters are used"):
        fitted = ClusteringAAE(**quick, least_share=least).fit(rows[0][:500])
    wanted = fitted.networks_["class_frequencies"].expected
    assert wanted.sum().item() == pytest.approx(1)
    assert (wanted.min() < 0.095) == (least < 1) and wanted.min() > 0.98 * 0.1 * least
    assert least < 1 or torch.equal(wanted, torch.full((10,), 0.1))


def test_the_start_goes_on_that_is_surest_and_most_even(rows, monkeypatch):
    """Judged by all rows, for none has a label."""
    monkeypatch.setattr(base, "N_TELLING", 1)
    quick, found, doubt = {**SMALL, "max_steps": 45, "balance_weight": 3.0}, [], ClusteringAAE._doubt

    def noted(self, nets, X, y):
        found.append(doubt(self, nets, X, y))
        p = self._probabilities(nets, X)
        even = np.log(10) + (p.mean(0) * np.log(p.mean(0))).sum()
        assert y is None and found[-1] == pytest.approx(-(p * np.log(p)).sum(1).mean() + 3 * even, rel=1e-3)
        return found[-1]

    monkeypatch.setattr(ClusteringAAE, "_doubt", noted)
    several = ClusteringAAE(**quick, n_init=3).fit(rows[0][:500])
    assert len(found) == 3 and len(set(found)) == 3
    once = ClusteringAAE(**quick, n_init=1).fit(rows[0][:500])
    assert np.array_equal(several.labels_, once.labels_) == (np.argmin(found) == 0)


def test_warps_do_not_bend_what_no_label_tells_apart():
    for given, bend in (("auto", 0), ("affine", 0), (augment.AffineImages(bend=0.02), 0.02)):
        model = ClusteringAAE(augmentation=given)
        model.shape_ = (1, 8, 8)
        assert model._augmentation().bend == bend
    model = ClusteringAAE()
    model.shape_ = (64,)
    assert isinstance(model._augmentation(), augment.FeatureNoise)


# --- the five additions ----------------------------------------------------------------------------------------------
def test_the_cyclic_loss_makes_clusters_come_back(trained, rows):
    """Reconstructions, encoded again, are of the cluster that their rows are of."""

    def changed(model):
        return (model.predict(rows[0]) != model.predict(model.reconstruct(rows[0]))).mean()

    assert changed(trained(cyclic_weight=1.0)) < 0.8 * changed(trained())


def test_the_style_weight_shortens_the_style(trained, rows):
    without, with_it = (np.square(trained(style_weight=w).transform(rows[0])).sum(1).mean() for w in (0.0, 1.0))
    assert with_it < 0.5 * without


def test_the_mode_decoder_gives_each_cluster_a_meaning(trained, rows):
    """Its modes are closer to the means of their clusters than the modes of a decoder that was not taught so."""

    def distance(model, modes):
        used = [k for k in range(10) if model.cluster_counts_[k] >= 20]
        means = np.stack([rows[0][model.labels_ == k].mean(0) for k in used])
        return np.sqrt(np.square(modes[used] - means).mean())

    without, with_it = trained(), trained(mode_weight=1.0)
    assert distance(with_it, with_it.learned_modes()) < 0.7 * distance(without, without.modes())
    slow = ClusteringAAE(**{**SMALL, "max_steps": 1}, mode_weight=1.0, mode_rate=2e-5).fit(rows[0][:100])
    (mode,) = (p for p in slow._phases(slow.networks_) if p.name == "mode")
    assert mode.trains[0] is slow.networks_["encoder"], "by whose rate the loss is weighted"
    with pytest.raises(InputError, match="no mode decoder: train with mode_weight above 0"):
        without.learned_modes()


def test_separation_keeps_the_modes_apart(trained):
    def nearest(model):
        modes = model.modes().reshape(10, -1)
        distances = np.sqrt(((modes[:, None] - modes) ** 2).sum(2)) / model.data_radius_
        return distances[~np.eye(10, dtype=bool)].min()

    without, with_it = (nearest(trained(separation_weight=w, separation_margin=0.8)) for w in (0.0, 10.0))
    assert without < 0.6 and with_it > 1.2 * without


def begun(model, X):
    """The training of a model, at its first step."""

    class Caught(Exception):
        pass

    class Catch(Callback):
        def start(self, training):
            self.training = training
            raise Caught

    catch = Catch()
    with pytest.raises(Caught):
        model.fit(X, callbacks=[catch])
    return catch.training


def draws(model, X, running):
    """How often each cluster is drawn for the discriminator of y, when the encoder has used them as in `running`."""
    training = begun(model, X)
    phase = next(p for p in training.phases if p.name == "y/discriminator")
    usage, counts = training.networks["cluster_usage"], torch.zeros(model.n_clusters)
    usage.decay = 1.0
    usage.running.copy_(torch.tensor(running))
    critic, seen = training.networks["y_discriminator"], []
    critic.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    for i in range(30):
        seen.clear()
        phase.loss(training.make_step({n: r.at(i) for n, r in training.rows.items()}, True))
        sides = torch.cat(seen)
        one_hot = sides[(sides.max(1).values == 1) & (sides.sum(1) == 1)]
        counts += one_hot.sum(0)
    return counts / counts.sum()


def test_the_adversarial_prior_counts_each_minibatch_once(rows):
    training = begun(ClusteringAAE(**SMALL), rows[0])
    step = training.make_step({n: r.at(0) for n, r in training.rows.items()}, True)
    usage = training.networks["cluster_usage"]
    wanted = usage.running.lerp(step.detached_code().y.mean(0), 1 - usage.decay)
    assert not torch.equal(wanted, usage.running)
    for phase in training.phases:
        if phase.name.startswith("y/"):
            phase.loss(step)
    torch.testing.assert_close(usage.running, wanted)


@pytest.mark.filterwarnings("ignore:only .* clusters are used")  # after two steps
def test_the_adversarial_prior_draws_rare_clusters_more_often(rows):
    shares = draws(ClusteringAAE(**{**SMALL, "n_clusters": 4}), rows[0], [0.7, 0.1, 0.1, 0.1])
    expected = (1 / torch.tensor([0.7, 0.1, 0.1, 0.1])) / (1 / torch.tensor([0.7, 0.1, 0.1, 0.1])).sum()
    torch.testing.assert_close(shares, expected, atol=0.04, rtol=0)
    assert "cluster_usage" not in ClusteringAAE(**SMALL, adversarial_prior=False, max_steps=2).fit(rows[0]).networks_


@pytest.mark.parametrize("name", ["cyclic", "style", "mode", "separation"])
def test_each_addition_is_a_phase_that_can_be_left_out(name, trained):
    options = {"cyclic": 1.0, "style": 1.0, "mode": 1.0, "separation": 10.0}
    more = {"separation_margin": 0.8} if name == "separation" else {}
    with_it = trained(**{f"{name}_weight": options[name]}, **more)
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
    with pytest.raises(InputError, match=r"there is no cluster .*: expected numbers from 0 to 9") as error:
        good.name_clusters({cluster: "seven"})
    assert "\n" not in str(error.value) and not hasattr(good, "cluster_names_")


def test_naming_needs_names_and_a_fit(good):
    with pytest.raises(InputError, match="a name for at least one cluster"):
        good.name_clusters({})
    with pytest.raises(NotFittedError):
        ClusteringAAE().name_clusters({0: "a"})


# --- collapse and bad input ------------------------------------------------------------------------------------------
def test_a_collapse_is_warned_of(rows):
    """Nothing keeps the clusters in use here, and one of them is favoured."""
    bare = {"balance_weight": 0.0, "adversarial_weight": 0.0, "decision_weight": 5.0, "consistency": "none"}
    with pytest.warns(ConvergenceWarning, match=r"only \d of 10 clusters are used.*raise balance_weight \(now 0\)"):
        model = ClusteringAAE(**SMALL, **bare, max_steps=150).fit(rows[0])
    assert model.n_used_clusters_ < 8 or model.marginal_entropy_ < 0.8


def test_a_healthy_clustering_warns_of_nothing(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        ClusteringAAE(**SMALL, max_steps=250).fit(rows[0])


@pytest.mark.filterwarnings("ignore:only .* clusters are used")  # after two steps
def test_more_clusters_than_rows_are_refused(rows):
    with pytest.raises(InputError, match="30.*20 rows|20 rows.*30") as error:
        ClusteringAAE(**{**SMALL, "n_clusters": 30}).fit(rows[0][:20])
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="expected clusters"):
        ClusteringAAE(**SMALL, max_steps=2).fit(rows[0]).generate([10])


def test_every_row_of_a_table_of_names_sums_to_one(good):
    """Even where a row is so surely of clusters without a name that nothing is left for those with one."""
    try:
        good.name_clusters({1: "a", 3: "b"})
        p = np.zeros((2, 10), np.float32)
        p[:, 0], p[1, 1], p[1, 3] = 1, 1e-20, 3e-20
        assert np.allclose(good._by_name(p), [[0.5, 0.5], [0.25, 0.75]])
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
            with pytest.raises(InputError, match="there is no cluster"):
                good.sample(1, label=unknown)
    finally:
        del good.cluster_names_, good.classes_
