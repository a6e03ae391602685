"""Failures are planted, in numbers and in trainings, and have to be named; healthy runs have to be left alone."""

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from aaekit import AdversarialAutoencoder, ClusteringAAE, SemiSupervisedAAE, SupervisedAAE, SupervisedBaseline, cli
from aaekit.errors import InputError
from aaekit.estimators._hyperparameters import hyperparameters_of
from aaekit.evaluation import compare as evaluation
from aaekit.evaluation.health import NAMES, Evidence, HealthFinding, diagnose
from aaekit.evaluation.heldout import HeldOut
from aaekit.plots import draw
from aaekit.runs.run import DataOptions

PAGE = Path(__file__).parent.parent / "docs" / "health.md"
N, K, EPOCHS = 300, 5, 20
RANDOM = np.random.default_rng(0)
FLAT = 1 + 0.01 * RANDOM.normal(size=EPOCHS)  # a curve that has come to rest
FALLING = np.linspace(2, 1, EPOCHS) + 0.001 * RANDOM.normal(size=EPOCHS)
Z, PRIOR = RANDOM.normal(size=(N, 2)), RANDOM.normal(size=(4 * N, 2))
LABELS = np.arange(N) % K
X = load_digits().data[:N] / 16

KINDS = (SemiSupervisedAAE, ClusteringAAE, SupervisedAAE, SupervisedBaseline, DataOptions)
OPTIONS = {name for kind in KINDS for name in hyperparameters_of(kind)}


def probabilities(classes, sure=0.95):
    """Rows `(n, K)` that are so sure of their classes."""
    return (1 - sure) / (K - 1) + (sure - (1 - sure) / (K - 1)) * np.eye(K)[classes]


