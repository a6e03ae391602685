"""What holds for the public methods of every estimator: clones, data frames, files, weights of losses, labels."""

import copy
import inspect

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from conftest import QUICK, before_first_step
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from aaekit import (
    AAEOutlierDetector,
    ActiveLearner,
    AdversarialAutoencoder,
    ClusteringAAE,
    EmbeddingAAE,
    InputError,
    PretrainedClassifier,
    SemiSupervisedAAE,
    SupervisedAAE,
    SupervisedBaseline,
    TrainingError,
)
from aaekit.core.callbacks import Callback
from aaekit.estimators._hyperparameters import hyperparameters_of
from aaekit.estimators._io import decoded, encoded
from aaekit.evaluation.metrics import error_rate

pytestmark = pytest.mark.filterwarnings("ignore:expected .* clusters")  # few steps make few clusters

TINY = {**QUICK, "max_steps": 2, "hidden": (8,)}
CODES = AdversarialAutoencoder(**TINY, latent_dim=4)
ESTIMATORS = {
    "generator": AdversarialAutoencoder(**TINY),
    "generator by class": AdversarialAutoencoder(**TINY, prior="mixture"),
    "classifier": SemiSupervisedAAE(**TINY, n_init=1),
    "style": SupervisedAAE(**TINY),
    "clusters": ClusteringAAE(**TINY, n_clusters=4, n_init=1),
    "map": EmbeddingAAE(**TINY),
    "map of clusters": EmbeddingAAE(**TINY, n_clusters=4),
    "outliers": AAEOutlierDetector(**TINY),
    "pretrained": PretrainedClassifier(**TINY, autoencoder=CODES),
    "baseline": SupervisedBaseline(**TINY),
}
WITH_DECODER = [k for k in ESTIMATORS if k not in ("pretrained", "baseline")]


def fitted(name, X, y):
    return clone(ESTIMATORS[name]).fit(X, None if name == "map of clusters" else y)


@pytest.fixture(scope="module")
def table(few_labels):
    """Digits as a table, and few labels."""
    X, y = few_labels
    return X.reshape(len(X), -1), y


@pytest.fixture(scope="module")
def models(table):
    """Each estimator, fitted; nobody changes them."""
    return {name: fitted(name, *table) for name in ESTIMATORS}


def calls_of(name, model, X):
    """Everything that can be asked of a fitted estimator, by name of the method."""
    n = len(X)
    calls = {"transform": X, "predict": X, "predict_proba": X, "cluster_proba": X, "reconstruct": X, "score_samples": X,
             "decision_function": X}  # fmt: skip
    results = {m: (lambda m=m, x=x: getattr(model, m)(x)) for m, x in calls.items() if hasattr(model, m)}
    if name == "generator":
        model.fit_density(X, n_samples=20, random_state=0)
    elif name == "generator by class":
        del results["score_samples"]
    if hasattr(model, "inverse_transform"):
        results["inverse_transform"] = lambda: model.inverse_transform(np.ones((2, model.n_code)))
        results["sample"] = lambda: model.sample(3, random_state=0)
        results["sample_prior"] = lambda: model.sample_prior(3, random_state=0)
    if hasattr(model, "generate"):
        label = 1 if name in ("clusters", "map of clusters") else model.classes_[1]
        results["generate"] = lambda: model.generate([label, label], random_state=0)
        results["sample of a label"] = lambda: model.sample(3, random_state=0, label=label)
    if hasattr(model, "modes"):
        results["modes"] = model.modes
    if hasattr(model, "translate"):
        results["translate"] = lambda: model.translate(X, [model.classes_[2]] * n)
        results["translate to one"] = lambda: model.translate(X, model.classes_[2])
    if hasattr(model, "score"):
        results["score"] = lambda: model.score(X, [1] * n)
    return results


