"""The run directory: its files, and trainings that are stopped, resumed or fail."""

import csv
import errno
import html
import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

from aaekit import InputError, SemiSupervisedAAE, SupervisedBaseline, TrainingError, data, plots
from aaekit.core import checkpoints
from aaekit.core.callbacks import Callback
from aaekit.data import Dataset
from aaekit.estimators import _fitting
from aaekit.evaluation import heldout
from aaekit.evaluation.compare import compare as compare_methods
from aaekit.evaluation.compare import cross_fitted
from aaekit.evaluation.methods import CLASSIFIERS
from aaekit.runs.config import completed, configuration, estimator_of
from aaekit.runs.data import load_data, split_of
from aaekit.runs.run import Run

pytestmark = pytest.mark.usefixtures("no_figures", "few_trees")  # `run` has its own before this

TINY = {"hidden": (16,), "backbone": "mlp", "discriminator_hidden": (16,), "max_steps": 12, "batch_size": 40}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """150 training and 50 test images: with batches of 40, an epoch has 3 steps."""
    X, y = load_digits(return_X_y=True)
    X = (255 / 16 * X).astype(np.uint8).reshape(-1, 1, 8, 8)
    path = tmp_path_factory.mktemp("data") / "some.npz"
    np.savez(path, X=X[:150], y=y[:150], X_test=X[150:200], y_test=y[150:200])
    return path


def config_for(system, digits, **more):
    small = TINY if system != "baseline" else {k: v for k, v in TINY.items() if k != "discriminator_hidden"}
    labels = {} if system == "generator" else {"labels": 40}
    given = {"data": str(digits), **small, **labels, **more}
    return completed(system, configuration(system, given))


def compare(run, estimator, **more):
    return compare_methods(run.config, run.data, run.split, estimator, run.held_out, **more)


def weights(run):
    return load_file(run.path / "model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class At(Callback):
    """Does something after a step."""

    def __init__(self, n, action):
        self.n, self.action = n, action

    def step(self, training):
        if training.n_done == self.n:
            self.action(training)


def interrupt(training):
    raise KeyboardInterrupt


@pytest.fixture(scope="module", params=["generator", "classifier", "baseline"])
def run(request, digits, tmp_path_factory):
    run = Run.create(tmp_path_factory.mktemp("runs") / request.param, config_for(request.param, digits))
    run.train()
    return run


# --- data of which little is known -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "system", ["generator", "classifier", "style", "clusters", "embedding", "pretrained", "baseline"]
)
@pytest.mark.parametrize(
    "kind",
    [
        "partly labelled",
        "one test row",
        "three test rows",
        "one class in the test",
        "another class in the test",
        "four channels",
    ],
)
def test_a_run_on_odd_data_comes_to_its_end(system, kind, tmp_path, monkeypatch, request):
    monkeypatch.undo()  # with figures
    if kind not in ("one test row", "four channels"):
        request.getfixturevalue("no_pixels")
    random = np.random.default_rng(0)
    X, y = random.random((60, 8), dtype=np.float32), np.arange(60) % 3
    n = {"one test row": 1, "three test rows": 3}.get(kind, 12 if kind.endswith("in the test") else 0)
    test = {"X_test": X[:n], "y_test": np.zeros(n, int) if kind == "one class in the test" else y[:n]} if n else {}
    if kind == "another class in the test":
        test["y_test"] = np.append(y[:11], 3)
    if kind == "partly labelled":
        y = np.where(np.arange(60) < 40, y, -1)
    X = random.random((60, 4, 8, 8), dtype=np.float32) if kind == "four channels" else X
    np.savez(tmp_path / "odd.npz", X=X, y=y, **test)
    few = {"n_clusters": 3} if system == "clusters" else {"pretraining_epochs": 1} if system == "pretrained" else {}
    given = {"data": str(tmp_path / "odd.npz"), "max_steps": 2, "hidden": (16,), **few}
    run = Run.create(tmp_path / "run", completed(system, configuration(system, given)))
    run.train()
    assert (run.path / "report.html").exists() and (run.path / "results.json").exists()


