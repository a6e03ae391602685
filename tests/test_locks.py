"""One process at a time works in a folder; a killed one leaves nothing that is in the way."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from aaekit import _files
from aaekit._files import check_writable, read_json, write_csv, write_text
from aaekit._locks import LOCK, locked, owner
from aaekit.errors import InputError
from aaekit.runs.config import completed, configuration
from aaekit.runs.run import Run

pytestmark = pytest.mark.usefixtures("no_figures")

OPTIONS = {"data": "digits", "labels": 50, "max_steps": 3, "hidden": "8", "device": "cpu"}
HOLDS = "import sys, time\nfrom aaekit._locks import locked\nwith locked(sys.argv[1]):\n    print('held', flush=True)\n"


def run_at(path):
    return Run.create(path, completed("baseline", configuration("baseline", OPTIONS)))


@pytest.fixture
def holder(tmp_path):
    """A process that works in a folder until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS + "    time.sleep(60)", str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_process_is_refused_and_a_killed_one_is_not_in_the_way(holder, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(
        InputError, match=rf"process {holder.pid} on .*, since 20\d\d-.* is working in: wait"
    ) as refused:
        run_at(folder).train()
    assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(InputError, match=f"process {holder.pid} .* is starting"):
        Run.open(folder)
    assert owner(folder).startswith(f"process {holder.pid}")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not owner(folder) and os.listdir(folder) == [LOCK]
    with pytest.raises(InputError, match="before its first step, so give the same command again"):
        Run.open(folder)
    run_at(folder).train()
    assert Run.open(folder).complete and not (folder / LOCK).exists()


def test_threads_of_one_process_are_refused_too(tmp_path):
    refused = []

    def other():
        try:
            with locked(tmp_path):
                pass
        except InputError as error:
            refused.append(error)

    with locked(tmp_path), locked(tmp_path):  # the same thread may come again
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(refused) == 1 and not os.listdir(tmp_path)
    other()
    assert len(refused) == 1


def test_many_threads_take_turns_and_none_works_beside_another(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(50):
            try:
                with locked(tmp_path / "folder"):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except InputError:
                time.sleep(0.001)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and not owner(tmp_path / "folder")


def test_a_run_that_another_has_completed_meanwhile_is_refused(tmp_path):
    first, second = run_at(tmp_path / "run"), run_at(tmp_path / "run")
    first.train()
    with pytest.raises(InputError, match="where another run has begun"):
        second.train()
    with pytest.raises(InputError, match="one that is complete"):
        Run.open(tmp_path / "run").train()


@pytest.mark.parametrize("names", [["data.json"], ["versions.json", "mine.txt", LOCK], ["config.yaml", LOCK]])
def test_files_of_somebody_else_are_left_alone(names, tmp_path):
    for name in names:
        (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="which exists"):
        run_at(tmp_path)
    assert all((tmp_path / name).read_text() == "mine" for name in names)


def test_what_fails_before_the_first_step_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "aaekit.runs.run.config_text", lambda config: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(InputError, match="the disk is full.*then go on with: the same command"):
        run_at(tmp_path / "run").train()
    assert not (tmp_path / "run").exists()


def test_temporary_files_of_killed_processes_are_removed(tmp_path):
    left = [tmp_path / f".{name}.{'a' * 32}.tmp" for name in ("model.safetensors", "x.csv")]
    mine = [tmp_path / ".x.tmp", tmp_path / "x.csv.tmp", tmp_path / f".x.csv.{'a' * 31}.tmp"]
    for path in [*left, *mine]:
        path.write_text("")
    write_text(tmp_path / "x.csv", "new")  # perhaps somebody is writing it, too
    assert all(path.exists() for path in left)
    os.utime(left[0], (0, 0))
    write_text(tmp_path / "x.csv", "new")
    assert left[1].exists() and not left[0].exists()
    with locked(tmp_path):
        assert not left[1].exists() and all(path.exists() for path in mine)


def test_files_are_on_the_disk_before_they_get_their_name(tmp_path, monkeypatch):
    order = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(_files.os, "fsync", lambda fd: (order.append("sync"), sync(fd)))
    monkeypatch.setattr(_files.os, "replace", lambda a, b: (order.append("rename"), replace(a, b)))
    write_text(tmp_path / "x", "text")
    assert order == ["sync", "rename", "sync"][: 3 if os.name == "posix" else 2]


@pytest.mark.parametrize(
    "path, is_folder, words",
    [
        ("file", True, "expected the path of a folder, got a file"),
        ("folder", False, "expected the path of a file, got a folder"),
        ("file/below", False, "below the file"),
        ("file/below/it", True, "below the file"),
        ("x\0y", False, "cannot|expected"),
        ("x" * 300, False, "File name too long|expected"),
    ],
)
def test_paths_are_checked_before_any_work(path, is_folder, words, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=words):
        check_writable(tmp_path / path, is_folder)
    assert check_writable(tmp_path / "new" / "place", is_folder) == tmp_path / "new" / "place"


COMMANDS = [
    "label ask {file} --data digits",
    "label predict {empty} digits --out {file}/x.csv",
    "train clusters --data digits --out {file}/run",
    "predict {empty} digits --out {folder}",
    "suite --sets digits --out {file}",
    "simulate phantoms {file}/x",
    "simulate train {empty} {empty} --out {file}/x",
]


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: " ".join(line.split()[:2]))
def test_no_command_works_for_a_place_that_it_cannot_write_to(line, aae, tmp_path, monkeypatch):
    def work(*_, **__):
        raise AssertionError("no work before the check")

    monkeypatch.setattr("aaekit.estimators._base.Estimator.fit", work)
    monkeypatch.setattr("aaekit.evaluation.suite.running.answer", work)
    monkeypatch.setattr("aaekit.ultrasound.make_phantoms", work)
    (tmp_path / "file").write_text("")
    for name in ("folder", "empty"):
        (tmp_path / name).mkdir()
    code, _, lines = aae(*line.format(**{n: tmp_path / n for n in ("file", "folder", "empty")}).split())
    assert code == 2 and len(lines) == 1 and "expected" in lines[0] and str(tmp_path) in lines[0]
    assert any(name in lines[0] for name in ("file", "folder"))


# --- what is in files
@pytest.mark.parametrize(
    "text", ["=1+1", "+49 1", "-a", "@x", "'=1", "''-x", "'", "-", "-1.5", "+.5e3", "-inf", "a=b", "=\n1"]
)
def test_texts_stay_texts_in_a_spreadsheet_and_come_back(text, tmp_path):
    from aaekit.data.formats import read_filled

    write_csv(tmp_path / "x.csv", [["row", text], [1, text], [np.float64(-1.5), "plain"]])
    written = (tmp_path / "x.csv").read_text()
    assert "-1.5,plain" in written
    is_formula = len(text) > 1 and text[0] in "=+-@" and text not in ("-1.5", "+.5e3", "-inf")
    assert (f"'{text}" in written) == is_formula or text.startswith("'")
    assert read_filled(tmp_path / "x.csv", ("row",))[0] == {"row": "1", text: text}


@pytest.mark.parametrize(
    "text, words",
    [
        ("[" * 100_000, "too many brackets"),
        ('{"a": 1, "a": 2}', "the key 'a' twice"),
        ("[]", "valid dictionary"),
        ('{"a": "x"}', "a: Input should be a valid integer"),
        ("\udcff", "decode"),
        ("9" * 5000, "digits"),
        ("", "Expecting value"),
    ],
)
def test_json_that_is_not_as_expected_is_refused_in_one_line(text, words, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=words) as refused:
        read_json(path, "some numbers", dict[str, int])
    assert len(str(refused.value).splitlines()) == 1 and str(path) in str(refused.value)
