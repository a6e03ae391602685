"""Searches: the space is what estimators declare, scores leave test rows alone, and studies continue."""

import gc
import sys
import warnings

import numpy as np
import pytest
import yaml
from conftest import QUICK
from hypothesis import given
from hypothesis import strategies as st

from aaekit import AdversarialAutoencoder, ClusteringAAE, InputError, SemiSupervisedAAE, data, systems
from aaekit.errors import TrainingError
from aaekit.estimators._hyperparameters import hyperparameters_of, validated
from aaekit.runs.config import completed
from aaekit.search import (
    Dimension,
    Measured,
    Score,
    best_of,
    conclusion,
    importances,
    open_storage,
    open_study,
    results,
    run,
    score_of,
    shown_storage,
    space_of,
    with_values,
)
from aaekit.search.scores import Agreement, CrossFittedError, HeldOutCodes

SYSTEMS = list(systems.SYSTEMS)
X, Y = np.arange(24.0).reshape(12, 2), np.array([0, 1] * 5 + [-1] * 2)


# --- the space -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("system", SYSTEMS)
def test_what_is_declared_is_valid_and_holds_the_default(system):
    kind = systems.find(system).load()
    space = space_of(system)
    assert {d.name for d in space} == {n for n, h in hyperparameters_of(kind).items() if h.searched}
    assert {"learning_rate", "dropout"} <= {d.name for d in space}
    for d in space:
        assert d.holds(hyperparameters_of(kind)[d.name].default), d
        for value in d.choices or (d.low, d.high):
            validated(kind, {d.name: value})


@given(st.floats(3e-5, 1e-2), st.floats(1e-9, 0.5))
def test_values_are_short_and_in_the_space(rate, share):
    for d, number in zip(space_of("classifier", ["learning_rate", "dropout"]), (rate, share), strict=True):
        assert d.low <= d.value(number) <= d.high and d.value(number) == pytest.approx(number, rel=5e-3)
        assert len(f"{d.value(number):e}".partition("e")[0].rstrip("0").replace(".", "")) <= 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate=1e-4..1e-2", Dimension("learning_rate", 1e-4, 1e-2)),
        ("learning-rate=.001..5e-3", Dimension("learning_rate", 1e-3, 5e-3)),
        ("latent_dim=2..32", Dimension("latent_dim", 2, 32, is_whole=True)),
        ("style_matching=marginal,per_class", Dimension("style_matching", choices=("marginal", "per_class"))),
        ("hidden=20,10/auto", Dimension("hidden", choices=("20,10", "auto"))),
        ("batch_norm=yes,no", Dimension("batch_norm", choices=("yes", "no"))),
        ("loss_weights.generator=0.1..10", Dimension("loss_weights.generator", 0.1, 10)),
        ("dropout", Dimension("dropout", 0, 0.5)),
    ],
)
def test_texts_name_what_is_searched(text, expected):
    (dimension,) = space_of("classifier", [text])
    assert dimension == expected and space_of("classifier", [str(dimension)]) == (dimension,)


def test_a_wide_range_of_positive_numbers_is_logarithmic():
    wide, narrow, from_zero = space_of("classifier", ["learning_rate=1e-4..1e-3", "latent_dim=2..19", "dropout=0..0.9"])
    assert (wide.is_logarithmic, narrow.is_logarithmic, from_zero.is_logarithmic) == (True, False, False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning_rat", "id you mean 'learning_rate'"),
        ("labels=5..10", "expected a parameter of a classifier, got 'labels'"),
        ("latent_dim", "expected values of latent_dim, got none"),
        ("learning_rate=1e-2..1e-4", "write the smaller number first"),
        ("learning_rate=0..1", "greater than 0"),
        ("learning_rate=a..b", "learning_rate: expected"),
        ("hidden=20..30", "expected a number of hidden"),
        ("style_matching=marginal", "at least two different choices"),
        ("style_matching=marginal,marginal", "at least two different choices"),
        ("style_matching=marginal,per_clas", "id you mean 'per_class'"),
        ("dropout.x=0..1", "expected a parameter of a classifier, got 'dropout.x'"),
        ("loss_weights.generator=1,2", "LOW..HIGH"),
    ],
)
def test_other_texts_are_refused_in_one_line(text, words):
    with pytest.raises(InputError, match=words) as error:
        space_of("classifier", [text])
    assert "\n" not in str(error.value)