def test_each_column_of_a_table_can_be_seen(tmp_path, monkeypatch, request):
    """Rows are drawn in standard deviations, whatever their units, also those in [0, 1]."""
    monkeypatch.undo()  # with figures
    request.getfixturevalue("no_pixels")
    random, drawn = np.random.default_rng(0), {}
    for name in ("modes_and_samples", "reconstruction_pairs", "sample_grid", "style_grid"):
        old = getattr(plots, name)
        monkeypatch.setattr(
            plots,
            name,
            lambda rows, *more, name=name, old=old, **kw: (drawn.update({name: rows}), old(rows, *more, **kw))[1],
        )
    X = random.normal((1e4, 0, -3), (2e3, 1e-2, 1), (60, 3)).astype(np.float32)
    tables = {"units": X, "unit": random.random((60, 3), dtype=np.float32)}
    for name, rows in tables.items():
        np.savez(tmp_path / f"{name}.npz", X=rows, y=np.arange(60) % 3)
        given = {"data": str(tmp_path / f"{name}.npz"), "max_steps": 2, "hidden": (16,)}
        run = Run.create(tmp_path / name, completed("classifier", configuration("classifier", given)))
        model = run.train()
        assert len(drawn) == 4 and all(np.abs(rows).max() < 10 for rows in drawn.values())
        page = (run.path / "report.html").read_text(encoding="utf-8")
        assert "pictures show each value in standard deviations" in page
        shown = heldout.for_plots(model, rows)
        np.testing.assert_allclose([shown.mean(0), shown.std(0)], [[0] * 3, [1] * 3], atol=1e-3)
        np.testing.assert_array_equal(drawn["reconstruction_pairs"], shown[:10])
        drawn.clear()


# --- what is in it ---------------------------------------------------------------------------------------------------
def test_directory(run):
    names = {p.name for p in run.path.iterdir()}
    assert names == {
        "config.yaml", "versions.json", "data.json", "split.npz", "plan.json", "metrics.csv", "tensorboard",
        "log.txt", "model.safetensors", "results.json", "figures", "report.html",
    }  # fmt: skip
    drawn = {p.stem for p in (run.path / "figures").iterdir()}
    expected = {"learning_curves"}
    expected |= (
        {"sample_grid", "reconstruction_pairs", "code_vs_prior"} if run.config["system"] != "baseline" else set()
    )
    expected |= {"confusion_matrix", "label_distribution"} if run.config["system"] != "generator" else set()
    assert drawn >= expected
    assert (run.path / "report.html").read_text().count("<img") == len(drawn)
    assert not [p for p in run.path.rglob(".*")], "temporary files are left"


def test_plan(run):
    """What "auto" stands for is in the directory and in the report, phases included."""
    plan = json.loads((run.path / "plan.json").read_text())
    assert plan == Run.open(run.path).plan == json.loads(json.dumps(run.estimator.plan_.as_dict()))
    assert plan["n_steps"] == 12
    page = html.unescape((run.path / "report.html").read_text())
    assert "plan.n_steps" in page and all(f"plan.phases.{phase['name']}" in page for phase in plan["phases"])


def test_findings(run):
    """The run says itself what is wrong with it: these were trained for twelve steps."""
    findings = json.loads((run.path / "results.json").read_text())["findings"]
    assert findings and all(f["name"] and f["option"] for f in findings)
    page = html.unescape((run.path / "report.html").read_text())
    assert all(f["evidence"] in page for f in findings)


def test_results(run):
    results = json.loads((run.path / "results.json").read_text())
    assert results["rows"] == "test" and results["n_rows"] == 50 and results["n_steps"] == 12
    assert ("error" in results) == (run.config["system"] != "generator")
    assert ("reconstruction" in results) == (run.config["system"] != "baseline")
    if "error" in results:
        data = run.data
        wrong = run.fitted().predict(data.X_test) != data.y_test
        assert results["error"] == pytest.approx(100 * wrong.mean())


