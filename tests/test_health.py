"""Planted failures, in numbers and in trainings, must be found; healthy runs must have no findings."""

import json
import re
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from aaekit import (
    AdversarialAutoencoder,
    ClusteringAAE,
    EmbeddingAAE,
    SemiSupervisedAAE,
    SupervisedAAE,
    SupervisedBaseline,
)
from aaekit.cli import app as cli
from aaekit.cli import train as train_commands
from aaekit.errors import InputError
from aaekit.estimators._hyperparameters import hyperparameters_of
from aaekit.evaluation.health import Comparison, Evidence, HealthFinding, diagnose, thresholds
from aaekit.evaluation.heldout import HeldOut
from aaekit.evaluation.measures import comparison_of, diagnosis, evidence_of
from aaekit.plots import draw
from aaekit.runs.config import DataOptions

PAGE = Path(__file__).parent.parent / "docs" / "health.md"
N, K, EPOCHS = 300, 5, 20
RANDOM = np.random.default_rng(0)
FLAT = 1 + 0.01 * RANDOM.normal(size=EPOCHS)  # a constant curve
FALLING = np.linspace(2, 1, EPOCHS) + 0.001 * RANDOM.normal(size=EPOCHS)
Z, PRIOR = RANDOM.normal(size=(N, 2)), RANDOM.normal(size=(4 * N, 2))
LABELS = np.arange(N) % K
X = load_digits().data[:N] / 16

KINDS = (AdversarialAutoencoder, SemiSupervisedAAE, ClusteringAAE, SupervisedAAE, SupervisedBaseline, DataOptions)
OPTIONS = {name for kind in KINDS for name in hyperparameters_of(kind)}
NAMES = [
    heading.splitlines()[0].lower()
    for heading in re.split(r"^### ", PAGE.read_text(encoding="utf-8").split("## The findings")[1], flags=re.M)[1:]
]


def probabilities(classes, sure=0.95):
    """Rows `(n, K)` that have this probability for their classes."""
    return (1 - sure) / (K - 1) + (sure - (1 - sure) / (K - 1)) * np.eye(K)[classes]


def history(**columns):
    """A history of constant curves, some of them replaced or added."""
    curves = {
        "step": 100 * np.arange(1, EPOCHS + 1),
        "learning_rate": np.ones(EPOCHS),
        "reconstruction": 20 * FLAT,
        "classification": 0.3 * FLAT,
        "eval/error": 3 * FLAT,
        "eval/score": 0.2 * FLAT,
        **{f"{code}/D({side})": 0.5 * FLAT + 0.1 * RANDOM.normal(size=EPOCHS) for code in "yz"
           for side in ("real", "fake")},
        **{name.replace("__", "/"): values for name, values in columns.items()},
    }  # fmt: skip
    return [dict(zip(curves, map(float, row), strict=True)) for row in zip(*curves.values(), strict=True)]


def D(real, fake, code="z"):
    """The outputs of a discriminator by epoch."""
    return {f"{code}/D(real)": np.full(EPOCHS, real), f"{code}/D(fake)": np.full(EPOCHS, fake)}


def evidence(changed_history=None, parameters=None, kind=SemiSupervisedAAE, **changes):
    """The evidence of a healthy run, with changes."""
    healthy = {"history": history(**(changed_history or {})), "X": X,
             "parameters": _defaults(kind, **(parameters or {})),
             "X_hat": X.mean(0) + 0.7 * (X - X.mean(0)), "z": Z, "prior": PRIOR, "y": probabilities(LABELS),
             "labels": LABELS}  # fmt: skip
    return Evidence(**{**healthy, **changes})


def clusters(y, **parameters):
    return evidence(None, parameters, ClusteringAAE, y=y, labels=None, clusters=True)


def _defaults(kind, **changes):
    declared = {name: h.default for name, h in hyperparameters_of(kind).items()}
    return declared | {"loss_weights": None, "learning_rates": None} | changes


def named(findings):
    return [f.name for f in findings]


shifted, ring = Z + [0, 2], Z[np.linalg.norm(Z, axis=1) > 1.2]
by_class = 0.3 * Z + 1.3 * np.stack([np.cos(2 * np.pi * LABELS / K), np.sin(2 * np.pi * LABELS / K)], 1)
mean_image = np.repeat(X.mean(0)[None], N, 0)
dead = np.where(LABELS == 3, 2, LABELS)