# --- parameters that hold other estimators ---------------------------------------------------------------------------
@pytest.mark.parametrize("source", ["estimator", "file", "run directory"])
def test_a_warm_start_is_kept_by_clones(source, models, table, tmp_path):
    X, y = table
    codes = models["generator"]
    (tmp_path / "run").mkdir()
    codes.save(tmp_path / "run" / "model.safetensors")
    start = {
        "estimator": codes,
        "file": str(tmp_path / "run/model.safetensors"),
        "run directory": str(tmp_path / "run"),
    }
    still = {**TINY, "max_steps": 1, "learning_rate": 1e-12, "discriminator_learning_rate": 1e-12, "ema_decay": 0.0}
    model = AdversarialAutoencoder(**still, warm_start_from=start[source])
    for twin in (model, clone(model), clone(clone(model)), copy.deepcopy(model)):
        assert twin.warm_start_from is start[source] or source != "estimator" or twin is not model
        twin.fit(X)
        weights = zip(twin.networks_.parameters(), codes.networks_.parameters(), strict=True)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in weights)
        assert hasattr(codes, "networks_")


def test_a_warm_start_is_kept_in_pipelines_and_searches(models, table, tmp_path):
    X, y = table
    steps = make_pipeline(MinMaxScaler(), SemiSupervisedAAE(**TINY, n_init=1, warm_start_from=models["generator"]))
    assert clone(steps)[-1].warm_start_from is models["generator"]
    search = GridSearchCV(steps, {"semisupervisedaae__latent_dim": [2, 3]}, cv=2, error_score="raise")
    search.fit(X[:50], y[:50])
    assert search.best_estimator_[-1].warm_start_from is models["generator"]
    models["generator"].save(tmp_path / "codes")
    starts = {"warm_start_from": [None, str(tmp_path / "codes")]}  # scikit-learn clones the values of a grid
    search = GridSearchCV(SemiSupervisedAAE(**TINY), starts, cv=2, error_score="raise").fit(X[:50], y[:50])
    assert len(search.cv_results_["params"]) == 2


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_that_is_not_fitted_cannot_be_started_from(name, table):
    model = clone(ESTIMATORS[name]).set_params(warm_start_from=AdversarialAutoencoder())
    with pytest.raises(
        NotFittedError, match="warm_start_from: expected a fitted estimator, got a .* that is not: call its fit first"
    ):
        model.fit(*table)


@pytest.mark.parametrize("path", ["missing", "."])
def test_a_path_without_a_model_cannot_be_started_from(path, table, tmp_path):
    model = SupervisedBaseline(**TINY, warm_start_from=str(tmp_path / path))
    with pytest.raises(InputError, match="expected a model that `save` wrote, got no such file") as error:
        model.fit(*table)
    assert "\n" not in str(error.value)


def test_a_saved_model_does_not_need_its_warm_start(models, table, tmp_path):
    model = SemiSupervisedAAE(**TINY, warm_start_from=models["generator"]).fit(*table)
    model.save(tmp_path / "m")
    again = SemiSupervisedAAE.load(tmp_path / "m")
    assert again.warm_start_from is None and np.array_equal(
        again.predict_proba(table[0]), model.predict_proba(table[0])
    )


def test_a_guess_of_class_frequencies_is_kept_by_clones_and_corrected(monkeypatch):
    from aaekit.nn import frequencies

    monkeypatch.setattr(frequencies, "N_FORMING", 2)
    random = np.random.default_rng(0)
    y = (np.arange(400) % 10 < 7).astype(int)  # of class 1: 70 %
    X = random.normal(size=(400, 5)) + 4 * y[:, None]
    labels = np.full(400, -1)
    labels[:20] = y[:20]
    guess = ("auto", 0.5, 0.5)
    model = SemiSupervisedAAE(
        **{**QUICK, "max_steps": 300}, class_prior=guess, loss_weights={"soft_label": 0}, learning_rate=5e-3
    )
    assert clone(model).class_prior == guess and model.plan_for(X, labels).class_prior == (0.5, 0.5)
    twin = clone(model).fit(X, labels)
    assert twin.class_prior == guess and twin.plan_.class_prior == (0.5, 0.5)
    assert twin.class_frequencies_[1] > 0.55 and twin.class_prior_ == pytest.approx(twin.class_frequencies_)
    given = clone(model).set_params(class_prior=(0.5, 0.5)).fit(X, labels)
    assert not hasattr(given, "class_frequencies_") and given.class_prior_.tolist() == [0.5, 0.5]
    search = GridSearchCV(model.set_params(max_steps=2), {"class_prior": ["auto", guess]}, cv=2, error_score="raise")
    search.fit(X[:60], y[:60])