def test_metrics_have_a_row_an_epoch(run):
    with open(run.path / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    assert steps == (list(range(1, 13)) if run.config["system"] == "baseline" else [3, 6, 9, 12])
    assert all(np.isfinite(float(v)) for row in rows for v in row.values())


def test_tensorboard_events(run):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    tags = events.Tags()
    with open(run.path / "metrics.csv") as file:
        assert set(tags["scalars"]) == set(next(csv.reader(file))) - {"epoch", "step"}
    if run.config["system"] != "baseline":
        assert {"z1/codes", "z1/prior"} <= set(tags["histograms"]) and tags["images"] == ["samples"]


def test_configuration_comes_back(run):
    assert Run.open(run.path).config == run.config
    assert yaml.safe_load((run.path / "config.yaml").read_text())["hidden"] == [16]


def test_listening_changes_no_number(run, digits):
    """Checkpoints, events and samples in between draw none of the training's random numbers."""
    alone = estimator_of(run.config)
    y = None if run.config["system"] == "generator" else run.split.masked(run.data.y)
    alone.fit(run.data.X, y)
    assert same(dict(alone.networks_.state_dict()), dict(run.fitted().networks_.state_dict()))


def test_newest_three_checkpoints(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1)
    run = Run.create(tmp_path / "run", config_for("generator", digits, max_steps=14))
    with pytest.raises(KeyboardInterrupt):
        run.train([At(13, interrupt)])
    kept = sorted(p.name for p in (run.path / "checkpoints").iterdir())
    stems = ["epoch-0003", "epoch-0004", "epoch-0004-step-13"]
    assert kept == sorted(f"{stem}.{end}" for stem in stems for end in ("json", "safetensors"))


# --- stopping and going on -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("schedule", ["joint", "alternating"])
@pytest.mark.parametrize(
    ("system", "step", "backbone"),
    [("classifier", 7, "mlp"), ("classifier", 9, "mlp"), ("generator", 4, "mlp"), ("classifier", 5, "conv")],
)
def test_resumed_is_identical(system, schedule, step, backbone, digits, tmp_path):
    config = config_for(system, digits, schedule=schedule, validation=20, backbone=backbone)
    whole, parts = Run.create(tmp_path / "whole", config), Run.create(tmp_path / "parts", config)
    whole.train()
    with pytest.raises(KeyboardInterrupt, match=f"stopped at step {step} of 12; resume with: aae resume {parts.path}"):
        parts.train([At(step, interrupt)])
    assert not parts.complete and not (parts.path / "model.safetensors").exists()
    torch.manual_seed(step)  # what else happened meanwhile must not matter
    again = Run.open(parts.path)
    again.train()
    assert again.complete and same(weights(whole), weights(again))
    tables = []
    for run in (whole, again):
        with open(run.path / "metrics.csv") as file:
            tables.append([{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)])
    assert tables[0] == tables[1]


def test_resumed_does_not_begin_several_times_again(digits, tmp_path, monkeypatch):
    class Announced(Callback):
        def prepare(self, what):
            said.append(what)

    monkeypatch.setattr(_fitting, "MIN_TRIAL", 1)
    config, doubts, said = config_for("classifier", digits, n_init=3), iter([3.0, 1.0, 2.0, 3.0, 1.0, 2.0]), []
    monkeypatch.setattr(_fitting, "doubt", lambda *_: next(doubts))
    whole, parts = Run.create(tmp_path / "whole", config), Run.create(tmp_path / "parts", config)
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        parts.train([At(7, interrupt), Announced()])
    assert sum("initialisation" in what for what in said) == 3
    said.clear()
    again = Run.open(parts.path)
    again.train([Announced()])
    assert not any("initialisation" in what for what in said) and same(weights(whole), weights(again))


def test_a_run_that_died_before_its_first_checkpoint_begins_anew(digits, tmp_path):
    config = config_for("classifier", digits)
    whole, parts = Run.create(tmp_path / "whole", config), Run.create(tmp_path / "parts", config)
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        parts.train([At(7, interrupt)])
    assert Run.open(parts.path).restores()
    shutil.rmtree(parts.path / "checkpoints")
    again = Run.open(parts.path)
    assert not again.restores()
    again.train()
    assert same(weights(whole), weights(again))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_waits_for_the_end_of_the_step(number, digits, tmp_path):
    config = config_for("generator", digits)
    run = Run.create(tmp_path / "run", config)
    before = signal.getsignal(number)

    class Signal(Callback):
        """Arrives while the fifth step encodes its rows."""

        def start(self, training):
            def send(*_):
                if training.n_done == 4:
                    os.kill(os.getpid(), number)
                    hook.remove()

            hook = next(training.networks.children()).register_forward_pre_hook(send)

    with pytest.raises(KeyboardInterrupt, match="step 5 of 12"):
        run.train([Signal()])
    assert signal.getsignal(number) is before
    again = Run.open(run.path)
    again.train()
    whole = Run.create(tmp_path / "whole", config)
    whole.train()
    assert same(weights(again), weights(whole))


def test_a_second_signal_does_not_wait(digits, tmp_path):
    """What is said then is what was kept."""
    run = Run.create(tmp_path / "run", config_for("generator", digits))

    def twice(training):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="stopped at step 5 of 12, saved up to step 3; resume with"):
        run.train([At(5, twice)])
    again = Run.open(run.path)
    with pytest.raises(KeyboardInterrupt, match="stopped at step 4 of 12; resume with"):
        again.train([At(4, interrupt)])
    assert again.checkpoints.n_saved == 4


