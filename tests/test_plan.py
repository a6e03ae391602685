"""What "auto" means: plans from parameters and a summary of the data, without any training."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aaekit import (
    AAEOutlierDetector,
    AdversarialAutoencoder,
    ClusteringAAE,
    EmbeddingAAE,
    InputError,
    PretrainedClassifier,
    SemiSupervisedAAE,
    SupervisedBaseline,
)
from aaekit.estimators._plan import DataSummary, Plan

DIGITS, MNIST, TABLE = (1, 8, 8), (1, 28, 28), (30,)


def data(shape=MNIST, n_rows=60_000, n_labels=100, n_classes=10, **more) -> DataSummary:
    """Rows of which some have labels, all but one class with as many as they can."""
    counts = () if not n_labels else (n_labels - n_labels // n_classes * (n_classes - 1),)
    counts += (n_labels // n_classes,) * (n_classes - 1) if n_labels else ()
    return DataSummary(shape, n_rows, class_counts=counts, n_unlabelled=n_rows - n_labels if n_labels else 0, **more)


# --- steps and initialisations ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(("n_labels", "steps"), [(100, 8022), (1000, 8022), (40_000, 9000), (60_000, 20_000)])
def test_many_labels_are_worth_more_steps(n_labels, steps):
    assert SemiSupervisedAAE().plan(data(n_labels=n_labels)).n_steps == steps


@pytest.mark.parametrize(
    ("parameters", "shape", "steps"),
    [
        ({}, MNIST, 8022),
        ({"augmentation": "none"}, MNIST, 3022),
        ({"consistency": "virtual_adversarial"}, MNIST, 3022),
        ({}, TABLE, 3022),
        ({"guard": False}, TABLE, 3022),
    ],
)
def test_steps_are_fewer_where_no_warp_must_leave_the_class(parameters, shape, steps):
    assert SemiSupervisedAAE(**parameters).plan(data(shape)).n_steps == steps


@pytest.mark.parametrize(
    ("model", "n_rows", "n_labels", "steps"),
    [
        (SemiSupervisedAAE(), 270, 20, 810),
        (SemiSupervisedAAE(), 10**6, 20, 10_000),
        (EmbeddingAAE(), 270, 20, 810),
        (EmbeddingAAE(), 270, 0, 1610),
        (EmbeddingAAE(), 10**6, 0, 5000),
        (ClusteringAAE(), 270, 0, 1610),
        (ClusteringAAE(), 10**6, 0, 5000),
        (AdversarialAutoencoder(), 270, 0, 5000),
        (AAEOutlierDetector(), 10**6, 0, 1000),
        (SupervisedBaseline(), 270, 270, 500),
        (PretrainedClassifier(), 270, 270, 500),
        (PretrainedClassifier(), 60_000, 60_000, 10 * 600),
    ],
)
def test_steps_depend_on_the_system_and_the_number_of_rows(model, n_rows, n_labels, steps):
    assert model.plan(data(MNIST, n_rows, n_labels)).n_steps == steps


def test_steps_and_epochs_that_are_given_are_kept():
    assert SemiSupervisedAAE(max_steps=7).plan(data()).n_steps == 7
    assert SemiSupervisedAAE(max_epochs=2).plan(data()).n_steps == 2 * 600
    assert SemiSupervisedAAE(max_epochs=2, batch_size=50).plan(data()).n_steps == 2 * 1200
    assert SemiSupervisedAAE(max_epochs=2, max_steps=7).plan(data()).n_steps == 7
    assert PretrainedClassifier(max_epochs=10).plan(data(TABLE, 1200, 1200)).n_steps == 10 * 12


@pytest.mark.parametrize(
    ("parameters", "n_rows", "n_labels", "n_init"),
    [
        ({}, 1797, 50, 5), ({}, 1797, 51, 1), ({}, 5001, 50, 1), ({}, 1797, 1797, 1),
        ({"n_init": 2}, 60_000, 1000, 2), ({"n_init": 1}, 1797, 20, 1), ({"n_init": 3}, 1797, 1797, 1),
    ],
)  # fmt: skip
def test_few_rows_with_few_labels_have_several_initialisations(parameters, n_rows, n_labels, n_init):
    counts = (n_labels - 9, *[1] * 9)
    summary = DataSummary(MNIST, n_rows, class_counts=counts, n_unlabelled=n_rows - n_labels)
    assert SemiSupervisedAAE(**parameters).plan(summary).n_init == n_init


@pytest.mark.parametrize(
    ("parameters", "shape", "n_init"),
    [
        ({}, MNIST, 6), ({}, (64,), 1), ({"augmentation": "none"}, MNIST, 1), ({"n_init": 1}, MNIST, 1),
        ({"n_init": 4}, (64,), 4),
    ],
)  # fmt: skip
def test_clusters_of_images_have_several_initialisations(parameters, shape, n_init):
    plan = ClusteringAAE(**parameters).plan(data(shape, n_labels=0))
    assert plan.n_init == n_init and plan.propagates_labels == (len(shape) == 1)


def test_clusters_of_photos_follow_others_and_begin_once():
    photos = data((3, 64, 64), n_labels=0, is_photo=True)
    plan = ClusteringAAE().plan(photos)
    assert plan.n_init == 1 and plan.propagates_labels
    assert ClusteringAAE(n_init=3).plan(photos).n_init == 3
    free = ClusteringAAE(loss_weights={"soft_label": 0}).plan(photos)
    assert free.n_init == 6 and not free.propagates_labels


@pytest.mark.parametrize(
    ("parameters", "shape", "share"),
    [
        ({}, MNIST, 0.5), ({}, (64,), 1.0), ({"augmentation": "none"}, MNIST, 1.0),
        ({"consistency": "virtual_adversarial"}, MNIST, 1.0), ({"consistency": "none"}, MNIST, 1.0),
    ],
)  # fmt: skip
def test_clusters_may_differ_in_size_where_warps_support_them(parameters, shape, share):
    assert ClusteringAAE(**parameters).plan(data(shape, n_labels=0)).min_class_share == share


@pytest.mark.parametrize(
    ("schedule", "n_steps", "warmup"),
    [("cosine", 5000, 200), ("cosine", 500, 50), ("constant", 500, 0), ((1, 2), 500, 0)],
)
def test_warm_up_is_a_tenth_of_the_steps_at_most_200(schedule, n_steps, warmup):
    model = SemiSupervisedAAE(learning_rate_schedule=schedule, max_steps=n_steps)
    assert model.plan(data()).warmup_steps == warmup


# --- what must not change y ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [SemiSupervisedAAE, EmbeddingAAE])
@pytest.mark.parametrize(
    ("parameters", "shape", "n_labels", "augmentation", "virtual_adversarial"),
    [
        ({}, DIGITS, 100, True, False),
        ({}, (1, 15, 28), 100, True, False),
        ({}, (1, 16, 16), 100, True, True),
        ({}, MNIST, 100, True, True),
        ({}, TABLE, 100, True, True),
        ({}, MNIST, 1000, False, False),
        ({}, TABLE, 1000, True, True),
        ({"augmentation": "none"}, MNIST, 100, False, True),
        ({"augmentation": "none"}, MNIST, 1000, False, True),
        ({"augmentation": "none"}, TABLE, 100, False, True),
        ({"augmentation": "none", "consistency": "virtual_adversarial"}, DIGITS, 100, False, True),
        ({"augmentation": "none", "consistency": "none"}, DIGITS, 100, False, False),
        ({"consistency": "none"}, MNIST, 100, False, False),
        ({"consistency": "both"}, DIGITS, 1000, True, True),
        ({"consistency": "pseudo_labels"}, MNIST, 100, True, False),
        ({"consistency": "virtual_adversarial"}, DIGITS, 100, False, True),
    ],
)
def test_consistency_with_labels(kind, parameters, shape, n_labels, augmentation, virtual_adversarial):
    plan = kind(**parameters).plan(data(shape, 1000, n_labels))
    assert (plan.uses_augmentation, plan.uses_virtual_adversarial) == (augmentation, virtual_adversarial)


@pytest.mark.parametrize("kind", [ClusteringAAE, EmbeddingAAE])
@pytest.mark.parametrize(
    ("parameters", "shape", "augmentation", "virtual_adversarial"),
    [
        ({}, DIGITS, True, False),
        ({}, MNIST, True, False),
        ({}, TABLE, True, True),
        ({"augmentation": "none"}, MNIST, False, True),
        ({"augmentation": "none"}, TABLE, False, True),
        ({"consistency": "both"}, MNIST, True, True),
        ({"consistency": "none"}, TABLE, False, False),
    ],
)
def test_consistency_without_labels(kind, parameters, shape, augmentation, virtual_adversarial):
    plan = kind(**parameters).plan(data(shape, 1000, n_labels=0))
    assert (plan.uses_augmentation, plan.uses_virtual_adversarial) == (augmentation, virtual_adversarial)
    assert plan.only_smoothness == (virtual_adversarial and not augmentation)


@pytest.mark.parametrize(
    ("kind", "consistency"),
    [(SemiSupervisedAAE, "pseudo_labels"), (SemiSupervisedAAE, "both"), (ClusteringAAE, "augmentation"),
     (EmbeddingAAE, "pseudo_labels")],
)  # fmt: skip
def test_an_augmentation_that_is_needed_must_be_there(kind, consistency):
    with pytest.raises(InputError, match="consistency: expected 'virtual_adversarial' or 'none'.*got") as error:
        kind(consistency=consistency, augmentation="none").plan(data())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("parameters", "xi"),
    [
        ({"augmentation": "none"}, 10 * 0.25 * 4), ({"consistency": "virtual_adversarial"}, 10 * 0.25 * 4),
        ({"consistency": "both"}, 0.1), ({"consistency": "both", "vat_epsilon": (0.25, 3)}, 3 * 0.25 * 4),
        ({"vat_epsilon": 0.5, "consistency": "virtual_adversarial"}, 10 * 0.5 * 4),
    ],
)  # fmt: skip
def test_the_worst_direction_is_looked_for_far_away_where_nothing_else_shows_it(parameters, xi):
    plan = SemiSupervisedAAE(**parameters).plan(data(data_radius=4.0))
    assert plan.vat_xi == pytest.approx(xi) and plan.vat_epsilon == np.ravel(parameters.get("vat_epsilon", 0.25))[0] * 4


@pytest.mark.parametrize(
    ("parameters", "shape", "propagates"),
    [
        ({}, DIGITS, False),
        ({}, MNIST, False),
        ({}, TABLE, True),
        ({"augmentation": "none"}, DIGITS, True),
        ({"consistency": "virtual_adversarial"}, MNIST, True),
        ({"consistency": "none"}, TABLE, False),
        ({"loss_weights": {"soft_label": 1}}, DIGITS, True),
        ({"loss_weights": {"soft_label": 0.5}, "consistency": "none"}, TABLE, True),
        ({"loss_weights": {"soft_label": 0}}, TABLE, False),
    ],
)
@pytest.mark.parametrize("kind", [SemiSupervisedAAE, EmbeddingAAE])
def test_labels_are_propagated_where_no_warp_says_more(kind, parameters, shape, propagates):
    pure = {"guard": False} if kind is SemiSupervisedAAE else {}
    assert kind(**pure, **parameters).plan(data(shape)).propagates_labels == propagates
    assert not EmbeddingAAE(**parameters).plan(data(shape, n_labels=0)).propagates_labels


@pytest.mark.parametrize(
    ("parameters", "shape", "n_unlabelled", "has_teachers"),
    [
        ({}, TABLE, 900, True),
        ({"consistency": "none"}, TABLE, 900, True),
        ({"guard": False}, TABLE, 900, False),
        ({"loss_weights": {"soft_label": 0}}, TABLE, 900, False),
        ({}, TABLE, 0, False),
        ({}, DIGITS, 900, False),
    ],
)
def test_teachers_are_for_tables_with_unlabelled_rows(parameters, shape, n_unlabelled, has_teachers):
    plan = SemiSupervisedAAE(**parameters).plan(
        DataSummary(shape, n_unlabelled + 10, class_counts=(5, 5), n_unlabelled=n_unlabelled)
    )
    assert plan.has_teachers == has_teachers and (plan.propagates_labels or not has_teachers)


# --- minibatches -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("parameters", "shape", "n_rows", "n_labels", "sizes"),
    [
        ({}, MNIST, 60_000, 100, (100, 50)),
        ({}, MNIST, 60_000, 60_000, (100, 150)),
        ({"augmentation": "none"}, MNIST, 60_000, 60_000, (100, 50)),
        ({}, TABLE, 60_000, 60_000, (100, 50)),
        ({}, TABLE, 60, 20, (60, 20)),
        ({"batch_size": 32}, MNIST, 60_000, 100, (32, 50)),
        ({"batch_size": (32, 8)}, MNIST, 60_000, 100, (32, 8)),
    ],
)
@pytest.mark.parametrize("kind", [SemiSupervisedAAE, EmbeddingAAE])
def test_labelled_rows_have_minibatches_of_their_own(kind, parameters, shape, n_rows, n_labels, sizes):
    plan = kind(**parameters).plan(data(shape, n_rows, n_labels))
    assert plan.batch_sizes == {"unlabelled": sizes[0], "labelled": sizes[1]}
    assert plan.steps_per_epoch == n_rows // sizes[0]


def test_rare_labels_of_an_adversarial_autoencoder_have_minibatches_too():
    assert AdversarialAutoencoder(prior="mixture").plan(data()).batch_sizes == {"unlabelled": 100, "labelled": 100}
    assert AdversarialAutoencoder(batch_size=40).plan(data()).batch_sizes == {"unlabelled": 40, "labelled": 40}
    assert AdversarialAutoencoder().plan(data(n_labels=0)).batch_sizes == {"unlabelled": 100}


@pytest.mark.parametrize(
    ("batch_size", "message"),
    [(60_001, "at most the 60000 rows"), ((100, 101), "at most the 100 labelled rows"), ((60_001, 5), "60000 rows")],
)
def test_minibatches_larger_than_the_data_are_refused(batch_size, message):
    with pytest.raises(InputError, match=f"batch_size: expected .*{message} to train on, got") as error:
        SemiSupervisedAAE(batch_size=batch_size).plan(data())
    assert "\n" not in str(error.value)


# --- class prior -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("class_prior", "expected", "is_corrected"),
    [
        ("auto", [0.8, 0.2], True),
        ("labelled", [0.8, 0.2], False),
        ("uniform", [0.5, 0.5], False),
        ((0.3, 0.7), [0.3, 0.7], False),
        (("auto", 0.3, 0.7), [0.3, 0.7], True),
    ],
)
@pytest.mark.parametrize("kind", [SemiSupervisedAAE, EmbeddingAAE])
def test_class_frequencies_are_those_of_the_labels_or_given(kind, class_prior, expected, is_corrected):
    few = DataSummary(TABLE, 1000, class_counts=(40, 10), n_unlabelled=950)
    plan = kind(class_prior=class_prior).plan(few)
    least = 0.5 if kind is SemiSupervisedAAE else 0.0  # of what teachers expect of a class
    assert plan.class_prior == pytest.approx(expected) and plan.min_class_share == (least if is_corrected else 1.0)
    all_labelled = DataSummary(TABLE, 50, class_counts=(40, 10))
    assert kind(class_prior=class_prior).plan(all_labelled).min_class_share == 1.0, "nothing can correct them"


@pytest.mark.parametrize(
    ("class_prior", "message"),
    [
        ((0.3, 0.3, 0.4), "class_prior: expected 2 numbers, one for each class, got"),
        (("auto", 0.3, 0.3, 0.4), "class_prior: expected 2 numbers, one for each class, got"),
        (("auto",), "class_prior: expected 2 numbers, one for each class, got"),
        (("auto", "auto", 0.5), "class_prior: expected 2 numbers, one for each class, got"),
        ((0.3, "auto"), "class_prior: expected 2 numbers, one for each class, got"),
        (("auto", 0.0, 1.0), "class_prior: expected numbers above 0 in sum 1 after 'auto', got"),
        (("auto", 0.5, 0.6), "class_prior: expected numbers above 0 in sum 1 after 'auto', got"),
        (("auto", np.nan, 1.0), "class_prior: expected numbers above 0 in sum 1 after 'auto', got"),
        ((0.0, 0.0), "numbers of at least 0 in sum 1"),
        ((-0.1, 1.1), "numbers of at least 0 in sum 1"),
        ((np.nan, 1.0), "numbers of at least 0 in sum 1"),
    ],
)
@pytest.mark.parametrize("kind", [SemiSupervisedAAE, EmbeddingAAE])
def test_frequencies_that_are_none_are_refused(kind, class_prior, message):
    with pytest.raises(InputError, match=message) as error:
        kind(class_prior=class_prior).plan(DataSummary(TABLE, 1000, class_counts=(40, 10), n_unlabelled=950))
    assert "\n" not in str(error.value)


# --- networks and reconstruction -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("parameters", "shape", "backbone", "hidden"),
    [
        ({}, MNIST, "conv", (32, 64, 64)),
        ({}, DIGITS, "conv", (32, 64, 64)),
        ({"hidden": (4,)}, DIGITS, "conv", (4,)),
        ({}, TABLE, "mlp", (256, 256)),
        ({}, (784,), "mlp", (256, 256)),
        ({"backbone": "mlp"}, MNIST, "mlp", (1000, 1000)),
        ({"backbone": "mlp", "hidden": (7,)}, MNIST, "mlp", (7,)),
    ],
)
def test_backbones_go_by_the_shape_of_the_rows(parameters, shape, backbone, hidden):
    plan = SemiSupervisedAAE(**parameters).plan(data(shape))
    assert (plan.backbone, plan.hidden) == (backbone, hidden)


def test_the_reconstruction_goes_by_the_values():
    assert AdversarialAutoencoder().plan(data()).reconstruction == "bernoulli"
    assert AdversarialAutoencoder().plan(data(unit_range=False)).reconstruction == "gaussian"
    assert AdversarialAutoencoder(reconstruction="gaussian").plan(data()).reconstruction == "gaussian"
    with pytest.raises(
        InputError, match=r"reconstruction: expected 'gaussian' for tables and values outside .*0, 1.*got"
    ):
        AdversarialAutoencoder(reconstruction="bernoulli").plan(data(unit_range=False))


def test_networks_and_phases_follow_from_a_plan_alone():
    model = SemiSupervisedAAE(hidden=(4,), loss_weights={"generator": 0.5})
    plan = model.plan(data(DIGITS))
    nets = model.networks(plan)
    weights = {phase.name: phase.weight for phase in model.phases(nets, plan)}
    assert weights["z/generator"] == weights["y/generator"] == 0.5 and weights["virtual_adversarial"] == 0
    assert nets.encoder.head_y.out_features == 10 and not hasattr(model, "networks_")


# --- as JSON ---------------------------------------------------------------------------------------------------------
names = st.sampled_from(["reconstruction", "z/discriminator", "z/generator", "classification", "marginal_kl"])
positive = st.integers(1, 10**6)
finite = st.floats(0, 1e6, allow_nan=False)
summaries = st.builds(
    DataSummary,
    shape=st.one_of(st.tuples(positive), st.tuples(positive, positive, positive)),
    n_rows=positive,
    unit_range=st.booleans(),
    data_radius=finite,
    class_counts=st.lists(positive, max_size=4).map(tuple),
    n_unlabelled=positive,
    groups=st.sampled_from([(), ((0, 1),)]),
    symmetries=st.sampled_from([(), ("flip", "transpose")]),
    is_photo=st.booleans(),
)


@st.composite
def plans(draw) -> Plan:
    phases = draw(st.lists(names, unique=True, min_size=1))
    weights = {name: draw(finite) for name in phases}
    class_prior = tuple(draw(st.lists(st.floats(0, 1e6), max_size=4)))
    return Plan(
        data=draw(summaries),
        backbone=draw(st.sampled_from(["conv", "mlp", "module"])),
        hidden=tuple(draw(st.lists(positive, max_size=3))),
        batch_sizes={"unlabelled": draw(positive), "labelled": draw(positive)},
        n_steps=draw(positive),
        warmup_steps=draw(positive),
        n_init=draw(positive),
        schedule=draw(st.sampled_from(["joint", "alternating"])),
        reconstruction=draw(st.sampled_from(["bernoulli", "gaussian", ""])),
        n_classes=len(class_prior),
        class_prior=class_prior,
        min_class_share=draw(finite),
        uses_augmentation=draw(st.booleans()),
        uses_virtual_adversarial=draw(st.booleans()),
        vat_epsilon=draw(finite),
        vat_xi=draw(finite),
        propagates_labels=draw(st.booleans()),
        loss_weights={name: draw(finite) for name in phases[:2]},
        weights=weights,
        learning_rates={name: draw(finite) for name in phases},
        moves={name: ("encoder", "decoder")[: draw(st.integers(1, 2))] for name, w in weights.items() if w},
    )


@given(plans())
def test_a_plan_comes_back_from_json(plan):
    again = Plan.from_dict(json.loads(json.dumps(plan.as_dict())))
    assert again == plan
    assert type(again.class_prior) is type(again.hidden) is type(again.data.shape) is tuple


@given(plans())
def test_weights_are_found_by_the_name_of_the_phase_or_its_last_part(plan):
    for name in ("z/generator", "classification", "other"):
        last = name.rsplit("/", 1)[-1]
        expected = plan.loss_weights.get(name, plan.loss_weights.get(last, 0.25))
        assert plan.weight(name, 0.25) == expected