CODES = {"codes off the prior", "holes in the latent space"}
PLANTED = [
    # what is planted, its name, findings that may accompany it, a part of the evidence, a part of the option
    ("stuck", lambda: evidence(D(0.501, 0.499), {"discriminator_learning_rate": 1e-7}, z=Z + [0, 1]),
     "stuck discriminator", CODES, "D of z gives 0.50",
     "discriminator_learning_rate=0.001 (now 1e-07); on the command line: --discriminator-learning-rate 0.001"),
    ("stuck by too fast a start", lambda: evidence(D(0.501, 0.499), {"discriminator_learning_rate": 0.5}, z=Z + [0, 1]),
     "stuck discriminator", CODES, "varied by only 0.000",
     "--discriminator-learning-rate 0.001"),
    ("stuck by a rate of its phase", lambda: evidence(
        D(0.501, 0.499), {"learning_rates": {"z/discriminator": 1e-7, "cyclic": 1e-4}}, z=Z + [0, 1]),
     "stuck discriminator", CODES, "varied by only 0.000",
     "learning_rates={'z/discriminator': 0.001, 'cyclic': 0.0001} (now 1e-07); on the command line: "
     "--learning-rates z/discriminator=0.001,cyclic=0.0001"),
    ("overpowering", lambda: evidence(D(0.97, 0.04), {"loss_weights": {"generator": 0.01}}),
     "overpowering discriminator", set(), "D of z gives 0.97 to the prior and 0.04 to the codes",
     "loss_weights={'generator': 1} (now 0.01); on the command line: --loss-weights generator=1"),
    ("overpowering, by its plan", lambda: evidence(D(0.97, 0.04), weights={"z/generator": 0.3}),
     "overpowering discriminator", set(), "D of z", "loss_weights={'generator': 1.5} (now 0.3)"),
    ("overpowering by its rate", lambda: evidence(
        D(0.97, 0.04), {"discriminator_learning_rate": 0.02, "learning_rate": 2e-3}),
     "overpowering discriminator", set(), "D of z", "discriminator_learning_rate=0.002 (now 0.02)"),
    ("overpowering, least squares", lambda: evidence(D(0.72, 0.28), {"divergence": "least_squares"}),
     "overpowering discriminator", set(), "D of z", "loss_weights={'generator': 1};"),
    ("constant", lambda: evidence(
        parameters={"loss_weights": {"reconstruction": 1e-6, "cyclic": 1.0}}, X_hat=mean_image),
     "constant reconstruction", set(), "explain 0.0 %",
     "loss_weights without 'reconstruction' (now 1e-06); on the command line: --loss-weights without reconstruction"),
    ("constant with the usual weight", lambda: evidence(X_hat=mean_image),
     "constant reconstruction", set(), "0.0 %", "loss_weights={'reconstruction': 1.56};"),
    ("constant with the usual weight, by its plan", lambda: evidence(
        X_hat=mean_image, weights={"reconstruction": 0.2, "z/generator": 1.0}),
     "constant reconstruction", set(), "0.0 %", "loss_weights={'reconstruction': 2} (now 0.2)"),
    ("constant by its rate", lambda: evidence(parameters={"schedule": "alternating", "learning_rate": 1e-4},
                                              X_hat=1 - X),
     "constant reconstruction", set(), "are worse than the mean row", "learning_rate=0.001 (now 0.0001)"),
    ("constant by dead units", lambda: evidence(parameters={"learning_rate": 0.5}, X_hat=mean_image),
     "constant reconstruction", set(), "0.0 %", "learning_rate=0.001 (now 0.5); on the command line: --learning-rate"),
    ("constant after a few steps", lambda: evidence({"step": np.arange(EPOCHS)}, X_hat=mean_image),
     "constant reconstruction", set(), "0.0 %", "max_steps=76 (now 19); on the command line: --max-steps 76"),
    ("shifted", lambda: evidence(z=shifted), "codes off the prior", {"holes in the latent space"},
     "z2: mean shifted by +2.", "loss_weights={'generator': 1};"),
    ("shifted, with other weights", lambda: evidence(
        parameters={"loss_weights": {"cyclic": 0.5, "z/generator": 0.4}}, z=shifted),
     "codes off the prior", {"holes in the latent space"}, "z2: mean",
     "loss_weights={'cyclic': 0.5, 'z/generator': 2} (now 0.4); on the command line: "
     "--loss-weights cyclic=0.5,z/generator=2"),
    ("too wide", lambda: evidence(z=Z * [1, 2.5]), "codes off the prior", set(), "z2: mean",
     "loss_weights={'generator': 1};"),
    ("shifted, alternating", lambda: evidence(
        parameters={"schedule": "alternating", "optimizer": ("adam", 0.5), "learning_rates": {"generator": 1e-4}},
        z=shifted),
     "codes off the prior", {"holes in the latent space"}, "z2: mean",
     "learning_rates={'generator': 0.0003} (now 0.0001); on the command line: --learning-rates generator=0.0003"),
    ("not matched", lambda: evidence(parameters={"adversarial": False}, z=shifted), "codes off the prior",
     {"holes in the latent space"}, "z2", "adversarial=True (now False); on the command line: --adversarial"),
    ("correlated", lambda: evidence(z=np.repeat(Z, 3, 1), prior=RANDOM.normal(size=(4 * N, 6))),
     "codes off the prior", {"holes in the latent space"},
     "a forest separates codes from prior samples", "loss_weights={'generator'"),
    ("a hole", lambda: evidence(z=np.resize(ring, (N, 2)) + 0.05 * Z),
     "holes in the latent space", {"codes off the prior"},
     "of the prior samples, codes are less than a quarter as dense", "loss_weights={'generator': 1};"),
    ("collapsed", lambda: clusters(probabilities(0 * LABELS), loss_weights={"marginal_kl": 0.0}),
     "collapsed clusters", set(), "1 of 5 clusters are used, the largest has 100 %",
     "loss_weights={'marginal_kl': 10} (now 0)"),
    ("dead", lambda: clusters(probabilities(dead)), "dead clusters", set(), "cluster 3 of 5",
     "n_clusters=4 (now 16); on the command line: --n-clusters 4"),
    ("undecided", lambda: clusters(probabilities(LABELS, 0.4), loss_weights={"conditional_entropy": 0.1}),
     "undecided clusters", set(), "of 0.40 on average", "loss_weights={'conditional_entropy': 0.5} (now 0.1)"),
    ("swallowed class", lambda: evidence(parameters={"loss_weights": {"marginal_kl": 0}}, y=probabilities(dead)),
     "wrong class frequencies", set(), "class 3 is predicted for 0.0 % of the rows, and is 20.0 %",
     "loss_weights={'marginal_kl': 10} (now 0)"),
    ("wrong class prior", lambda: evidence(y=probabilities(dead)), "wrong class frequencies", set(), "class 3",
     "class_prior='uniform', or the true frequencies (now 'auto'); on the command line: --class-prior uniform"),
    ("style by class", lambda: evidence(z=by_class), "style predicts the label", {"codes off the prior"},
     "the most frequent class is 20 %", "style_matching='per_class' (now 'marginal')"),
    ("style by class, marginal", lambda: evidence(
        None, {"style_matching": "marginal"}, SupervisedAAE, z=by_class, y=None),
     "style predicts the label", {"codes off the prior"}, "20 %", "style_matching='per_class' (now 'marginal')"),
    ("memorised", lambda: evidence({"classification": 0.01 * FLAT, "eval/error": 25 * FLAT}),
     "memorised labels", set(), "error on held-out rows 25", "more labelled rows, as many of each class"),
    ("memorised, increasingly", lambda: evidence(
        {"classification": 0.01 * FLAT, "eval/error": 8 * FLAT, "eval/score": 2 - FALLING},
        {"consistency": "none"}),
     "memorised labels", set(), "its cross entropy rose from", "consistency='auto' (now 'none')"),
    ("memorised, from labels alone", lambda: evidence(
        {"classification": 0.01 * FLAT, "eval/error": 25 * FLAT}, kind=SupervisedBaseline),
     "memorised labels", set(), "25", "--early-stopping, or `aae train classifier`"),
    ("style by class, matched class by class", lambda: evidence(
        kind=SupervisedAAE, z=np.tile(by_class, 2), prior=RANDOM.normal(size=(4 * N, 4)), y=None),
     "style predicts the label", CODES, "20 %", "latent_dim=2 (now 6)"),
    ("no better than a simple method", lambda: evidence(simple_errors={"forest": 2.0, "logistic regression": 0.0}),
     "nothing gained by unlabelled rows", set(), "of a logistic regression from the labelled rows alone 0.0 %",
     "--no-guard"),
    ("no better, without guard", lambda: evidence(None, {"guard": False}, simple_errors={"forest": 0.0}),
     "nothing gained by unlabelled rows", set(), "of a forest from", "guard=True (now False)"),
    ("as good as another method", lambda: evidence(comparison=Comparison(9.0, {"forest": 12.0, "SVM": 8.8}, N)),
     "no better than the baseline", set(), "on 300 held-out rows 9.0 %, of SVM 8.8 %", "that method, or more labelled"),
    ("as good as another method, photos", lambda: evidence(
        X=RANDOM.random((N, 1024)), X_hat=RANDOM.random((N, 1024)), image_shape=(1, 32, 32),
        comparison=Comparison(40.0, {"self-training": 10.0}, 200, "labelled rows, cross-fitted")),
     "no better than the baseline", {"constant reconstruction"}, "200 labelled rows, cross-fitted",
     "--features efficientnet-lite0"),
    ("as good as another method, cut short", lambda: evidence(
        {"eval/score": FALLING}, comparison=Comparison(9.0, {"SVM": 9.0}, N)),
     "no better than the baseline", {"still improving"}, "SVM", "max_steps=8000"),
    ("cut short", lambda: evidence({"eval/score": FALLING}), "still improving", set(),
     "eval/score decreased by", "max_steps=4000 (now 2000)"),
    ("cut short, without held-out rows", lambda: Evidence(history=[{"reconstruction": v} for v in FALLING]),
     "still improving", set(), "reconstruction decreased by", "--max-epochs"),
    ("blank images", lambda: evidence(X=0.5 + 0.004 * X, X_hat=0.5 + 0.003 * X, image_shape=(1, 8, 8)),
     "all images look alike", set(), "of 255 grey values", "--data-options bits=12"),
    ("small images of large files", lambda: evidence(image_shape=(1, 8, 8), original_size=(50, 40)),
     "images much reduced", set(), "from 50 to 8 pixels a side", "--image-shape 1,16,16"),
    ("the same picture of all textures", lambda: evidence(
        X=RANDOM.random((N, 64)), X_hat=np.full((N, 64), 0.5), image_shape=(1, 8, 8)),
     "identical reconstructions", set(), "vary by 0.0 %", "latent_dim=4"),
    ("exploded", lambda: evidence({"reconstruction": np.where(np.arange(EPOCHS) < 19, 20, np.inf)}),
     "not finite", set(), "reconstruction: infinite", "learning_rate=0.0002 (now 0.002)"),
    ("codes exploded", lambda: evidence(z=Z * np.nan), "not finite", set(), "z: infinite", "learning_rate="),
]  # fmt: skip


