"""The suite: which labels are drawn, what is measured and logged, and which method is recommended."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aaekit import InputError, data
from aaekit.estimators._labels import fold_of
from aaekit.evaluation import suite
from aaekit.evaluation.methods import CLASSIFIERS, Method, Setting, answer, suited
from aaekit.evaluation.suite import FAMILIES, Cell, Failure, Task
from aaekit.evaluation.suite.tasks import RARE, draw_labels, problem, tasks

FOR_TABLES = suited(CLASSIFIERS, kind="table")
FEW_STEPS = {"max_steps": 3, "hidden": (8,)}
LABELS = st.lists(st.integers(-1, 3), min_size=12, max_size=60).filter(lambda y: len({*y} - {-1}) > 1).map(np.array)


# --- labels
@settings(deadline=None)
@given(LABELS, st.integers(1, 9), st.integers(0, 5))
def test_labels_are_drawn_for_each_class_and_are_true(y, k, seed):
    drawn = draw_labels(y, dict.fromkeys(set(y.tolist()) - {-1}, k), np.random.default_rng(seed))
    labelled = drawn != -1
    assert (drawn[labelled] == y[labelled]).all()
    assert all((drawn == c).sum() <= max(1, (y == c).sum() // 2) and (drawn == c).sum() <= k for c in range(4))


@pytest.mark.parametrize(("k", "seed"), [(5, 0), (20, 2)])
def test_labels_are_drawn_by_the_protocol(k, seed):
    """So that other people's numbers are on the same labels."""
    wine = data.load("wine")
    rng = np.random.default_rng(100 * seed + k)
    rows = [np.flatnonzero(wine.y == c) for c in range(3)]
    chosen = np.concatenate([rng.choice(r, min(k, len(r) // 2), replace=False) for r in rows])
    drawn = problem(Task("classes", "wine", k=k, seed=seed), wine).y
    assert sorted(np.flatnonzero(drawn != -1)) == sorted(chosen)


@settings(deadline=None)
@given(LABELS, st.integers(2, 6))
def test_folds_share_the_labelled_rows_and_each_class_evenly(y, n_folds):
    folds = fold_of(y, n_folds)
    assert ((folds >= 0) == (y != -1)).all() and folds.max() < n_folds
    for c in set(y.tolist()) - {-1}:
        counts = np.bincount(folds[y == c], minlength=n_folds)
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(folds[y != -1], minlength=n_folds)
    assert sizes.max() - sizes.min() <= 1


def test_rows_of_a_fold_are_tested_once_and_never_trained_on():
    wine = data.load("wine")
    rows = data.Dataset("w", wine.X, np.where(np.arange(len(wine.y)) % 3, wine.y, -1), classes=wine.classes)
    tested = []
    for task in suite.own_tasks("w.csv"):
        part = problem(task, rows)
        trained = {row.tobytes() for row in part.X}
        assert not trained & {row.tobytes() for row in part.X_test}
        tested += [row.tobytes() for row in part.X_test]
    assert sorted(tested) == sorted(row.tobytes() for row in rows.X[rows.y != -1])


@pytest.mark.parametrize("percent", [10, 1])
@pytest.mark.parametrize("how", ["balanced", "in proportion"])
def test_a_class_is_made_rare_in_training_rows_and_in_the_weights_of_test_rows(percent, how, monkeypatch):
    monkeypatch.setitem(RARE, "set", "b")
    y = np.arange(3000) % 3
    rows = data.Dataset("set", np.random.default_rng(0).normal(size=(3000, 2)), y, classes=("a", "b", "c"))
    part = problem(Task("rare", "set", variant=f"{percent} %, {how}"), rows)
    n_rare = len(part.X) - (y[np.isin(rows.X[:, 0], part.X[:, 0])] != 1).sum()
    assert n_rare / len(part.X) == pytest.approx(percent / 100, abs=2e-3)
    assert np.average(part.y_test, weights=part.weights) == pytest.approx(percent / 100)
    labels = np.bincount(part.y[part.y != -1]).tolist()
    expected = {(10, "in proportion"): [36, 4], (1, "in proportion"): [99, 1], (1, "balanced"): [20, 7]}
    assert labels == expected.get((percent, how), [20, 20])


def test_outliers_are_the_rows_of_all_classes_but_one():
    wine = data.load("wine")
    part = problem(Task("outliers", "wine", variant="class 1"), wine)
    assert len(part.X) == (wine.y == 1).sum() and (part.y == -1).all()
    assert (part.y_test == (wine.y_test != 1)).all()


def test_each_class_of_photographs_is_normal_in_turn():
    assert [t.variant for t in tasks(("outliers",), ("steel",), draws=1)][:2] == ["crazing", "inclusion"]
    assert len(tasks(("outliers",), ("steel", "hand-signs"), draws=1)) == 16


def test_a_set_without_labels_has_no_task():
    rows = data.Dataset("w", np.zeros((9, 2)), np.full(9, -1))
    with pytest.raises(InputError, match="expected labels of at least two classes"):
        problem(Task("classes", "w"), rows)
    lone = data.Dataset("w", np.zeros((9, 2)), np.array([0] * 8 + [1]), classes=("a", "b"))
    with pytest.raises(InputError, match="at least 2 labels of each class, got 1 of b"):
        [problem(task, lone) for task in suite.own_tasks("w.csv")]


# --- methods
@pytest.fixture(scope="module")
def wine():
    return problem(Task("classes", "wine", k=5), data.load("wine"))


@pytest.mark.parametrize("method", FOR_TABLES, ids=lambda m: m.name)
def test_classifiers_give_probabilities_and_do_not_depend_on_units(method, wine):
    setting = Setting(wine.y, 3, (13,), options=FEW_STEPS)
    p = answer(method, wine.X, wine.X_test, setting).values
    assert p.shape == (60, 3) and np.allclose(p.sum(1), 1, atol=1e-5) and (p >= 0).all()
    units = np.float32([1e-3, 1e4] + [1] * 11)
    same = answer(method, wine.X * units, wine.X_test * units, setting).values
    assert (same.argmax(1) == p.argmax(1)).mean() > 0.95


@pytest.mark.parametrize("method", FOR_TABLES, ids=lambda m: m.name)
def test_a_class_without_labels_has_probability_0_and_one_label_is_enough(method, wine):
    y = np.where(wine.y == 2, -1, wine.y)
    y[np.flatnonzero(y == 1)[1:]] = -1
    p = answer(method, wine.X, wine.X_test, Setting(y, 3, (13,), options=FEW_STEPS)).values
    assert (p[:, 2] == 0).all() and np.allclose(p.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("n_labels", [1, 5])
@pytest.mark.parametrize("method", [m for m in CLASSIFIERS if "table" not in m.kinds], ids=lambda m: m.name)
def test_methods_of_images_learn_from_pixels(method, n_labels):
    if method not in suited(CLASSIFIERS, kind="image"):
        pytest.skip(f"{method.package} is not installed")
    digits = problem(Task("classes", "digits", k=n_labels), data.load("digits"))
    X, X_test = digits.X[digits.y >= 0], digits.X_test[:300]
    y = digits.y[digits.y >= 0]
    p = answer(method, X, X_test, Setting(y, 10, (1, 8, 8), options={"max_steps": 100})).values
    assert p.shape == (300, 10) and np.allclose(p.sum(1), 1, atol=1e-5)
    assert (p.argmax(1) == digits.y_test[:300]).mean() > (0.4 if n_labels == 1 else 0.6)


def test_methods_of_images_are_not_asked_about_tables():
    assert not any("table" not in m.kinds for m in FOR_TABLES) and {m.name for m in FOR_TABLES} < {
        m.name for m in CLASSIFIERS
    }
    simple = {m.name for m in CLASSIFIERS if m.is_simple}
    assert "augmented network" in simple and not {"supervised baseline", "SemiSupervisedAAE"} & simple


@pytest.mark.parametrize(("uses", "limit"), [("labelled", None), ("unlabelled", 40), ("all", None)])
def test_methods_train_on_the_rows_that_they_use(uses, limit, wine):
    class Spy:
        def fit(self, X, y):
            seen.append((X, y))
            return self

        def predict_proba(self, X):
            return np.ones((len(X), 3)) / 3

        classes_ = np.arange(3)

    seen = []
    got = answer(Method("spy", lambda setting: Spy(), uses, limit), wine.X, wine.X_test, Setting(wine.y, 3, (13,)))
    ((X, y),) = seen
    assert len(X) == len(y) == {"labelled": 15, "unlabelled": 40, "all": len(wine.X)}[uses]
    assert sorted(y[y != -1]) == sorted(wine.y[wine.y != -1])
    assert got.note == ("on 25 of 103 unlabelled rows" if limit else "")


# --- running
def cells(methods=("logistic regression", "random forest"), family="classes", **options):
    chosen = [m for m in FAMILIES[family].methods if m.name in methods]
    return [Cell(task, m, options) for task in suite.tasks((family,), ("wine",), (5,), 2) for m in chosen]


def test_what_has_a_log_is_not_measured_again(tmp_path, monkeypatch):
    reports = []
    logs, failures = suite.run(cells(), tmp_path, facts={"versions": {"aaekit": "1"}}, report=reports.append)
    assert len(logs) == len(reports) == 4 and not failures and reports[-1].seconds_left == 0
    assert all(log["n_labelled"] == 15 and log["scores"]["loss"] < 50 and log["versions"] for log in logs)
    assert len(list(tmp_path.glob("*.json"))) == 4
    lost = tmp_path / cells()[1].file
    lost.unlink()
    reports.clear()
    again, _ = suite.run(cells(), tmp_path, report=reports.append)
    assert [r.cell for r in reports] == [cells()[1]]
    assert [log["scores"] for log in again] == [log["scores"] for log in logs]
    assert suite.read_logs(tmp_path) != [] and not list(tmp_path.glob(".*"))


def test_processes_measure_the_same(tmp_path):
    one, _ = suite.run(cells(), tmp_path / "one")
    two, _ = suite.run(cells(), tmp_path / "two", jobs=2)
    assert [log["scores"] for log in one] == [log["scores"] for log in two]


def test_all_methods_can_be_sent_to_processes():
    methods = [method for family in FAMILIES.values() for method in family.methods]
    assert [method.name for method in pickle.loads(pickle.dumps(methods))] == [method.name for method in methods]


def test_a_log_of_other_settings_is_not_continued(tmp_path):
    ours = ("SemiSupervisedAAE",)
    suite.run(cells(ours, **FEW_STEPS)[:1], tmp_path)
    with pytest.raises(InputError, match="got one that differs in options"):
        suite.run(cells(ours, max_steps=4)[:1], tmp_path)
    path = tmp_path / cells(ours)[0].file
    path.write_text(path.read_text()[:100])
    with pytest.raises(InputError, match="delete it to measure it again"):
        suite.run(cells(ours, **FEW_STEPS)[:1], tmp_path)


@pytest.mark.parametrize("error", [ValueError("no"), InputError("expected rows, got none"), TypeError(), MemoryError()])
def test_a_method_that_fails_stops_no_other_and_is_tried_again(error, tmp_path):
    def broken(setting):
        raise error

    broken_cell = Cell(cells()[0].task, Method("broken", broken))
    logs, failures = suite.run([broken_cell, *cells()], tmp_path)
    assert len(logs) == 4 and [f.cell for f in failures] == [broken_cell] and isinstance(failures[0], Failure)
    assert not (tmp_path / broken_cell.file).exists()


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_measures_its_methods(family, tmp_path, monkeypatch):
    monkeypatch.setitem(RARE, "wine", "class 0")
    tasks = suite.tasks((family,), ("wine",), (5,), 1)[:1]
    methods = [m for m in suited(FAMILIES[family].methods, kind="table") if not m.package]
    logs, failures = suite.run([Cell(t, m, FEW_STEPS) for t in tasks for m in methods], tmp_path)
    assert not failures and len(logs) == len(tasks) * len(methods)
    assert all(np.isfinite(list(log["scores"].values())).all() for log in logs)
    if logs:
        assert len(suite.regrets(logs)) == 1 and suite.table(logs, family).rows
        page = suite.write_page(tmp_path / "page.html", logs).read_text(encoding="utf-8")
        assert 'src="data:image/png' in page and all(m.name in page for m in methods)


def test_files_of_logs_differ_for_all_cells():
    tasks = suite.tasks(tuple(FAMILIES), ("wine", "breast-cancer", *RARE), (5, 20), 3)
    tasks += [Task("outliers", "census", variant=name) for name in ("<=50K", ">50K", "50K", "50 K", "50_K")]
    tasks += suite.own_tasks("my.csv") + suite.own_tasks("my.csv", k=(5,)) + suite.own_tasks("my.csv", test="t.csv")
    names = [Cell(task, method).file for task in tasks for method in FAMILIES[task.family].methods]
    assert len(set(map(str.casefold, names))) == len(names)


def test_families_have_one_method_of_ours_to_regret():
    for family in FAMILIES.values():
        assert len([m for m in family.methods if m.is_ours and m.uses == "all"]) == 1
        assert len({m.name for m in family.methods}) == len(family.methods)


# --- summary
def log(method, loss, seed=0, data="wine", k=5, variant="", family="classes", **more):
    task = Task(family, data, k, seed, variant).as_dict()
    return {"task": task, "method": method, "scores": {"loss": loss}, "seconds": 1.0, "uneven": False} | more


def test_regret_is_our_mean_loss_minus_that_of_the_best_simple_method():
    losses = {"SemiSupervisedAAE": (4, 6), "random forest": (1, 7), "label spreading": (9, 0.5)}
    logs = [log(name, value, seed) for name, values in losses.items() for seed, value in enumerate(values)]
    (regret,) = suite.regrets(reversed(logs))
    assert regret.best == "random forest" and regret.value == 1 and regret.by_draw == [3, -1]
    logs += [log("SemiSupervisedAAE", 1, data="b"), log("random forest", 4, data="b")]
    (line,) = suite.lines(logs)
    assert "mean regret -1.00 points over 2 sets; worst +1.00 (wine, best: random forest)" in line


def own_logs(**errors):
    """Logs of methods whose predictions are wrong in so many of 100 rows, the same rows first."""
    true = np.arange(100) % 2
    for k, (name, n_wrong) in enumerate(errors.items()):
        predicted = np.where(np.arange(100) < n_wrong, 1 - true, true)
        more = {"true": true.tolist(), "predicted": predicted.tolist(), "seconds": 1.0 + k}
        yield log(name, n_wrong, k=0, variant="fold 1 of 1") | more


@pytest.mark.parametrize(
    ("errors", "sentence"),
    [
        ({"a": 30, "b": 2}, "use b: 2.0 % error, 28.0 points less than a, the next best (95 % interval "),
        ({"a": 5, "b": 4}, "b and a cannot be told apart (error 4.0 to 5.0 %): use a, the fastest of them"),
        ({"a": 5, "b": 5, "c": 50}, "a and b cannot be told apart (error 5.0 to 5.0 %): use a, the fastest of them"),
        ({"a": 5}, "a has 5.0 % error; there is no other method to compare it with"),
    ],
)
def test_the_verdict_names_a_method_or_says_that_they_cannot_be_told_apart(errors, sentence):
    logs = list(own_logs(**errors))
    assert suite.questions(logs) == ["cross-fitted"]
    assert suite.verdict(logs, "cross-fitted").startswith(sentence)
    assert [row[0] for row in suite.method_table(logs, "cross-fitted").rows][0] == min(errors, key=errors.get)


# --- the command
@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    X = rng.normal(size=(80, 2)) + 9 * y[:, None]
    rows = [(f"{a:.3f}", f"{b:.3f}", "yes" if k else "no") for (a, b), k in zip(X, y, strict=True)]
    lines = ["a,b,bought", *(",".join(row) for row in rows[:60])]
    (tmp_path / "my.csv").write_text("\n".join(lines) + "\n")
    lines = ["b,a,bought", *(",".join((b, a, label)) for a, b, label in rows[60:])]  # columns in another order
    (tmp_path / "test.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "my.csv"


OPTIONS = ("--options", "max_steps=3", "--quiet")


@pytest.mark.parametrize(
    ("more", "rows"),
    [
        ((), "Cross-fitted on 60 labelled rows"),
        (("--k", "3", "--draws", "1"), "3 per class, on 18 test rows"),
        (("--test", "test.csv", "--draws", "1"), "all labels, on 20 test rows"),
    ],
)
def test_methods_are_compared_on_a_table_of_ones_own(more, rows, table, tmp_path, monkeypatch, aae):
    monkeypatch.chdir(tmp_path)
    code, out, err = aae("suite", "--data", table, "--target", "bought", *more, *OPTIONS, "--out", "out")
    assert code == 0, err
    assert rows in out and "use " in out and (tmp_path / "out" / "suite.html").is_file()
    assert all(m.name in out for m in FOR_TABLES)
    table.write_text(table.read_text().replace("yes", "YES", 1))
    code, _, err = aae("suite", "--data", table, "--target", "bought", *more, *OPTIONS, "--out", "out")
    assert code == 2 and "differs in " in err[-1] and "choose another folder" in err[-1]


def test_the_suite_runs_on_named_sets(tmp_path, aae):
    arguments = ["suite", "--sets", "wine", "--draws", "1", "--k", "5", "--out", tmp_path / "out", *OPTIONS[:2]]
    code, out, err = aae(*arguments)
    assert code == 0 and "few labels, 5 per class: mean regret" in out and len(err) == len(FOR_TABLES)
    assert aae(*arguments)[2] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--sets wines", "did you mean 'wine'?"),
        ("--sets wine --families class", "did you mean 'classes'?"),
        ("--sets wine --methods forest", "expected SemiSupervisedAAE, "),
        ("--sets wine --k five", "expected numbers of labels per class, got 'five'"),
        ("--sets wine --data wine", "expected --data or --sets, got both"),
        ("--target y", "expected --data with --target"),
        ("--sets wine --options steps=3", "did you mean 'max_steps'?"),
        ("--sets mushroom --data-dir .", "expected mushroom-train.csv.gz"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_measured(arguments, words, tmp_path, monkeypatch, aae):
    monkeypatch.chdir(tmp_path)
    code, _, err = aae("suite", *arguments.split())
    assert code == 2 and len(err) == 1 and words in err[0] and not (tmp_path / "suite").exists()


# --- the sets
@pytest.mark.filterwarnings("ignore::aaekit.errors.ColumnWarning")
@pytest.mark.skipif("AAE_DATA_DIR" not in os.environ, reason="needs the files of the sets")
@pytest.mark.parametrize("name", [*suite.SETS, "power", "chest", "hand-signs", "steel"])
def test_sets_are_read(name):
    if not data.info(name)["present"]:
        pytest.skip("its files are not there")
    rows = data.load(name)
    assert len(rows.X) > 200 and len(rows.X_test) >= 100 and rows.X.shape[1:] == rows.X_test.shape[1:]
    assert set(rows.y.tolist()) == set(range(len(rows.classes))) >= set(rows.y_test.tolist())
    assert json.dumps(data.info(name), default=str)


@pytest.mark.parametrize(
    ("folder", "family", "images"),
    [
        *(("suite", name, False) for name in FAMILIES),
        *(("suite", name, True) for name in ("classes", "clusters", "outliers")),
        *(("suite-features", name, True) for name in ("classes", "clusters", "outliers")),
    ],
)
def test_the_results_in_the_documentation_are_those_of_the_logs(folder, family, images):
    root = Path(__file__).parents[1]
    logs = [log for log in suite.read_logs(root / "reproduction" / "logs" / folder) if log["task"]["family"] == family]
    chosen = [log for log in logs if (log["task"]["data"] in {"hand-signs", "steel", "chest"}) == images]
    table, text = suite.table(chosen, family), (root / "docs" / "suite.md").read_text(encoding="utf-8")
    assert table.rows
    for row in table.rows:
        assert f"| {' | '.join(row)} |" in text
    assert f" is {np.mean([regret.value for regret in suite.regrets(chosen)]):.1f} points" in text