def test_a_parameter_that_is_given_is_not_searched():
    assert "dropout" not in {d.name for d in space_of("classifier", fixed=["dropout"])}
    with pytest.raises(InputError, match="expected dropout to search, got its value, too"):
        space_of("classifier", ["dropout"], ["dropout"])
    with pytest.raises(InputError, match="dropout once, got it twice"):
        space_of("classifier", ["dropout", "dropout=0..0.2"])
    with pytest.raises(InputError, match="got values of all .dropout, learning_rate.: leave one out"):
        space_of("baseline", fixed=[d.name for d in space_of("baseline")])


def test_values_join_the_configuration():
    config = completed("classifier", {"loss_weights": {"generator": 2.0, "marginal_kl": 3.0}})
    tried = with_values("classifier", config, {"loss_weights.generator": 0.5, "hidden": "20,10", "dropout": 0.1})
    assert tried["loss_weights"] == {"generator": 0.5, "marginal_kl": 3.0}
    assert (tried["hidden"], tried["dropout"]) == ((20, 10), 0.1)
    assert {k for k in config if config[k] != tried[k]} == {"loss_weights", "hidden", "dropout"}


# --- the scores ------------------------------------------------------------------------------------------------------
class Constant:
    """A classifier that predicts class 0; it keeps what it was given."""

    fits: list

    def fit(self, X, y, callbacks=(), eval_set=None):
        type(self).fits.append((np.asarray(X), np.asarray(y), eval_set))
        return self

    def predict(self, X):
        return np.zeros(len(X), int)


def test_each_labelled_row_is_predicted_without_its_label():
    Constant.fits, reports = [], []
    score = CrossFittedError(X, Y, 0, 3)
    measured = score.measure(lambda k: Constant(), lambda *report: reports.append(report))
    assert measured.value == 50 and measured.std_error == pytest.approx(100 * np.sqrt(0.25 / 10))
    assert [percent for _, percent in reports] == [33, 66, 100] and reports[-1][0] == 50
    held_back = np.concatenate([eval_set[0] for *_, eval_set in Constant.fits])
    assert sorted(held_back[:, 0]) == sorted(X[Y >= 0, 0])
    for rows, labels, eval_set in Constant.fits:
        assert len(rows) == len(labels) == 12 - len(eval_set[0])
        assert not set(rows[:, 0]) & set(eval_set[0][:, 0])
        assert (labels == -1).sum() == 2 and set(labels) == {-1, 0, 1}


def test_many_labels_need_one_part():
    many = CrossFittedError(np.zeros((6000, 1)), np.arange(6000) % 2, 0, 3)
    Constant.fits = []
    many.measure(lambda k: Constant(), lambda *report: None)
    assert len(Constant.fits) == 1 and "1 of 3 parts" in many.meaning


class Clusters:
    def __init__(self, p):
        self.p = p

    def fit(self, X, y):
        return self

    def cluster_proba(self, X):
        return self.p


def test_clusters_agree_unless_there_is_one():
    even, one = np.eye(3)[np.arange(12) % 3], np.eye(3)[np.zeros(12, int)]
    for models, expected in (([even, even[:, ::-1], even], 0), ([one] * 3, 100), ([even, one, one], 100)):
        measured = Agreement(X, None, 0).measure(lambda k, models=models: Clusters(models[k]), lambda *report: None)
        assert measured.value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("estimator", "y", "kind"),
    [
        (SemiSupervisedAAE(), Y, CrossFittedError),
        (SemiSupervisedAAE(), np.array([0, 1] + [-1] * 10), Agreement),
        (ClusteringAAE(), Y, Agreement),
        (ClusteringAAE(), None, Agreement),
        (AdversarialAutoencoder(), Y, HeldOutCodes),
        (AdversarialAutoencoder(), None, HeldOutCodes),
    ],
)
def test_the_score_follows_from_system_and_labels(estimator, y, kind):
    score = score_of(estimator, X, y, 0)
    assert type(score) is kind and score.name and score.meaning.endswith(".")