@pytest.mark.parametrize("changed", ["X", "y"])
def test_other_rows_than_it_began_with_are_refused(changed, digits, tmp_path):
    path, arrays = tmp_path / "mine.npz", dict(np.load(digits))
    np.savez(path, **arrays)
    run = Run.create(tmp_path / "run", config_for("classifier", digits, data=str(path)))
    with pytest.raises(KeyboardInterrupt):
        run.train([At(4, interrupt)])
    np.savez(path, **arrays | {changed: np.roll(arrays[changed], 1, 0)})
    with pytest.raises(InputError, match="expected the rows and labels of .*mine.npz that it started with"):
        Run.open(run.path).train()
    np.savez(path, **arrays)
    Run.open(run.path).train()
    assert Run.open(run.path).complete


def test_damaged_checkpoint_falls_back(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1)
    config = config_for("generator", digits)
    run = Run.create(tmp_path / "run", config)
    with pytest.raises(KeyboardInterrupt):
        run.train([At(8, interrupt)])
    shutil.copytree(run.path, tmp_path / "lost")
    newest = run.path / "checkpoints" / "epoch-0002-step-8.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    again = Run.open(run.path)
    again.train()
    whole = Run.create(tmp_path / "whole", config)
    whole.train()
    assert same(weights(again), weights(whole)) and "is damaged" in (run.path / "log.txt").read_text()
    for path in (tmp_path / "lost" / "checkpoints").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(InputError, match="none of its 3 checkpoints can be read"):
        Run.open(tmp_path / "lost").train()


def test_not_finite(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1)

    def poison(training):
        with torch.no_grad():
            next(training.networks.parameters()).fill_(torch.nan)

    run = Run.create(tmp_path / "run", config_for("generator", digits))
    with pytest.raises(TrainingError, match=r"finite.*epoch-0001\.safetensors"):
        run.train([At(4, poison)])
    again = Run.open(run.path)
    again.train()
    assert again.complete and all(v.isfinite().all() for v in weights(again).values())