# --- planted in numbers ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("make", "name", "also", "text", "option"), [p[1:] for p in PLANTED],
                         ids=[p[0] for p in PLANTED])  # fmt: skip
def test_planted_failures_are_found_and_nothing_else(make, name, also, text, option):
    findings = diagnose(make())
    assert name in named(findings) and set(named(findings)) <= {name} | also, findings
    finding = next(f for f in findings if f.name == name)
    assert text in finding.evidence and option in finding.option, finding
    for f in findings:
        flags = re.findall(r"--(?:no-)?([a-z]+(?:-[a-z]+)*)", f.option)
        known = OPTIONS | {"loss_weights", "learning_rates"}
        assert f.meaning and flags and {flag.replace("-", "_") for flag in flags} <= known, f
    assert [f.severity for f in findings] == sorted(f.severity for f in findings)


def test_every_finding_is_planted_and_has_a_section_in_the_docs():
    assert {p[2] for p in PLANTED} == set(NAMES) and len(NAMES) == 18


def test_the_docs_state_the_thresholds():
    values = [getattr(thresholds, name) for name in dir(thresholds) if name.isupper()]
    assert len(values) == 31
    text = PAGE.read_text(encoding="utf-8")
    for value in (thresholds.MIN_D_RANGE, thresholds.CERTAIN, thresholds.CERTAIN_LEAST_SQUARES, thresholds.MAX_DISTANCE,
                  thresholds.MAX_FOREST_AUC, thresholds.DECIDED, thresholds.MEMORISED):  # fmt: skip
        assert str(value) in text, value


