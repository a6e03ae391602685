"""The room for labels: what two clients answer at once, what is undone, and what commands take."""

import json
import shutil
import sys
import time
import webbrowser
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from aaekit import InputError
from aaekit.evaluation.metrics import exact_interval
from aaekit.labelling import Answers
from aaekit.studio import processes, server
from tests.studio import browser, studio


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """A session of digits, in which nothing is answered."""
    from aaekit.cli.app import main

    folder = tmp_path_factory.mktemp("sessions") / "digits"
    quick = ["-n", "2", "--clusters", "5", "--max-steps", "3", "--quiet"]
    with pytest.raises(SystemExit) as end:
        main(["label", "ask", str(folder), "--data", "digits", *quick])
    assert end.value.code == 0
    for path in folder.glob("questions-*"):
        path.unlink()
    return folder


@pytest.fixture
def folder(untouched, tmp_path):
    return shutil.copytree(untouched, tmp_path / "digits")


def answers(person, labels, how="question"):
    return json.dumps({"person": person, "how": how, "labels": labels}).encode()


def answer(asked, person, labels, how="question"):
    return ask(asked, "answers", answers(person, labels, how))


def ask(asked, path, body):
    headers = {"Authorization": "Bearer token-of-the-tests", "Content-Type": "application/json"}
    status, _, content = asked("POST", f"/api/label/{path}", body, headers=headers)
    assert status == 200, content
    return json.loads(content)


def sheets(asked):
    """The clusters once all rows are in one."""
    while asked.json("/api/label/state")["clusters"]["done"] < 1:
        pass
    return asked.json("/api/label/clusters")


@pytest.mark.parametrize("words", [["ask"], []])
def test_a_missing_package_is_said_before_clusters_are_searched(words, tmp_path, monkeypatch, capsys):
    from aaekit.cli.app import main

    monkeypatch.delitem(sys.modules, "aaekit.studio")
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(SystemExit):
        main(["label", *words, str(tmp_path / "digits"), "--data", "digits", "--studio"])
    assert "aaekit[studio]" in capsys.readouterr().err and not (tmp_path / "digits").exists()


def test_one_command_opens_the_room_for_labels(folder, aae, monkeypatch):
    served = []
    monkeypatch.setattr(server, "serve", lambda path, listener, *rest: served.append(path) or listener.close())
    monkeypatch.setattr(webbrowser, "open", lambda address: None)
    for line in (["label", folder, "--studio"], ["label", "ask", folder, "--studio"]):
        assert aae(*line)[0] == 0 and served.pop() == folder
    assert "aae label FOLDER --studio" in aae("label", "--help")[1]
    for line in (["label", folder], ["label", "tell", folder, "--studio"]):
        assert aae(*line)[0] == 2 and not served


# --- the log ---------------------------------------------------------------------------------------------------------
def test_the_last_label_counts_and_undo_is_of_ones_own(tmp_path):
    log = Answers(tmp_path, 10)
    log.add("Ada", "cluster", {1: "one", 2: "one", 3: "one"})
    log.add("Bob", "question", {2: "two"})
    assert log.labels == {1: "one", 2: "two", 3: "one"} and log.labels_by_person(2) == {"Ada": "one", "Bob": "two"}
    assert sorted(log.undo("Ada")) == [1, 2, 3] and log.labels == {2: "two"}
    assert log.undo("Ada") == [] and log.undo("Bob") == [2] and log.labels == {2: "one"}
    log.add("Ada", "skip", {5: ""})
    assert log.skipped("Ada") == {5} and log.skipped("Bob") == set() and 5 not in log.labels
    log.undo("Ada")
    assert log.skipped("Ada") == set()
    again = Answers(tmp_path, 10)
    assert again.log == log.log and again.labels == log.labels and again.undo("Ada") == log.undo("Ada") == []


def test_a_line_that_a_crash_cut_off_costs_no_other(tmp_path):
    log = Answers(tmp_path, 10)
    log.add("Ada", "question", {1: "=one, 'two'"})
    with open(log.path, "a", encoding="utf-8") as file:
        file.write("2,thr")
    Answers(tmp_path, 10).add("Bob", "question", {3: "x"})
    log.read()
    assert log.labels == Answers(tmp_path, 10).labels == {1: "=one, 'two'", 3: "x"}