@pytest.mark.parametrize("system", [s for s in SYSTEMS if s != "pretrained"])
def test_every_system_is_scored(system, few_labels):
    rows, labels = few_labels
    kind = systems.find(system).load()
    model = kind(**{k: v for k, v in (QUICK | {"max_epochs": 2, "max_steps": None}).items()})
    reports = []
    measured = score_of(model, rows, labels, 0, 2).measure(lambda k: model, lambda *report: reports.append(report))
    assert 0 <= measured.value < np.inf and all(np.isfinite(value) for value, _ in reports)
    assert sorted({percent for _, percent in reports}) == [percent for _, percent in reports]


def test_a_plain_autoencoder_is_scored_by_its_reconstruction(few_labels):
    rows = few_labels[0]
    score = score_of(AdversarialAutoencoder(), rows, None, 0)
    parts = score.measure(lambda k: AdversarialAutoencoder(**QUICK, adversarial=False), lambda *report: None).details
    assert list(parts) == ["unexplained variance (%)"]
    both = score.measure(lambda k: AdversarialAutoencoder(**QUICK), lambda *report: None)
    assert len(both.details) == 2 and both.value == pytest.approx(sum(both.details.values()))


# --- the study -------------------------------------------------------------------------------------------------------
SPACE = (Dimension("learning_rate", 1e-4, 1e-2), Dimension("kind", choices=("a", "b")))


class Bowl(Score):
    """Lowest at a learning rate of 0.001; its steps are reported."""

    name = "depth"

    def measure(self, make, report):
        values = make(0)
        value = abs(np.log10(values.get("learning_rate", 1e-2)) + 3) + (values.get("kind") == "b")
        for percent in (25, 50, 75):
            report(value, percent)
        return Measured(float(value))


def started(place, name="a study", question={"asks": 1}):  # noqa: B006
    return open_study(open_storage(str(place)), name, question, str(place))


def bowl(place, n_trials, score=None, **options):
    score = score or Bowl(X, None, 0)
    defaults = {"learning_rate": 2e-3, "kind": "a"}
    return run(started(place), n_trials, SPACE, defaults, score, lambda values, k: values, 0, str(place), **options)


@pytest.mark.parametrize("file", ["study.log", "new/study.db"])
def test_a_study_goes_on_as_if_it_had_not_stopped(file, tmp_path):
    n_all = 8 if file.endswith(".log") else 4  # a database takes its time
    at_once = bowl(tmp_path / "other.log", n_all)
    for n_trials in (1, n_all - 1, n_all, 2):
        parts = bowl(tmp_path / file, n_trials)
    assert [(t.values, t.score, t.state) for t in parts] == [(t.values, t.score, t.state) for t in at_once]
    assert at_once[0].is_default and at_once[0].values == {"learning_rate": 2e-3, "kind": "a"}
    assert sum(t.is_default for t in parts) == 1 and len(parts) == n_all


def test_trials_are_pruned_by_the_median_but_not_the_defaults(tmp_path):
    trials = bowl(tmp_path / "s.log", 15)
    pruned = [t for t in trials if t.state == "pruned"]
    assert pruned and all(t.score is None and max(t.intermediate) < 75 for t in pruned)
    assert trials[0].state == "complete"
    best = best_of(trials)
    assert best is not None and best.score < trials[0].score < np.median([max(t.intermediate.values()) for t in pruned])