@pytest.mark.parametrize(
    "given",
    [
        evidence(),
        clusters(probabilities(LABELS)),
        Evidence(),
        evidence(z=None, prior=None, X=None, X_hat=None),  # a plain classifier
        evidence(z=by_class, conditional=True, prior=by_class[RANDOM.integers(0, N, 4 * N)]
                 + 0.05 * RANDOM.normal(size=(4 * N, 2))),
        evidence({"eval/score": FALLING, "learning_rate": np.linspace(1, 0, EPOCHS)}),  # its schedule has ended
        evidence(D(0.97, 0.04), {"divergence": "wasserstein"}),  # its critic gives no probabilities
        evidence(simple_errors={"logistic regression": 10.0}),  # much is gained
        evidence(comparison=Comparison(5.0, {"logistic regression": 10.0}, N)),
        evidence(comparison=Comparison(9.0, {"logistic regression": 9.0}, 20)),  # too few rows to tell
        evidence(D(0.5, 0.5)),  # chance, as it should be
        evidence(z=Z[:20] + 9, labels=None, y=None),  # too few rows
        evidence(X=RANDOM.normal(size=(N, 200)), X_hat=np.zeros((N, 200))),  # noise cannot be reconstructed
        evidence(labels=np.where(LABELS == 4, -1, LABELS), y=probabilities(LABELS)),  # unlabelled rows are ignored
    ],
    ids=["classifier", "clusters", "nothing", "baseline", "conditional", "ended", "wasserstein", "gained", "better",
         "few compared", "draw", "few", "noise", "unlabelled"],
)  # fmt: skip
def test_no_findings(given):
    assert diagnose(given) == []


