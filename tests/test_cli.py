"""The command line: what a newcomer types, and what they mistype."""

import csv
import errno
import json
import os
import re
import signal
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits, load_wine

from aaekit import data as datasets
from aaekit import systems
from aaekit.cli import app as cli
from aaekit.core import checkpoints
from aaekit.estimators._hyperparameters import hyperparameters_of
from aaekit.evaluation import heldout, predictions
from aaekit.plots import draw
from aaekit.runs.config import options_of
from aaekit.runs.run import Run

pytestmark = pytest.mark.usefixtures("no_figures", "few_trees")

TINY = ("--hidden", "16", "--backbone", "mlp", "--max-steps", "6", "--batch-size", "40")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small set of images, `some.npz`, and a classifier's and a generator's run on it."""
    folder = tmp_path_factory.mktemp("cli")
    X, y = load_digits(return_X_y=True)
    X = (255 / 16 * X).astype(np.uint8).reshape(-1, 1, 8, 8)
    names = [f"digit {k}" for k in range(10)]
    np.savez(folder / "some.npz", X=X[:150], y=y[:150], X_test=X[150:200], y_test=y[150:200], classes=names)
    np.save(folder / "rows.npy", X[200:220])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "draw_all", lambda *_, **__: {})
        for system in ("classifier", "generator", "baseline"):
            arguments = ["train", system, "--data", folder / "some.npz", "--out", folder / system, *TINY, "--quiet"]
            with pytest.raises(SystemExit) as stop:
                cli.main([str(a) for a in arguments] + (["--labels", "40"] if system != "generator" else []))
            assert stop.value.code == 0
    return folder


# --- help ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("system", list(systems.SYSTEMS))
def test_help_lists_every_parameter(system, aae, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = aae("train", system, "--help")
    assert code == 0
    for name, h in hyperparameters_of(systems.find(system).load()).items():
        offered = f"--{name.replace('_', '-')} " in out
        assert offered == (h.from_text and name != "verbose"), name
        assert not offered or (h.description.split()[0] in out and f"─ {h.group} ─" in out), name


@pytest.mark.parametrize("command", ["train", "resume", "evaluate", "predict", "sample", "reconstruct", "data"])
def test_help_names_every_command(command, aae):
    assert command in aae("--help")[1]
    assert aae(command, "--help")[0] == 0


# --- configuration ---------------------------------------------------------------------------------------------------
def test_print_config_is_accepted_back(aae, tmp_path):
    code, out, _ = aae(
        "train", "classifier", "--hidden", "20,10", "--labels", "30", "--no-batch-norm", "--print-config"
    )
    assert code == 0 and set(yaml.safe_load(out)) == set(options_of("classifier"))
    (tmp_path / "c.yaml").write_text(out)
    again = aae("train", "classifier", "--config", tmp_path / "c.yaml", "--print-config")[1]
    assert again == out and "hidden: [20, 10]" in out and "batch_norm: false" in out


def test_command_line_goes_on_top(aae, tmp_path):
    (tmp_path / "c.yaml").write_text("labels: 30\nema_decay: 0.3\nlearning_rate: 1e-4\n")
    config = yaml.safe_load(
        aae("train", "classifier", "--config", tmp_path / "c.yaml", "--labels", "40", "--print-config")[1]
    )
    assert (config["labels"], config["ema_decay"], config["learning_rate"]) == (40, 0.3, 1e-4)


# --- train, evaluate, use --------------------------------------------------------------------------------------------
def test_train_prints_results(folder, tmp_path, aae):
    out = tmp_path / "run"
    code, text, err = aae(
        "train", "classifier", "--data", folder / "some.npz", "--labels", 40, "--out", out, *TINY, "--compare"
    )
    assert code == 0 and (out / "report.html").is_file()
    for words in (
        "SemiSupervisedAAE",
        "supervised baseline",
        "label spreading",
        "self-training",
        "error (%)",
        str(out),
    ):
        assert words in text.replace("\n", "")
    assert any("step 6 of 6 (100 %)" in line for line in err)
    assert len(json.loads((out / "results.json").read_text())["comparison"]) == (8 if find_spec("skimage") else 7)


def test_evaluate(folder, aae):
    code, text, _ = aae("evaluate", folder / "generator")
    assert code == 0 and "mean squared error" in text
    code, text, _ = aae("evaluate", folder / "classifier", "--data", folder / "some.npz")
    shown = json.loads((folder / "classifier" / "results.json").read_text())["error"]
    assert code == 0 and f"{shown:.2f}" in text and "50 test rows" in text


def test_methods_are_compared_on_other_rows(folder, aae):
    code, text, err = aae("evaluate", folder / "classifier", "--data", folder / "some.npz", "--compare")
    assert code == 0 and "random forest" in text and "50 test rows" in text, err
    code, _, err = aae("evaluate", folder / "generator", "--data", folder / "some.npz", "--compare")
    assert code == 2 and "--compare: expected a classifier" in err[0]


TABLE = [f"{x},{10 * x % 7},{'ab'[x > 20]}" for x in range(40)]


@pytest.mark.parametrize("header", ["x,z,y", "z,x,y"])
def test_test_rows_may_be_in_another_file(header, tmp_path, aae):
    """Their columns in any order; they are neither trained on nor forgotten when the run is opened again."""
    train, test, out = tmp_path / "train.csv", tmp_path / "test.csv", tmp_path / "run"
    train.write_text("\n".join(["x,z,y", *TABLE]) + "\n")
    lines = [line if header[0] == "x" else ",".join(line.split(",")[k] for k in (1, 0, 2)) for line in TABLE[::3]]
    test.write_text("\n".join([header, *lines]) + "\n")
    code, text, err = aae("train", "classifier", "--data", train, "--test", test, *TINY, "--compare", "--out", out)
    assert code == 0 and "Error on 14 test rows" in text and "label spreading" in text, err
    run = Run.open(out)
    assert run.data.X.shape == (40, 2) and run.held_out.name == "test"
    np.testing.assert_allclose(run.held_out.X, run.data.X[::3])
    assert aae("evaluate", out, "--no-compare")[0] == 0
    assert aae("evaluate", out, "--data", test, "--compare")[0] == 0


@pytest.mark.parametrize(
    ("lines", "words"),
    [(["x,z", "1,2"], "expected labels of the test rows"), (["x,y", "1,a"], "z"), (["x,z,y", "1,2,c"], "got c")],
)
def test_test_rows_that_do_not_fit_are_refused(lines, words, tmp_path, aae):
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("\n".join(["x,z,y", *TABLE]) + "\n")
    test.write_text("\n".join(lines) + "\n")
    code, _, err = aae("train", "classifier", "--data", train, "--test", test, "--out", tmp_path / "run")
    assert code == 2 and words in err[-1] and not (tmp_path / "run").exists()


def test_few_labels_are_compared_by_cross_fitting(tmp_path, aae):
    train, out = tmp_path / "train.csv", tmp_path / "run"
    few = [line if k % 2 else line[:-1] for k, line in enumerate(TABLE)]
    train.write_text("\n".join(["x,z,y", *few]) + "\n")
    code, text, err = aae("train", "classifier", "--data", train, *TINY, "--batch-size", 20, "--out", out)
    assert code == 0 and "error (%)" not in text and f"aae evaluate {out} --compare" in err[-1]
    assert aae("evaluate", out)[2] and "comparison" not in json.loads((out / "results.json").read_text())
    code, text, err = aae("evaluate", out, "--compare")
    results = json.loads((out / "results.json").read_text())
    assert code == 0 and "Error, cross-fitted on 20 labelled rows" in text, err
    assert [row["name"] for row in results["comparison"]][0] == "SemiSupervisedAAE" and len(results["comparison"]) == 6
    assert "cross-fitted on 20 labelled rows" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("system", ["classifier", "baseline"])
def test_predict(system, folder, tmp_path, aae):
    code, text, _ = aae("predict", folder / system, folder / "rows.npy", "--out", tmp_path / "p.csv")
    assert code == 0 and "20 rows" in text
    with open(tmp_path / "p.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["row", "class", *(f"p(digit {k})" for k in range(10))]
    p = np.array([[float(row[f"p(digit {k})"]) for k in range(10)] for row in rows])
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
    estimator = Run.open(folder / system).fitted()
    assert [row["class"] for row in rows] == [f"digit {k}" for k in estimator.predict(np.load(folder / "rows.npy"))]


@pytest.mark.parametrize(
    ("system", "options", "shape"),
    [("generator", ["--n", "7"], (7, 1, 8, 8)), ("classifier", ["--n", "3", "--label", "digit 4"], (3, 1, 8, 8))],
)
def test_sample_rows(system, options, shape, folder, tmp_path, aae):
    arrays = []
    for seed in (1, 1, 2):
        assert aae("sample", folder / system, *options, "--random-state", seed, "--out", tmp_path / "s.npy")[0] == 0
        arrays.append(np.load(tmp_path / "s.npy", allow_pickle=False))
    assert arrays[0].shape == shape and 0 <= arrays[0].min() <= arrays[0].max() <= 1
    assert np.array_equal(arrays[0], arrays[1]) and not np.array_equal(arrays[0], arrays[2])


def test_label_decides_the_class(folder, tmp_path, aae):
    estimator = Run.open(folder / "classifier").fitted()
    _, _, err = aae("sample", folder / "classifier", "--label", "4", "--n", 5, "--out", tmp_path / "s.npy")
    assert "for rows that show their class train with --style-matching per_class" in err[-1]
    assert not aae("sample", folder / "classifier", "--n", 5, "--out", tmp_path / "t.npy")[2]
    assert np.allclose(np.load(tmp_path / "s.npy"), estimator.sample(5, random_state=0, label=4))


@pytest.mark.filterwarnings("ignore:expected .* clusters, got")
def test_a_cluster_is_sampled_by_its_name_or_its_number(folder, tmp_path, aae):
    run, made = tmp_path / "run", tmp_path / "s.npy"
    aae("train", "clusters", "--data", folder / "some.npz", "--n-clusters", 4, "--out", run, *TINY, "--quiet")
    code, _, err = aae("name", run, "2=two", "2=seven")
    assert code == 2 and err == ["error: expected one name of cluster 2, got two and seven: give one"]
    said = aae("name", run, "2=two")[1].strip()
    assert said == "1 of 4 clusters have names: two; rows of the other clusters get the likeliest of these"
    estimator = Run.open(run).fitted()
    for label, cluster in (("two", 2), ("2", 2), ("3", 3)):
        assert aae("sample", run, "--label", label, "--n", 5, "--out", made)[0] == 0
        assert np.allclose(np.load(made), estimator.sample(5, random_state=0, label=cluster))
        made.unlink()
    code, _, err = aae("sample", run, "--label", "4", "--n", 5, "--out", made)
    assert code == 2 and err == ["error: --label: expected one of two, or a cluster from 0 to 3, got 4"]


@pytest.mark.parametrize(
    "line",
    [
        "sample classifier --grid",
        "sample generator --grid",
        "sample generator",
        "reconstruct generator",
        "reconstruct classifier",
    ],
)
def test_pictures(line, folder, tmp_path, aae):
    command, run, *options = line.split()
    code, _, _ = aae(command, folder / run, *options, "--out", tmp_path / "new" / "x.png")
    assert code == 0 and (tmp_path / "new" / "x.png").read_bytes().startswith(b"\x89PNG")


def test_reconstruct_rows(folder, tmp_path, aae):
    assert aae("reconstruct", folder / "generator", "--n", 4, "--out", tmp_path / "r.npy")[0] == 0
    assert np.load(tmp_path / "r.npy").shape == (4, 1, 8, 8)


# --- data ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("condition", ["class", "domain", "domain,class"])
def test_translate_rows(condition, folder, tmp_path, aae):
    """Into another class, or another domain; told both, each row keeps its class."""
    some = np.load(folder / "some.npz")
    rows = {k: some[k] for k in ("X", "y", "X_test", "y_test", "classes")}
    np.savez(tmp_path / "dark.npz", **rows | {"X": 255 - rows["X"], "X_test": 255 - rows["X_test"]})
    data = f"{folder / 'some.npz'}+{tmp_path / 'dark.npz'}" if condition != "class" else folder / "some.npz"
    run, to = tmp_path / "run", "digit 3" if condition == "class" else "dark"
    options = ["--condition", condition, *TINY, "--max-steps", "60", "--quiet", "--out", run]
    assert aae("train", "style", "--data", data, *options)[0] == 0
    arguments = ["translate", run, "--to", to, "--data", folder / "some.npz", "--n", "7", "--out", tmp_path / "t.npy"]
    code, out, err = aae(*arguments)
    assert code == 0 and err == []
    made = np.load(tmp_path / "t.npy")
    assert made.shape == (7, 1, 8, 8)
    model, X = Run.open(run).fitted(), rows["X_test"][:7]
    k = 3 if condition == "class" else 1
    labels = np.column_stack([np.full(7, k), rows["y_test"][:7]]) if condition == "domain,class" else k
    np.testing.assert_array_equal(made, heldout.as_samples(model, model.translate(X, labels)))
    code, _, err = aae("translate", run, "--to", to, "--data", folder / "rows.npy", "--out", tmp_path / "t.png")
    if condition == "domain,class":
        assert code == 2 and "expected rows with labels" in err[-1] and not (tmp_path / "t.png").exists()
        assert aae("sample", run, "--label", "dark,digit 3", "--n", 5, "--out", tmp_path / "s.npy")[0] == 0
        np.testing.assert_array_equal(
            np.load(tmp_path / "s.npy"), heldout.as_samples(model, model.sample(5, 0, label=(1, 3)))
        )
        code, _, err = aae("sample", run, "--label", "dark", "--n", 5, "--out", tmp_path / "s.npy")
        assert code == 2 and "expected DOMAIN,CLASS, for instance some,digit 0" in err[0]
    else:
        assert code == 0 and (tmp_path / "t.png").exists()


def test_a_classifier_whose_style_tells_the_class_says_so(folder, tmp_path, aae):
    code, _, err = aae("translate", folder / "classifier", "--to", "digit 3", "--n", "2", "--out", tmp_path / "t.npy")
    assert code == 0 and len(err) == 1 and "--style-matching per_class" in err[0]


def test_a_classifier_translates_too(folder, tmp_path, aae):
    run, data = tmp_path / "run", folder / "some.npz"
    options = ["--labels", "50", "--style-matching", "per_class", *TINY, "--max-steps", "20", "--quiet", "--out", run]
    assert aae("train", "classifier", "--data", data, *options)[0] == 0
    code, _, err = aae("translate", run, "--to", "digit 3", "--n", "7", "--out", tmp_path / "t.npy")
    assert code == 0 and err == []
    model, X = Run.open(run).fitted(), np.load(data)["X_test"][:7]
    np.testing.assert_array_equal(np.load(tmp_path / "t.npy"), heldout.as_samples(model, model.translate(X, 3)))
    code, _, err = aae("translate", folder / "generator", "--to", "digit 3", "--out", tmp_path / "u.npy")
    assert (
        code == 2
        and "expected a style model or a classifier, got a generator" in err[-1]
        and not (tmp_path / "u.npy").exists()
    )


def test_data(tmp_path, aae):
    assert "mnist" in aae("data", "list")[1] and "scikit-learn" in aae("data", "info", "digits")[1]
    code, text, _ = aae("data", "prepare", "digits", "--out", tmp_path, "--labels", 50)
    assert code == 0 and text.split() == [str(tmp_path / "digits.npz"), str(tmp_path / "digits-split.npz")]
    assert "rows:" in aae("data", "info", tmp_path / "digits.npz")[1]
    (tmp_path / "digits.npz").rename(tmp_path / "mine.npz")
    code, text, _ = aae("data", "info", f"digits+{tmp_path / 'mine.npz'}")
    assert code == 0 and "rows:        2594" in text


def test_flat_rows_are_images_where_the_run_says_so(folder, tmp_path, aae):
    """Bytes stay bytes, pictures are drawn of them, and other flat rows are taken in the same way."""
    some = dict(np.load(folder / "some.npz"))
    np.savez(tmp_path / "flat.npz", X=some["X"].reshape(150, 64), y=some["y"], classes=some["classes"])
    for name, data, more in (("image", folder / "some.npz", ()), ("flat", tmp_path / "flat.npz", ("1,8,8",))):
        options = [*TINY, "--quiet", "--out", tmp_path / name, *(["--image-shape", *more] if more else [])]
        assert aae("train", "generator", "--data", data, *options)[0] == 0
    with open(tmp_path / "flat" / "data.json") as file:
        facts = json.load(file)
    assert facts["dtype"] == "uint8" and facts["shape"] == [1, 8, 8]
    made = []
    for name, data in (("image", folder / "some.npz"), ("flat", tmp_path / "flat.npz")):
        arguments = ["reconstruct", tmp_path / name, "--data", data, "--n", 3, "--out", tmp_path / f"{name}.npy"]
        assert aae(*arguments)[0] == 0
        made.append(np.load(tmp_path / f"{name}.npy"))
    assert made[1].shape == (3, 1, 8, 8) and made[1].max() <= 1
    arguments = ["reconstruct", tmp_path / "image", "--data", tmp_path / "flat.npz", "--n", 3]
    assert aae(*arguments, "--out", tmp_path / "other.npy")[0] == 0
    same = Run.open(tmp_path / "image").fitted().reconstruct(some["X"][:3])
    np.testing.assert_allclose(np.load(tmp_path / "other.npy"), same, atol=1e-6)


def test_rows_in_other_units_are_noticed(folder, tmp_path, aae):
    X = np.load(folder / "some.npz")["X"].reshape(150, 64) / np.float32(255)
    np.savez(tmp_path / "unit.npz", X=X, y=np.load(folder / "some.npz")["y"])
    np.save(tmp_path / "other.npy", 16 * X)
    np.save(tmp_path / "same.npy", X[:20])
    assert aae("train", "baseline", "--data", tmp_path / "unit.npz", *TINY, "--quiet", "--out", tmp_path / "r")[0] == 0
    for name, said in (("other", True), ("same", False)):
        code, _, err = aae("predict", tmp_path / "r", tmp_path / f"{name}.npy", "--out", tmp_path / "p.csv")
        assert (
            code == 0 and [("note: " in line and "expected values as in fit" in line) for line in err] == [True] * said
        )


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_table_from_training_to_prediction(tmp_path, aae):
    """Other files have their columns elsewhere, more or fewer of them, and labels in another order."""
    table = load_wine(as_frame=True).frame
    table["target"] = np.array(["barolo", "grignolino", "barbera"])[table.target]
    table["colour"], table["no"] = np.where(table.hue > 1, "light", "dark"), [f"W{k}" for k in range(len(table))]
    table = table.rename(columns={"target": "grape"}).sample(frac=1, random_state=0)
    table.assign(grape=table.grape.where(np.arange(178) < 60)).to_csv(tmp_path / "wine.csv", index=False)
    run, options = tmp_path / "run", ("--data-options", "target=grape,drop=no")
    arguments = ["train", "classifier", "--data", tmp_path / "wine.csv", *options, "--hidden", 32, "--max-steps", 150]
    assert aae(*arguments, "--quiet", "--out", run)[0] == 0
    assert Run.open(run).labels == ["barbera", "barolo", "grignolino"]
    assert "the error is unknown" in aae("evaluate", run)[2][0]
    table[::-1].drop(columns="no").to_csv(tmp_path / "all.csv", index=False)
    code, said, _ = aae("evaluate", run, "--data", tmp_path / "all.csv")
    error = float(re.search(r"this run\) +│ +([\d.]+)", said)[1])
    assert code == 0 and error < 12 and "Error on 178 given rows" in said
    assert "Error on 60 labelled of 178 given rows" in aae("evaluate", run, "--data", tmp_path / "wine.csv")[1]
    later = table.drop(columns=["grape", "no"])[table.columns[::-1].drop(["grape", "no"])]
    later.to_csv(tmp_path / "later.csv", index=False, sep=";", decimal=",")
    assert aae("predict", run, tmp_path / "later.csv", "--out", tmp_path / "p.csv")[0] == 0
    found = read_csv(tmp_path / "p.csv")
    assert np.mean([line["class"] != grape for line, grape in zip(found, table.grape, strict=True)]) == pytest.approx(
        error / 100, abs=1e-4
    )
    assert aae("data", "prepare", tmp_path / "wine.csv", *options, "--out", tmp_path / "prepared")[0] == 0
    said = aae("data", "info", tmp_path / "wine.csv", *options)[1]
    assert "unlabelled:  118 rows" in said and "dark, light" in said and re.search(r"barolo \d+", said)
    assert aae("predict", run, tmp_path / "prepared" / "wine.npz", "--out", tmp_path / "q.csv")[0] == 0
    assert read_csv(tmp_path / "q.csv") == found
    table.drop(columns="hue").to_csv(tmp_path / "fewer.csv", index=False)
    assert aae("sample", run, "--n", 30, "--label", "barolo", "--out", tmp_path / "made.csv")[0] == 0
    assert aae("reconstruct", run, "--n", 30, "--out", tmp_path / "again.csv")[0] == 0
    columns = list(table.columns.drop(["grape", "no"]))
    assert list(read_csv(tmp_path / "made.csv")[0]) == list(read_csv(tmp_path / "again.csv")[0]) == columns
    assert {line["colour"] for line in read_csv(tmp_path / "made.csv")} <= {"light", "dark"}
    assert aae("predict", run, tmp_path / "made.csv", "--out", tmp_path / "m.csv")[0] == 0
    assert len(read_csv(tmp_path / "m.csv")) == 30
    code, _, err = aae("sample", run, "--out", tmp_path / "made.txt")
    assert code == 2 and "ends in .png, .npy or, for a table, .csv" in err[0]
    before, later.loc[later.index[:2], "ash"] = later.copy(), np.nan
    later.to_csv(tmp_path / "gaps.csv", index=False)
    before.loc[later.index[:2], "ash"] = table.ash.median()
    before.to_csv(tmp_path / "full.csv", index=False)
    code, _, err = aae("predict", run, tmp_path / "gaps.csv", "--out", tmp_path / "g.csv")
    assert code == 0 and "note: " in err[0] and "ash (2 empty)" in err[0]
    assert aae("predict", run, tmp_path / "full.csv", "--out", tmp_path / "f.csv")[0] == 0
    assert read_csv(tmp_path / "g.csv") == read_csv(tmp_path / "f.csv") != found
    code, _, err = aae("predict", run, tmp_path / "fewer.csv")
    assert code == 2 and "hue" in err[0]


def test_a_folder_of_images_from_training_to_prediction(tmp_path, aae):
    """Images of another size and colour, and subfolders that are no classes, are taken as those of the training."""
    X, y = load_digits(return_X_y=True)
    X = (255 / 16 * X).astype(np.uint8).reshape(-1, 8, 8)
    for k in range(150):
        place = tmp_path / "digits-of-mine" / (f"digit {y[k]}" if k < 100 else "unlabelled") / f"{k:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(X[k]).save(place)
    run, later = tmp_path / "run", tmp_path / "later" / "today"
    arguments = ["train", "classifier", "--data", tmp_path / "digits-of-mine", *TINY, "--quiet", "--out", run]
    assert aae(*arguments)[0] == 0
    later.mkdir(parents=True)
    for k in range(150, 170):
        Image.fromarray(X[k]).convert("RGB").resize((16, 16), Image.Resampling.NEAREST).save(later / f"{k}.png")
    assert aae("predict", run, tmp_path / "later", "--out", tmp_path / "p.csv")[0] == 0
    found, model = read_csv(tmp_path / "p.csv"), Run.open(run).fitted()
    assert [line["file"] for line in found] == [f"today/{k}.png" for k in range(150, 170)]
    known = datasets.load(tmp_path / "digits-of-mine")
    assert known.X.shape == (150, 1, 8, 8) and set(known.y[-50:]) == {-1}
    for k in (150, 151):
        Image.fromarray(X[k]).save(later / f"{k}.png")
    assert aae("predict", run, tmp_path / "later", "--out", tmp_path / "p.csv")[0] == 0
    p = model.predict_proba(X[150:152, None])
    names = [f"digit {k}" for k in range(10)]
    told = [[float(line[f"p({name})"]) for name in names] for line in read_csv(tmp_path / "p.csv")[:2]]
    np.testing.assert_allclose(told, p, atol=1e-5)
    code, _, err = aae("evaluate", run, "--data", tmp_path / "later")
    assert code == 2 and "today" in err[0]


# --- mistakes --------------------------------------------------------------------------------------------------------
X, y = np.random.default_rng(0).random((30, 4)), np.arange(30) % 3
BAD_FILES = {
    "nan": dict(X=np.where(X > 0.9, np.nan, X), y=y),
    "infinite": dict(X=np.where(X > 0.9, np.inf, X), y=y),
    "flat": dict(X=X[:, 0], y=y),
    "words": dict(X=X.astype(str), y=y),
    "short": dict(X=X, y=y[:20]),
    "fractions": dict(X=X, y=y / 2),
    "beyond": dict(X=X, y=y, classes=["a", "b"]),
    "single": dict(X=X, y=0 * y),
    "unlabelled": dict(X=X, y=0 * y - 1),
    "no-labels": dict(X=X),
    "good": dict(X=X, y=y),
    "gaps": dict(X=X, y=20_000 + 10_000 * (y % 2)),
}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("trian", ["'trian'", "'train'"]),
        ("train clasifier", ["'clasifier'", "'classifier'"]),
        ("train classifier --max-epoch 3", ["--max-epoch", "--max-epochs"]),
        ("train classifier --hiden 3", ["--hiden", "--hidden"]),
        ("train generator --data good.npz", ["--out"]),
        ("train classifier --data minst --out new", ["'minst'", "'mnist'"]),
        ("train classifier --data missing.npz --out new", ["missing.npz", "no such file"]),
        ("train classifier --data truncated.npz --out new", ["truncated.npz"]),
        ("train classifier --data mnist --data-dir damaged --out new", ["train-images", "checksum"]),
        ("train classifier --data nan.npz --out new", ["X", "finite", "NaN"]),
        ("train classifier --data infinite.npz --out new", ["finite", "infinite"]),
        ("train classifier --data flat.npz --out new", ["shape (30,)"]),
        ("train classifier --data words.npz --out new", ["dtype <U"]),
        ("train classifier --data short.npz --out new", ["one label per row", "(20,)"]),
        ("train classifier --data fractions.npz --out new", ["integer labels", "float64"]),
        ("train classifier --data beyond.npz --out new", ["-1..1", "2"]),
        ("train classifier --data single.npz --out new", ["2 classes", "got 1"]),
        ("train classifier --data unlabelled.npz --out new", ["-1 (unlabelled)", "all 30 rows"]),
        ("train classifier --data no-labels.npz --out new", ["expected labels y", "got none"]),
        ("train classifier --data good.npz --labels 2 --out new", ["labels", "3", "2"]),
        ("train classifier --data good.npz --labels 31 --out new", ["labels", "30", "31"]),
        ("train generator --data good.npz --validation 30 --out new", ["validation", "27", "30"]),
        ("train generator --data good.npz --batch-size 31 --out new", ["batch_size", "31", "30 rows"]),
        ("train generator --batch-size 0 --out new", ["batch_size", "greater than or equal to 2", "0"]),
        ("train generator --divergence gann --out new", ["divergence", "'gann'", "'gan'"]),
        ("train generator --data good.npz --image-shape 1,3,3 --out new", ["(4,)", "(1, 3, 3)"]),
        ("train generator --hidden 10,x --out new", ["'auto' or whole numbers", "'x'"]),
        ("train generator --image-shape 1,x,8 --out new", ["expected whole numbers", "'x'"]),
        ("train generator --data junk.npz --out new", ["junk.npz", "plain arrays", "damaged one"]),
        ("resume stopped --compare", ["got a generator", "classifier or pretrained or baseline"]),
        ("train generator --data-options x --out new", ["name=value", "'x'"]),
        ("train generator --data-options x=[ --out new", ["expected YAML", "'x=['"]),
        ("train generator --data-options target=a,target=b --out new", ["target once"]),
        ("train generator --data full --out new", ["full", "expected images"]),
        ("data info {runs}/rows.npy --data-options target=a", ["rows.npy", "option", "'target'"]),
        ("train generator --random-state 5000000000 --out new", ["random_state", "5000000000", "4294967295"]),
        (
            "train generator --data {runs}/rows.npy --data-options memory_limit_bytes=1GB --out new",
            ["1GB", "whole number"],
        ),
        ("train generator --data gaps.npz --out new", ["2 labels up to 30000", "numpy.unique"]),
        ("sample {runs}/generator --random-state 5000000000", ["--random-state", "4294967295"]),
        ("train generator --config misspelt.yaml --out new", ["misspelt.yaml", "'max_epoch'", "'max_epochs'"]),
        ("train generator --config classifier.yaml --out new", ["classifier.yaml", "aae train classifier"]),
        ("train generator --config broken.yaml --out new", ["broken.yaml", "YAML"]),
        ("train generator --config list.yaml --out new", ["list.yaml", "name: value"]),
        ("train generator --config none.yaml --out new", ["none.yaml", "can be read"]),
        ("train generator --data good.npz --out full", ["full, which exists", "choose another"]),
        (
            "train generator --data good.npz --out good.npz/run --max-steps 2",
            ["good.npz/run", "below the file", "choose another"],
        ),
        ("resume full", ["full", "expected a run directory", "config.yaml"]),
        ("resume none", ["none", "got no directory"]),
        ("resume {runs}/classifier", ["is complete"]),
        ("evaluate none", ["none", "expected a run directory"]),
        ("evaluate stopped", ["aae resume"]),
        ("evaluate damaged-run", ["model.safetensors", "damaged"]),
        ("predict {runs}/generator {runs}/rows.npy", ["AdversarialAutoencoder", "classifier"]),
        ("predict {runs}/classifier good.npz", ["(1, 8, 8)", "(4,)"]),
        ("sample {runs}/baseline", ["no decoder"]),
        ("sample {runs}/generator --label 3", ["knows no classes"]),
        ("sample {runs}/classifier --label 12", ["12", "digit 9"]),
        ("sample {runs}/classifier --grid --label 3", ["--grid"]),
        ("sample {runs}/generator --out good.npz/x.png", ["good.npz", "below the file"]),
        ("sample {runs}/classifier --out x.jpg", ["x.jpg", ".png, .npy"]),
        ("reconstruct {runs}/baseline", ["no decoder"]),
        ("data info minst", ["'minst'", "'mnist'"]),
        ("data prepare digits --labels 3", ["labels", "10", "3"]),
        ("data lst", ["'lst'", "'list'"]),
    ],
)
def test_one_line_says_what_is_wrong(line, words, folder, tmp_path, monkeypatch, aae):
    monkeypatch.chdir(tmp_path)
    for name in ("full", "stopped", "damaged", "damaged-run"):
        Path(name).mkdir()
    for name, arrays in BAD_FILES.items():
        if f"{name}.npz" in line:
            np.savez(f"{name}.npz", **arrays)
    Path("full/file").write_text("x")
    Path("truncated.npz").write_bytes((folder / "some.npz").read_bytes()[:3000])
    Path("damaged/train-images-idx3-ubyte.gz").write_bytes(b"x")
    Path("junk.npz").write_bytes(b"junk")
    Path("misspelt.yaml").write_text("max_epoch: 3")
    Path("classifier.yaml").write_text("system: classifier")
    Path("broken.yaml").write_text("hidden: [3")
    Path("list.yaml").write_text("- hidden")
    for name in ("stopped", "damaged-run"):
        Path(name, "config.yaml").write_text("system: generator")
    Path("damaged-run/model.safetensors").write_bytes(b"x" * 100)
    code, out, err = aae(*line.format(runs=folder).split())
    assert code == 2 and not out and len(err) == 1 and err[0].startswith("error: ")
    for word in words:
        assert word in err[0]
    assert "allow_pickle" not in err[0]
    assert not Path("new").exists(), "a run that cannot start leaves no directory"


def test_all_mistakes_at_once(aae, tmp_path):
    code, _, err = aae("train", "generator", "--learning-rate", 20, "--hidden", "x", "--out", tmp_path / "new")
    assert code == 2 and len(err) == 2 and {line[:12] for line in err} == {"error: hidde", "error: learn"}


def test_full_disk(folder, tmp_path, monkeypatch, aae):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    arguments = ["train", "generator", "--data", folder / "some.npz", "--quiet", *TINY]
    monkeypatch.setattr(checkpoints, "save_file", full)
    code, _, err = aae(*arguments, "--out", tmp_path / "a")
    assert code == 2 and len(err) == 1 and "the disk is full" in err[0]
    assert f"then go on with: aae resume {tmp_path / 'a'}" in err[0]
    monkeypatch.undo()
    monkeypatch.setattr(Run, "log", full)  # what is written without a temporary name
    code, _, err = aae(*arguments, "--out", tmp_path / "b")
    assert code == 2 and len(err) == 1 and "the disk is full" in err[0]
    assert "then go on with: the same command" in err[0] and not (tmp_path / "b").exists()


def test_ctrl_c_outside_of_a_training(folder, tmp_path, monkeypatch, aae):
    def press(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(predictions, "to_training_units", press)
    code, out, err = aae("predict", folder / "classifier", folder / "rows.npy", "--out", tmp_path / "p.csv")
    assert code == 130 and not out and err == ["stopped"] and not (tmp_path / "p.csv").exists()


def test_a_resumed_run_is_compared_on_request(folder, tmp_path, monkeypatch, aae):
    def press(*_):
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "epoch", press)
        options = [*TINY, "--labels", "40", "--quiet", "--compare", "--out", tmp_path / "r"]
        code, _, err = aae("train", "classifier", "--data", folder / "some.npz", *options)
    assert code == 130 and err[0].endswith(f"resume with: aae resume {tmp_path / 'r'} --compare")
    assert aae("resume", tmp_path / "r", "--compare", "--quiet")[0] == 0
    assert "comparison" in json.loads((tmp_path / "r" / "results.json").read_text())


def test_ctrl_c_and_resume(folder, tmp_path, aae):
    out = tmp_path / "run"
    log = out / "log.txt"

    def press():
        while not log.exists() or "started" not in log.read_text():
            time.sleep(0.01)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    long = ["--max-steps", 100_000, "--hidden", "16", "--backbone", "mlp"]
    code, _, err = aae("train", "generator", "--data", folder / "some.npz", "--out", out, "--quiet", *long)
    thread.join()
    assert code == 130 and len(err) == 1
    assert err[0].startswith("stopped at step ") and err[0].endswith(f"of 100000; resume with: aae resume {out}")
    reached = int(err[0].split()[3])
    config = out / "config.yaml"
    config.write_text(config.read_text().replace("max_steps: 100000", f"max_steps: {reached + 3}"))
    assert aae("resume", out, "--quiet")[0] == 0
    assert json.loads((out / "results.json").read_text())["n_steps"] == reached + 3