# --- data frames -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["set_output", "set_config"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_data_frames_as_output_change_no_number(name, how, models, table):
    X = table[0][:20]
    plain = {method: call() for method, call in calls_of(name, models[name], X).items()}
    model = copy.deepcopy(models[name])
    with sklearn.config_context(transform_output="pandas" if how == "set_config" else "default"):
        if how == "set_output" and hasattr(model, "set_output"):
            model.set_output(transform="pandas")
        framed = {method: call() for method, call in calls_of(name, model, X).items()}
    assert set(framed) == set(plain)
    for method, values in framed.items():
        assert isinstance(values, pd.DataFrame) == (method == "transform"), method
        np.testing.assert_allclose(np.asarray(values), plain[method], atol=1e-6, err_msg=method)
    if "transform" in framed:
        assert list(framed["transform"].columns) == [f"z{i + 1}" for i in range(model.latent_dim)]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_fits_on_data_frames_with_data_frames_as_output(name, table):
    X, y = table
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    with sklearn.config_context(transform_output="pandas"):
        model = fitted(name, frame, y)
        for method, call in calls_of(name, model, frame[:10]).items():
            assert len(np.atleast_1d(call())) > 0, method
        if name in WITH_DECODER:
            codes = model.transform(frame[:10])
            if model.n_code == model.latent_dim:
                assert len(model.inverse_transform(codes)) == 10


def test_the_active_learner_with_data_frames_as_output(table):
    X, y = table[0][:100], np.arange(100) % 3

    def rows_and_predictions():
        learner = ActiveLearner(
            X, clusters=ClusteringAAE(**TINY, n_clusters=4), classifier=SemiSupervisedAAE(**TINY, n_init=1)
        )
        first = learner.query(6)
        second = learner.teach(first, y[first]).query(4)
        return first, second, learner.teach(second, y[second]).predict(X)

    plain = rows_and_predictions()
    with sklearn.config_context(transform_output="pandas"):
        framed = rows_and_predictions()
    assert all(np.array_equal(a, b) for a, b in zip(plain, framed, strict=True))


# --- set_params, then save and load ----------------------------------------------------------------------------------
OTHER = {
    "adversarial": False, "adversarial_prior": False, "augmentation": "noise", "autoencoder": None, "backbone": "conv",
    "batch_norm": None, "batch_size": 7, "centroid_margin": 2.0, "class_prior": "uniform", "class_weight": "balanced",
    "consistency": "none", "contamination": 0.3, "device": "cpu", "discriminator_decay": False,
    "discriminator_dropout": 0.7, "discriminator_hidden": (9,), "discriminator_learning_rate": 0.5,
    "divergence": "mmd", "dropout": 0.6, "early_stopping": True, "ema_decay": 0.5, "frozen": True,
    "guard": False, "hidden": (5, 5),
    "image_shape": (1, 8, 8), "input_noise": 0.9, "latent_dim": 7, "learning_rate": 0.5, "learning_rate_schedule": (1,),
    "learning_rates": {"reconstruction": 0.5}, "loss_weights": {"reconstruction": 3.0}, "max_epochs": 3, "max_steps": 9,
    "mode_separation_margin": 2.0, "n_clusters": 6, "neighbour_share": 0.7,
    "n_components": 2, "n_init": 3, "optimizer": ("sgd", 0.1),
    "posterior": "gaussian", "precision": "auto", "pretraining_epochs": 3, "prior": "uniform",
    "pseudo_label_threshold": 0.5, "random_state": 5, "reconstruction": "gaussian", "reconstruction_share": 0.9,
    "schedule": "alternating", "style_matching": None, "vat_epsilon": (0.5, 2.0), "verbose": 1,
    "warm_start_from": "somewhere",
}  # fmt: skip