def test_full_disk(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SHARE", 1)
    run = Run.create(tmp_path / "run", config_for("generator", digits))

    def fill(training):
        def full(tensors, path):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(checkpoints, "save_file", full)

    with pytest.raises(InputError, match="the disk is full"):
        run.train([At(4, fill)])
    monkeypatch.undo()
    Run.open(run.path).train()


def test_without_tensorboard(digits, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    run = Run.create(tmp_path / "run", config_for("baseline", digits))
    run.train()
    assert not (run.path / "tensorboard").exists()
    assert 'pip install "aaekit[tensorboard]"' in (run.path / "log.txt").read_text()


# --- refusals --------------------------------------------------------------------------------------------------------
def test_create_refuses_what_exists(run, tmp_path):
    with pytest.raises(InputError, match="which exists.*aae resume"):
        Run.create(run.path, run.config)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="which exists: choose another"):
        Run.create(tmp_path / "file", run.config)
    Run.create(tmp_path / "empty", run.config)


def test_nothing_is_written_for_what_cannot_train(digits, tmp_path):
    run = Run.create(tmp_path / "run", config_for("generator", digits, batch_size=151))
    with pytest.raises(InputError, match="150 rows"):
        run.train()
    assert not run.path.exists()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("config.yaml", None, "expected a run directory"),
        ("config.yaml", "system: [", "expected YAML, got .*: correct it"),
        ("config.yaml", "system: typist", "config.yaml: expected a system .*, got 'typist'"),
        ("config.yaml", "system: generator\nmax_epoch: 3", "'max_epochs'"),
        ("split.npz", "x", "split.npz: expected the split of this run, got a damaged file"),
    ],
)
def test_damaged_directory(name, text, words, digits, tmp_path):
    run = Run.create(tmp_path / "run", config_for("generator", digits))
    with pytest.raises(KeyboardInterrupt):
        run.train([At(2, interrupt)])
    (run.path / name).unlink()
    if text is not None:
        (run.path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        Run.open(run.path).train()


def test_changed_configuration(digits, tmp_path):
    run = Run.create(tmp_path / "run", config_for("generator", digits))
    with pytest.raises(KeyboardInterrupt):
        run.train([At(2, interrupt)])
    config = run.path / "config.yaml"
    config.write_text(config.read_text().replace("hidden: [16]", "hidden: [17]"))
    with pytest.raises(InputError, match="expected a checkpoint of this configuration, got another"):
        Run.open(run.path).train()


# --- rows ------------------------------------------------------------------------------------------------------------
def test_labels_and_validation(digits, tmp_path):
    """The estimator sees the chosen labels alone, and no validation row."""
    run = Run.create(tmp_path / "run", config_for("classifier", digits, labels=30, validation=25))
    seen = {}

    def spy(X, y, callbacks, eval_set):
        seen.update(X=X, y=y, eval_set=eval_set)
        raise KeyboardInterrupt

    run.estimator.fit = spy
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert len(seen["X"]) == 125 and (seen["y"] >= 0).sum() == 30 and np.bincount(seen["y"][seen["y"] >= 0]).max() == 3
    assert len(seen["eval_set"][0]) == 25
    together = np.concatenate([seen["X"], seen["eval_set"][0]]).reshape(150, -1)
    assert sorted(map(bytes, together)) == sorted(map(bytes, run.data.X.reshape(150, -1)))


def test_partly_labelled_file(digits, tmp_path):
    with np.load(digits) as arrays:
        X, y = arrays["X"], arrays["y"].copy()
    y[60:] = -1
    np.savez(tmp_path / "partly.npz", X=X, y=y)
    config = config_for("classifier", tmp_path / "partly.npz", labels=30)
    split = split_of(config, load_data(config))
    assert len(split.labelled) == 30 and split.labelled.max() < 60 and len(split.unlabelled) == 150
    everything = split_of(config | {"labels": None}, load_data(config))
    assert np.array_equal(everything.labelled, np.arange(60))


def test_no_label_on_request(digits):
    """`labels: 0` hides every label; a system that cannot do without says so."""
    config = config_for("embedding", digits, labels=0, validation=30)
    data = load_data(config)
    split = split_of(config, data)
    assert len(split.labelled) == 0 and len(split.validation) == 30 and len(split.unlabelled) == len(data.X) - 30
    assert (split.masked(data.y) == -1).all()
    with pytest.raises(InputError, match="expected labels y to learn from, got labels: 0"):
        split_of(config | {"system": "classifier"}, data)


def test_compare(digits, tmp_path, monkeypatch):
    """Each method sees the labels that the run saw, and no other."""
    run = Run.create(tmp_path / "run", config_for("classifier", digits))
    estimator = run.train()
    labels = []
    for kind in (LabelSpreading, SelfTrainingClassifier, SupervisedBaseline, RandomForestClassifier, GridSearchCV):
        fit = kind.fit
        monkeypatch.setattr(kind, "fit", lambda self, X, y, fit=fit: labels.append(np.array(y)) or fit(self, X, y))
    few = [replace(m, max_rows=100) if m.name == "label spreading" else m for m in CLASSIFIERS]
    results = compare(run, estimator, methods=few)
    assert [row["name"] for row in results] == [
        "logistic regression",
        "random forest",
        "label spreading, on 60 of 110 unlabelled rows",
        "self-training",
        "components + SVM",
        *(["gradient histograms + SVM"] if find_spec("skimage") else []),
        "augmented network",
        "supervised baseline",
    ]
    assert all(0 <= row["error"] <= 100 and row["seconds"] >= 0 for row in results)
    own = sorted(run.data.y[run.split.labelled])
    assert len(labels) == 6 and all(sorted(y[y != -1]) == own for y in labels)
    assert results[2]["error"] < 60, "label spreading on digits is far better than chance"


def test_compare_where_no_row_is_unlabelled_or_there_are_too_many(tmp_path):
    random = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = random.normal(size=(60, 3)) + 6 * y[:, None]
    np.savez(tmp_path / "table.npz", X=X[:40], y=y[:40], X_test=X[40:], y_test=y[40:])
    run = Run.create(tmp_path / "run", config_for("classifier", tmp_path / "table.npz", labels=None, batch_size=20))
    simple = [m for m in CLASSIFIERS if not m.is_ours and not m.images_only]
    results = compare(run, run.train(), methods=[replace(m, max_rows=30) for m in simple])
    assert [row["name"].split(", ")[1] for row in results] == ["on 30 of 40 labelled rows"] * 4
    few = Run.create(tmp_path / "few", config_for("classifier", tmp_path / "table.npz", labels=6, batch_size=20))
    results = compare(few, few.train(), methods=[replace(m, max_rows=6) for m in simple])
    notes = [row["name"].partition(", ")[2] for row in results]
    assert notes == ["", "", "on 0 of 34 unlabelled rows", "on 0 of 34 unlabelled rows"]
    assert all(row["error"] <= 50 for row in results)


def test_cross_fitted_errors_are_of_rows_that_the_models_did_not_see(digits, tmp_path, monkeypatch):
    run = Run.create(tmp_path / "run", config_for("classifier", digits, validation=0))
    trained = []
    fit = SemiSupervisedAAE.fit
    monkeypatch.setattr(SemiSupervisedAAE, "fit", lambda self, X, y: trained.append((X, y)) or fit(self, X, y))
    results = cross_fitted(run.config, run.data, run.split, run.estimator, n_folds=4)
    assert [row["name"] for row in results][0] == "SemiSupervisedAAE" and len(results) == 8 + (
        find_spec("skimage") is not None
    )
    n, n_labelled = len(run.split.unlabelled), len(run.split.labelled)
    assert len(trained) == 4 and sum(len(X) for X, _ in trained) == 4 * n - n_labelled
    assert sum((y != -1).sum() for _, y in trained) == 3 * n_labelled
    error = next(row["error"] for row in results if row["name"] == "random forest")
    assert 0 < error < 90 and (error * n_labelled / 100) == pytest.approx(round(error * n_labelled / 100))
    lone = Dataset("x", run.data.X[:3], np.array([0, 1, 1]))
    with pytest.raises(InputError, match="at least 2 labels of each class"):
        cross_fitted(run.config, lone, data.split(lone.y, None), run.estimator)


def test_compare_scales_tables(tmp_path):
    """A column in thousands must not decide everything for the methods that go by distance."""
    random = np.random.default_rng(0)
    y = np.arange(120) % 2
    X = random.normal(size=(120, 3)) + 6 * y[:, None]
    X[:, 0] = 1e4 * random.normal(size=120)
    np.savez(tmp_path / "table.npz", X=X[:80], y=y[:80], X_test=X[80:], y_test=y[80:])
    run = Run.create(tmp_path / "run", config_for("baseline", tmp_path / "table.npz", labels=20, batch_size=20))
    assert all(row["error"] < 10 for row in compare(run, run.train()))


@pytest.mark.parametrize("scale", [1, 255])
def test_rows_to_predict_may_be_floats(scale, digits, tmp_path):
    """Bytes and the same images as floats in [0, 1] are predicted alike, whichever was trained on."""
    with np.load(digits) as arrays:
        X, y = arrays["X"], arrays["y"]
    floats = (X / 255).astype(np.float32)
    np.savez(tmp_path / "set.npz", X=X if scale == 255 else floats, y=y)
    run = Run.create(tmp_path / "run", config_for("baseline", tmp_path / "set.npz"))
    estimator = run.train()
    answers = [estimator.predict_proba(heldout.to_training_units(estimator, rows)) for rows in (X, floats)]
    np.testing.assert_allclose(*answers, atol=1e-5)
    with pytest.raises(InputError, match="expected rows of shape"):
        heldout.to_training_units(estimator, X[:, :, :7])


# --- the life of a run -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("tried", [1, 2, 3])
def test_initialisations_are_resumed(tried, digits, tmp_path, monkeypatch):
    """A run that is killed after some of its starts goes on with the others, and gives the same numbers."""
    monkeypatch.setattr(_fitting, "MIN_TRIAL", 2)
    config = config_for("classifier", digits, n_init=3, dropout=0.1)
    whole = Run.create(tmp_path / "whole", config)
    whole.train()
    run, save = Run.create(tmp_path / "killed", config), Run.save_start

    def killed(self, values, best):
        save(self, values, best)
        if len(values) == tried:
            raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save_start", killed)
        with pytest.raises(RuntimeError, match="killed"):
            run.train()
    again = Run.open(run.path)
    assert len(again.starts()) == tried
    announced = []
    again.prepare = announced.append
    again.train()
    assert len([line for line in announced if "initialisation" in line]) == 3 - tried
    assert same(weights(again), weights(whole)) and not (again.path / "checkpoints").exists()


def test_a_run_exists_from_the_first_second(digits, tmp_path, monkeypatch):
    """Before its data are read; what was never trained can be resumed, and a refusal leaves nothing behind."""
    run = Run.create(tmp_path / "run", config_for("generator", digits))

    def stop(*_, **__):
        assert (run.path / "config.yaml").is_file()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("aaekit.runs.run.load_data", stop)
        with pytest.raises(KeyboardInterrupt, match="stopped before the first step; resume with: aae resume"):
            run.train()
    again = Run.open(run.path)
    again.train()
    assert again.complete and not (again.path / "checkpoints").exists()
    refused = Run.create(tmp_path / "refused", config_for("generator", digits, batch_size=1000))
    with pytest.raises(InputError, match="batch_size"):
        refused.train()
    assert not refused.path.exists()