def history(**columns):
    """A history of curves at rest, of which some are replaced or added."""
    curves = {
        "step": 100 * np.arange(1, EPOCHS + 1),
        "rate": np.ones(EPOCHS),
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
    """What a discriminator says, by epoch."""
    return {f"{code}/D(real)": np.full(EPOCHS, real), f"{code}/D(fake)": np.full(EPOCHS, fake)}


def evidence(changed_history=None, parameters=None, kind=SemiSupervisedAAE, **changes):
    """That of a run in which nothing is wrong, but for the changes."""
    given = {"history": history(**(changed_history or {})), "parameters": _defaults(kind, **(parameters or {})), "X": X,
             "X_hat": X.mean(0) + 0.7 * (X - X.mean(0)), "z": Z, "prior": PRIOR, "y": probabilities(LABELS),
             "labels": LABELS}  # fmt: skip
    return Evidence(**{**given, **changes})


def clusters(y, **parameters):
    return evidence(None, parameters, ClusteringAAE, y=y, labels=None, clusters=True)


def _defaults(kind, **changes):
    return {name: h.default for name, h in hyperparameters_of(kind).items()} | changes


def named(findings):
    return [f.name for f in findings]


shifted, ring = Z + [0, 2], Z[np.linalg.norm(Z, axis=1) > 1.2]
by_class = 0.3 * Z + 1.3 * np.stack([np.cos(2 * np.pi * LABELS / K), np.sin(2 * np.pi * LABELS / K)], 1)
mean_image = np.repeat(X.mean(0)[None], N, 0)
dead = np.where(LABELS == 3, 2, LABELS)

CODES = {"codes off the prior", "holes in the code space"}
PLANTED = [
    # what is planted, what it is called first, what may come with it, what the evidence says, what is to be tried
    ("stuck", lambda: evidence(D(0.501, 0.499), {"discriminator_learning_rate": 1e-7}, z=Z + [0, 1]),
     "stuck discriminator", {"codes off the prior", "holes in the code space"}, "D of z gives 0.50",
     "--discriminator-rate 0.001 (now 1e-07)"),
    ("stuck by too fast a start", lambda: evidence(D(0.501, 0.499), {"discriminator_learning_rate": 0.5}, z=Z + [0, 1]),
     "stuck discriminator", {"codes off the prior", "holes in the code space"}, "stayed within 0.000",
     "--discriminator-rate 0.001 (now 0.5)"),
    ("overpowering", lambda: evidence(D(0.97, 0.04), {"adversarial_weight": 0.01}),
     "overpowering discriminator", set(), "D of z gives 0.97 to the prior and 0.04 to the codes",
     "--adversarial-weight 1 (now 0.01)"),
    ("overpowering by its rate", lambda: evidence(D(0.97, 0.04), {"discriminator_learning_rate": 0.02}),
     "overpowering discriminator", set(), "D of z", "--discriminator-rate 0.002 (now 0.02)"),
    ("overpowering, least squares", lambda: evidence(D(0.72, 0.28), {"divergence": "least_squares"}),
     "overpowering discriminator", set(), "D of z", "--adversarial-weight 1 (now 0.1)"),
    ("constant", lambda: evidence(parameters={"reconstruction_weight": 1e-6}, X_hat=mean_image),
     "constant reconstruction", set(), "the mean row but for 0.0 %", "--reconstruction-weight auto (now 1e-06)"),
    ("constant with the usual weight", lambda: evidence(X_hat=mean_image),
     "constant reconstruction", set(), "0.0 %", "--reconstruction-weight 1.56 (now auto)"),
    ("constant by its rate", lambda: evidence(parameters={"schedule": "alternating", "learning_rate": 1e-4},
                                              X_hat=1 - X),
     "constant reconstruction", set(), "worse than the mean row", "--reconstruction-rate 0.001 (now 0.0001)"),
    ("constant by dead units", lambda: evidence(parameters={"learning_rate": 0.5}, X_hat=mean_image),
     "constant reconstruction", set(), "0.0 %", "--reconstruction-rate 0.001 (now 0.5)"),
    ("constant after a few steps", lambda: evidence({"step": np.arange(EPOCHS)}, X_hat=mean_image),
     "constant reconstruction", set(), "0.0 %", "--max-steps 76 (now 19)"),
    ("shifted", lambda: evidence(z=shifted), "codes off the prior", {"holes in the code space"},
     "z2: mean +2.", "--adversarial-weight 1 (now 0.1)"),
    ("too wide", lambda: evidence(z=Z * [1, 2.5]), "codes off the prior", set(), "z2: mean",
     "--adversarial-weight 1 (now 0.1)"),
    ("shifted, alternating", lambda: evidence(parameters={"schedule": "alternating", "generator_rate": 1e-4},
                                              z=shifted),
     "codes off the prior", {"holes in the code space"}, "z2: mean", "--generator-rate 0.0003 (now 0.0001)"),
    ("not matched", lambda: evidence(parameters={"adversarial": False}, z=shifted), "codes off the prior",
     {"holes in the code space"}, "z2", "--adversarial (now --no-adversarial)"),
    ("correlated", lambda: evidence(z=np.repeat(Z, 3, 1), prior=RANDOM.normal(size=(4 * N, 6))),
     "codes off the prior", {"holes in the code space"},
     "a forest tells codes from prior draws", "--adversarial-weight"),
    ("a hole", lambda: evidence(z=np.resize(ring, (N, 2)) + 0.05 * Z),
     "holes in the code space", {"codes off the prior"},
     "of the prior's draws codes are less than a quarter as dense", "--adversarial-weight 1 (now 0.1)"),
    ("collapsed", lambda: clusters(probabilities(0 * LABELS), balance_weight=0.0), "collapsed clusters", set(),
     "1 of 5 clusters are used, the largest by 100 %", "--balance-weight 10 (now 0)"),
    ("dead", lambda: clusters(probabilities(dead)), "dead clusters", set(), "cluster 3 of 5",
     "--n-clusters 4 (now 16)"),
    ("undecided", lambda: clusters(probabilities(LABELS, 0.4)), "undecided clusters", set(), "of 0.40 on average",
     "--decision-weight 0.5 (now 0.1)"),
    ("swallowed class", lambda: evidence(parameters={"balance_weight": 0.0}, y=probabilities(dead)),
     "classes off their shares", set(), "class 3 is called for 0.0 % of the rows, and is 20.0 %",
     "--balance-weight 10 (now 0)"),
    ("wrong class prior", lambda: evidence(y=probabilities(dead)), "classes off their shares", set(), "class 3",
     "--class-prior uniform, or the true frequencies (now auto)"),
    ("style by class", lambda: evidence(z=by_class), "style tells the label", {"codes off the prior"},
     "always guessing the most frequent gives 20 %", "--style-matching per_class (now aggregate)"),
    ("style by class, matched together", lambda: evidence(
        None, {"style_matching": "marginal"}, SupervisedAAE, z=by_class, y=None),
     "style tells the label", {"codes off the prior"}, "20 %", "--style-matching per_class (now aggregate)"),
    ("by heart", lambda: evidence({"classification": 0.01 * FLAT, "eval/error": 25 * FLAT}),
     "labels learned by heart", set(), "error on held-out rows 25", "--labels"),
    ("by heart, ever more", lambda: evidence(
        {"classification": 0.01 * FLAT, "eval/error": 8 * FLAT, "eval/score": 2 - FALLING},
        {"consistency": "none"}),
     "labels learned by heart", set(), "its cross entropy rose from", "--consistency auto (now none)"),
    ("by heart, from labels alone", lambda: evidence(
        {"classification": 0.01 * FLAT, "eval/error": 25 * FLAT}, kind=SupervisedBaseline),
     "labels learned by heart", set(), "25", "--early-stopping, or `aae train classifier`"),
    ("style by class, matched class by class", lambda: evidence(
        kind=SupervisedAAE, z=np.tile(by_class, 2), prior=RANDOM.normal(size=(4 * N, 4)), y=None),
     "style tells the label", CODES, "20 %", "--n-style 2 (now 6)"),
    ("cut short", lambda: evidence({"eval/score": FALLING}), "still improving", set(),
     "eval/score fell by", "--max-steps 4000 (now 2000)"),
    ("cut short, without held-out rows", lambda: Evidence(history=[{"reconstruction": v} for v in FALLING]),
     "still improving", set(), "reconstruction fell by", "--max-epochs"),
    ("exploded", lambda: evidence({"reconstruction": np.where(np.arange(EPOCHS) < 19, 20, np.inf)}),
     "not finite", set(), "reconstruction: infinite", "--reconstruction-rate 0.0002 (now 0.002)"),
    ("codes exploded", lambda: evidence(z=Z * np.nan), "not finite", set(), "z: infinite", "--reconstruction-rate"),
]  # fmt: skip


# --- planted in numbers ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("make", "name", "also", "told", "option"), [p[1:] for p in PLANTED],
                         ids=[p[0] for p in PLANTED])  # fmt: skip