def other_value(model, parameter):
    if parameter == "batch_norm":
        return not model.batch_norm
    if parameter == "style_matching":
        return "marginal" if model.style_matching == "per_class" else "per_class"
    if parameter == "schedule":
        return "joint" if model.schedule == "alternating" else "alternating"
    return OTHER[parameter]


def answers(name, model, X):
    return {k: call() for k, call in calls_of(name, model, X).items() if k not in ("sample", "sample_prior")}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_parameter_that_is_changed_after_fit_is_saved_or_refused_at_once(name, models, table, tmp_path):
    X, refused = table[0][:10], []
    for parameter in hyperparameters_of(type(models[name])):
        model = copy.deepcopy(models[name])
        value = other_value(model, parameter)
        assert repr(value) != repr(getattr(model, parameter)) or parameter in ("device", "autoencoder"), parameter
        model.set_params(**{parameter: value})
        path = tmp_path / parameter
        try:
            model.save(path)
        except InputError as error:
            assert "\n" not in str(error) and not path.exists(), parameter
            refused.append(parameter)
            continue
        again = type(model).load(path)
        expected, results = answers(name, model, X), answers(name, again, X)
        assert set(results) == set(expected), parameter
        for method, values in expected.items():
            np.testing.assert_array_equal(results[method], values, err_msg=f"{parameter}, {method}")
    assert set(refused) <= {
        "adversarial", "adversarial_prior", "backbone", "batch_norm", "discriminator_hidden", "divergence",
        "dropout",
        "latent_dim", "n_clusters", "posterior", "style_matching", "reconstruction",
    }, refused  # fmt: skip
    if name in WITH_DECODER:
        assert {"latent_dim", "discriminator_hidden", "batch_norm"} <= set(refused)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("bad", [{"latent_dim": -1}, {"hidden": 3}, {"learning_rate": "fast"}, {"max_steps": 0}])
def test_a_bad_value_after_fit_is_refused_by_save(name, bad, models, tmp_path):
    model = copy.deepcopy(models[name])
    if not set(bad) <= set(hyperparameters_of(type(model))):
        pytest.skip("it has no such parameter")
    for parameter, value in bad.items():
        setattr(model, parameter, value)
    with pytest.raises(InputError, match=f"{next(iter(bad))}: expected"):
        model.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["autoencoder__latent_dim", "autoencoder__hidden", "autoencoder__image_shape"])
def test_parameters_of_an_autoencoder_may_change_after_the_fit_on_top_of_it(name, models, table, tmp_path):
    model = copy.deepcopy(models["pretrained"])
    model.set_params(**{name: {"latent_dim": 9, "hidden": (5,), "image_shape": (1, 8, 8)}[name.split("__")[1]]})
    model.save(tmp_path / "m")
    again = PretrainedClassifier.load(tmp_path / "m")
    assert np.array_equal(again.predict_proba(table[0]), model.predict_proba(table[0]))