def test_the_defaults_win_a_tie(tmp_path):
    class Flat(Score):
        name = "flat"

        def measure(self, make, report):
            return Measured(1.0)

    trials = bowl(tmp_path / "s.log", 4, Flat(X, None, 0))
    assert best_of(trials[::-1]) is trials[0]
    assert conclusion(trials, Flat(X, None, 0)) == "flat: 1.00 as given, and no trial was better"


def test_trials_that_fail_do_not_count(tmp_path):
    class Brittle(Bowl):
        n = 0

        def measure(self, make, report):
            type(self).n += 1
            if self.n in (2, 3):
                raise TrainingError("expected a finite loss, got nan")
            return super().measure(make, report)

    trials = bowl(tmp_path / "s.log", 4, Brittle(X, None, 0))
    assert [t.state for t in trials if t.state == "failed"] == ["failed", "failed"] and len(trials) == 6
    assert trials[1].reason == "expected a finite loss, got nan"


@pytest.mark.parametrize(("first", "words"), [(1, "options that can be trained"), (2, "3 failures in a row")])
def test_a_search_that_cannot_work_ends(first, words, tmp_path):
    class Broken(Bowl):
        n = 0

        def measure(self, make, report):
            type(self).n += 1
            if self.n >= first:
                raise InputError("expected rows, got none")
            return super().measure(make, report)

    with pytest.raises(InputError, match=words):
        bowl(tmp_path / "s.log", 3, Broken(X, None, 0))


def test_an_interrupted_trial_is_made_again(tmp_path):
    class Interrupted(Bowl):
        n = 0

        def measure(self, make, report):
            type(self).n += 1
            if self.n in (1, 4):
                raise KeyboardInterrupt
            return super().measure(make, report)

    score = Interrupted(X, None, 0)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            bowl(tmp_path / "s.log", 5, score)
    trials = bowl(tmp_path / "s.log", 5, score)
    assert sum(t.state != "failed" for t in trials) == 5
    assert sum(t.is_default and t.score is not None for t in trials) == 1


def test_a_killed_trial_is_not_waited_for(tmp_path):
    started(tmp_path / "s.log").ask()
    trials = bowl(tmp_path / "s.log", 3)
    assert [t.state for t in trials] == ["failed", "complete", "complete", "complete"]


def test_processes_share_a_study(tmp_path):
    place = tmp_path / "shared.log"
    other = started(place)
    running = other.ask()
    trials = bowl(place, 3, is_shared=True)
    assert len(trials) == 3 and running.number not in {t.number for t in trials}
    other.tell(running, 0.0)
    assert len(bowl(place, 4, is_shared=True)) == 4


def test_a_study_asks_the_same(tmp_path):
    started(tmp_path / "s.log")
    with pytest.raises(InputError, match="to ask the same, got one that differs in asks: choose"):
        started(tmp_path / "s.log", question={"asks": 2})
    started(tmp_path / "s.log", "another", {"asks": 2})


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("study.txt", "a file ending in .log or .db"),
        ("redis://host/0", "the URL of a database"),
        ("postgresql+nodriver://me:secret@host/studies", "a storage that can be read and written"),
    ],
)
def test_other_storages_are_refused_without_their_password(place, words):
    with pytest.raises(InputError, match=words) as error:
        open_storage(place)
    assert "secret" not in str(error.value) and "\n" not in str(error.value)


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match=r"the driver of this database .* pip install 'psycopg\[binary\]'"):
        open_storage("postgresql+psycopg://me:secret@host/studies")


def test_processes_share_a_study_in_postgresql(tmp_path):
    pgserver = pytest.importorskip("pgserver", reason="a PostgreSQL server is not installed")
    pytest.importorskip("psycopg")
    database = pgserver.get_server(tmp_path / "data")
    try:
        place = database.get_uri().replace("postgresql://", "postgresql+psycopg://")
        assert len(bowl(place, 2, is_shared=True)) == 2
        assert [t.number for t in bowl(place, 4, is_shared=True)] == [0, 1, 2, 3]
    finally:
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):  # Optuna leaves connections open
            gc.collect()
        database.cleanup()