def test_labels_of_the_model_are_in_the_log_once(tmp_path):
    for _ in range(2):
        assert Answers(tmp_path, 10, {4: "a", 5: 7}).labels == {4: "a", 5: "7"}
    assert len(Answers(tmp_path, 10).log) == 2


@pytest.mark.parametrize(
    ("labels", "message"),
    [({10: "a"}, "rows from 0 to 9"), ({-1: "a"}, "rows from 0 to 9"), ({1: ""}, "a label"), ({1: "a\nb"}, "a label"),
     ({1: "a" * 81}, "a label")],
)  # fmt: skip
def test_wrong_answers_are_refused(tmp_path, labels, message):
    log = Answers(tmp_path, 10)
    with pytest.raises(InputError, match=message):
        log.add("Ada", "question", labels)
    assert not log.path.exists()


def test_files_that_are_no_log_are_refused(tmp_path):
    (tmp_path / "answers.csv").write_text("row,label\n1,a\n")
    with pytest.raises(InputError, match="expected the columns row, label, person"):
        Answers(tmp_path, 10)


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"), [(0, 10, 0, 0.3085), (5, 10, 0.1871, 0.8129), (1, 1, 0.025, 1)]
)
def test_exact_intervals(correct, n, low, high):
    assert exact_interval(correct, n) == pytest.approx((low, high), abs=1e-4)


# --- several people --------------------------------------------------------------------------------------------------
def test_no_answer_of_two_people_is_lost(folder):
    """Of two clients of one studio and of another studio, all at once."""
    with studio(folder) as first, studio(folder) as second, ThreadPoolExecutor(12) as pool:
        clients = [(first, "Ada"), (first, "Bob"), (second, "Eve")]
        jobs = [(*clients[k % 3], {str(k): f"{k % 10}"}) for k in range(90)]
        list(pool.map(lambda job: answer(*job), jobs))
        labels = Answers(folder, 1797).labels
        assert labels == {k: str(k % 10) for k in range(90)}
        for asked in (first, second):
            state = asked.json("/api/label/state")
            assert state["n_labels"] == 90 and {p["name"]: p["n"] for p in state["people"]} == dict.fromkeys(
                ("Ada", "Bob", "Eve"), 30
            )


def test_two_people_are_asked_different_rows(folder):
    with studio(folder) as asked:
        sheets(asked)
        rows = {
            person: {one["item"] for one in asked.json("/api/label/questions", person=person, n=8)}
            for person in ("Ada", "Bob")
        }
        assert len(rows["Ada"]) == len(rows["Bob"]) == 8 and not rows["Ada"] & rows["Bob"]
        assert rows["Ada"] == {one["item"] for one in asked.json("/api/label/questions", person="Ada", n=8)}
        skipped = min(rows["Ada"])
        answer(asked, "Ada", {str(skipped): ""}, "skip")
        labelled = max(rows["Ada"])
        answer(asked, "Ada", {str(labelled): "5"})
        later = {one["item"] for one in asked.json("/api/label/questions", person="Ada", n=8)}
        assert not later & {skipped, labelled}
        assert "label" not in asked.json("/api/label/questions", person="Ada", how="check")[0]


def test_clusters_are_named_and_undone(folder):
    with studio(folder) as asked:
        clusters = sheets(asked)
        assert sum(c["share"] for c in clusters) == pytest.approx(1) and all(len(c["rows"]) <= 24 for c in clusters)
        largest = clusters[0]
        state = answer(asked, "Ada", {str(row): "three" for row in largest["rows"]}, "cluster")
        assert state["classes"] == [{"name": "three", "n": len(largest["rows"])}] and state["clusters"]["named"] == 1
        assert asked.json("/api/label/clusters")[0]["name"] == "three"
        status, _, modes = asked("GET", "/api/label/modes")
        assert status == 200 and len(modes) == 5 * 64
        ask(asked, "undo", json.dumps({"person": "Ada"}).encode())
        assert asked.json("/api/label/state")["n_labels"] == 0