def test_what_is_planted_is_named_and_nothing_else(make, name, also, told, option):
    findings = diagnose(make())
    assert name in named(findings) and set(named(findings)) <= {name} | also, findings
    found = next(f for f in findings if f.name == name)
    assert told in found.evidence and option in found.option, found
    for f in findings:
        flags = re.findall(r"--(?:no-)?([a-z]+(?:-[a-z]+)*)", f.option)
        assert f.meaning and flags and {flag.replace("-", "_") for flag in flags} <= OPTIONS, f
    assert [f.severity for f in findings] == sorted(f.severity for f in findings)


def test_every_name_is_planted_and_nothing_has_another_name():
    assert {p[2] for p in PLANTED} == set(NAMES)


@pytest.mark.parametrize(
    "given",
    [
        evidence(),
        clusters(probabilities(LABELS)),
        Evidence(),
        evidence(z=None, prior=None, X=None, X_hat=None),  # a plain classifier
        evidence(z=by_class, conditional=True, prior=by_class[RANDOM.integers(0, N, 4 * N)]
                 + 0.05 * RANDOM.normal(size=(4 * N, 2))),
        evidence({"eval/score": FALLING, "rate": np.linspace(1, 0, EPOCHS)}),  # its schedule has ended
        evidence(D(0.97, 0.04), {"divergence": "wasserstein"}),  # whose critic gives no probabilities
        evidence(D(0.5, 0.5)),  # a draw, and rightly so
        evidence(z=Z[:20] + 9, labels=None, y=None),  # too few to tell
        evidence(X=RANDOM.normal(size=(N, 200)), X_hat=np.zeros((N, 200))),  # noise: there is nothing to reconstruct
        evidence(labels=np.where(LABELS == 4, -1, LABELS), y=probabilities(LABELS)),  # unlabelled rows count nowhere
    ],
    ids=["classifier", "clusters", "nothing", "baseline", "conditional", "ended", "wasserstein", "draw", "few", "noise",
         "unlabelled"],
)  # fmt: skip
def test_silent(given):
    assert diagnose(given) == []


