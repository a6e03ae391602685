"""`aae label`: questions, answers in a CSV file, training, and the same session in later calls."""

import csv

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import make_blobs

from aaekit import data

pytestmark = pytest.mark.usefixtures("few_trees")

rng = np.random.default_rng(0)


@pytest.fixture
def blobs(tmp_path):
    X, y = make_blobs(320, 6, centers=4, cluster_std=1.0, random_state=3)
    np.savez(tmp_path / "mine.npz", X=X[:300].astype(np.float32), X_test=X[300:].astype(np.float32))
    return tmp_path / "mine.npz", np.array(["red", "green", "blue", "-1"])[y]


def lines(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def answer(path, names, delimiter=","):
    asked = lines(path)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(
            [["row", "label"], *([a["row"], names[int(a["row"])]] for a in asked)]
        )
    return [int(a["row"]) for a in asked]


def test_a_table_is_labelled_in_two_rounds(aae, blobs, tmp_path):
    """Text labels, a new process for each call, other rows in the end; few questions make nearly all rows right."""
    path, names = blobs
    folder = tmp_path / "session"
    code, said, _ = aae("label", "ask", folder, "--data", path, "-n", 6, "--clusters", 6, "--max-steps", 300, "--quiet")
    assert code == 0 and f"fill in the labels in {folder / 'questions-1.csv'}" in said
    asked = lines(folder / "questions-1.csv")
    assert len(asked) == 6 and all(a["label"] == "" for a in asked)
    X = data.load(path).X
    assert float(asked[0]["x3"]) == pytest.approx(X[int(asked[0]["row"]), 2], rel=1e-5)
    first = answer(folder / "questions-1.csv", names)
    assert aae("label", "tell", folder, "--quiet")[0] == 0
    written = (folder / "model.safetensors").read_bytes(), (folder / "labels.csv").read_bytes()
    assert aae("label", "tell", folder, "--quiet")[0] == 0, "as a command that was interrupted is given again"
    assert written == ((folder / "model.safetensors").read_bytes(), (folder / "labels.csv").read_bytes())
    aae("label", "ask", folder, "-n", 4, "--quiet")
    second = answer(folder / "questions-2.csv", names, ";")
    assert len(set(first + second)) == 10
    code, said, _ = aae("label", "tell", folder, folder / "questions-2.csv", "--quiet")
    assert code == 0 and "10 labels" in said
    found = lines(folder / "labels.csv")
    assert [int(line["row"]) for line in found] == list(range(300))
    assert np.mean([line["label"] == names[k] for k, line in enumerate(found)]) > 0.95
    assert {int(line["row"]) for line in found if line["answered"]} == set(first + second)
    assert all(0 <= float(line["probability"]) <= 1 for line in found)
    assert aae("label", "predict", folder, path, "--out", tmp_path / "p.csv")[0] == 0
    others = lines(tmp_path / "p.csv")
    assert len(others) == 20 and np.mean([line["label"] == names[300 + k] for k, line in enumerate(others)]) > 0.9


def test_columns_and_files_keep_their_names(aae, blobs, tmp_path):
    """A table with named columns, then a folder of images: in what is asked, and in what is said of all rows."""
    X, names = data.load(blobs[0]).X, blobs[1]
    quick = ["-n", 4, "--clusters", 4, "--max-steps", 20, "--quiet"]
    table = pd.DataFrame(X, columns=list("abcdef")).assign(kind="x", no=range(300))
    table.to_csv(tmp_path / "t.csv", index=False)
    options = ("--data-options", "drop=no,drop=kind")
    assert aae("label", "ask", tmp_path / "s", "--data", tmp_path / "t.csv", *options, *quick)[0] == 0
    asked = lines(tmp_path / "s" / "questions-1.csv")
    assert list(asked[0]) == ["row", "label", *"abcdef"]
    for number, line in enumerate(asked):  # two kinds at least, whatever they are
        names[int(line["row"])] = f"k{number % 2}"
    answer(tmp_path / "s" / "questions-1.csv", names)
    assert aae("label", "tell", tmp_path / "s", "--quiet")[0] == 0
    table[["f", "e", "d", "c", "b", "a"]].to_csv(tmp_path / "later.csv", index=False)
    assert aae("label", "predict", tmp_path / "s", tmp_path / "later.csv", "--out", tmp_path / "p.csv")[0] == 0
    known = lines(tmp_path / "s" / "labels.csv")
    assert [line["probability"] for line in lines(tmp_path / "p.csv")] == [line["probability"] for line in known]
    pixels = pd.DataFrame(rng.integers(0, 256, (60, 12)))
    pixels.to_csv(tmp_path / "pixels.csv", index=False)
    arguments = ["label", "ask", tmp_path / "p", "--data", tmp_path / "pixels.csv", "--image-shape"]
    code, _, err = aae(*arguments, "3,x", *quick)
    assert code == 2 and "for instance 1,28,28" in err[0] and not (tmp_path / "p").exists()
    assert aae(*arguments, "1,3,4", *quick)[0] == 0
    assert (tmp_path / "p" / "questions-1.png").exists()
    (tmp_path / "images").mkdir()
    for k, x in enumerate(X[:60].astype(np.uint8).reshape(-1, 2, 3)):
        Image.fromarray(x).save(tmp_path / "images" / f"{k:02}.png")
    assert aae("label", "ask", tmp_path / "i", "--data", tmp_path / "images", *quick)[0] == 0
    asked = lines(tmp_path / "i" / "questions-1.csv")
    assert all(line["file"] == f"{int(line['row']):02}.png" for line in asked)


def test_images_are_shown(aae, tmp_path):
    line = ["label", "ask", tmp_path / "s", "--data", "digits", "-n", 5, "--clusters", 5, "--max-steps", 4, "--quiet"]
    assert "the 1297 labels in digits are not used" in aae(*line)[2][0]
    with Image.open(tmp_path / "s" / "questions-1.png") as picture:
        assert picture.width > 200
    assert set(lines(tmp_path / "s" / "questions-1.csv")[0]) == {"row", "label"}


def test_what_is_wrong_is_said_in_one_line_and_nothing_is_lost(aae, blobs, tmp_path):
    path, names = blobs
    folder = tmp_path / "session"

    def refused(*arguments):
        code, _, (line,) = aae("label", *arguments)
        assert code == 2
        return line

    assert "give --data to start one" in refused("ask", folder) and not folder.exists()
    assert "no such file" in refused("ask", folder, "--data", tmp_path / "none.npz") and not folder.exists()
    assert "start one with" in refused("tell", folder)
    assert "expected a trained model" in refused("predict", folder, path)
    quick = ["--clusters", 4, "--max-steps", 20, "--quiet"]
    aae("label", "ask", folder, "--data", path, "-n", 4, *quick)
    assert "leave --data out" in refused("ask", folder, "--data", "digits")
    assert "has unanswered questions" in refused("ask", folder)
    assert "got none: fill in some" in refused("tell", folder)
    before = (folder / "session.json").read_bytes()
    wrong = tmp_path / "wrong.csv"
    for text, expected in (
        ("row|label\n1|red\n", "expected the columns row and label"),
        ("row;label\n1;red\n1;blue\n", "expected one label of row 1, got red and blue"),
        ("row,label\nten,red\n", "line 2: expected the number of a row, got 'ten'"),
        ("row,label\n1,red\n2,red\n", "at least 2 classes"),
        ("row,label\n1,red\n300,blue\n", "from 0 to 299"),
        ("", "none"),
    ):
        wrong.write_text(text)
        assert expected in refused("tell", folder, wrong)
    assert "absent.csv" in refused("tell", folder, tmp_path / "absent.csv")
    assert (folder / "session.json").read_bytes() == before
    X = data.load(path).X
    np.savez(path, X=X + 1)
    answer(folder / "questions-1.csv", names)
    assert "expected the 300 rows of the session" in refused("tell", folder)
    (folder / "session.json").write_text("{")
    assert "damaged" in refused("tell", folder)