def test_a_class_that_the_rows_lack_may_be_called_once():
    rows = np.where(LABELS == 4, 0, LABELS)
    called = rows.copy()
    called[0] = 4
    assert diagnose(evidence(y=probabilities(called), labels=rows)) == []


def test_more_rows_make_sure():
    """The same slight mistake in few rows is chance."""
    off, n = probabilities(np.where((LABELS == 3) & (np.arange(N) % 4 > 0), 2, LABELS)), 40
    assert "wrong class frequencies" in named(diagnose(evidence(y=off)))
    few = evidence(y=off[:n], labels=LABELS[:n], z=Z[:n], class_prior=np.full(K, 1 / K))
    assert diagnose(few) == []


def test_findings_are_the_same_again_and_do_not_touch_what_is_given():
    z = shifted.copy()
    first, again = (diagnose(evidence(z=z)) for _ in range(2))
    assert first == again and (z == shifted).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"X": X, "X_hat": X[:9]}, r"expected X and X_hat of the same shape, got \(300, 64\) and \(9, 64\)"),
        ({"z": Z, "prior": PRIOR[:, :1]}, r"z and prior of the same number of columns, got \(300, 2\) and \(1200, 1\)"),
        ({"z": Z, "labels": LABELS[:9]}, r"z and labels of the same number of rows, got \(300, 2\) and \(9,\)"),
        ({"z": Z, "y": probabilities(LABELS)[:9]}, "z and y of the same number of rows"),
        ({"y": probabilities(LABELS), "labels": LABELS[:9]}, "y and labels of the same number of rows"),
        ({"z": Z[:, 0]}, r"expected z as numbers of shape \(n, d\), got float64 of shape \(300,\)"),
        ({"X": 3.0}, r"expected X as numbers of shape \(n, \.\.\.\)"),
        ({"labels": ["a", "b"]}, r"expected labels as integers of shape \(n,\)"),
        ({"z": [["a"]]}, "expected z as numbers"),
        ({"y": probabilities(LABELS), "labels": LABELS + 1}, "expected labels from -1 to 4"),
        ({"y": probabilities(LABELS), "class_prior": [0.5, 0.5]}, "class_prior of 5 numbers"),
    ],
    ids=[
        "X",
        "prior",
        "labels",
        "y",
        "y-labels",
        "flat z",
        "one number",
        "words",
        "no numbers",
        "range",
        "class_prior",
    ],
)
def test_bad_shapes(given, message):
    with pytest.raises(InputError, match=message) as error:
        Evidence(**given)
    assert "\n" not in str(error.value)