def same(a, b) -> bool:
    """Whether values and types agree, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return (
            a.dtype == b.dtype
            and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
            and (a.dtype != object or all(type(x) is type(y) for x, y in zip(a.flat, b.flat, strict=True)))
        )
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if hasattr(a, "__dataclass_fields__"):
        return all(same(getattr(a, k), getattr(b, k)) for k in a.__dataclass_fields__)
    return a == b or (a != a and b != b)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_each_fitted_attribute_comes_back_as_it_was(name, models, table, tmp_path):
    model = models[name]
    if name == "generator":
        model.fit_density(table[0][:20], n_samples=20, random_state=0)
    model.save(tmp_path / "m")
    again = type(model).load(tmp_path / "m")
    names = {k for k in vars(model) if k.endswith("_")} - {"networks_", "autoencoder_"}
    assert names == {k for k in vars(again) if k.endswith("_")} - {"networks_"}
    assert [k for k in names if not same(getattr(model, k), getattr(again, k))] == []
    weights = zip(model.networks_.state_dict().items(), again.networks_.state_dict().items(), strict=True)
    assert all(a == b and torch.equal(v, w) for (a, v), (b, w) in weights)


@pytest.mark.parametrize(
    "value",
    [
        1, 1.5, True, None, "text", (1, 2), (), [1, (2, 3)], {"a": (1,), 2: [None]}, np.float32(0.1), np.int64(3),
        np.str_("x"), np.bool_(True), np.arange(3, dtype=np.int8), np.arange(200, dtype=np.float32),
        np.array(["a", "b"]),
        np.array(["a", None], dtype=object), np.array([True, False]), np.zeros((0, 3)), np.float64("nan"),
    ],
    ids=repr,
)  # fmt: skip
def test_facts_survive_json_with_their_types(value):
    import json

    arrays = {}
    text = json.dumps(encoded(value, "x", arrays))
    again = decoded(json.loads(text), arrays)
    assert same(again, value)


@pytest.mark.parametrize("labels", [np.array([b"a", b"b"]), np.array(["2020-01-01", "2020-01-02"], "datetime64[D]")])
def test_labels_that_no_file_can_hold_are_refused_by_save_in_one_line(labels, table, tmp_path):
    X = table[0][:60]
    try:
        model = SupervisedBaseline(**TINY).fit(X, labels[np.arange(60) % 2])
    except (ValueError, TypeError):
        return  # scikit-learn refuses them even earlier
    with pytest.raises(InputError, match="expected labels that are texts or numbers") as error:
        model.save(tmp_path / "m")
    assert "\n" not in str(error.value)


# --- weights and rates of losses -------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", WITH_DECODER)
def test_each_phase_can_be_weighted_and_turned_off_by_its_name(name, models, table):
    X, y = table
    y = None if name == "map of clusters" else y
    for phase, weight in models[name].plan_.weights.items():
        if phase.endswith("/discriminator"):
            continue
        off = clone(ESTIMATORS[name]).set_params(loss_weights={phase: 0}).fit(X, y)
        assert phase not in off.history_[-1] and off.plan_.weights[phase] == 0
        others = {k for k in off.history_[-1] if k in off.plan_.weights}
        assert others == {k for k, w in off.plan_.weights.items() if w}
        if weight:
            weighted = clone(ESTIMATORS[name]).set_params(loss_weights={phase: 0.125}).plan_for(X, y)
            assert 0 < weighted.weights[phase] <= 10 and weighted.weights[phase] != weight
            before = clone(ESTIMATORS[name]).plan_for(X, y).weights
            assert {k: w for k, w in weighted.weights.items() if k != phase} == {
                k: w for k, w in before.items() if k != phase
            }


def test_a_game_without_weight_has_no_discriminator(table):
    model = SemiSupervisedAAE(**TINY, loss_weights={"z/generator": 0}).fit(*table)
    assert model.networks_.z_discriminator is None and model.networks_.y_discriminator is not None
    assert not any(k.startswith("z/") for k in model.history_[-1]) and "y/D(real)" in model.history_[-1]


def test_the_last_part_of_a_name_is_for_all_phases_of_that_name(table):
    plan = SemiSupervisedAAE(**TINY, loss_weights={"generator": 0.7}).plan_for(*table)
    assert plan.weights["z/generator"] == plan.weights["y/generator"] == 0.7
    plan = SemiSupervisedAAE(**TINY, loss_weights={"generator": 0.7, "z/generator": 0.2}).plan_for(*table)
    assert (plan.weights["z/generator"], plan.weights["y/generator"]) == (0.2, 0.7), "the full name counts more"
    rates = {"generator": 1e-5, "y/discriminator": 2e-5, "classification": 3e-5}
    plan = SemiSupervisedAAE(**TINY, learning_rates=rates).plan_for(*table)
    assert plan.learning_rates == {
        **SemiSupervisedAAE(**TINY).plan_for(*table).learning_rates,
        "z/generator": 1e-5, "y/generator": 1e-5, "y/discriminator": 2e-5, "classification": 3e-5,
    }  # fmt: skip


@pytest.mark.parametrize("parameter", ["loss_weights", "learning_rates"])
@pytest.mark.parametrize(
    ("wrong", "hint"),
    [("recontruction", "did you mean .reconstruction."),
     ("z/generater", "did you mean 'z/generator'"), ("w/generator", ""),
     ("", ""), ("cyclic", "")],
)  # fmt: skip
def test_unknown_phases_are_refused_with_the_nearest(parameter, wrong, hint, table):
    model = SemiSupervisedAAE(**TINY, **{parameter: {wrong: 0.5}})
    for call in (model.fit, model.plan_for):
        with pytest.raises(InputError, match=f"{parameter}: expected phases of .*got {wrong!r}.*{hint}") as error:
            call(*table)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "phase"),
    [
        (SemiSupervisedAAE(**TINY, consistency="none"), "pseudo_label"),
        (SemiSupervisedAAE(**TINY, consistency="pseudo_labels"), "virtual_adversarial"),
        (ClusteringAAE(**TINY, n_clusters=4, consistency="none"), "consistency_kl"),
        (AdversarialAutoencoder(**TINY, adversarial=False), "generator"),
        (EmbeddingAAE(**TINY), "conditional_entropy"),
    ],
)
def test_a_weight_that_other_parameters_make_void_is_refused(model, phase, table):
    model = clone(model).set_params(loss_weights={phase: 0.5})
    with pytest.raises(InputError, match=f"loss_weights: expected 0 for '{phase}', which other .*, got 0.5") as error:
        model.fit(*table)
    assert "\n" not in str(error.value)
    clone(model).set_params(loss_weights={phase: 0}).fit(*table)


@pytest.mark.parametrize(
    "bad", [{"generator": -1}, {"generator": np.inf}, {"generator": "much"}, {1: 2}, ["generator"], 3], ids=repr
)
def test_weights_are_a_mapping_to_numbers(bad, table):
    with pytest.raises(InputError, match="loss_weights: expected"):
        SemiSupervisedAAE(**TINY, loss_weights=bad).fit(*table)


# --- rows of given labels --------------------------------------------------------------------------------------------
GENERATING = [k for k in WITH_DECODER if k not in ("generator", "generator by class", "outliers")]


@pytest.mark.parametrize("name", GENERATING)
def test_generate_takes_labels_styles_and_a_seed_everywhere(name, models):
    model = models[name]
    assert list(inspect.signature(model.generate).parameters) == ["y", "z", "random_state"]
    labels = np.arange(4) if name in ("clusters", "map of clusters") else model.classes_
    Z = np.random.default_rng(0).normal(size=(3, model.latent_dim)).astype(np.float32)
    rows = model.generate([labels[2]] * 3, Z)
    assert rows.shape == (3, 64)
    np.testing.assert_allclose(model.generate(labels[2], Z), rows, atol=1e-6, err_msg="one label for all styles")
    np.testing.assert_allclose(model.generate(labels[[0, 2, 1]], Z)[1], rows[1], atol=1e-6)
    np.testing.assert_array_equal(
        model.generate(labels[[0, 1]], random_state=3), model.generate(labels[[0, 1]], None, 3)
    )
    assert not np.array_equal(model.generate(labels[[0, 1]], random_state=3), model.generate(labels[[0, 1]], None, 4))
    assert model.generate(labels[1]).shape == (1, 64)
    for wrong in (Z[:, :-1], Z[0], Z[:2]):
        with pytest.raises(InputError, match="z: expected shape|one for each of the") as error:
            model.generate(labels[[0, 1, 2]], wrong)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [k for k in ESTIMATORS if k not in GENERATING])
def test_what_knows_no_classes_generates_none(name, models):
    assert not hasattr(models[name], "generate")


def test_a_style_that_is_a_data_frame(models, table):
    model = models["classifier"]
    Z = model.transform(table[0][:4])
    frame = pd.DataFrame(Z, columns=model.get_feature_names_out())
    np.testing.assert_array_equal(model.generate([1, 2, 3, 4], frame), model.generate([1, 2, 3, 4], Z))


# --- what "unlabelled" means -----------------------------------------------------------------------------------------
UNLABELLED_LABELS = {
    "list of texts and -1": lambda y, names: [names[k] if k >= 0 else -1 for k in y],
    "list of texts and None": lambda y, names: [names[k] if k >= 0 else None for k in y],
    "objects and None": lambda y, names: np.where(y >= 0, names[y], None),
    "objects and NaN": lambda y, names: np.where(y >= 0, names[y], np.nan),
    "integers": lambda y, names: y,
    "list of integers": lambda y, names: y.tolist(),
    "list of integers and None": lambda y, names: [int(k) if k >= 0 else None for k in y],
    "floats": lambda y, names: y.astype(float),
    "floats and NaN": lambda y, names: np.where(y >= 0, y, np.nan),
    "pandas None": lambda y, names: pd.Series(np.where(y >= 0, names[y], None)),
    "pandas NaN": lambda y, names: pd.Series(np.where(y >= 0, y, np.nan)),
    "pandas NA in texts": lambda y, names: pd.Series(np.where(y >= 0, names[y], pd.NA), dtype="string"),
    "pandas NA in integers": lambda y, names: pd.Series(np.where(y >= 0, y, -1)).astype("Int64").mask(y < 0),
    "pandas NA in objects": lambda y, names: pd.Series(np.where(y >= 0, names[y], pd.NA), dtype=object),
}


@pytest.mark.parametrize("kind", UNLABELLED_LABELS)
@pytest.mark.parametrize("name", ["classifier", "pretrained", "baseline"])
def test_score_and_error_rate_agree_on_what_is_unlabelled(name, kind, table):
    X, y = table
    names = np.array([f"digit {k}" for k in range(10)], dtype=object)
    labels = UNLABELLED_LABELS[kind](y, names)
    model = clone(ESTIMATORS[name]).fit(X, labels)
    assert len(model.classes_) == 10
    labelled = y >= 0
    predicted = model.predict(X)
    expected = names[y] if isinstance(model.classes_[0], str) else y
    right = np.mean([p == e for p, e in zip(predicted[labelled], expected[labelled], strict=True)])
    assert model.score(X, labels) == pytest.approx(right)
    assert error_rate(labels, predicted) == pytest.approx(100 * (1 - right))
    assert model.n_unlabelled_ == (0 if name == "baseline" else 250) or sum(model.class_counts_) == 50


# --- plans -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_plan_is_that_of_the_fit_and_changes_nothing(name, table):
    X, y = table
    y = None if name == "map of clusters" else y
    model = clone(ESTIMATORS[name])
    before = dict(vars(model))
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    plan = model.plan_for(X, y)
    assert torch.equal(torch.rand(1), expected) and vars(model) == before
    model.fit(X, y)
    fitted_plan = copy.copy(model.plan_)
    if plan.propagates_labels:  # what the rows say of classes is known in fit alone
        for learned in ("class_prior", "prior_certainty", "room", "weights"):
            object.__setattr__(fitted_plan, learned, getattr(plan, learned))
    assert plan == fitted_plan
    state = {k: v.clone() for k, v in model.networks_.state_dict().items()}
    model.plan_for(X[:100], y if y is None else y[:100])
    assert all(torch.equal(v, state[k]) for k, v in model.networks_.state_dict().items())
    assert model.plan_.data.n_rows == fitted_plan.data.n_rows


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_plan_is_refused_for_what_fit_refuses(name, table):
    X, y = table
    model = clone(ESTIMATORS[name])
    with pytest.raises(InputError, match="max_steps: expected"):
        model.set_params(max_steps=-1).plan_for(X, y)
    with pytest.raises(ValueError, match="infinity"):
        model.set_params(max_steps=2).plan_for(np.where(X > 0.9, np.inf, X), y)


def test_early_stopping_is_planned_with_the_rows_that_are_left(table):
    model = SemiSupervisedAAE(**TINY, guard=False, early_stopping=True)
    plan, data = model.plan_for(*table), model.fit(*table).plan_.data
    assert plan.data == data and plan.weights == model.plan_.weights
    held_out = [max(1, round(n * 0.1)) for n in model.class_counts_]
    assert data.n_rows == 300 - sum(held_out) and data.n_labelled == 50 - sum(held_out)
    assert plan.batch_sizes["labelled"] == data.n_labelled < 50, "fewer than a minibatch are left"


# --- one fit after another -------------------------------------------------------------------------------------------
def public(model) -> dict:
    return {k: v for k, v in vars(model).items() if k.endswith("_")}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_another_fit_forgets_the_earlier_one(name, table):
    X, y = table
    y = None if name == "map of clusters" else y
    model, other = clone(ESTIMATORS[name]), clone(ESTIMATORS[name])
    model.fit(X[:150, :40] * 7, None if y is None else np.where(np.arange(150) < 99, np.arange(150) % 3, -1))
    if name == "generator":
        model.fit_density(X[:20, :40] * 7, n_samples=5, random_state=0)
    if name == "clusters":
        model.name_clusters({0: "a"})
    model.fit(X, y)
    other.fit(X, y)
    assert set(public(model)) == set(public(other))
    differing = [k for k in public(other) if k not in ("networks_", "autoencoder_", "training_seconds_", "history_")
                 and not same(getattr(model, k), getattr(other, k))]  # fmt: skip
    assert differing == []
    pairs = zip(model.networks_.parameters(), other.networks_.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


class Interrupt(Callback):
    def __init__(self, error):
        self.error = error

    def step(self, training):
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TrainingError("step 1"), OSError("full")], ids=repr)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_fit_that_fails_leaves_the_estimator_as_it_was(name, error, table):
    X, y = table
    y = None if name == "map of clusters" else y
    model = clone(ESTIMATORS[name])
    with pytest.raises(type(error)):
        model.fit(X, y, callbacks=[Interrupt(error)])
    assert public(model) == {}, "not fitted"
    model.fit(X, y)
    before = dict(vars(model))
    state = {k: v.clone() for k, v in model.networks_.state_dict().items()}
    with pytest.raises(type(error)):
        model.fit(X[:100, :30] * 9, None if y is None else np.arange(100) % 3, callbacks=[Interrupt(error)])
    assert vars(model).keys() == before.keys() and all(vars(model)[k] is v for k, v in before.items())
    assert all(torch.equal(v, state[k]) for k, v in model.networks_.state_dict().items())
    with pytest.raises(ValueError, match="infinity"):
        model.fit(np.full_like(X, np.inf), y)
    assert all(vars(model)[k] is v for k, v in before.items())


# --- a critic that takes several steps -------------------------------------------------------------------------------
@pytest.mark.parametrize("schedule", ["joint", "alternating"])
@pytest.mark.parametrize("name", WITH_DECODER)
def test_wasserstein_critics_take_several_steps(name, schedule, table):
    X, y = table
    model = clone(ESTIMATORS[name]).set_params(divergence="wasserstein", schedule=schedule)

    def look(training):
        calls = []
        training.networks.z_discriminator.register_forward_hook(lambda *_: calls.append(1))
        repeats = {p.name: p.repeats for turn in training.turns for p in turn.phases if p.is_critic}
        training.advance()
        return repeats, len(calls), training.n_done

    y = None if name == "map of clusters" else y
    repeats, n_calls, n_done = before_first_step(model, X, y, look)
    assert set(repeats.values()) == {5} and n_done == 1 and n_calls > 5
    model.fit(X, y)
    assert np.isfinite(model.history_[-1]["z/discriminator"]) and np.isfinite(model.transform(X)).all()