# --- the model -------------------------------------------------------------------------------------------------------
def test_random_rows_measure_the_names_of_clusters(folder):
    with studio(folder) as asked:
        for cluster in sheets(asked):
            answer(asked, "Ada", {str(cluster["rows"][0]): f"c{cluster['cluster']}"}, "cluster")
        rows = [one["item"] for one in asked.json("/api/label/questions", person="Ada", how="check", n=4)]
        assert asked.json("/api/label/state")["accuracy"] is None
        said = answer(asked, "Ada", {str(row): "other" for row in rows}, "check")["predictions"]
        state = answer(asked, "Ada", {str(rows[0]): said[0]}, "suspect")
        assert (state["accuracy"]["n"], state["accuracy"]["correct"]) == (4, 1)
        assert (state["accuracy"]["low"], state["accuracy"]["high"]) == exact_interval(1, 4)


def test_commands_take_the_labels_and_the_studio_their_model(folder):
    from aaekit.cli.app import main

    y = np.arange(1797) % 3
    with studio(folder) as asked:
        assert asked.json("/api/label/suspects") == []
        answer(asked, "Ada", {str(k): f"k{y[k]}" for k in range(30)})
        answer(asked, "Bob", {"3": "k2"})
        before = asked.json("/api/label/state")
        with pytest.raises(SystemExit) as end:
            main(["label", "tell", str(folder), "--quiet"])
        assert end.value.code == 0
        state = asked.json("/api/label/state")
        assert state["is_trained"] and state["n_taught"] == 30 and state["model"] != before["model"]
        lines = (folder / "labels.csv").read_text().splitlines()
        assert sum(line.endswith(",yes") for line in lines) == 30
        doubted = {one["item"]: one for one in asked.json("/api/label/suspects")}
        assert doubted[3]["people"] == {"Ada": "k0", "Bob": "k2"}
        answer(asked, "Ada", {"3": "k0"}, "suspect")
        assert 3 not in {one["item"] for one in asked.json("/api/label/suspects")}
        while len(questions := asked.json("/api/label/questions", person="Ada", n=5)) < 5:
            time.sleep(0.05)
        assert {one["prediction"] for one in questions} <= {"k0", "k1", "k2"}
        assert not {one["item"] for one in questions} & set(range(30))
        assert asked.json("/api/map/space")["columns"][0]["names"] == ["k0", "k1", "k2"]


def test_training_begins_in_a_process_of_its_own(folder, monkeypatch):
    begun = []

    class Process:
        returncode = None

        def __init__(self, command, **options):
            begun.append(command[2:])

        def poll(self):
            return None

    monkeypatch.setattr(processes.subprocess, "Popen", Process)
    with studio(folder) as asked:
        status, _, content = asked("POST", "/api/label/train", b"")
        assert status == 400 and b"at least 2 classes" in content
        answer(asked, "Ada", {"0": "a", "1": "b"})
        assert ask(asked, "train", b"")["training"]["running"]
        assert begun == [["aaekit", "label", "tell", str(folder), str(folder / "answers.csv"), "--quiet"]]
        assert asked("POST", "/api/label/train", b"")[0] == 400
        answer(asked, "Ada", {"2": "a"})


def test_a_person_names_clusters_by_keyboard(folder):
    with studio(folder) as asked, browser() as window:
        page = window.new_page()
        page.goto(f"{asked.link}#label")
        page.wait_for_selector(".label-tiles .tile")
        page.click(".label-tiles .tile >> nth=2")
        page.keyboard.type("<b>seven")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=23 labels")
        assert set(Answers(folder, 1797).labels.values()) == {"<b>seven"}
        assert page.inner_text(".label-rail button:first-child .name") == "<b>seven"


def test_why_a_command_failed_is_said_again_and_again(tmp_path):
    """A page that asks later gets the same reason."""
    command = processes.Command("resume", str(tmp_path / "none"))
    while command.is_running:
        time.sleep(0.05)
    problem = command.problem
    assert "expected" in problem and "error:" not in problem and command.problem == problem


def test_a_command_may_say_much(tmp_path, monkeypatch):
    """More than a pipe holds, which nobody reads while the command runs."""
    program = tmp_path / "python"
    code = "import sys; sys.stderr.write('note\\n' * 60_000 + 'error: expected a, got b\\n'); sys.exit(2)"
    program.write_text(f"#!{sys.executable}\n{code}\n")
    program.chmod(0o700)
    monkeypatch.setattr(processes.sys, "executable", str(program))
    command = processes.Command("resume", str(tmp_path))
    until = time.monotonic() + 20
    while command.is_running and time.monotonic() < until:
        time.sleep(0.02)
    assert not command.is_running and command.problem == "expected a, got b"