def test_images_are_rows():
    given = evidence(X=X.reshape(-1, 1, 8, 8), X_hat=mean_image.reshape(-1, 1, 8, 8))
    assert named(diagnose(given)) == ["constant reconstruction"]


# --- planted in trainings --------------------------------------------------------------------------------------------
FAST = {
    "image_shape": (1, 8, 8),
    "backbone": "mlp",
    "hidden": (64,),
    "discriminator_hidden": (64,),
    "precision": "float32",
    "random_state": 0,
    "schedule": "joint",
    "learning_rate": 2e-3,
    "discriminator_learning_rate": 2e-3,
    "optimizer": ("adam", 0.5),
    "dropout": 0.0,
}


@pytest.fixture(scope="module")
def halves():
    """1200 digits to train on, and 597 to evaluate on."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = (X[order] / 16).astype(np.float32), y[order]
    return X[:1200], y[:1200], HeldOut("test", X[1200:], y[1200:])


def train(kind, halves, labels=None, **settings):
    """The findings of a training with all, some, or no labels, by name."""
    X, y, rows = halves
    if labels is not None and labels < len(y):
        first = np.concatenate([np.flatnonzero(y == k)[: labels // 10] for k in range(10)])
        y = np.where(np.isin(np.arange(len(y)), first), y, -1)
    settings = {k: v for k, v in {**FAST, **settings}.items() if k in hyperparameters_of(kind)}
    model = kind(**settings).fit(X, y if labels else None, eval_set=(rows.X, rows.y))
    return {f.name: f for f in diagnosis(model, rows)}


@pytest.mark.parametrize(
    ("kind", "labels", "settings", "name", "also", "option"),
    [
        (AdversarialAutoencoder, None, {"max_steps": 240, "discriminator_learning_rate": 1e-9}, "stuck discriminator",
         CODES | {"still improving"}, "discriminator_learning_rate=0.001 (now 1e-09)"),
        (AdversarialAutoencoder, None, {"max_steps": 300, "latent_dim": 8, "loss_weights": {"generator": 1e-4}},
         "overpowering discriminator", CODES | {"still improving"}, "loss_weights={'generator': 1} (now 0.0001)"),
        (AdversarialAutoencoder, None, {"max_steps": 240, "loss_weights": {"reconstruction": 1e-6}},
         "constant reconstruction", CODES | {"still improving"}, "loss_weights without 'reconstruction' (now 1e-06)"),
        (AdversarialAutoencoder, None, {"max_steps": 240, "adversarial": False}, "codes off the prior",
         CODES | {"still improving"}, "adversarial=True (now False)"),
        (AdversarialAutoencoder, None, {"max_steps": 84}, "still improving", CODES, "max_steps=168 (now 84)"),
        (ClusteringAAE, None, {"max_steps": 60, "n_clusters": 10, "backbone": "mlp",
                               "loss_weights": {"marginal_kl": 0.0, "generator": 0.0, "conditional_entropy": 1.0}},
         "collapsed clusters", CODES, "'marginal_kl': 10"),
        (SupervisedAAE, 1200, {"max_steps": 150, "loss_weights": {"generator": 0.001}}, "style predicts the label",
         CODES | {"overpowering discriminator"}, "latent_dim=3 (now 6)"),
        (SupervisedAAE, 1200, {"max_steps": 150, "style_matching": "marginal"}, "style predicts the label", CODES,
         "style_matching='per_class' (now 'marginal')"),
        (AdversarialAutoencoder, None, {"max_steps": 240, "loss_weights": {"generator": 1e-6}}, "codes off the prior",
         CODES | {"overpowering discriminator", "still improving"}, "loss_weights={'generator': 1} (now 1e-06)"),
        (SupervisedBaseline, 50, {"max_steps": 100, "learning_rate": 5e-3}, "memorised labels",
         set(), "aae train classifier"),
    ],
    ids=["stuck", "overpowering", "constant", "plain", "short", "collapsed", "leaking", "leaking in the aggregate",
         "hardly pulled", "memorised"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_failed_trainings_are_diagnosed(halves, kind, labels, settings, name, also, option):
    findings = train(kind, halves, labels, **settings)
    assert name in findings and set(findings) <= {name} | also, findings
    assert option in findings[name].option, findings[name]


def test_a_healthy_classifier_has_no_problems(halves):
    settings = {"max_steps": 250, "latent_dim": 2, "loss_weights": {"generator": 1.0}, "ema_decay": 0.99}
    findings = train(SemiSupervisedAAE, halves, 200, **settings, backbone="mlp")
    assert not [f for f in findings.values() if f.severity == "problem"], findings


def test_a_healthy_generator_has_no_findings(halves):
    settings = {"max_steps": 700, "loss_weights": {"generator": 1.0}, "learning_rate_schedule": "cosine"}
    assert train(AdversarialAutoencoder, halves, **settings, ema_decay=0.99) == {}


def test_ten_labels_some_of_them_wrong_are_memorised(halves):
    X, y, rows = halves
    first = np.array([np.flatnonzero(y == k)[0] for k in range(10)])
    labels = np.full(len(y), -1)
    labels[first] = np.r_[[1, 2, 3, 0], y[first][4:]]  # four are wrong
    alone = {"consistency": "none", "augmentation": "none"}
    findings = train(SemiSupervisedAAE, (X, labels, rows), len(y), max_steps=250, backbone="mlp", **alone)
    assert findings["memorised labels"].option.startswith("consistency='auto' (now 'none')")
    assert re.search(r"error on held-out rows [3-9]\d\.\d %", findings["memorised labels"].evidence), findings


def test_healthy_clusters_have_no_problems_and_one_that_is_suppressed_after_training_is_dead(halves):
    X, _, rows = halves
    settings = {k: v for k, v in FAST.items() if k in hyperparameters_of(ClusteringAAE)}
    settings |= {"n_clusters": 10, "latent_dim": 2, "backbone": "mlp", "ema_decay": 0.99}
    settings |= {"loss_weights": {"generator": 1.0, "marginal_kl": 10.0}}  # digits are equally frequent
    model = ClusteringAAE(**settings, max_steps=200).fit(X)
    before = diagnosis(model, rows)
    assert "dead clusters" not in named(before) and not [f for f in before if f.severity == "problem"], before
    with torch.no_grad():
        model.networks_.encoder.head_y.bias[7] = -100
    findings = {f.name: f for f in diagnosis(model, rows)}
    assert "cluster 7 of 10" in findings["dead clusters"].evidence and "collapsed clusters" not in findings
    assert findings["dead clusters"].option.startswith("n_clusters=9 (now 10)")


@pytest.mark.parametrize(
    ("kind", "conditional", "clustered", "arrays"),
    [
        (AdversarialAutoencoder, True, False, {"X", "X_hat", "z", "prior"}),
        (SemiSupervisedAAE, False, False, {"X", "X_hat", "z", "prior", "y", "labels"}),
        (SupervisedAAE, False, False, {"X", "X_hat", "z", "prior", "labels"}),
        (ClusteringAAE, False, True, {"X", "X_hat", "z", "prior", "y"}),
        (EmbeddingAAE, True, False, {"X", "X_hat", "z", "prior", "y", "labels"}),
        (partial(EmbeddingAAE, n_clusters=4), True, True, {"X", "X_hat", "z", "prior", "y"}),
        (SupervisedBaseline, False, False, {"y", "labels"}),
    ],
    ids=["generator", "classifier", "style", "clusters", "map", "map of clusters", "baseline"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_evidence_by_type_of_estimator(halves, kind, conditional, clustered, arrays):
    X, y, rows = halves
    unlabelled = kind is AdversarialAutoencoder or kind is ClusteringAAE or isinstance(kind, partial)
    model = kind(max_steps=3, hidden=(8,), random_state=0).fit(X[:100], None if unlabelled else y[:100])
    e = evidence_of(model, HeldOut("test", rows.X[:40], rows.y[:40]))
    assert (e.conditional, e.clusters) == (conditional, clustered)
    assert {name for name in ("X", "X_hat", "z", "prior", "y", "labels") if getattr(e, name) is not None} == arrays


def test_the_doctor_prints_findings(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(draw, "draw_all", lambda *_, **__: {})  # the figures take longer than all the rest
    options = "--hidden 32 --discriminator-hidden 32 --learning-rate 1e-3 --discriminator-learning-rate 1e-9"
    options += " --max-steps 150 --out run --quiet"
    for line in (f"train generator --data digits {options}", "doctor run"):
        capsys.readouterr()
        with pytest.raises(SystemExit, match="0"):
            cli.main(line.split())
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("problem: stuck discriminator evidence: D of z gives 0.")
    assert "try first: discriminator_learning_rate=0.001 (now 1e-09)" in text


def test_a_comparison_that_is_lost_is_in_the_run_its_report_and_the_doctors_words(tmp_path, monkeypatch, aae):
    """A classifier of images that has hardly been trained is behind any other method."""
    monkeypatch.setattr(draw, "draw_all", lambda *_, **__: {})
    monkeypatch.setattr(train_commands, "add_comparison", with_comparison)
    options = ("--data", "digits", "--labels", 40, "--hidden", 8, "--max-steps", 2, "--quiet", "--compare")
    assert aae("train", "classifier", *options, "--out", tmp_path / "run")[0] == 0
    path = tmp_path / "run" / "results.json"
    (finding,) = (f for f in json.loads(path.read_text())["findings"] if f["name"] == "no better than the baseline")
    assert finding["severity"] == "problem" and "of gradient histograms 3.0 %" in finding["evidence"]
    assert finding["evidence"] in (tmp_path / "run" / "report.html").read_text()
    code, out, _ = aae("doctor", tmp_path / "run")
    assert code == 0 and "problem: no better than the baseline" in out and "gradient histograms" in out
    results = json.loads(path.read_text())
    for damaged in ([{"name": "x"}], "x", [{"name": "x", "error": -1}]):
        path.write_text(json.dumps(results | {"comparison": damaged}))
        code, _, err = aae("doctor", tmp_path / "run")
        assert code != 0 and "results.json" in err[-1] and "run aae evaluate again" in err[-1]


def with_comparison(run, estimator, results, cross_fit=True):
    """Conclude a run with errors of other methods, in place of training them."""
    others = [
        {"name": "forest", "error": 9.0, "seconds": 1},
        {"name": "gradient histograms", "error": 3.0, "seconds": 1},
    ]
    run.conclude(estimator, results | {"comparison": others})


def test_comparisons_of_runs_are_on_held_out_rows_or_cross_fitted():
    entries = [{"name": name, "error": error} for name, error in (("ours", 9.0), ("forest", 8.0), ("SVM", 12.0))]
    held_out = {"error": 7.0, "n_scored": 300, "rows": "test", "comparison": entries[1:]}
    assert comparison_of(held_out) == Comparison(7.0, {"forest": 8.0, "SVM": 12.0}, 300, "test rows")
    cross_fitted = comparison_of({"n_compared": 40, "comparison": entries})
    assert cross_fitted == Comparison(9.0, {"forest": 8.0, "SVM": 12.0}, 40, "labelled rows, cross-fitted")
    assert comparison_of({"error": 7.0}) is None
    with pytest.raises(InputError, match="from 0 to 100"):
        Comparison(101.0, {}, 1)


# --- documentation ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NAMES)
def test_each_section_says_what_is_measured_what_it_means_and_what_to_try(name):
    sections = re.split(r"^### ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    (section,) = [s for s in sections if s.lower().startswith(name + "\n")]
    assert all(f"**{what}" in section for what in ("Measured.", "Meaning.", "Try first.")), section


def test_findings_hold_what_the_report_shows():
    assert [f.name for f in fields(HealthFinding)] == ["name", "severity", "evidence", "meaning", "option"]


def test_rows_in_the_order_of_their_classes_are_judged_alike():
    """The style is looked at on 2,000 rows, which must not be those of the first class."""
    labels = np.repeat([0, 1, 2], 2000)
    z = np.random.default_rng(0).normal(size=(6000, 2)) + 6 * labels[:, None]
    X = np.random.default_rng(1).normal(size=(6000, 4))
    given = Evidence(X=X, X_hat=X, z=z, labels=labels)
    assert "style predicts the label" in named(diagnose(given))