def test_a_damaged_storage_is_refused(tmp_path):
    for name in ("s.log", "s.db"):
        (tmp_path / name).write_bytes(b"no study at all\n" * 9)
        with pytest.raises(InputError, match="expected a storage that can be read and written"):
            results(started(tmp_path / name))


@pytest.mark.parametrize("password", ["secret", "p@ss:word", "%40"])
def test_passwords_are_not_shown(password):
    assert shown_storage(f"mysql://me:{password}@host/n?ssl={password}") == "mysql://me@host/n"


def test_what_matters_is_seen(tmp_path):
    bowl(tmp_path / "s.log", 12)
    shares = importances(started(tmp_path / "s.log"), SPACE, 0)
    assert sum(shares.values()) == pytest.approx(1)
    assert importances(started(tmp_path / "few.log"), SPACE, 0) == {}


# --- the command -----------------------------------------------------------------------------------------------------
LINE = ["--data", "digits", "--labels", 30, "--max-steps", 3, "--hidden", 8, "--backbone", "mlp", "--n-init", 1]


def test_search_from_the_command_to_the_training(tmp_path, aae):
    out = tmp_path / "found"
    line = ["search", "classifier", *LINE, "--out", out, "--folds", 2, "--search", "learning_rate", "--search"]
    code, text, err = aae(*line, "style_matching=per_class,marginal", "--trials", 3)
    assert code == 0, err
    assert err[0].startswith("minimises the cross-fitted error (%): The error on 30 labelled training rows")
    assert err[2].startswith("[1/3] trial 0") and "as given" in err[2] and "s left" in err[2]
    page = (out / "report.html").read_text()
    assert "cross-fitted error (%)" in page and "not used" in page and "learning_rate" in page
    command = next(line for line in text.splitlines() if line.startswith("train with")).split("aae ")[1].split()
    again = yaml.safe_load(aae(*command, "--print-config")[1])
    assert again["labels"] == 30 and 3e-5 <= again["learning_rate"] <= 1e-2 and again["random_state"] == 0
    code, _, err = aae(*line, "style_matching=per_class,marginal", "--trials", 2)
    assert code == 0 and len(err) == 2, "there are enough trials already"
    code, _, err = aae(*line, "dropout", "--trials", 2)
    assert code == 2 and "to ask the same, got one that differs in space" in err[-1]


def test_test_rows_are_not_used(tmp_path, aae):
    """Neither rows nor labels of the test change a trial, whatever they are."""
    digits = data.load("digits")
    texts = []
    for name, y_test in (("a", digits.y_test), ("b", (digits.y_test + 1) % 10)):
        np.savez(tmp_path / f"{name}.npz", X=digits.X[:200], y=digits.y[:200], X_test=digits.X_test, y_test=y_test)
        rest = [*LINE[2:], "--folds", 2, "--search", "dropout", "--trials", 2]
        aae("search", "classifier", "--data", tmp_path / f"{name}.npz", *rest, "--out", tmp_path / name)
        texts.append((tmp_path / name / "best.yaml").read_text().replace(f"{name}.npz", ""))
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--data digits", "expected a folder for the search, got none: give --out"),
        ("--data digits --out new --storage study.txt", "a file ending in .log or .db"),
        ("--data digits --out new --search learning_rat", "id you mean 'learning_rate'"),
        (
            "--data digits --out new --search learning_rate --learning-rate 1e-3",
            "expected learning_rate to search, got its value, too",
        ),
        ("--data digits --out new --labels 30 --condition domain", "no such option --condition"),
    ],
)
def test_one_line_says_what_is_wrong(line, words, tmp_path, monkeypatch, aae):
    monkeypatch.chdir(tmp_path)
    code, _, err = aae("search", "classifier", *line.split())
    assert code == 2 and len(err) == 1 and words in err[0] and not (tmp_path / "new").exists()