def test_a_class_that_the_rows_lack_may_be_called_once():
    rows = np.where(LABELS == 4, 0, LABELS)
    called = rows.copy()
    called[0] = 4
    assert diagnose(evidence(y=probabilities(called), labels=rows)) == []


def test_more_rows_make_sure():
    """The same slight mistake in few rows is chance."""
    off, n = probabilities(np.where((LABELS == 3) & (np.arange(N) % 4 > 0), 2, LABELS)), 40
    assert "classes off their shares" in named(diagnose(evidence(y=off)))
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
        ({"labels": ["a", "b"]}, r"expected labels as whole numbers of shape \(n,\)"),
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
    "hidden": (64,),
    "discriminator_hidden": (64,),
    "precision": "float32",
    "random_state": 0,
    "schedule": "joint",
    "learning_rate": 2e-3,
    "generator_rate": 2e-3,
    "discriminator_learning_rate": 2e-3,
    "momentum": 0.5,
    "dropout": 0.0,
}


@pytest.fixture(scope="module")
def halves():
    """1200 digits to train on, and 597 to judge by."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = (X[order] / 16).astype(np.float32), y[order]
    return X[:1200], y[:1200], HeldOut("test", X[1200:], y[1200:])


def train(kind, halves, labels=None, **settings):
    """What is found in a training with all, some, or no labels."""
    X, y, rows = halves
    if labels is not None and labels < len(y):
        first = np.concatenate([np.flatnonzero(y == k)[: labels // 10] for k in range(10)])
        y = np.where(np.isin(np.arange(len(y)), first), y, -1)
    known = {k: v for k, v in {**FAST, **settings}.items() if k in hyperparameters_of(kind)}
    model = kind(**known).fit(X, y if labels else None, eval_set=(rows.X, rows.y))
    return {f.name: f for f in evaluation.diagnosis(model, rows)}


@pytest.mark.parametrize(
    ("kind", "labels", "settings", "name", "also", "option"),
    [
        (AdversarialAutoencoder, None, {"max_steps": 240, "discriminator_learning_rate": 1e-9}, "stuck discriminator",
         CODES | {"still improving"}, "--discriminator-rate 0.001 (now 1e-09)"),
        (AdversarialAutoencoder, None, {"max_steps": 300, "latent_dim": 8, "adversarial_weight": 1e-4},
         "overpowering discriminator", CODES | {"still improving"}, "--adversarial-weight 1 (now 0.0001)"),
        (AdversarialAutoencoder, None, {"max_steps": 240, "reconstruction_weight": 1e-6}, "constant reconstruction",
         CODES | {"still improving"}, "--reconstruction-weight auto (now 1e-06)"),
        (AdversarialAutoencoder, None, {"max_steps": 240, "adversarial": False}, "codes off the prior",
         CODES | {"still improving"}, "--adversarial (now --no-adversarial)"),
        (AdversarialAutoencoder, None, {"max_steps": 84}, "still improving", CODES, "--max-steps 168 (now 84)"),
        (ClusteringAAE, None, {"max_steps": 60, "n_clusters": 10, "backbone": "mlp", "balance_weight": 0.0,
                               "adversarial_weight": 0.0, "decision_weight": 1.0},
         "collapsed clusters", CODES, "--balance-weight 10 (now 0)"),
        (SupervisedAAE, 1200, {"max_steps": 150, "adversarial_weight": 0.001}, "style tells the label",
         CODES | {"overpowering discriminator"}, "--n-style 3 (now 6)"),
        (SupervisedAAE, 1200, {"max_steps": 150, "style_matching": "marginal"}, "style tells the label", CODES,
         "--style-matching per_class (now aggregate)"),
        (AdversarialAutoencoder, None, {"max_steps": 240, "adversarial_weight": 1e-6}, "codes off the prior",
         CODES | {"overpowering discriminator", "still improving"}, "--adversarial-weight 1 (now 1e-06)"),
        (SupervisedBaseline, 50, {"max_steps": 100, "classification_rate": 5e-3}, "labels learned by heart",
         set(), "aae train classifier"),
    ],
    ids=["stuck", "overpowering", "constant", "plain", "short", "collapsed", "leaking", "leaking in the aggregate",
         "hardly pulled", "by heart"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_failed_trainings_are_told_what_failed(halves, kind, labels, settings, name, also, option):
    found = train(kind, halves, labels, **settings)
    assert name in found and set(found) <= {name} | also, found
    assert option in found[name].option, found[name]


def test_a_healthy_classifier_has_no_problems(halves):
    settings = {"max_steps": 250, "latent_dim": 2, "adversarial_weight": 1.0, "ema_decay": 0.99, "backbone": "mlp"}
    found = train(SemiSupervisedAAE, halves, 200, **settings)
    assert not [f for f in found.values() if f.severity == "problem"], found


def test_a_healthy_generator_is_not_spoken_to(halves):
    settings = {"max_steps": 700, "adversarial_weight": 1.0, "learning_rate_schedule": "cosine", "ema_decay": 0.99}
    assert train(AdversarialAutoencoder, halves, **settings) == {}


def test_ten_labels_of_which_some_are_wrong_are_learned_by_heart(halves):
    X, y, rows = halves
    first = np.array([np.flatnonzero(y == k)[0] for k in range(10)])
    given = np.full(len(y), -1)
    given[first] = np.r_[[1, 2, 3, 0], y[first][4:]]  # four are not what they are called
    alone = {"consistency": "none", "augmentation": "none"}
    found = train(SemiSupervisedAAE, (X, given, rows), len(y), max_steps=250, backbone="mlp", **alone)
    assert found["labels learned by heart"].option == "--consistency auto (now none)"
    assert re.search(r"error on held-out rows [3-9]\d\.\d %", found["labels learned by heart"].evidence), found


def test_healthy_clusters_have_no_problems_and_one_that_is_pinned_down_after_training_is_dead(halves):
    X, _, rows = halves
    settings = {k: v for k, v in FAST.items() if k in hyperparameters_of(ClusteringAAE)}
    settings |= {"n_clusters": 10, "latent_dim": 2, "adversarial_weight": 1.0, "backbone": "mlp", "ema_decay": 0.99}
    settings |= {"balance_weight": 10.0}  # digits are alike in size
    model = ClusteringAAE(**settings, max_steps=200).fit(X)
    before = evaluation.diagnosis(model, rows)
    assert "dead clusters" not in named(before) and not [f for f in before if f.severity == "problem"], before
    with torch.no_grad():
        model.networks_["encoder"].head_y.bias[7] = -100
    found = {f.name: f for f in evaluation.diagnosis(model, rows)}
    assert "cluster 7 of 10" in found["dead clusters"].evidence and "collapsed clusters" not in found
    assert found["dead clusters"].option == "--n-clusters 9 (now 10)"


def test_the_doctor_says_what_was_found(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(draw, "draw", lambda *_, **__: {})  # pictures take longer than all the rest
    options = "--hidden 32 --discriminator-hidden 32 --reconstruction-rate 1e-3 --discriminator-rate 1e-9"
    options += " --max-steps 150 --out run --quiet"
    for line in (f"train generator --data digits {options}", "doctor run"):
        capsys.readouterr()
        with pytest.raises(SystemExit, match="0"):
            cli.main(line.split())
    told = " ".join(capsys.readouterr().out.split())
    assert told.startswith("problem: stuck discriminator evidence: D of z gives 0.")
    assert "try first: --discriminator-rate 0.001 (now 1e-09)" in told


# --- documentation ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NAMES)
def test_the_page_has_a_section(name):
    sections = re.split(r"^### ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    (section,) = [s for s in sections if s.lower().startswith(name + "\n")]
    assert all(f"**{what}" in section for what in ("Measured.", "It means.", "Try first.")), section


def test_findings_hold_what_the_report_shows():
    assert [f.name for f in fields(HealthFinding)] == ["name", "severity", "evidence", "meaning", "option"]


def test_rows_in_the_order_of_their_classes_are_judged_alike():
    """The style is looked at on 2,000 rows, which must not be those of the first class."""
    labels = np.repeat([0, 1, 2], 2000)
    z = np.random.default_rng(0).normal(size=(6000, 2)) + 6 * labels[:, None]
    X = np.random.default_rng(1).normal(size=(6000, 4))
    given = Evidence(history={}, parameters={}, X=X, X_hat=X, z=z, labels=labels)
    assert "style tells the label" in named(diagnose(given))
